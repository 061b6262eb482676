"""Client libraries whose callers are tasks: coord's for trio, coord.aio and aiozk.

Owns how each of them does what is measured (see `client_calls`).
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from benchmarks.client_calls import CALLERS, DATA, ROOT, SESSION_SECONDS, Library

Operations = dict[str, Callable[[], Awaitable[object]]]


class Tasks(Library):
    """A library whose callers are tasks."""

    operations: Operations

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> Any:
        """A client that is connected as long as `stack` is open."""

    @asynccontextmanager
    async def more_clients(self, count: int) -> AsyncIterator[bool]:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await self.open(stack)
            yield True

    async def alone(self, operation: str, count: int) -> bool:
        call = self.operations[operation]
        for _ in range(count):
            await call()
        return True

    async def together(self, operation: str, each: int) -> None:
        async def work() -> None:
            await self.alone(operation, each)

        await self.at_once([work] * CALLERS)

    @abstractmethod
    async def at_once(self, work: list[Callable[[], Awaitable[object]]]) -> None:
        """All of it, in a task each."""


class Coord(Tasks):
    """coord's client for trio, or the one for asyncio: their methods are the same."""

    def __init__(self, connect: Callable[..., Any], hosts: str, stack: AsyncExitStack) -> None:
        self._hosts = hosts
        self._connect = connect
        self._stack = stack

    async def open(self, stack: AsyncExitStack) -> Any:
        return await stack.enter_async_context(self._connect(self._hosts, timeout=SESSION_SECONDS))

    async def start(self) -> None:
        self.zk = zk = await self.open(self._stack)
        self.operations = {"get": lambda: zk.get(ROOT), "set": lambda: zk.set(ROOT, DATA)}

    async def notice(self) -> float | None:
        began = ended = 0.0
        with self.zk.watch() as watch:
            await self.zk.get(ROOT, watch=watch)

            async def hear() -> None:
                nonlocal ended
                await watch.wait()
                ended = time.perf_counter()

            async def change() -> None:
                nonlocal began
                began = time.perf_counter()
                await self.zk.set(ROOT, DATA)

            await self.at_once([hear, change])
        return ended - began

    async def storm(self, paths: list[str]) -> float | None:
        with self.zk.watch() as watch:
            for path in paths:
                await self.zk.get(path, watch=watch)
            began = time.perf_counter()
            async with self.zk.transaction() as tx:
                for path in paths:
                    tx.set(path, DATA)
            for _ in paths:
                await watch.wait()
            return time.perf_counter() - began


class CoordTrio(Coord):
    async def at_once(self, work: list[Callable[[], Awaitable[object]]]) -> None:
        async with trio.open_nursery() as nursery:
            for one in work:
                nursery.start_soon(one)


class CoordAsyncio(Coord):
    async def at_once(self, work: list[Callable[[], Awaitable[object]]]) -> None:
        await asyncio.gather(*(one() for one in work))


class Aiozk(Tasks):
    def __init__(self, hosts: str, stack: AsyncExitStack) -> None:
        self._hosts = hosts
        self._stack = stack

    async def open(self, stack: AsyncExitStack) -> Any:
        import aiozk

        zk = aiozk.ZKClient(self._hosts, session_timeout=SESSION_SECONDS)
        await zk.start()
        stack.push_async_callback(zk.close)
        return zk

    async def start(self) -> None:
        self.zk = zk = await self.open(self._stack)
        self.operations = {
            "get": lambda: zk.get(ROOT),
            "set": lambda: zk.set_data(ROOT, DATA, force=True),
        }

    async def at_once(self, work: list[Callable[[], Awaitable[object]]]) -> None:
        await asyncio.gather(*(one() for one in work))

    async def notice(self) -> float | None:
        ended = 0.0

        def hear(_: object) -> None:
            nonlocal ended
            ended = time.perf_counter()

        event = await self._armed(ROOT)
        event.add_done_callback(hear)
        began = time.perf_counter()
        await self.zk.set_data(ROOT, DATA, force=True)
        await event
        return ended - began

    async def storm(self, paths: list[str]) -> float | None:
        events = [await self._armed(path) for path in paths]
        began = time.perf_counter()
        transaction = self.zk.begin_transaction()
        for path in paths:
            transaction.set_data(path, DATA)
        await transaction.commit()
        await asyncio.gather(*events)
        return time.perf_counter() - began

    async def _armed(self, path: str) -> asyncio.Future[None]:
        from aiozk import WatchEvent

        event: asyncio.Future[None] = self.zk.wait_for_events([WatchEvent.DATA_CHANGED], path)
        await self.zk.get(path, watch=True)
        return event
