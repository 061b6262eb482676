"""Three services follow one configuration: rolled out, refused, rolled back.

The configuration is a JSON document in one znode. A new release of it reaches all services at once. A broken
one is refused by each: it shows the error and keeps the last good value. The server is restarted, which no
service notices; the next release reaches them all the same, and is rolled back.

Synopsis::

    coord demo config_rollout                # or: python -m demos.config_rollout
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import trio

import coord
from coord.testing import embedded_server
from demos._stage import Stage, perform, say
from recipes import watch_config

SERVICES: Final = ("anna", "bert", "carl")
SESSION_SECONDS: Final = 10.0
CONFIG: Final = "/config/app"


@dataclass(frozen=True)
class Settings:
    """What the services rely on: no value of this class is nonsense."""

    release: int
    rate: int
    """requests a second"""

    @classmethod
    def parse(cls, document: bytes) -> Self:
        """Whatever this raises, the document is no good."""
        settings = cls(**json.loads(document))
        if settings.rate < 1:
            raise ValueError(f"a rate of {settings.rate} would stop the service")
        return settings


# -- a service: a process of its own --------------------------------------------------------------------


async def service(name: str, server: str) -> None:
    async with (
        coord.connect(server, timeout=SESSION_SECONDS) as zk,
        watch_config(zk, CONFIG, Settings.parse) as config,
    ):
        async for settings in config.eventual_values():  # and `config.value`, wherever one is needed
            say(f"uses release {settings.release}: {settings.rate} requests a second")


# -- the story ------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    with tempfile.TemporaryDirectory(prefix="coord-") as directory:
        async with (
            embedded_server(data_dir=Path(directory)) as server,
            coord.connect(server.connect_string, timeout=SESSION_SECONDS) as zk,
        ):
            stage.step("three services start with release 1")
            first = b'{"release": 1, "rate": 100}'
            await zk.create(CONFIG, first, make_parents=True)
            for name in SERVICES:
                await stage.start(name, server.connect_string)
            await all_say(stage, "uses release 1")

            stage.step("release 2 is rolled out")
            second = b'{"release": 2, "rate": 200}'
            await roll_out(stage, zk, second)

            stage.step("release 3 is broken: first it is empty, then it makes no sense")
            await zk.set(CONFIG, b"")
            await all_say(stage, "keeps its last good value: JSONDecodeError")
            await zk.set(CONFIG, b'{"release": 3, "rate": 0}')
            await all_say(stage, "keeps its last good value: ValueError")
            stage.prove("all services refused both, and kept release 2", not stage.heard("uses"))

            stage.step("the server is restarted, and release 4 is rolled out")
            await server.stop()
            stage.tell("is stopped", who="server")
            await server.start()
            stage.tell("is back", who="server")
            await roll_out(stage, zk, b'{"release": 4, "rate": 400}')
            stage.prove("no service has lost its session", not stage.heard("session over"))

            stage.step("release 4 is no good after all: back to release 2")
            await roll_out(stage, zk, second)


async def roll_out(stage: Stage, zk: coord.Client, document: bytes) -> None:
    """Write the document, unless somebody else writes another one meanwhile, and see that all have got it."""
    _, stat = await zk.get(CONFIG)
    began = trio.current_time()
    await zk.set(CONFIG, document, version=stat.version)
    release = Settings.parse(document).release
    await all_say(stage, f"uses release {release}")
    milliseconds = 1000 * (trio.current_time() - began)
    stage.prove(
        f"all services use release {release}, {milliseconds:.0f} ms later",
        len(stage.heard("uses")) == len(SERVICES),
    )


async def all_say(stage: Stage, text: str) -> None:
    for name in SERVICES:
        await stage.hears(text, name)


def main(argv: Sequence[str] | None = None) -> int:
    return perform("config_rollout", __doc__, play, service, argv)


if __name__ == "__main__":
    sys.exit(main())
