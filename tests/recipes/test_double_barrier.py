"""The double barrier: together in, together out, nobody trapped. Pitfalls are numbered as in the survey of
recipes.

Pitfalls 5 and 7 (a znode of the expired session believed, a name that grows): cannot occur, since every
attempt has a new name, made from nothing.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client, EventType, RequestTooLarge, SessionState, WatchEvent
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import BarrierLost, DoubleBarrier
from tests.recipes.faults import TIMEOUT, cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

PATH = "/phases/one"
READY = PATH + "/ready"


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


async def until_children(zk: Client, fits: Callable[[tuple[str, ...]], bool]) -> None:
    async with zk.watch_children(PATH) as states:
        async for names in states:
            if fits(names or ()):
                return


async def until_members(zk: Client, count: int) -> None:
    await until_children(zk, lambda names: len(set(names) - {"ready"}) == count)


async def quiet(zk: Client) -> None:
    """After everything that was under way between server and client has been heard."""
    for _ in range(5):
        await zk.sync()


class Member:
    """A task that goes through the barrier once; its body lasts until `finish` is set."""

    def __init__(self, zk: Client, nursery: trio.Nursery, count: int = 2, *, finish: bool = False) -> None:
        self.inside, self.finish, self.through = trio.Event(), trio.Event(), trio.Event()
        self.error: BaseException | None = None
        self.path = ""
        self._barrier = DoubleBarrier(zk, PATH, count, b"somebody")
        self.scope = trio.CancelScope()
        if finish:
            self.finish.set()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            try:
                async with self._barrier as place:
                    self.path = place.path
                    self.inside.set()
                    await self.finish.wait()
            except BarrierLost as error:
                self.error = error
            self.through.set()

    def __str__(self) -> str:
        return "through" if self.through.is_set() else "inside" if self.inside.is_set() else "waiting"


@asynccontextmanager
async def clients(hosts: str, count: int) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(coord.connect(hosts, timeout=30)) for _ in range(count)]


# -- together in, together out ------------------------------------------------------------------------


@pytest.mark.trio
async def test_they_start_together_and_finish_together(hosts: str, zk: Client) -> None:
    async with clients(hosts, 3) as zks, trio.open_nursery() as nursery:
        first = [Member(one, nursery, 3) for one in zks[:2]]
        await until_members(zk, 2)
        await quiet(zk)
        assert [str(one) for one in first] == ["waiting", "waiting"]
        members = [*first, Member(zks[2], nursery, 3)]
        for member in members:
            await member.inside.wait()
        assert len(await zk.children(PATH)) == 4
        assert (await zk.get(members[0].path))[0] == b"somebody"
        for member in members[:2]:
            member.finish.set()
        await until_members(zk, 1)
        await quiet(zk)
        assert [str(one) for one in members] == ["inside"] * 3  # the two have left, and wait
        members[2].finish.set()
        for member in members:
            await member.through.wait()
        assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_many_rounds_on_one_path(hosts: str, zk: Client) -> None:
    """Whoever is in its n-th body: all have come to their n-th; whoever is past it: all have finished it."""
    rounds, size = 15, 4
    come, finished = [0] * size, [0] * size

    async def work(index: int, one: Client) -> None:
        barrier = DoubleBarrier(one, PATH, size)
        for number in range(1, rounds + 1):
            come[index] = number
            async with barrier:
                assert min(come) == number
                assert min(finished) == number - 1
                await one.exists("/")
                finished[index] = number
            assert min(finished) == number

    async with clients(hosts, 2) as zks:
        async with trio.open_nursery() as nursery:
            for index in range(size):
                nursery.start_soon(work, index, zks[index % 2])
    assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_ready_is_never_made_for_too_few(hosts: str, zk: Client) -> None:
    """One goes away at the very moment the other has counted it."""
    early = 0
    async with zk.add_watch(PATH) as events, coord.connect(hosts, timeout=30) as other:
        for _ in range(25):
            await zk.create(f"{PATH}/fleeting", ephemeral=True, make_parents=True)
            async with trio.open_nursery() as nursery:
                member = Member(other, nursery, finish=True)
                await until_members(zk, 2)
                await zk.delete(f"{PATH}/fleeting")
                await quiet(other)
                early += member.inside.is_set()
                if not member.inside.is_set():
                    member.scope.cancel()
            await other.janitor.idle()
            await zk.sync()
            present: set[str] = set()
            while True:
                try:
                    event = events.receive_nowait()
                except trio.WouldBlock:
                    break
                assert isinstance(event, WatchEvent)
                if event.path == READY:
                    assert event.type is not EventType.CREATED or len(present) >= 2
                elif event.type is EventType.CREATED:
                    present.add(event.path)
                elif event.type is EventType.DELETED:
                    present.discard(event.path)


@pytest.mark.trio
@pytest.mark.parametrize("path", [PATH, "/"])
async def test_what_no_session_owns_is_no_member(zk: Client, path: str) -> None:
    """Neither to begin with nor to wait for; below the root there is always something."""
    await zk.create("/phases")
    if path == PATH:
        await zk.create(PATH + "/folder", make_parents=True)
    barrier, inside = DoubleBarrier(zk, path, 2), 0

    async def enter() -> None:
        nonlocal inside
        async with barrier:
            inside += 1

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            async with zk.watch_children(path) as states:
                async for names in states:
                    if any(name.startswith("member-") for name in names or ()):
                        break
            await quiet(zk)
            assert inside == 0
            nursery.start_soon(enter)
    assert inside == 2


@pytest.mark.trio
async def test_more_than_enough_may_enter(zk: Client) -> None:
    async with trio.open_nursery() as nursery:
        members = [Member(zk, nursery) for _ in range(2)]
        for member in members:
            await member.inside.wait()
        late = Member(zk, nursery)
        await late.inside.wait()
        for member in members:
            member.finish.set()
        await until_members(zk, 1)
        await quiet(zk)
        assert [str(one) for one in members] == ["inside"] * 2  # the late one is waited for like the others
        late.finish.set()
    assert await zk.children(PATH) == []


# -- pitfalls -------------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("members", [0, 1])
async def test_pitfall_35_a_leftover_ready_is_neither_a_member_nor_believed(
    hosts: str, zk: Client, members: int
) -> None:
    """`ready` of members that all died; one of ours may have come in the meantime."""
    await zk.create(READY, make_parents=True)
    async with trio.open_nursery() as nursery:
        waiting = [Member(zk, nursery, 3) for _ in range(members + 1)]
        await until_children(zk, lambda names: "ready" not in names and len(names) == members + 1)
        await quiet(zk)
        assert {str(one) for one in waiting} == {"waiting"}
        more = [Member(zk, nursery, 3, finish=True) for _ in range(2 - members)]
        for member in [*waiting, *more]:
            await member.inside.wait()
            member.finish.set()
    assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_only_the_leftover_that_was_looked_at_is_removed(zk: Client) -> None:
    """Somebody else has removed it and a round has begun since: same name, same version, another `ready`."""
    await zk.create(READY, make_parents=True)
    await zk.set(READY, b"")
    barrier = DoubleBarrier(zk, PATH, 2)
    leftover = await barrier._look()
    assert leftover is not None
    assert leftover.members == frozenset()
    async with trio.open_nursery() as nursery:
        members = [Member(zk, nursery) for _ in range(2)]
        for member in members:
            await member.inside.wait()
        stat = await zk.exists(READY)
        assert stat is not None
        assert stat.version == leftover.ready.version
        await barrier._clear(leftover)
        assert await zk.exists(READY) == stat
        for member in members:
            member.finish.set()


@pytest.mark.trio
async def test_pitfall_36_a_ready_that_is_there_already_lets_in(hosts: str, zk: Client) -> None:
    """And what goes wrong on entering is raised, not swallowed."""
    await zk.create(f"{PATH}/old", ephemeral=True, make_parents=True)
    await zk.create(READY)
    async with trio.open_nursery() as nursery:
        member = Member(zk, nursery, 5)
        await member.inside.wait()
        member.finish.set()
        await until_members(zk, 1)
        await zk.delete(f"{PATH}/old")
    assert await zk.children(PATH) == []
    await zk.create("/ephemeral", ephemeral=True)
    with pytest.raises(coord.NoChildrenForEphemerals):
        async with DoubleBarrier(zk, "/ephemeral", 1):
            pytest.fail("entered")


@pytest.mark.trio
async def test_pitfall_37_nothing_but_ready_lets_in(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            member = Member(other, nursery)
            await until_members(zk, 1)
            await zk.set(PATH, b"changed")
            proxy.cut()
            await quiet(other)
            old = (await zk.children(PATH))[0]
            await end_session(hosts, other)
            await until_children(zk, lambda names: len(names) == 1 and names[0] != old)
            await quiet(other)
            assert str(member) == "waiting"
            second = Member(zk, nursery)
            for one in (member, second):
                await one.inside.wait()
            # Nor does what woke it on entering let it go on leaving.
            member.finish.set()
            await until_members(zk, 1)
            proxy.cut()
            await quiet(other)
            assert not member.through.is_set()
            second.finish.set()


@pytest.mark.trio
async def test_pitfall_38_the_fast_one_waits_for_the_slow_one_to_come(hosts: str, zk: Client) -> None:
    """The slow one has no connection while `ready` is made, and while the fast one leaves."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            slow = Member(other, nursery)
            await until_members(zk, 1)
            await quiet(other)
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            fast = Member(zk, nursery, finish=True)
            await fast.inside.wait()
            await until_members(zk, 1)
            assert str(fast) == "inside"
            proxy.reopen()
            await slow.inside.wait()
            assert str(fast) == "inside"
            slow.finish.set()
        assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_pitfall_38_having_seen_ready_decides(zk: Client) -> None:
    """It is gone before anybody can look: kazoo's members take it away when they leave."""
    async with trio.open_nursery() as nursery:
        member = Member(zk, nursery)
        await until_members(zk, 1)
        await quiet(zk)
        await zk.create(f"{PATH}/another", ephemeral=True)
        await zk.create(READY)
        await zk.delete(READY)
        await member.inside.wait()
        await zk.create(f"{PATH}/newcomer", ephemeral=True)
        member.finish.set()
        await until_members(zk, 2)
        await quiet(zk)
        assert not member.through.is_set()
        await zk.delete(f"{PATH}/another")
        await member.through.wait()  # and does not wait for the newcomer


