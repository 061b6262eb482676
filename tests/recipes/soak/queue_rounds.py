"""Putting an item into a queue and taking one out of it, again and again.

Each item is a text of its own. ``put`` and ``took`` say what surely happened, ``tries`` what may have: an
item that kazoo's user is about to consume. What coord's users take is written down by the server itself, in
the transaction that consumes it.
"""

from __future__ import annotations

import os
import random
from itertools import count

import trio

import coord
from recipes import ItemLost, OutcomeUnknown, Queue
from tests.recipes.soak.kazoo_side import PATIENCE_SECONDS, NotOurs, in_thread, kazoo_client
from tests.recipes.soak.order import CONSUMED_PATH, Order, say


async def with_coord(order: Order) -> None:
    async with coord.connect(order.hosts, timeout=order.timeout) as zk:
        queue = Queue(zk, order.path)
        for number in count(1):
            await put(queue, f"{order.who}:{os.getpid()}:{number}")
            try:
                async with queue.take() as item:
                    await trio.sleep(random.uniform(0, 0.02))
                    async with item.consume() as writes:
                        writes.create(f"{CONSUMED_PATH}/{item.name}", item.data)
                say("acknowledged", item.token)
            except ItemLost as error:
                say("lost", error)


async def put(queue: Queue, text: str) -> None:
    """Once surely; twice, perhaps, if a reply was lost."""
    while True:
        try:
            await queue.put(text.encode())
        except OutcomeUnknown:
            text += "'"
        else:
            say("put", text)
            return


async def with_kazoo(order: Order) -> None:
    async with kazoo_client(order) as client:
        queue = client.LockingQueue(order.path)
        for number in count(1):
            await in_thread(queue.put, f"{order.who}:{os.getpid()}:{number}".encode())
            item = await in_thread(queue.get, PATIENCE_SECONDS)
            if item is None:
                raise NotOurs
            await trio.sleep(random.uniform(0, 0.02))
            say("tries", item.decode())
            if not await in_thread(queue.consume):
                raise NotOurs
            say("took", item.decode())
            say("acknowledged", 0)
