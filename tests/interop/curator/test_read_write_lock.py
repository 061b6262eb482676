"""Our read/write locks and Curator's InterProcessReadWriteLock on one path."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from coord import Client
from recipes import CURATOR, ReadWriteLock
from tests.interop.curator.driver import Curator, CuratorClient, Mutex, needs_curator, until_waiting

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/shared/lock"


def ours(zk: Client, data: bytes = b"ours") -> ReadWriteLock:
    return ReadWriteLock(zk, PATH, data, layout=CURATOR, strict=True)


async def test_readers_share_and_writers_are_alone(zk: Client, curator: Curator, hosts: str) -> None:
    inside = {"read": 0, "write": 0}
    most = {"read": 0, "write": 0}
    tokens: list[int] = []

    async def enter(side: str, token: int) -> None:
        inside[side] += 1
        most[side] = max(most[side], inside[side])
        assert not (inside["read"] and inside["write"])
        if side == "write":
            tokens.append(token)
        for _ in range(3):
            await zk.exists("/")
        inside[side] -= 1

    async def we(side: str) -> None:
        lock = ours(zk)
        for _ in range(8):
            async with lock.read if side == "read" else lock.write as grant:
                await enter(side, grant.token)

    async def they(side: str, mutex: Mutex) -> None:
        for _ in range(8):
            held = await mutex.acquire()
            assert held is not None
            await enter(side, held.token)
            await mutex.release()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(curator.client(hosts)) for _ in range(3)]
        halves = [await client.read_write(PATH) for client in clients]
        async with trio.open_nursery() as nursery:
            for side, (reads, writes) in zip(("read", "write", "read"), halves, strict=True):
                nursery.start_soon(we, side)
                nursery.start_soon(they, side, reads if side == "read" else writes)
    assert most["write"] == 1
    assert most["read"] > 1
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 16


async def test_nobody_overtakes_a_writer_that_waits(zk: Client, java: CuratorClient) -> None:
    order: list[str] = []
    reads, writes = await java.read_write(PATH)
    late, _ = await java.read_write(PATH)

    async def their(name: str, mutex: Mutex) -> None:
        assert await mutex.acquire() is not None
        order.append(name)
        await mutex.release()

    async def our_reader() -> None:
        async with ours(zk).read:
            order.append("our reader")

    async def our_writer() -> None:
        async with ours(zk).write:
            order.append("our writer")

    async with trio.open_nursery() as nursery, ours(zk).read:
        assert await reads.acquire() is not None  # beside ours
        await reads.release()
        nursery.start_soon(their, "their writer", writes)
        await until_waiting(zk, PATH, 2)
        nursery.start_soon(our_reader)
        await until_waiting(zk, PATH, 3)
        nursery.start_soon(our_writer)
        await until_waiting(zk, PATH, 4)
        nursery.start_soon(their, "their reader", late)
        await until_waiting(zk, PATH, 5)
        line = await ours(zk).contenders()
        assert [one.kind.name for one in line] == ["READ", "WRITE", "READ", "WRITE", "READ"]
        assert order == []
    assert order == ["their writer", "our reader", "our writer", "their reader"]


async def test_their_writer_becomes_a_reader(zk: Client, java: CuratorClient) -> None:
    """Our reader comes in with it, our writer does not. (One that waited already does, with Curator before
    5.5: CURATOR-621, the reader gets a place behind it.)"""
    reads, writes = await java.read_write(PATH)
    assert await writes.acquire() is not None
    assert await reads.acquire() is not None
    with pytest.raises(trio.WouldBlock):
        async with ours(zk).read.acquire(wait=False):
            raise AssertionError("they write")
    await writes.release()
    async with ours(zk).read.acquire(wait=False):
        pass
    wrote = trio.Event()

    async def our_writer() -> None:
        async with ours(zk).write:
            wrote.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(our_writer)
        await until_waiting(zk, PATH, 2)
        with pytest.raises(trio.TooSlowError):
            async with ours(zk).read.acquire(timeout=0.1):
                raise AssertionError("a writer waits")
        assert not wrote.is_set()
        await reads.release()
    assert wrote.is_set()


async def test_our_writer_becomes_a_reader(zk: Client, java: CuratorClient) -> None:
    """Their reader comes in with it, their writer does not."""
    reads, _ = await java.read_write(PATH)
    _, writes = await java.read_write(PATH)
    lock, wrote = ours(zk), trio.Event()

    async def their_writer() -> None:
        assert await writes.acquire() is not None
        wrote.set()
        await writes.release()

    async with trio.open_nursery() as nursery, lock.write as writing:
        assert await reads.acquire(seconds=0.1) is None
        async with lock.downgrade(writing) as reading:
            assert await reads.acquire() is not None
            nursery.start_soon(their_writer)
            await until_waiting(zk, PATH, 3)
            await reads.release()
            await until_waiting(zk, PATH, 2)
            reading.ensure()
            assert not wrote.is_set()
    assert wrote.is_set()


async def test_a_downgrade_before_a_writer_that_waits(zk: Client, java: CuratorClient) -> None:
    """It waits for the reader that has taken the writer's number, which is not that of its predecessor."""
    _, writes = await java.read_write(PATH)
    lock, wrote = ours(zk), trio.Event()

    async def their_writer() -> None:
        assert await writes.acquire() is not None
        wrote.set()
        await writes.release()

    async with trio.open_nursery() as nursery, lock.write as writing:
        nursery.start_soon(their_writer)
        await until_waiting(zk, PATH, 2)
        async with lock.downgrade(writing):
            await until_waiting(zk, PATH, 2)
            probe, _ = await java.read_write(PATH)
            assert await probe.acquire(seconds=0.2) is None  # behind the writer
            assert not wrote.is_set()
    assert wrote.is_set()
