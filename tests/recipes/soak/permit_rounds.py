"""Taking a permit of a semaphore, being inside of the store's room, and leaving, again and again."""

from __future__ import annotations

import random

import trio

import coord
from recipes import PermitLost, Semaphore
from tests.recipes.soak.kazoo_side import PATIENCE_SECONDS, NotOurs, in_thread, kazoo_client, token_of
from tests.recipes.soak.order import PERMITS, Order, say
from tests.recipes.soak.store import room


async def with_the_permit(order: Order, token: int) -> None:
    async with room(order.store, order.who, order.path, token):
        await trio.sleep(random.uniform(0.02, 0.1))  # long enough to meet others
    say("acknowledged", token)


async def with_coord(order: Order) -> None:
    async with coord.connect(order.hosts, timeout=order.timeout) as zk:
        while True:
            try:
                async with Semaphore(zk, order.path, PERMITS, order.who.encode()) as lease:
                    await with_the_permit(order, lease.token)
            except PermitLost as error:
                say("lost", error)


async def with_kazoo(order: Order) -> None:
    async with kazoo_client(order) as client:
        while True:
            semaphore = client.Semaphore(order.path, order.who, max_leases=PERMITS)
            if not await in_thread(semaphore.acquire, timeout=PATIENCE_SECONDS):
                raise NotOurs
            await with_the_permit(order, await token_of(client, semaphore.create_path))
            await in_thread(semaphore.release)