@pytest.mark.trio
async def test_pitfall_38_who_comes_after_one_has_left_does_not_trap_it(zk: Client) -> None:
    async with trio.open_nursery() as nursery:
        one, two = (Member(zk, nursery) for _ in range(2))
        for member in (one, two):
            await member.inside.wait()
        one.finish.set()
        await until_members(zk, 1)
        late = Member(zk, nursery)
        await late.inside.wait()
        two.finish.set()
        await one.through.wait()  # two was there when it left, the late one was not
        await quiet(zk)
        assert [str(two), str(late)] == ["inside", "inside"]  # but it was when two left
        late.finish.set()


@pytest.mark.trio
async def test_pitfall_38_the_next_round_traps_nobody(hosts: str, zk: Client) -> None:
    """The slow one has left, but does not hear that the round is over before the next one has begun."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            slow, fast = Member(other, nursery), Member(zk, nursery)
            for member in (slow, fast):
                await member.inside.wait()
            slow.finish.set()
            await until_members(zk, 1)
            await quiet(other)
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            fast.finish.set()
            await fast.through.wait()
            following = [Member(zk, nursery) for _ in range(2)]
            for member in following:
                await member.inside.wait()
            proxy.reopen()
            await slow.through.wait()
            for member in following:
                assert str(member) == "inside"
                member.finish.set()


@pytest.mark.trio
async def test_who_leaves_asks_what_the_leader_knows(hosts: str, zk: Client) -> None:
    """The server at hand may lag behind, and not know yet who has joined."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with DoubleBarrier(other, PATH + "/", 1):
            before = len(proxy.requests)
        asked = proxy.requests[before:]
        assert asked[: asked.index(Op.MULTI_READ)] == [Op.SYNC]


