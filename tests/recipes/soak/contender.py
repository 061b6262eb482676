"""One process that takes a lock, increments a counter of the store, and lets go, again and again.

Synopsis::

    python -m tests.recipes.soak.contender '{"library": "kazoo", "who": "kazoo 3", ...}'

The argument is an `Order`. What came of each round is a line on standard output: ``acknowledged TOKEN``,
``refused``, ``lost WHY``; ``renewed WHY`` when the library's client was given up and replaced by a fresh one,
which is what users of kazoo and Curator have to do when a session was lost. SIGTERM ends it in order; it ends
as well when its standard input does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

import coord
from recipes import CURATOR, KAZOO, Election, Grant, LeadershipLost, Lock, LockLost
from tests.interop.curator.driver import CuratorError, Jvm
from tests.recipes.soak.store import Refused, increment

PATIENCE_SECONDS = 10.0
"""How long kazoo and Curator wait for the lock before the client is renewed: they may be in their own way."""
CURATOR_PATH = "/soak/curator"
KAZOO_PATH = "/soak/kazoo"

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    who: str
    library: str
    path: str
    hosts: str
    timeout: float
    store: int
    directory: str

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.recipes.soak.contender", json.dumps(asdict(self))]


class NotOurs(Exception):
    """The lock is said to be ours, but its znode is not."""


def say(*words: object) -> None:
    print(*words, flush=True)


async def round_of(order: Order, token: int) -> None:
    """What is done under the lock."""
    await increment(order.store, order.who, order.path, token, random.uniform(0, 0.02))
    say("acknowledged", token)


# -- coord ----------------------------------------------------------------------------------------------


async def coord_rounds(order: Order) -> None:
    """By turns as one who wants the lock, and as a candidate of an election at its path."""
    layout = CURATOR if order.path == CURATOR_PATH else KAZOO
    async with coord.connect(order.hosts, timeout=order.timeout) as zk:
        lock = Lock(zk, order.path, order.who.encode(), layout=layout, strict=True)
        election = Election(zk, order.path, order.who.encode(), layout=layout, strict=True)
        ways: list[Callable[[], AbstractAsyncContextManager[Grant]]] = [lock.acquire, election.lead]
        while True:
            try:
                async with random.choice(ways)() as grant:
                    await round_of(order, grant.token)
            except (LockLost, LeadershipLost) as error:
                say("lost", error)
            except Refused:
                say("refused")


# -- kazoo ----------------------------------------------------------------------------------------------


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """Given up when cancelled: what it waits for may never come."""
    return await trio.to_thread.run_sync(partial(work, *args), abandon_on_cancel=True)


@asynccontextmanager
async def kazoo_client(order: Order) -> AsyncIterator[KazooClient]:
    client = KazooClient(order.hosts, timeout=order.timeout)
    try:
        await in_thread(client.start, PATIENCE_SECONDS)
        yield client
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(client.stop)
            await in_thread(client.close)


async def kazoo_rounds(order: Order) -> None:
    async with kazoo_client(order) as client:
        while True:
            lock = client.Lock(order.path, order.who)
            await in_thread(partial(lock.acquire, timeout=PATIENCE_SECONDS))
            stat = await in_thread(client.exists, f"{order.path}/{lock.node}")
            if stat is None or stat.ephemeralOwner != client.client_id[0]:
                raise NotOurs
            await round_of(order, stat.czxid)
            await in_thread(lock.release)


# -- Curator --------------------------------------------------------------------------------------------


async def curator_rounds(order: Order, jvm: Jvm) -> None:
    async with jvm.talk() as curator, curator.client(order.hosts, timeout=order.timeout) as zk:
        mutex = await zk.mutex(order.path)
        while True:
            held = await mutex.acquire(PATIENCE_SECONDS)
            if held is None or held.token < 0:
                raise NotOurs
            await round_of(order, held.token)
            await mutex.release()


# -- the process ----------------------------------------------------------------------------------------


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


async def contend(order: Order) -> None:
    if order.library == "coord":
        await coord_rounds(order)
    elif order.library == "kazoo":
        await renewing(partial(kazoo_rounds, order))
    else:
        directory = Path(order.directory)
        with Jvm(directory, own_group=False) as jvm:
            await renewing(partial(curator_rounds, order, jvm))


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
    trio.run(until_terminated, Order(**json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # a thread of kazoo's may still be waiting for what it does not need any more
