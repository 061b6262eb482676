"""One process that wants what others want, too, again and again.

Synopsis::

    python -m tests.recipes.soak.contender '{"library": "kazoo", "work": "lock", "who": "kazoo-3", ...}'

The argument is an `Order`. What came of each round is a line on standard output: ``acknowledged TOKEN``,
``refused``, ``lost WHY``; ``renewed WHY`` when the library's client was given up and replaced by a fresh one,
which is what users of kazoo and Curator have to do when a session was lost. SIGTERM ends it in order; it ends
as well when its standard input does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from tests.interop.curator.driver import CuratorError, Jvm
from tests.recipes.soak import lock_rounds, permit_rounds, queue_rounds
from tests.recipes.soak.kazoo_side import NotOurs
from tests.recipes.soak.order import Order, Work, say
from tests.recipes.soak.store import Refused

Rounds = Callable[[Order], Awaitable[None]]

WITH_COORD: dict[Work, Rounds] = {
    Work.LOCK: lock_rounds.with_coord,
    Work.PERMIT: permit_rounds.with_coord,
    Work.QUEUE: queue_rounds.with_coord,
}
WITH_KAZOO: dict[Work, Rounds] = {
    Work.LOCK: lock_rounds.with_kazoo,
    Work.PERMIT: permit_rounds.with_kazoo,
    Work.QUEUE: queue_rounds.with_kazoo,
}


async def contend(order: Order) -> None:
    if order.library == "coord":
        await WITH_COORD[order.work](order)
    elif order.library == "kazoo":
        await renewing(partial(WITH_KAZOO[order.work], order))
    else:
        with Jvm(Path(order.directory), own_group=False) as jvm:
            await renewing(partial(lock_rounds.with_curator, order, jvm))


async def renewing(rounds: Callable[[], Awaitable[None]]) -> None:
    """Begin with a fresh client after every failure."""
    while True:
        try:
            await rounds()
        except* Refused:
            say("refused")
        except* (KazooException, KazooTimeoutError, CuratorError, NotOurs) as errors:
            say("renewed", *(repr(error) for error in errors.exceptions))
        await trio.sleep(0.1)


async def until_terminated(order: Order) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(contend, order)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel(reason="SIGTERM")


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    trio.run(until_terminated, Order.parse(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # a thread of kazoo's may still be waiting for what it does not need any more