@pytest.mark.trio
async def test_pitfall_15_the_path_may_vanish(zk: Client) -> None:
    for _ in range(2):
        async with DoubleBarrier(zk, PATH, 1):
            pass
        await zk.delete(PATH)


@pytest.mark.trio
async def test_pitfall_39_who_gives_up_is_not_counted(zk: Client) -> None:
    with pytest.raises(trio.TooSlowError):
        async with DoubleBarrier(zk, PATH, 2).enter(timeout=0.05):
            pytest.fail("entered alone")
    with trio.move_on_after(0.05) as scope:
        async with DoubleBarrier(zk, PATH, 2):
            pytest.fail("entered alone")
    assert scope.cancelled_caught
    await until_members(zk, 0)
    async with trio.open_nursery() as nursery:
        member = Member(zk, nursery)
        await until_members(zk, 1)
        await quiet(zk)
        assert str(member) == "waiting"
        member.scope.cancel()


@pytest.mark.trio
async def test_pitfall_39_leaving_can_be_given_up(zk: Client) -> None:
    async with trio.open_nursery() as nursery:
        one, two = (Member(zk, nursery) for _ in range(2))
        for member in (one, two):
            await member.inside.wait()
        one.finish.set()
        await until_members(zk, 1)
        one.scope.cancel()
        two.finish.set()
    assert await zk.children(PATH) == []


