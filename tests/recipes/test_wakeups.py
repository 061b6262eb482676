"""How many are woken when one lets go: counted as watch events that the server sends, with 500 who wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

import coord
from coord import Client
from coord.wire.records import Op
from recipes import Lock, ReadWriteLock, Semaphore
from tests.recipes.lines import until_waiting
from tests.recipes.proxy import Proxy, open_proxy

PATH = "/line"
WAITERS, CLIENTS = 500, 5


@dataclass
class Crowd:
    """Clients that wait, behind proxies that count."""

    clients: list[Client]
    proxies: list[Proxy]

    @property
    def events(self) -> int:
        return sum(proxy.events for proxy in self.proxies)

    def asked(self, op: Op) -> int:
        return sum(proxy.requests.count(op) for proxy in self.proxies)

    async def settle(self) -> None:
        """Whatever was on its way to them has arrived."""
        for client in self.clients:
            await client.sync()

    async def wait_for(self, op: Op, count: int) -> None:
        while self.asked(op) < count:
            await self.settle()
        await self.settle()


@asynccontextmanager
async def crowd(hosts: str) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(open_proxy(hosts)) for _ in range(CLIENTS)]
        clients = [
            await stack.enter_async_context(coord.connect(proxy.hosts, timeout=30)) for proxy in proxies
        ]
        yield Crowd(clients, proxies)


class Turns:
    """How many have got in so far."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = trio.Event()

    def enter(self) -> None:
        self.count += 1
        self._changed.set()

    async def reach(self, count: int) -> None:
        while self.count < count:
            self._changed = trio.Event()
            await self._changed.wait()


async def wait_in_line(
    nursery: trio.Nursery, everybody: Crowd, contend: Callable[[Client], Awaitable[None]]
) -> None:
    for index in range(WAITERS):
        nursery.start_soon(contend, everybody.clients[index % CLIENTS])


@pytest.mark.trio
async def test_pitfall_9_a_lock_that_is_let_go_wakes_one_of_500(hosts: str, zk: Client) -> None:
    turns = Turns()

    async def contend(client: Client) -> None:
        async with Lock(client, PATH):
            turns.enter()
            await trio.sleep_forever()

    async with crowd(hosts) as everybody, trio.open_nursery() as nursery:
        async with Lock(zk, PATH):
            await wait_in_line(nursery, everybody, contend)
            await until_waiting(zk, PATH, WAITERS + 1)
            await everybody.wait_for(Op.GET_DATA, WAITERS)
            assert everybody.events == 0  # 500 came, and nobody was told
        await turns.reach(1)
        await everybody.settle()
        assert everybody.events == 1
        assert turns.count == 1
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_pitfall_28_a_permit_that_is_given_back_wakes_one_of_500(hosts: str, zk: Client) -> None:
    turns = Turns()

    async def contend(client: Client) -> None:
        async with Semaphore(client, PATH, 2):
            turns.enter()
            await trio.sleep_forever()

    async with crowd(hosts) as everybody, trio.open_nursery() as nursery:
        async with Semaphore(zk, PATH, 2), AsyncExitStack() as second:
            await second.enter_async_context(Semaphore(zk, PATH, 2).acquire())
            await wait_in_line(nursery, everybody, contend)
            await until_waiting(zk, f"{PATH}-__lock__", WAITERS)
            await everybody.wait_for(Op.GET_DATA, WAITERS - 1)
            await everybody.wait_for(Op.GET_CHILDREN, 1)  # the head has looked at the leases
            assert everybody.events == 0
            await second.aclose()
            await turns.reach(1)
            await everybody.settle()
            await everybody.settle()
            # The head hears of the lease, and, once it has left the queue, the next one that it is the head.
            assert everybody.events == 2
            assert turns.count == 1
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_pitfall_9_a_writer_that_goes_wakes_the_readers_behind_it_and_nobody_else(
    hosts: str, zk: Client
) -> None:
    """50 readers, a writer, and 449 readers behind that one: one event for each client that has readers
    among the 50, since a client's watches of one znode are one to the server."""
    turns = Turns()
    first = 50

    async def read(client: Client) -> None:
        async with ReadWriteLock(client, PATH).read:
            turns.enter()
            await trio.sleep_forever()

    async def write(client: Client) -> None:
        async with ReadWriteLock(client, PATH).write:
            turns.enter()
            await trio.sleep_forever()

    async with crowd(hosts) as everybody, trio.open_nursery() as nursery:
        async with ReadWriteLock(zk, PATH).write:
            for index in range(first):
                nursery.start_soon(read, everybody.clients[index % CLIENTS])
            await until_waiting(zk, PATH, first + 1)
            nursery.start_soon(write, everybody.clients[0])
            await until_waiting(zk, PATH, first + 2)
            for index in range(WAITERS - first - 1):
                nursery.start_soon(read, everybody.clients[index % CLIENTS])
            await until_waiting(zk, PATH, WAITERS + 1)
            await everybody.wait_for(Op.GET_DATA, WAITERS)
            assert everybody.events == 0
        await turns.reach(first)
        await everybody.settle()
        assert everybody.events == CLIENTS
        assert turns.count == first
        nursery.cancel_scope.cancel()
