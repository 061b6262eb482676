"""A small cluster to test with: a controller that runs, brokers that come and go, and what the znodes say.

Synopsis::

    async with controlled(zk, assume_in_sync=True) as topics, broker(zk, 1), broker(zk, 2):
        await topics.create("orders", {0: [1, 2]})
        await until(topics, lambda view: not view.leaderless)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

import coord
from coord import Client
from recipes import (
    BrokerInfo,
    BrokerRegistry,
    Controller,
    PartitionState,
    Registration,
    TopicPartition,
    Topics,
    TopicsView,
)

SECONDS = 10
ORDERS = TopicPartition("orders", 0)


def info(broker_id: int, rack: str | None = None) -> BrokerInfo:
    return BrokerInfo(broker_id, [("PLAINTEXT", "127.0.0.1", 9000 + broker_id)], rack)


def broker(zk: Client, broker_id: int, **options: Any) -> AbstractAsyncContextManager[Registration]:
    return BrokerRegistry(zk).register(info(broker_id), **options)


@asynccontextmanager
async def controlled(zk: Client, broker_id: int = 99, **options: Any) -> AsyncIterator[Topics]:
    """While the block runs, so does a controller."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(BrokerRegistry(zk).run_controller, broker_id, Controller(zk, **options).run)
        yield Topics(zk)
        nursery.cancel_scope.cancel()


async def until(topics: Topics, condition: Callable[[TopicsView], object]) -> TopicsView:
    """The first view that fulfils the condition."""
    with trio.fail_after(SECONDS):
        async with topics.watch() as views:
            async for view in views:
                if condition(view):
                    return view
    raise AssertionError("views do not end")


async def until_led(topics: Topics, leader: int, which: TopicPartition = ORDERS) -> PartitionState:
    view = await until(topics, lambda view: which in view.states and view.states[which].leader == leader)
    return view.states[which]


async def until_gone(zk: Client, path: str) -> None:
    await _until(zk, path, there=False)


async def until_there(zk: Client, path: str) -> None:
    await _until(zk, path, there=True)


async def _until(zk: Client, path: str, *, there: bool) -> None:
    with trio.fail_after(SECONDS):
        async with zk.watch_exists(path) as states:
            async for stat in states:
                if (stat is not None) == there:
                    return


async def end_session(hosts: str, zk: Client) -> None:
    """The session ends at the server; its client does not know yet."""
    async with coord.connect(hosts, session=zk.session.handle):
        pass


async def written(zk: Client, path: str) -> Any:
    return json.loads((await zk.get(path))[0])