# -- what ends early ------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_lost_session_is_a_lost_place_and_counts_as_left(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        one, two = Member(zk, nursery), Member(other, nursery)
        for member in (one, two):
            await member.inside.wait()
        one.finish.set()
        await until_members(zk, 1)
        await end_session(hosts, other)
        await two.through.wait()
        assert isinstance(two.error, BarrierLost)
        assert f"double barrier {PATH} lost" in str(two.error)
        await one.through.wait()
        assert one.error is None
        assert await zk.children(PATH) == []  # the last one died: its `ready` was removed all the same


@pytest.mark.trio
async def test_who_has_left_waits_on_in_the_next_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        one, two = Member(zk, nursery), Member(other, nursery)
        for member in (one, two):
            await member.inside.wait()
        two.finish.set()
        await until_members(zk, 1)
        await quiet(other)
        await end_session(hosts, other)
        generation = other.session.generation
        while other.session.generation == generation:
            try:
                await other.sync()
            except coord.SessionExpired:
                pass
        await quiet(other)
        assert not two.through.is_set()
        one.finish.set()
        await two.through.wait()
        assert two.error is None  # its place was over before the session was


@pytest.mark.trio
async def test_the_body_stops_before_the_others_can_go_on(autojump_clock: MockClock) -> None:
    async with open_world(2) as world, trio.open_nursery() as nursery:
        zks = [member.zk for member in world.members]
        one, two = (Member(zk, nursery) for zk in zks)
        await one.inside.wait()
        await two.inside.wait()
        one.finish.set()
        await world.settle()
        world.members[1].proxy.close()
        begin = trio.current_time()
        await two.through.wait()
        assert isinstance(two.error, BarrierLost)
        assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.01)
        assert not one.through.is_set()
        await one.through.wait()
        assert trio.current_time() - begin == pytest.approx(TIMEOUT, abs=1.1)  # a tick of the server


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_what_the_body_raises_leaves_at_once_and_as_it_is(zk: Client, failure: Exception) -> None:
    async with trio.open_nursery() as nursery:
        other = Member(zk, nursery)
        with pytest.raises(type(failure)) as caught:
            async with DoubleBarrier(zk, PATH, 2):
                await other.inside.wait()
                raise failure
        assert caught.value is failure
        assert str(other) == "inside"
        other.finish.set()  # and nobody is waited for who failed
    assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_data_that_no_server_takes_is_told(zk: Client) -> None:
    with trio.fail_after(5), pytest.raises(RequestTooLarge):
        async with DoubleBarrier(zk, PATH, 1, bytes(1_100_000)):
            pytest.fail("entered")


@pytest.mark.trio
async def test_misuse_is_told(zk: Client) -> None:
    with pytest.raises(ValueError, match="count of at least 1, not 0"):
        DoubleBarrier(zk, PATH, 0)
    barrier = DoubleBarrier(zk, PATH, 1)
    async with barrier:
        with pytest.raises(RuntimeError, match="already"):
            async with barrier:
                pytest.fail("entered twice")
    async with barrier:
        pass


