"""Live kazoo and we on the same paths: locks, read/write locks, semaphores and elections, both ways.

kazoo runs in threads beside our tasks. Whoever is inside is counted by both, and the order is one.
"""

# ruff: noqa: SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import trio
from kazoo.exceptions import LockTimeout

import coord
from coord import Client
from recipes import Election, Grant, Lock, ReadWriteLock, Semaphore, SemaphoreMismatch
from tests.kazoo_client import kazoo_client
from tests.recipes.lines import until_waiting
from tests.servers import ServerProcess

ROUNDS = 8


@pytest.fixture
def hosts(server: ServerProcess) -> str:
    return server.hosts


@pytest.fixture
def path() -> str:
    return f"/shared/{uuid4().hex}"


@pytest.fixture
async def zk(hosts: str) -> AsyncIterator[Client]:
    async with coord.connect(hosts, timeout=30) as client:
        yield client


class Inside:
    """Who is inside, counted by threads and tasks alike."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.readers = self.writers = self.entered = self.most = 0
        self.order: list[str] = []
        self.broken = False

    def enter(self, name: str = "", *, read: bool = False) -> None:
        with self._guard:
            self.readers, self.writers = self.readers + read, self.writers + (not read)
            self.entered += 1
            self.most = max(self.most, self.readers + self.writers)
            self.broken |= self.writers > 1 or (self.writers == 1 and self.readers > 0)
            self.order.append(name)

    def leave(self, *, read: bool = False) -> None:
        with self._guard:
            self.readers, self.writers = self.readers - read, self.writers - (not read)


# -- read/write locks ----------------------------------------------------------------------------------


@pytest.mark.trio
async def test_readers_and_writers_of_both_exclude_each_other(hosts: str, path: str, zk: Client) -> None:
    inside = Inside()

    def theirs(read: bool) -> None:
        with kazoo_client(hosts) as client:
            for _ in range(ROUNDS):
                with client.ReadLock(path) if read else client.WriteLock(path):
                    inside.enter(read=read)
                    client.exists("/")
                    inside.leave(read=read)

    async def ours(read: bool) -> None:
        rw = ReadWriteLock(zk, path)
        for _ in range(ROUNDS):
            async with rw.read if read else rw.write as grant:
                inside.enter(read=read)
                await zk.sync()
                inside.leave(read=read)
                if not read:
                    inside.enter(read=True)
                    async with rw.downgrade(grant):
                        await zk.sync()
                        inside.leave(read=True)

    async with trio.open_nursery() as nursery:
        for read in (True, True, False):
            nursery.start_soon(trio.to_thread.run_sync, theirs, read)
            nursery.start_soon(ours, read)
    assert not inside.broken
    assert inside.entered == 6 * ROUNDS + ROUNDS  # each of our writers was a reader, too


@pytest.mark.trio
async def test_a_writer_of_kazoo_waits_for_our_downgraded_reader(hosts: str, path: str, zk: Client) -> None:
    """A reader of kazoo's comes in beside it, a writer of kazoo's does not."""
    rw = ReadWriteLock(zk, path)
    order: list[str] = []

    def theirs(name: str, read: bool) -> None:
        with kazoo_client(hosts) as client:
            with client.ReadLock(path, name) if read else client.WriteLock(path, name):
                order.append(name)

    async def until_gone_by(name: str) -> None:
        while name not in order:
            await zk.sync()

    async with trio.open_nursery() as nursery:
        async with rw.write as grant:
            nursery.start_soon(trio.to_thread.run_sync, theirs, "reader", True)
            await until_waiting(zk, path, 2)
            nursery.start_soon(trio.to_thread.run_sync, theirs, "writer", False)
            await until_waiting(zk, path, 3)
            assert [one.data for one in await rw.contenders()][1:] == [b"reader", b"writer"]
            async with rw.downgrade(grant):
                await until_gone_by("reader")
                await until_waiting(zk, path, 2)
                assert order == ["reader"]
        await until_gone_by("writer")


@pytest.mark.trio
async def test_one_order_of_readers_and_writers(hosts: str, path: str, zk: Client) -> None:
    """Ours wait for kazoo's, and kazoo's for ours, in the order in which they came."""
    rw, inside = ReadWriteLock(zk, path), Inside()
    release = threading.Event()

    def theirs(name: str, read: bool) -> None:
        with kazoo_client(hosts) as client:
            with client.ReadLock(path, name) if read else client.WriteLock(path, name):
                inside.enter(name, read=read)
                release.wait(10)
                inside.leave(read=read)

    async def ours(name: str, read: bool) -> None:
        other = ReadWriteLock(zk, path)
        async with (other.read if read else other.write).acquire(data=name.encode()):
            inside.enter(name, read=read)
            await trio.to_thread.run_sync(release.wait, 10)
            inside.leave(read=read)

    async with trio.open_nursery() as nursery:
        async with rw.write:
            nursery.start_soon(trio.to_thread.run_sync, theirs, "their reader", True)
            await until_waiting(zk, path, 2)
            nursery.start_soon(ours, "our reader", True)
            await until_waiting(zk, path, 3)
            nursery.start_soon(ours, "our writer", False)
            await until_waiting(zk, path, 4)
            nursery.start_soon(trio.to_thread.run_sync, theirs, "their writer", False)
            await until_waiting(zk, path, 5)
            nursery.start_soon(ours, "our late reader", True)
            await until_waiting(zk, path, 6)
        while inside.readers < 2:
            await zk.sync()
        release.set()
    assert not inside.broken
    assert sorted(inside.order[:2]) == ["our reader", "their reader"]
    assert inside.order[2:] == ["our writer", "their writer", "our late reader"]


# -- semaphores ----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_permits_of_both_are_counted_together(hosts: str, path: str, zk: Client) -> None:
    inside = Inside()

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            for _ in range(ROUNDS):
                with client.Semaphore(path, "kazoo's", max_leases=3):
                    inside.enter(read=True)
                    for _ in range(5):
                        client.exists("/")
                    inside.leave(read=True)

    async def ours(permits: int) -> None:
        semaphore = Semaphore(zk, path, 3)
        for _ in range(ROUNDS):
            async with semaphore.acquire(permits):
                for _ in range(permits):
                    inside.enter(read=True)
                for _ in range(5):
                    await zk.sync()
                for _ in range(permits):
                    inside.leave(read=True)

    async with trio.open_nursery() as nursery:
        for permits in (1, 1, 2):
            nursery.start_soon(trio.to_thread.run_sync, theirs)
            nursery.start_soon(ours, permits)
    assert 2 <= inside.most <= 3  # (whether all three are ever out at once is chance)
    assert inside.entered == 7 * ROUNDS
    assert await zk.children(path) == []
    assert await zk.children(f"{path}-__lock__") == []


@pytest.mark.trio
async def test_a_queue_of_both_and_a_limit_that_both_check(hosts: str, path: str, zk: Client) -> None:
    semaphore = Semaphore(zk, path, 1, b"ours")
    order: list[str] = []

    def look() -> list[str]:
        with kazoo_client(hosts) as client:
            with pytest.raises(ValueError, match="Inconsistent max leases: 1, expected: 2"):
                client.Semaphore(path, max_leases=2).acquire()
            with pytest.raises(LockTimeout):
                client.Semaphore(path, max_leases=1).acquire(timeout=0.1)
            assert not client.Semaphore(path, max_leases=1).acquire(blocking=False)
            holders = client.Semaphore(path).lease_holders()
            assert isinstance(holders, list)
            return holders

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            with client.Semaphore(path, "kazoo's", max_leases=1):
                order.append("theirs")

    async def ours() -> None:
        async with Semaphore(zk, path, 1):
            order.append("ours")

    async with trio.open_nursery() as nursery:
        async with semaphore:
            assert await trio.to_thread.run_sync(look) == ["ours"]
            await until_waiting(zk, f"{path}-__lock__", 0)
            nursery.start_soon(trio.to_thread.run_sync, theirs)
            await until_waiting(zk, f"{path}-__lock__", 1)
            nursery.start_soon(ours)
            await until_waiting(zk, f"{path}-__lock__", 2)
    assert order == ["theirs", "ours"]


@pytest.mark.trio
async def test_the_limit_of_a_semaphore_that_kazoo_made(hosts: str, path: str, zk: Client) -> None:
    held, release = threading.Event(), threading.Event()

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            with client.Semaphore(path, "kazoo's", max_leases=2):
                held.set()
                release.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, theirs)
        await trio.to_thread.run_sync(held.wait, 10)
        with pytest.raises(SemaphoreMismatch, match="its limit is 2, not 3"):
            async with Semaphore(zk, path, 3):
                pytest.fail("granted")
        semaphore = Semaphore(zk, path, None)
        async with semaphore:
            with pytest.raises(trio.WouldBlock):
                async with semaphore.acquire(wait=False):
                    pytest.fail("granted")
            assert sorted(one.data for one in await semaphore.holders()) == [b"", b"kazoo's"]
        release.set()


@pytest.mark.trio
async def test_a_limit_that_changes_while_kazoo_waits(hosts: str, path: str, zk: Client) -> None:
    """A kazoo that has looked keeps to the number it was made with; ours never take more than is stored."""
    semaphore = Semaphore(zk, path, 2)
    entered, release = threading.Semaphore(0), threading.Event()

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            with client.Semaphore(path, "kazoo's", max_leases=2):
                entered.release()
                release.wait(10)

    async with trio.open_nursery() as nursery:
        async with semaphore:
            async with semaphore:
                nursery.start_soon(trio.to_thread.run_sync, theirs)
                await until_waiting(zk, f"{path}-__lock__", 1)
                await semaphore.set_limit(1)
            # Ours would have to wait; kazoo's takes the second permit, by the number it has.
            await trio.to_thread.run_sync(entered.acquire)
            assert len(await semaphore.holders()) == 2
            with pytest.raises(trio.WouldBlock):
                async with semaphore.acquire(wait=False):
                    pytest.fail("granted")
        with pytest.raises(trio.WouldBlock):  # kazoo's alone is as many as there may be
            async with semaphore.acquire(wait=False):
                pytest.fail("granted")
        release.set()
        async with semaphore:
            assert len(await semaphore.holders()) == 1


# -- locks and elections -------------------------------------------------------------------------------


@pytest.mark.trio
async def test_locks_of_both_exclude_each_other(hosts: str, path: str, zk: Client) -> None:
    inside = Inside()

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            for _ in range(ROUNDS):
                with client.Lock(path):
                    inside.enter()
                    client.exists("/")
                    inside.leave()

    async def ours() -> None:
        for _ in range(ROUNDS):
            async with Lock(zk, path):
                inside.enter()
                await zk.sync()
                inside.leave()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trio.to_thread.run_sync, theirs)
            nursery.start_soon(ours)
    assert (inside.most, inside.entered) == (1, 4 * ROUNDS)


@pytest.mark.trio
async def test_leaders_of_both_follow_each_other(hosts: str, path: str, zk: Client) -> None:
    """Observers see kazoo's leaders as well as ours; ours is asked to step down, and kazoo's leads."""
    led: list[str] = []
    seen = threading.Event()

    def lead() -> None:
        led.append("kazoo's")
        seen.wait(10)

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            client.Election(path, "kazoo's").run(lead)

    async def serve(term: Grant) -> None:
        led.append("ours")
        await term.wait_revoked()

    async with trio.open_nursery() as nursery, Election(zk, path).observe() as leaders:
        nursery.start_soon(Election(zk, path, b"ours").run, serve)
        while (leader := await anext(leaders)) is None:
            pass
        assert leader.data == b"ours"
        nursery.start_soon(trio.to_thread.run_sync, theirs)
        await until_waiting(zk, path, 2)
        assert await Election(zk, path).request_release() == 1
        while (leader := await anext(leaders)) is None or leader.data != b"kazoo's":
            pass
        seen.set()
    assert led == ["ours", "kazoo's"]
