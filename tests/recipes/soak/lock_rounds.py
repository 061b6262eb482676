"""Taking a lock, incrementing a counter of the store, and letting go, again and again: with each library."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import coord
from recipes import CURATOR, KAZOO, Election, Grant, LeadershipLost, Lock, LockLost
from tests.interop.curator.driver import Jvm
from tests.recipes.soak.kazoo_side import PATIENCE_SECONDS, NotOurs, in_thread, kazoo_client, token_of
from tests.recipes.soak.order import CURATOR_PATH, Order, say
from tests.recipes.soak.store import Refused, increment


async def under_the_lock(order: Order, token: int) -> None:
    await increment(order.store, order.who, order.path, token, random.uniform(0, 0.02))
    say("acknowledged", token)


async def with_coord(order: Order) -> None:
    """By turns as one who wants the lock, and as a candidate of an election at its path."""
    layout = CURATOR if order.path == CURATOR_PATH else KAZOO
    async with coord.connect(order.hosts, timeout=order.timeout) as zk:
        lock = Lock(zk, order.path, order.who.encode(), layout=layout, strict=True)
        election = Election(zk, order.path, order.who.encode(), layout=layout, strict=True)
        ways: list[Callable[[], AbstractAsyncContextManager[Grant]]] = [lock.acquire, election.lead]
        while True:
            try:
                async with random.choice(ways)() as grant:
                    await under_the_lock(order, grant.token)
            except (LockLost, LeadershipLost) as error:
                say("lost", error)
            except Refused:
                say("refused")


async def with_kazoo(order: Order) -> None:
    async with kazoo_client(order) as client:
        while True:
            lock = client.Lock(order.path, order.who)
            await in_thread(lock.acquire, timeout=PATIENCE_SECONDS)
            await under_the_lock(order, await token_of(client, f"{order.path}/{lock.node}"))
            await in_thread(lock.release)


async def with_curator(order: Order, jvm: Jvm) -> None:
    async with jvm.talk() as curator, curator.client(order.hosts, timeout=order.timeout) as zk:
        mutex = await zk.mutex(order.path)
        while True:
            held = await mutex.acquire(PATIENCE_SECONDS)
            if held is None or held.token < 0:
                raise NotOurs
            await under_the_lock(order, held.token)
            await mutex.release()
