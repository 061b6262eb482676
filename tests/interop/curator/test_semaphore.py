"""Our semaphores and Curator's InterProcessSemaphoreV2 on one path; and InterProcessSemaphoreMutex, which is
a semaphore with one permit."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack

import pytest
import trio

import coord
from coord import Client
from recipes import CURATOR, PermitLost, Semaphore
from tests.interop.curator.driver import SECONDS, Curator, CuratorClient, Mutex, needs_curator

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/licences"
COUNT = "/licences-limit"


def ours(zk: Client, limit: int | None = 2, *, shared_count: str | None = None) -> Semaphore:
    return Semaphore(zk, PATH, limit, b"ours", layout=CURATOR, shared_count=shared_count, strict=True)


async def until_children(zk: Client, below: str, count: int) -> None:
    with trio.fail_after(SECONDS):
        async with zk.watch_children(f"{PATH}/{below}") as states:
            async for names in states:
                if len(names or ()) == count:
                    return


async def test_at_most_so_many_of_both(zk: Client, curator: Curator, hosts: str) -> None:
    inside: list[str] = []
    together: Counter[str] = Counter()

    async def enter(who: str) -> None:
        inside.append(who)
        together["+".join(sorted(inside))] += 1
        for _ in range(3):
            await zk.exists("/")
        inside.remove(who)

    async def we() -> None:
        for _ in range(10):
            async with ours(zk):
                await enter("we")

    async def they(semaphore: Mutex) -> None:
        for _ in range(10):
            assert await semaphore.acquire() is not None
            await enter("they")
            await semaphore.release()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(curator.client(hosts)) for _ in range(3)]
        semaphores = [await client.semaphore(PATH, 2) for client in clients]
        async with trio.open_nursery() as nursery:
            for semaphore in semaphores:
                nursery.start_soon(we)
                nursery.start_soon(they, semaphore)
    assert together.total() == 60
    assert together["they+we"]
    assert together.keys() <= {"we", "they", "they+they", "they+we", "we+we"}  # two at most
    await until_children(zk, "leases", 0)
    await until_children(zk, "locks", 0)


async def test_each_waits_for_the_others_permits_and_sees_them(zk: Client, java: CuratorClient) -> None:
    semaphore, waiting = await java.semaphore(PATH, 2), await java.semaphore(PATH, 2)
    first = await semaphore.acquire()
    assert first is not None
    got = trio.Event()

    async def they() -> None:
        assert await waiting.acquire() is not None
        got.set()

    async with trio.open_nursery() as nursery:
        async with ours(zk) as lease:
            assert lease.token > first.token
            holders = await ours(zk).holders()
            assert [(one.path, one.czxid, one.data) for one in holders] == [
                (first.path, first.token, b"curator"),
                (lease.path, lease.token, b"ours"),
            ]
            assert len(await semaphore.participants()) == 2
            with pytest.raises(trio.WouldBlock):
                async with ours(zk).acquire(wait=False):
                    raise AssertionError("both are taken")
            nursery.start_soon(they)
            await until_children(zk, "locks", 1)
            assert not got.is_set()
        with trio.fail_after(SECONDS):
            await got.wait()
    with pytest.raises(trio.TooSlowError):
        async with ours(zk).acquire(timeout=0.1):
            raise AssertionError("both are Curator's")
    await semaphore.release()
    await waiting.release()
    async with ours(zk).acquire(permits=2, timeout=SECONDS):
        assert await semaphore.acquire(seconds=0.1) is None


async def test_a_session_that_ends_gives_its_permit_back(curator: Curator, hosts: str, zk: Client) -> None:
    async with curator.client(hosts) as java, coord.connect(hosts) as mortal, trio.open_nursery() as nursery:
        semaphore, again = await java.semaphore(PATH, 1), await java.semaphore(PATH, 1)
        with pytest.raises(PermitLost):
            async with ours(mortal, 1) as lease:

                async def they() -> None:
                    held = await semaphore.acquire()
                    assert held is not None
                    assert held.token > lease.token
                    nursery.start_soon(java.expire)

                nursery.start_soon(they)
                await until_children(zk, "locks", 1)
                async with coord.connect(hosts, session=mortal.session.handle):
                    pass
                await trio.sleep_forever()
        with trio.fail_after(SECONDS):
            async with ours(zk, 1):
                pass
        assert await again.acquire() is not None


async def test_the_limit_in_a_shared_count(zk: Client, java: CuratorClient) -> None:
    """Either side raises it, and the other one goes on."""
    count = await java.shared_count(COUNT, 1)
    await count.start()
    semaphore = await java.counted_semaphore(PATH, COUNT, 1)
    assert await semaphore.acquire() is not None
    async with trio.open_nursery() as nursery:

        async def raise_limit() -> None:
            await until_children(zk, "locks", 1)
            await count.set(2)

        nursery.start_soon(raise_limit)
        with trio.fail_after(SECONDS):
            async with ours(zk, None, shared_count=COUNT):
                assert await semaphore.acquire(seconds=0.1) is None
                await ours(zk, None, shared_count=COUNT).set_limit(3)
                assert await semaphore.acquire() is not None
        assert await count.get() == 3


async def test_one_permit_is_a_semaphore_mutex(zk: Client, java: CuratorClient) -> None:
    mutex = await java.semaphore_mutex(PATH)
    async with ours(zk, 1):
        assert not await mutex.acquire(seconds=0.1)
    assert await mutex.acquire()
    with pytest.raises(trio.WouldBlock):
        async with ours(zk, 1).acquire(wait=False):
            raise AssertionError("Curator holds it")
    await mutex.release()
    async with ours(zk, 1):
        pass
