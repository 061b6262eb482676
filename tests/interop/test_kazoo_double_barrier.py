"""kazoo's Barrier and DoubleBarrier on the same paths, in threads beside ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

import coord
from coord import Client
from recipes import Barrier, DoubleBarrier
from tests.kazoo_client import kazoo_client
from tests.servers import ServerProcess

PATH = "/shared/phase"
ROUNDS = 5


async def in_thread(fn: Callable[..., object], *args: object) -> None:
    """A test that is late gives up, and leaves the thread to itself."""
    await trio.to_thread.run_sync(fn, *args, abandon_on_cancel=True)


async def until_members(zk: Client, path: str, count: int) -> None:
    async with zk.watch_children(path) as states:
        async for names in states:
            if len(set(names or ()) - {"ready"}) == count:
                return


@pytest.mark.trio
async def test_a_barrier_of_either_kind_holds_both(server: ServerProcess) -> None:
    async with coord.connect(server.hosts, timeout=30) as zk:
        barrier = Barrier(zk, "/shared/gate")

        def opened_by_us(token: trio.lowlevel.TrioToken) -> None:
            with kazoo_client(server.hosts) as client:
                theirs = client.Barrier("/shared/gate")
                assert not theirs.wait(0)
                trio.from_thread.run(barrier.open, trio_token=token)
                assert theirs.wait(10)
                theirs.create()
                trio.from_thread.run_sync(closed.set, trio_token=token)
                assert theirs.remove()

        closed = trio.Event()
        await barrier.close()
        async with trio.open_nursery() as nursery:
            token = trio.lowlevel.current_trio_token()
            nursery.start_soon(in_thread, opened_by_us, token)
            await closed.wait()
            await barrier.wait()


@pytest.mark.trio
@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (2, 1), (1, 2)])
async def test_kazoos_members_and_ours_start_and_finish_together(
    server: ServerProcess, ours: int, theirs: int
) -> None:
    """Round after round, each on a path of its own, since kazoo's members do not bear with newcomers.

    Before each of kazoo's leaves we see to it that all are inside: it takes `ready` away when it leaves.
    """
    count = ours + theirs
    inside = [0] * ROUNDS
    left: list[list[str]] = [[] for _ in range(ROUNDS)]
    all_in = [trio.Event() for _ in range(ROUNDS)]
    path = f"{PATH}-{ours}-{theirs}"

    def enter(number: int) -> None:
        inside[number] += 1
        if inside[number] == count:
            all_in[number].set()

    def their_member(token: trio.lowlevel.TrioToken) -> None:
        with kazoo_client(server.hosts) as client:
            for number in range(ROUNDS):
                barrier = client.DoubleBarrier(f"{path}/{number}", count)
                barrier.enter()
                assert barrier.participating
                trio.from_thread.run_sync(enter, number, trio_token=token)
                trio.from_thread.run(all_in[number].wait, trio_token=token)
                trio.from_thread.run_sync(left[number].append, "begun", trio_token=token)
                barrier.leave()
                trio.from_thread.run_sync(left[number].append, "done", trio_token=token)

    async def our_member(zk: Client) -> None:
        for number in range(ROUNDS):
            async with DoubleBarrier(zk, f"{path}/{number}", count):
                enter(number)
                await all_in[number].wait()
                left[number].append("begun")
            left[number].append("done")

    async with coord.connect(server.hosts, timeout=30) as zk:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                token = trio.lowlevel.current_trio_token()
                for _ in range(theirs):
                    nursery.start_soon(in_thread, their_member, token)
                for _ in range(ours):
                    nursery.start_soon(our_member, zk)
        for order in left:
            assert order == ["begun"] * count + ["done"] * count
        for number in range(ROUNDS):
            assert await zk.children(f"{path}/{number}") == []


@pytest.mark.trio
@pytest.mark.parametrize("we_leave_first", [False, True])
async def test_whoever_comes_or_goes_first(server: ServerProcess, we_leave_first: bool) -> None:
    path = f"{PATH}-order-{we_leave_first}"
    entered, leave, done = trio.Event(), trio.Event(), trio.Event()

    def their_member(token: trio.lowlevel.TrioToken) -> None:
        with kazoo_client(server.hosts) as client:
            barrier = client.DoubleBarrier(path, 2)
            barrier.enter()
            trio.from_thread.run_sync(entered.set, trio_token=token)
            trio.from_thread.run(leave.wait, trio_token=token)
            barrier.leave()
            trio.from_thread.run_sync(done.set, trio_token=token)

    async with coord.connect(server.hosts, timeout=30) as zk:
        await zk.ensure_path(path)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                token = trio.lowlevel.current_trio_token()
                nursery.start_soon(in_thread, their_member, token)
                await until_members(zk, path, 1)  # kazoo's came first
                async with DoubleBarrier(zk, path, 2):
                    await entered.wait()
                    if not we_leave_first:
                        leave.set()
                        async with zk.watch_exists(path + "/ready") as states:
                            async for stat in states:
                                if stat is None:
                                    break
                        assert not done.is_set()
                    else:
                        nursery.start_soon(_let_go_once_gone, zk, path, leave)
                await done.wait()
        assert await zk.children(path) == []


@pytest.mark.trio
async def test_who_comes_while_kazoos_member_leaves_does_not_trap_it(server: ServerProcess) -> None:
    """It makes a `ready` that kazoo's member, having taken away the one before, would wait for."""
    path = f"{PATH}-newcomer"
    leave, done = trio.Event(), trio.Event()

    def their_member(token: trio.lowlevel.TrioToken) -> None:
        with kazoo_client(server.hosts) as client:
            barrier = client.DoubleBarrier(path, 2)
            barrier.enter()
            trio.from_thread.run(leave.wait, trio_token=token)
            barrier.leave()
            trio.from_thread.run_sync(done.set, trio_token=token)

    async def newcomer(zk: Client) -> None:
        async with DoubleBarrier(zk, path, 2):
            pass

    async with coord.connect(server.hosts, timeout=30) as zk:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                token = trio.lowlevel.current_trio_token()
                nursery.start_soon(in_thread, their_member, token)
                async with DoubleBarrier(zk, path, 2):
                    leave.set()
                    async with zk.watch_exists(path + "/ready") as states:
                        async for stat in states:
                            if stat is None:
                                break
                    nursery.start_soon(newcomer, zk)
                    await until_members(zk, path, 3)
                    await until_members(zk, path, 2)  # the newcomer has left, and waits
        assert done.is_set()
        assert await zk.children(path) == []


async def _let_go_once_gone(zk: Client, path: str, leave: trio.Event) -> None:
    await until_members(zk, path, 1)
    leave.set()