# -- lost replies -----------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("op", [Op.CREATE2, Op.MULTI])
async def test_a_reply_lost_on_entering(hosts: str, zk: Client, op: Op, expired: bool) -> None:
    """The create of our znode, or the transaction that makes `ready`."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            one = Member(zk, nursery)
            await until_members(zk, 1)
            await quiet(zk)  # it has looked: the other one makes `ready`
            proxy.swallow_reply(op, then_closed=True)
            two = Member(other, nursery)
            await proxy.lost.wait()
            if expired:
                await end_session(hosts, other)
            proxy.reopen()
            for member in (one, two):
                await member.inside.wait()
            assert await zk.children(PATH) != []
            assert len(await zk.children(PATH)) == 3
            for member in (one, two):
                member.finish.set()
        assert await zk.children(PATH) == []


@pytest.mark.trio
@pytest.mark.parametrize("expired", [False, True])
async def test_a_reply_lost_on_joining_late(hosts: str, zk: Client, expired: bool) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            members = [Member(zk, nursery) for _ in range(2)]
            for member in members:
                await member.inside.wait()
            proxy.swallow_reply(Op.SET_DATA, then_closed=True)
            late = Member(other, nursery)
            await proxy.lost.wait()
            if expired:
                await end_session(hosts, other)
            proxy.reopen()
            await late.inside.wait()
            for member in (*members, late):
                member.finish.set()
        assert await zk.children(PATH) == []


@pytest.mark.trio
@pytest.mark.parametrize("expired", [False, True])
async def test_a_reply_lost_on_clearing(hosts: str, zk: Client, expired: bool) -> None:
    await zk.create(READY, make_parents=True)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            proxy.swallow_reply(Op.MULTI, then_closed=True)
            one = Member(other, nursery, finish=True)
            await proxy.lost.wait()
            if expired:
                await end_session(hosts, other)
            proxy.reopen()
            await until_children(zk, lambda names: len(names) == 1 and "ready" not in names)
            await quiet(zk)
            assert str(one) == "waiting"
            Member(zk, nursery, finish=True)
        assert await zk.children(PATH) == []


@pytest.mark.trio
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize(("op", "last"), [(Op.DELETE, False), (Op.MULTI, True), (Op.DELETE, True)])
async def test_a_reply_lost_on_leaving(hosts: str, zk: Client, op: Op, last: bool, expired: bool) -> None:
    """The delete of one that leaves first, or the transaction of the last one."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            one, two = Member(zk, nursery), Member(other, nursery)
            for member in (one, two):
                await member.inside.wait()
            if last:
                one.finish.set()
                await until_members(zk, 1)
            proxy.swallow_reply(op, then_closed=True)
            two.finish.set()
            await proxy.lost.wait()
            if expired:
                await end_session(hosts, other)
            proxy.reopen()
            if not last:
                await quiet(zk)
                assert not two.through.is_set()
                one.finish.set()
            for member in (one, two):
                await member.through.wait()
            assert one.error is None
            # It had left when its session ended; whether it could be told is a matter of when.
            assert expired or two.error is None
        assert await zk.children(PATH) == []


# -- cancelled anywhere -----------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_anywhere_it_leaves_no_member(autojump_clock: MockClock, late: bool) -> None:
    """In a round of its own (two tasks), or late into one that is running."""
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        await zk.ensure_path(PATH)
        barrier = DoubleBarrier(zk, PATH, 2)

        async def once() -> None:
            async with barrier:
                pass

        async def attempt() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(once)
                if not late:
                    nursery.start_soon(once)

        async def nobody_stays() -> None:
            await zk.janitor.idle()
            assert set(await zk.children(PATH)) <= {"ready", "old"}
            if not late:
                # And whatever the attempt has left there, the next round is as it should be.
                with pytest.raises(trio.TooSlowError):
                    async with barrier.enter(timeout=1):
                        pytest.fail("entered alone")
                await zk.janitor.idle()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(once)
                    nursery.start_soon(once)
                assert await zk.children(PATH) == []

        if late:
            await zk.create(f"{PATH}/old")
            await zk.create(READY)

            async def attempt_late() -> None:
                with trio.move_on_after(1):  # the old one stays
                    await attempt()

            await attempt_late()
            await nobody_stays()
            assert await cancel_everywhere(attempt_late, nobody_stays) > 10
        else:
            assert await cancel_everywhere(attempt, nobody_stays) > 10
