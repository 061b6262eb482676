"""Workers that follow settings and each other, with kazoo and with coord.

Each worker enters itself in a list, keeps to the settings in a znode, and knows who else is there. When its
session ends, kazoo's watches go on in the next one. But its entry is gone, and nobody makes it again: the
worker works, and the others do not see it. coord makes the entry again in each session.

Both versions share their paths: workers of the two see each other. `tests/demos/test_kazoo_config.py` shows
all of it.

Synopsis::

    coord demo kazoo_config                  # or: python -m demos.kazoo_config
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

import coord
from demos._ported import perform, say
from recipes import Party, watch_config

if TYPE_CHECKING:
    from kazoo.client import KazooClient

CONFIG: Final = "/app/config"
WORKERS: Final = "/app/workers"

log = logging.getLogger("demos.kazoo_config")

Change = Callable[[dict[str, Any], list[str]], None]
"""is told of the settings and the workers, at first and whenever one of them changes"""


# -- with kazoo -----------------------------------------------------------------------------------------


def follow_with_kazoo(client: KazooClient, name: str, change: Change) -> None:
    """Returns at once; `change` is called in kazoo's thread from then on. `client` has been started."""
    from kazoo.exceptions import ConnectionClosedError

    settings: dict[str, Any] = {}
    workers: list[str] = []
    party = client.Party(WORKERS, identifier=name)
    party.join()

    @client.DataWatch(CONFIG)  # type: ignore[untyped-decorator, unused-ignore]  # kazoo has no types
    def settings_changed(data: bytes | None, stat: object) -> None:
        nonlocal settings
        if data is not None:
            try:
                settings = json.loads(data)
            except ValueError:
                log.exception("the settings are of no use; the former ones stay")
        change(settings, workers)

    @client.ChildrenWatch(WORKERS)  # type: ignore[untyped-decorator, unused-ignore]  # kazoo has no types
    def workers_changed(children: list[str]) -> None:
        nonlocal workers
        try:
            workers = sorted(party)
        except ConnectionClosedError:
            return  # the client is stopped
        change(settings, workers)


# -- with coord -----------------------------------------------------------------------------------------


async def follow_with_coord(zk: coord.Client, name: str, change: Change) -> None:
    """Until cancelled."""
    party = Party(zk, WORKERS)
    workers: list[str] = []
    nothing: dict[str, Any] = {}

    async def follow_workers() -> None:
        nonlocal workers
        async with party.watch() as views:
            async for view in views:
                workers = sorted(member.data.decode() for member in view)
                change(config.value, workers)

    async with (
        watch_config(zk, CONFIG, default=nothing) as config,
        party.join(name.encode()),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(follow_workers)
        async for settings in config.eventual_values():  # what is of no use is logged, and the former stay
            change(settings, workers)


# -- the programs ---------------------------------------------------------------------------------------


def run_with_kazoo(hosts: str) -> None:
    from kazoo.client import KazooClient

    told = threading.Event()

    def change(settings: dict[str, Any], workers: list[str]) -> None:
        if settings and workers:
            say(f"{settings}, workers: {', '.join(workers)}")
            told.set()

    client = KazooClient(hosts, timeout=10)
    client.start()
    try:
        follow_with_kazoo(client, "host1", change)
        client.create(CONFIG, json.dumps({"batch": 50}).encode(), makepath=True)
        told.wait(10)
    finally:
        client.stop()
        client.close()


async def run_with_coord(hosts: str) -> None:
    def change(settings: dict[str, Any], workers: list[str]) -> None:
        if settings and workers:
            say(f"{settings}, workers: {', '.join(workers)}")
            nursery.cancel_scope.cancel()

    async with coord.connect(hosts, timeout=10) as zk, trio.open_nursery() as nursery:
        nursery.start_soon(follow_with_coord, zk, "host1", change)
        await zk.create(CONFIG, json.dumps({"batch": 50}).encode(), make_parents=True)


def main(argv: Sequence[str] | None = None) -> int:
    return perform("kazoo_config", __doc__, run_with_kazoo, run_with_coord, argv)


if __name__ == "__main__":
    sys.exit(main())
