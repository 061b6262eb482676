"""A service of which one instance works, with kazoo and with coord.

Instances stand for election; the leader does a round of work every so often, the others stand by. Both
versions step down when their session is lost. But kazoo hears of that from a server, so an instance that is
cut off from all servers does not hear of it: it works on, while another one has been elected. coord knows
until when its session is sure to live, and has stepped down before anybody else can be elected.

`tests/demos/test_kazoo_service.py` shows both.

Synopsis::

    coord demo kazoo_service                 # or: python -m demos.kazoo_service
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

import coord
from demos._ported import perform, say
from recipes import Election, Grant

if TYPE_CHECKING:
    from kazoo.client import KazooClient

LEADER: Final = "/service/leader"
PERIOD_SECONDS: Final = 0.02
"""between two rounds; of a real service more"""
ROUNDS: Final = 3


# -- with kazoo -----------------------------------------------------------------------------------------


def serve_with_kazoo(
    client: KazooClient, host: str, work: Callable[[], None], stopping: threading.Event
) -> None:
    """Until `stopping` is set. `client` has been started."""
    from kazoo.client import KazooState

    lost = threading.Event()

    def heed(state: str) -> None:
        if state == KazooState.LOST:
            lost.set()

    def lead() -> None:
        lost.clear()
        while not lost.is_set() and not stopping.is_set():
            work()
            stopping.wait(PERIOD_SECONDS)

    client.add_listener(heed)
    while not stopping.is_set():
        client.Election(LEADER, identifier=host).run(lead)


# -- with coord -----------------------------------------------------------------------------------------


async def serve_with_coord(zk: coord.Client, host: str, work: Callable[[int], Awaitable[None]]) -> None:
    """Until cancelled. `work` is given the fencing token of its term."""

    async def lead(term: Grant) -> None:  # cancelled when the term is over
        while True:
            await work(term.token)
            await trio.sleep(PERIOD_SECONDS)

    await Election(zk, LEADER, data=host.encode()).run(lead)


# -- the programs ---------------------------------------------------------------------------------------


def run_with_kazoo(hosts: str) -> None:
    from kazoo.client import KazooClient

    stopping = threading.Event()
    rounds = iter(range(1, ROUNDS + 1))

    def work() -> None:
        number = next(rounds)
        say(f"round {number}")
        if number == ROUNDS:
            stopping.set()

    client = KazooClient(hosts, timeout=10)
    client.start()
    try:
        serve_with_kazoo(client, "host1", work, stopping)
    finally:
        client.stop()
        client.close()


async def run_with_coord(hosts: str) -> None:
    rounds = iter(range(1, ROUNDS + 1))

    async def work(token: int) -> None:
        number = next(rounds)
        say(f"round {number} of term {token:#x}")
        if number == ROUNDS:
            nursery.cancel_scope.cancel()

    async with coord.connect(hosts, timeout=10) as zk, trio.open_nursery() as nursery:
        nursery.start_soon(serve_with_coord, zk, "host1", work)


def main(argv: Sequence[str] | None = None) -> int:
    return perform("kazoo_service", __doc__, run_with_kazoo, run_with_coord, argv)


if __name__ == "__main__":
    sys.exit(main())
