"""A cluster of brokers that loses some, and its controller, and goes on.

Kafka's protocol for brokers, controllers and partitions, on coord.

Owns the stage: an ensemble of three servers, and brokers, all of them real processes that are asked to leave,
killed, stopped and woken. The story is `_story`'s, with the proof of each step; the exit status is 0 only if
every one was observed.

Synopsis::

    coord demo                               # or: python -m demos.broker_cluster
    coord demo --serve                       # keeps running, to be explored with kazoo or `coord`

Four brokers in two racks register as ephemeral znodes and elect a controller, which gives the partitions of a
topic their leaders; of another, created while it runs, too. One broker leaves in good order and returns. Then
the leading server is killed, which no broker loses its session by; one broker is killed, another hangs beyond
its session and comes back, the controller hangs and, woken, finds its writes refused, the next controller is
killed; and in the end all are back, the server follows, the brokers lead what they are meant to lead, and a
topic is deleted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

import coord
from coord.testing import local_ensemble
from demos._broker import BrokerProcess
from demos._cluster import Cluster
from demos._picture import Picture
from demos._stage import INTERRUPTED, cancel_on_signal
from demos._story import Story
from demos._view import can_show_live, make_view

SERVERS: Final = 3
TICK_SECONDS: Final = 0.5
RACKS: Final = {1: "a", 2: "a", 3: "b", 4: "b"}
"""where each broker is"""
SESSION_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.4


@dataclass(frozen=True)
class Options:
    serve: bool
    plain: bool
    port: int


async def play(options: Options) -> int:
    """The whole demo; returns the exit status."""
    async with (
        local_ensemble(SERVERS, tick_time=TICK_SECONDS, port=options.port) as ensemble,
        Cluster(ensemble.connect_string, RACKS) as cluster,
        coord.connect(ensemble.connect_string, timeout=10) as zk,
    ):
        picture = Picture(zk, ensemble.servers)
        live = not options.plain and can_show_live()
        story = Story(zk, ensemble, cluster, picture, PAUSE_SECONDS if live else 0.0)
        view = make_view(picture, story.steps, ensemble.connect_string, live=live)
        status = INTERRUPTED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
            nursery.start_soon(picture.follow)
            nursery.start_soon(view.run)
            await story.run()
            status = 0 if story.done else 1
            if options.serve and story.done:
                picture.note(f"serving at {ensemble.connect_string} until Ctrl-C")
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        view.close()
        if status == 1:
            sys.stderr.write(cluster.errors())
        return status


def main(argv: Sequence[str] | None = None) -> int:
    """`coord demo`; returns the exit status: 0 if every step was observed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["broker"]:
        return _run_broker(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="coord demo",
        description="A cluster of brokers that loses some, and goes on.",
        epilog="There are more demos: coord demo --list",
    )
    parser.add_argument("--serve", action="store_true", help="keep running afterwards, to be explored")
    parser.add_argument("--plain", action="store_true", help="plain lines, as when the output is no terminal")
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="the first server's port; the others' are the next (default: free ones)",
    )
    options = parser.parse_args(arguments)
    try:
        return trio.run(play, Options(options.serve, options.plain, options.port))
    except OSError as error:  # the port is taken
        print(f"coord demo: {error}", file=sys.stderr)
        return 1


def _run_broker(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="coord demo broker")
    parser.add_argument("--server", required=True)
    parser.add_argument("--id", type=int, required=True)
    parser.add_argument("--rack", required=True)
    options = parser.parse_args(arguments)
    broker = BrokerProcess(options.server, options.id, options.rack, SESSION_SECONDS)
    trio.run(broker.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
