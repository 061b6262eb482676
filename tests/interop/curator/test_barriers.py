"""Our barriers and double barriers, and Curator's DistributedBarrier and DistributedDoubleBarrier."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import pytest
import trio

import coord
from coord import Client
from recipes import Barrier, DoubleBarrier
from tests.interop.curator.driver import SECONDS, Curator, CuratorClient, needs_curator

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/shared/barrier"


async def until_children(zk: Client, count: int) -> None:
    with trio.fail_after(SECONDS):
        async with zk.watch_children(PATH) as states:
            async for names in states:
                if len(names or ()) == count:
                    return


async def test_each_waits_until_the_other_opens(zk: Client, java: CuratorClient) -> None:
    ours, theirs, waiter = Barrier(zk, PATH), await java.barrier(PATH), await java.barrier(PATH)
    through: list[str] = []

    async def we() -> None:
        await ours.wait()
        through.append("we")

    async def they() -> None:
        assert await waiter.wait()
        through.append("they")

    for _ in range(2):
        await theirs.set()
        assert await ours.closed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(we)
            nursery.start_soon(they)
            assert not await theirs.wait(seconds=0.1)
            assert through == []
            await theirs.remove()
        await ours.close()
        assert not await waiter.wait(seconds=0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(we)
            nursery.start_soon(they)
            with trio.move_on_after(0.05):
                await ours.wait()
                raise AssertionError("it is closed")
            await ours.open()
        assert sorted(through) == ["they", "they", "we", "we"]
        through.clear()
        assert await theirs.wait()


async def test_nobody_starts_or_goes_on_before_the_others(zk: Client, curator: Curator, hosts: str) -> None:
    """Two of each, several rounds on one path."""
    started, finishing, gone = 0, 0, 0
    size, rounds = 4, 3
    together = [trio.Event() for _ in range(rounds)]
    """once everybody is out of a round: so that nobody of the next one is counted in it"""

    async def begin(number: int) -> None:
        nonlocal started
        started += 1
        assert len(await zk.children(PATH)) == size + 1  # all, and `ready`
        while started < (number + 1) * size:  # all are inside together
            await trio.sleep(0.001)

    async def end(number: int) -> None:
        nonlocal gone
        gone += 1
        if gone == (number + 1) * size:
            together[number].set()
        await together[number].wait()

    async def we() -> None:
        nonlocal finishing
        for number in range(rounds):
            async with DoubleBarrier(zk, PATH, size):
                await begin(number)
                finishing += 1
            assert finishing == (number + 1) * size
            await end(number)

    async def they() -> None:
        nonlocal finishing
        async with curator.client(hosts) as java:
            for number in range(rounds):
                barrier = await java.double_barrier(PATH, size)
                assert await barrier.enter()
                await begin(number)
                finishing += 1
                assert await barrier.leave()
                # Curator's may go on when all but one have left, and that one is through.
                assert finishing == (number + 1) * size
                await end(number)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(we)
                nursery.start_soon(they)
    assert started == gone == rounds * size
    assert await zk.children(PATH) == []


async def test_who_dies_is_not_waited_for(zk: Client, curator: Curator, hosts: str) -> None:
    async with curator.client(hosts) as java, curator.client(hosts) as mortal:
        theirs, doomed = await java.double_barrier(PATH, 3), await mortal.double_barrier(PATH, 3)
        async with trio.open_nursery() as nursery:

            async def they() -> None:
                assert await theirs.enter()
                assert await theirs.leave()

            async def they_die() -> None:
                assert await doomed.enter()
                await mortal.expire()

            nursery.start_soon(they)
            nursery.start_soon(they_die)
            with trio.fail_after(SECONDS):
                async with DoubleBarrier(zk, PATH, 3):
                    pass
        await until_children(zk, 0)


async def test_our_death_lets_them_go_on(zk: Client, java: CuratorClient, hosts: str) -> None:
    theirs = await java.double_barrier(PATH, 2)
    async with trio.open_nursery() as nursery:
        left = trio.Event()

        async def they() -> None:
            assert await theirs.enter()
            assert await theirs.leave()
            left.set()

        nursery.start_soon(they)
        with pytest.raises(coord.CoordError, match="lost"):
            async with coord.connect(hosts) as mortal, DoubleBarrier(mortal, PATH, 2):
                with trio.move_on_after(0.1) as waiting:
                    await left.wait()
                assert waiting.cancelled_caught  # they wait for us
                async with coord.connect(hosts, session=mortal.session.handle):
                    pass
                await trio.sleep_forever()
        with trio.fail_after(SECONDS):
            await left.wait()
