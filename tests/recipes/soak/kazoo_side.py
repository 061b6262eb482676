"""kazoo in a trio program: its calls in threads, its client for a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio
from kazoo.client import KazooClient

from tests.recipes.soak.order import Order

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""How long kazoo (and Curator) wait before their client is renewed: they may be in their own way."""


class NotOurs(Exception):
    """The library says that it is ours, and the znode that it is not; or it did not come in time."""


async def in_thread(work: Callable[..., T], *args: object, **options: object) -> T:
    """Given up when cancelled: what it waits for may never come."""
    return await trio.to_thread.run_sync(partial(work, *args, **options), abandon_on_cancel=True)


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


async def token_of(client: KazooClient, path: str) -> int:
    """The zxid that created our znode there. Raises `NotOurs`."""
    stat: Any = await in_thread(client.exists, path)
    if stat is None or stat.ephemeralOwner != client.client_id[0]:
        raise NotOurs(path)
    return int(stat.czxid)
