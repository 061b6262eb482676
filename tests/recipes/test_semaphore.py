"""Semaphores: so many at a time, in order of arrival, with a limit that everybody agrees on.

Pitfall 20 (permits owned by threads): cannot occur, since a grant is an object of one block.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import re
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import CURATOR, CURATOR_LATCH, KAZOO, Layout, PermitLost, Semaphore, SemaphoreMismatch
from tests.recipes.faults import TIMEOUT, cancel_everywhere, open_world
from tests.recipes.lines import end_session, until_empty, until_waiting
from tests.recipes.lost_replies import lose_reply
from tests.recipes.proxy import open_proxy

PATH = "/sem"
QUEUE = {KAZOO: f"{PATH}-__lock__", CURATOR: f"{PATH}/locks"}
LEASES = {KAZOO: PATH, CURATOR: f"{PATH}/leases"}
Attempt = Callable[[Client], Awaitable[None]]
layouts = pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)


class Crowd:
    """Tasks that want permits; `inside` has who got them, in that order, as often as each has permits."""

    def __init__(self, zk: Client, nursery: trio.Nursery, semaphore: Semaphore) -> None:
        self.semaphore = semaphore
        self.inside: list[str] = []
        self.leave: dict[str, trio.Event] = {}
        self._zk = zk
        self._nursery = nursery
        self._changed = trio.Event()

    async def join(self, name: str, permits: int = 1) -> None:
        """Return when it waits in the queue, or is inside."""
        self.leave[name] = trio.Event()
        self._nursery.start_soon(self._hold, name, permits)
        while name not in self.inside:
            if name.encode() in [one.data for one in await self.semaphore.contenders()]:
                return

    async def go(self, *names: str) -> None:
        for name in names:
            self.leave[name].set()
            while name in self.inside:
                await self._changed.wait()

    async def until_inside(self, *names: str) -> None:
        while sorted(self.inside) != sorted(names):
            await self._changed.wait()
        await self._zk.sync()
        await self._zk.sync()
        assert sorted(self.inside) == sorted(names)

    async def _hold(self, name: str, permits: int) -> None:
        async with self.semaphore.acquire(permits, data=name.encode()):
            self.inside += [name] * permits
            self._change()
            await self.leave[name].wait()
        self.inside[:] = [one for one in self.inside if one != name]
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


# -- so many at a time ---------------------------------------------------------------------------------


@pytest.mark.trio
@layouts
async def test_so_many_at_a_time_with_many_contenders(hosts: str, layout: Layout) -> None:
    inside, most, tokens = 0, 0, []

    async def contend(zk: Client, permits: int) -> None:
        nonlocal inside, most
        for _ in range(3):
            async with Semaphore(zk, PATH, 3, layout=layout).acquire(permits) as lease:
                tokens.append(lease.token)
                inside += permits
                most = max(most, inside)
                assert inside <= 3
                for _ in range(10):  # longer than the next one takes to come in
                    await zk.sync()
                inside -= permits

    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(12):
            nursery.start_soon(contend, (one, two)[index % 2], 1 + (index % 3 == 0))
    assert most == 3
    assert len(tokens) == 36
    assert tokens == sorted(set(tokens))  # every grant's token is higher than all before


@pytest.mark.trio
@layouts
async def test_pitfall_28_whoever_leaves_first_makes_room_for_the_first_in_line(
    zk: Client, layout: Layout
) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(zk, nursery, Semaphore(zk, PATH, 3, layout=layout))
        for name in "abcdef":
            await crowd.join(name)
        await crowd.until_inside("a", "b", "c")
        assert [one.data for one in await crowd.semaphore.holders()] == [b"a", b"b", b"c"]
        assert [one.data for one in await crowd.semaphore.contenders()] == [b"d", b"e", b"f"]
        await crowd.go("c")  # not the oldest
        await crowd.until_inside("a", "b", "d")
        await crowd.go("a", "d")
        await crowd.until_inside("b", "e", "f")
        await crowd.go("b", "e", "f")
    assert await crowd.semaphore.holders() == ()


@pytest.mark.trio
async def test_several_permits_are_had_all_or_none_and_nobody_is_overtaken(zk: Client) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(zk, nursery, Semaphore(zk, PATH, 3))
        await crowd.join("a", 2)
        await crowd.join("b", 2)  # one is free, which is not enough
        await crowd.join("c", 1)  # it would be enough for this one, whose turn it is not
        await crowd.until_inside("a", "a")
        assert len(await crowd.semaphore.holders()) == 2
        await crowd.go("a")
        await crowd.until_inside("b", "b", "c")
        with pytest.raises(ValueError, match="can never be had"):
            async with crowd.semaphore.acquire(4):
                pytest.fail("granted")
        await crowd.go("b", "c")
    assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_the_places_are_the_libraries_own(zk: Client) -> None:
    hexadecimal, dashed = "[0-9a-f]{32}", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    for layout, queued, leased in (
        (KAZOO, f"{hexadecimal}__lock__[0-9]{{10}}", hexadecimal),
        (CURATOR, f"_c_{dashed}-lock-[0-9]{{10}}", f"_c_{dashed}-lease-[0-9]{{10}}"),
    ):
        await zk.create(f"/{layout.name}")
        path = f"/{layout.name}{PATH}"
        semaphore = Semaphore(zk, path, 1, b"me", layout=layout)
        async with trio.open_nursery() as nursery:
            async with semaphore as lease:
                assert lease.path.startswith(f"/{layout.name}{LEASES[layout]}/")
                assert re.fullmatch(leased, lease.path.rpartition("/")[2])
                nursery.start_soon(_pass_through, semaphore)
                await until_waiting(zk, f"/{layout.name}{QUEUE[layout]}", 1)
                (name,) = await zk.children(f"/{layout.name}{QUEUE[layout]}")
                assert re.fullmatch(queued, name)
                assert (await zk.get(lease.path))[0] == b"me"
    assert (await zk.get(f"/kazoo{PATH}"))[0] == b"1"
    assert (await zk.get(f"/curator{PATH}"))[0] == b""


async def _pass_through(semaphore: Semaphore) -> None:
    async with semaphore:
        pass


@pytest.mark.trio
@layouts
async def test_pitfall_25_an_attempt_that_does_not_wait_leaves_nothing(hosts: str, layout: Layout) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        semaphore = Semaphore(zk, PATH, 2, layout=layout)
        async with semaphore.acquire(wait=False):
            for wanted in (1, 2):
                before = len(proxy.requests)
                if wanted == 2:
                    with pytest.raises(trio.WouldBlock):
                        async with semaphore.acquire(2, wait=False):
                            pytest.fail("granted")
                    assert not {Op.CREATE, Op.CREATE2} & set(proxy.requests[before:])  # looked first
                    assert proxy.requests[before] == Op.SYNC  # and at what is there now
                async with semaphore.acquire(wait=False):
                    assert len(await semaphore.holders()) == 2
                    with pytest.raises(trio.TooSlowError):
                        async with semaphore.acquire(timeout=0.05):
                            pytest.fail("granted")
        await until_empty(zk, QUEUE[layout])
        assert await zk.children(LEASES[layout]) == []


@pytest.mark.trio
async def test_an_attempt_that_does_not_wait_loses_the_last_permit_in_the_last_moment(
    hosts: str, zk: Client
) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as slow:
        async with trio.open_nursery() as nursery:
            there, refused = proxy.hold(Op.CREATE2), trio.Event()

            async def attempt() -> None:
                with pytest.raises(trio.WouldBlock):
                    async with Semaphore(slow, PATH, 1).acquire(wait=False):
                        pytest.fail("granted")
                refused.set()

            nursery.start_soon(attempt)
            await there.wait()  # it has seen that there is one
            async with Semaphore(zk, PATH, 1) as lease:
                proxy.let_pass()
                await refused.wait()
                await until_empty(zk, QUEUE[KAZOO])
                assert [one.path for one in await Semaphore(zk, PATH, 1).holders()] == [lease.path]


@pytest.mark.trio
async def test_bad_arguments(zk: Client) -> None:
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Semaphore(zk, PATH, 0)
    with pytest.raises(ValueError, match="curator-latch has no permit names"):
        Semaphore(zk, PATH, 1, layout=CURATOR_LATCH)
    with pytest.raises(ValueError, match="has to be given"):
        Semaphore(zk, PATH, None, layout=CURATOR)
    with pytest.raises(ValueError, match="not in a shared count"):
        Semaphore(zk, PATH, 1, shared_count="/count")
    with pytest.raises(ValueError, match="none can be beside /"):
        Semaphore(zk, "/", 1)
    with pytest.raises(ValueError, match="32 bits"):
        Semaphore(zk, PATH, 2**31, layout=CURATOR, shared_count="/count")
    with pytest.raises(ValueError, match="32 bits"):
        await Semaphore(zk, PATH, 1, layout=CURATOR, shared_count="/count").set_limit(2**31)
    with pytest.raises(ValueError, match="1 permit or more"):
        async with Semaphore(zk, PATH, 1).acquire(0):
            pytest.fail("granted")
    with pytest.raises(ValueError, match="0 or more"):
        await Semaphore(zk, PATH, 1).set_limit(-1)
    with pytest.raises(ValueError, match="stores no limit"):
        await Semaphore(zk, PATH, 1, layout=CURATOR).set_limit(2)


# -- the limit -----------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize(
    ("layout", "shared_count", "five"),
    [(KAZOO, None, b"5"), (CURATOR, "/count", struct.pack(">i", 5))],
    ids=["kazoo", "curator"],
)
async def test_the_limit_is_stored_and_checked(
    zk: Client, layout: Layout, shared_count: str | None, five: bytes
) -> None:
    def semaphore(limit: int | None) -> Semaphore:
        return Semaphore(zk, PATH, limit, layout=layout, shared_count=shared_count)

    with pytest.raises(SemaphoreMismatch, match="no limit is stored"):
        async with semaphore(None):
            pytest.fail("granted")
    async with semaphore(5):
        assert (await zk.get(shared_count or PATH))[0] == five
    for wait in (True, False):
        with pytest.raises(SemaphoreMismatch, match="its limit is 5, not 4"):
            async with semaphore(4).acquire(wait=wait):
                pytest.fail("granted")
    async with semaphore(None).acquire(5):
        pass
    await zk.set(shared_count or PATH, b"something else")
    with pytest.raises(SemaphoreMismatch, match="no limit can be read"):
        async with semaphore(5):
            pytest.fail("granted")


@pytest.mark.trio
async def test_pitfall_29_the_limit_is_there_from_the_first_moment(hosts: str) -> None:
    """Two that come first with different limits: one of them is refused, whichever."""
    outcomes: list[str] = []

    async def attempt(zk: Client, limit: int) -> None:
        try:
            async with Semaphore(zk, PATH, limit):
                outcomes.append("granted")
        except SemaphoreMismatch:
            outcomes.append("refused")

    async with coord.connect(hosts) as one, coord.connect(hosts) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, one, 2)
            nursery.start_soon(attempt, two, 3)
        assert sorted(outcomes) == ["granted", "refused"]
        await one.set(PATH, b"")  # as a kazoo that has made the path, and not yet told the limit
        async with Semaphore(one, PATH, 4):
            assert (await two.get(PATH))[0] == b"4"


@pytest.mark.trio
@pytest.mark.parametrize(("layout", "count"), [(KAZOO, None), (CURATOR, "/count")], ids=["kazoo", "curator"])
async def test_pitfall_27_a_raised_limit_is_noticed_by_those_who_wait(
    zk: Client, layout: Layout, count: str | None
) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(zk, nursery, Semaphore(zk, PATH, 1, layout=layout, shared_count=count))
        for name in "abcd":
            await crowd.join(name)
        await crowd.until_inside("a")
        other = Semaphore(zk, PATH, None, layout=layout, shared_count=count)
        await other.set_limit(3)
        await crowd.until_inside("a", "b", "c")
        await other.set_limit(1)  # which takes nothing away
        await crowd.go("b")
        await crowd.until_inside("a", "c")
        await crowd.go("a")
        await crowd.until_inside("c")
        await other.set_limit(0)
        await crowd.go("c")
        await crowd.until_inside()
        with pytest.raises(trio.WouldBlock):
            async with crowd.semaphore.acquire(wait=False):
                pytest.fail("granted")
        await other.set_limit(1)
        await crowd.until_inside("d")
        with pytest.raises(SemaphoreMismatch):
            async with Semaphore(zk, PATH, 3, layout=layout, shared_count=count):
                pytest.fail("granted by a limit of the past")
        await crowd.go("d")


@pytest.mark.trio
async def test_a_limit_lowered_in_the_last_moment_counts(hosts: str, zk: Client) -> None:
    """Between reading the limit and taking the lease: the transaction is refused, and the limit read anew."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as slow:
        async with Semaphore(zk, PATH, 2), trio.open_nursery() as nursery:
            there = proxy.hold(Op.MULTI)
            crowd = Crowd(slow, nursery, Semaphore(slow, PATH, 2))
            nursery.start_soon(crowd.join, "late")
            await there.wait()
            await Semaphore(zk, PATH, None).set_limit(1)
            proxy.let_pass()
            await crowd.until_inside()
            assert len(await zk.children(PATH)) == 1
            await Semaphore(zk, PATH, None).set_limit(2)
            await crowd.until_inside("late")
            await crowd.go("late")


@pytest.mark.trio
async def test_a_place_that_was_taken_away_in_the_last_moment(hosts: str, zk: Client) -> None:
    """Then nothing was taken, and the queue is joined anew."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as slow:
        async with trio.open_nursery() as nursery:
            there = proxy.hold(Op.MULTI)
            crowd = Crowd(slow, nursery, Semaphore(slow, PATH, 1))
            nursery.start_soon(crowd.join, "one")
            await there.wait()
            (place,) = await zk.children(QUEUE[KAZOO])
            await zk.delete(f"{QUEUE[KAZOO]}/{place}")
            async with Semaphore(zk, PATH, 1) as lease:
                proxy.let_pass()
                await until_waiting(zk, QUEUE[KAZOO], 1)
                assert [one.path for one in await crowd.semaphore.holders()] == [lease.path]
            await crowd.until_inside("one")
            await crowd.go("one")


@pytest.mark.trio
async def test_the_folders_may_vanish(zk: Client) -> None:
    """Curator makes containers of them, which the server deletes when they are empty."""
    semaphore = Semaphore(zk, PATH, 1, layout=CURATOR)
    for _ in range(2):
        async with semaphore:
            pass
        await zk.delete_recursive(PATH)
    semaphore = Semaphore(zk, "/other", 1)
    async with semaphore:
        pass
    await zk.delete("/other")
    async with semaphore:
        assert (await zk.get("/other"))[0] == b"1"


# -- who holds, and losing it --------------------------------------------------------------------------


@pytest.mark.trio
async def test_holders_can_be_watched(zk: Client) -> None:
    semaphore = Semaphore(zk, PATH, 2)
    async with semaphore.watch_holders() as states:
        assert await anext(states) == ()
        async with semaphore.acquire(data=b"one") as one:
            (first,) = await anext(states)
            assert (first.data, first.path, first.czxid, first.mine) == (b"one", one.path, one.token, True)
            async with semaphore.acquire(data=b"two"):
                assert [holder.data for holder in await anext(states)] == [b"one", b"two"]
            assert [holder.data for holder in await anext(states)] == [b"one"]
        assert await anext(states) == ()


@pytest.mark.trio
async def test_the_body_is_cancelled_when_the_session_ends(hosts: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        semaphore = Semaphore(zk, PATH, 2)
        with pytest.raises(PermitLost, match="permit of /sem lost"):
            async with semaphore.acquire(2):
                await end_session(hosts, zk)
                await trio.sleep_forever()
        async with semaphore.acquire(2, on_loss="move_on") as lease:
            await lease.verify()
            await end_session(hosts, zk)
            await trio.sleep_forever()
        assert lease.lost


@pytest.mark.trio
async def test_permits_lapse_before_anybody_else_can_have_them(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        one, two = world.members
        held = trio.Event()

        async def hold() -> None:
            async with Semaphore(two.zk, PATH, 1):
                held.set()

        with pytest.raises(PermitLost):
            async with Semaphore(one.zk, PATH, 1):
                two.start(hold)
                await world.settle()
                one.proxy.close()
                begin = trio.current_time()
                await trio.sleep_forever()
        assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.01)
        assert not held.is_set()
        await held.wait()


@pytest.mark.trio
async def test_pitfall_18_leaving_waits_for_no_connection(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        async with Semaphore(client, PATH, 3).acquire(3):
            proxy.close()
            await client.session.state.wait_value(coord.SessionState.SUSPENDED)
            left = trio.current_time()
        assert trio.current_time() - left < 0.5
        assert len(await zk.children(PATH)) == 3
        proxy.reopen()
        await until_empty(zk, PATH)


@pytest.mark.trio
async def test_waiting_at_the_head_through_a_lost_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as unlucky, trio.open_nursery() as nursery:
        crowd = Crowd(zk, nursery, Semaphore(unlucky, PATH, 1))
        async with Semaphore(zk, PATH, 1):
            await crowd.join("unlucky")
            (before,) = await zk.children(QUEUE[KAZOO])
            await end_session(hosts, unlucky)
            async with zk.watch_children(QUEUE[KAZOO]) as states:
                async for names in states:
                    if names and before not in names:
                        break
        await crowd.until_inside("unlucky")
        await crowd.go("unlucky")


# -- what goes wrong ----------------------------------------------------------------------------------


async def one(zk: Client) -> None:
    async with Semaphore(zk, PATH, 2) as lease:
        await lease.verify()


async def two(zk: Client) -> None:
    async with Semaphore(zk, PATH, 2).acquire(2) as lease:
        assert len(await zk.children(PATH)) == 2
        await lease.verify()


async def curator(zk: Client) -> None:
    async with Semaphore(zk, PATH, 2, layout=CURATOR, shared_count="/count").acquire(2) as lease:
        await lease.verify()


async def limit(zk: Client) -> None:
    await Semaphore(zk, PATH, None).set_limit(7)
    assert (await zk.get(PATH))[0] == b"7"


async def raised(zk: Client) -> None:
    await one(zk)
    await limit(zk)


@pytest.mark.trio
@pytest.mark.parametrize("session", [False, True], ids=["session kept", "session lost"])
@pytest.mark.parametrize(
    ("attempt", "op"),
    [
        *[(attempt, op) for attempt in (one, two, curator) for op in (Op.CREATE, Op.CREATE2, Op.MULTI)],
        (one, Op.DELETE),
        (limit, Op.CREATE),
        (raised, Op.SET_DATA),
    ],
)
async def test_pitfall_26_lost_replies(
    autojump_clock: MockClock, attempt: Attempt, op: Op, session: bool
) -> None:
    done: list[str] = []

    async def try_it(zk: Client) -> None:
        await attempt(zk)
        done.append("done")

    async with open_world(1) as world:
        await lose_reply(world, op, try_it, session=session)
        assert done == ["done"]
        if (op, session) == (Op.MULTI, False):  # it was found, not taken once more
            assert world.members[0].proxy.requests.count(Op.CREATE2) == 2  # the first found no parent
        for path in (*LEASES.values(), *QUEUE.values()):
            if await world.zk.exists(path) is not None:
                assert set(await world.zk.children(path)) <= {"locks", "leases"}
        assert world.members[0].zk.session.generation == 1 + session


@pytest.mark.trio
async def test_a_lost_reply_to_the_release_of_several(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        (member,) = world.members
        async with Semaphore(member.zk, PATH, 3).acquire(3):
            member.proxy.swallow_reply(Op.MULTI)
        assert member.proxy.lost.is_set()
        await world.heal()
        assert await world.zk.children(PATH) == []
        async with Semaphore(member.zk, PATH, 3).acquire(3) as lease:
            await world.zk.delete(lease.path)  # somebody else was faster with one of them
        await world.heal()
        assert await world.zk.children(PATH) == []


@pytest.mark.trio
@pytest.mark.parametrize("attempt", [one, two, curator, raised])
async def test_cancelled_anywhere_it_leaves_no_znode(autojump_clock: MockClock, attempt: Attempt) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:

        async def nothing_stays() -> None:
            await zk.janitor.idle()
            for path in (*LEASES.values(), *QUEUE.values()):
                if await zk.exists(path) is not None:
                    assert set(await zk.children(path)) <= {"locks", "leases"}
            if await zk.exists(PATH) is not None:
                await zk.set(PATH, b"2")

        assert await cancel_everywhere(lambda: attempt(zk), nothing_stays) > 20


@pytest.mark.trio
async def test_cancelled_while_it_waits_it_leaves_no_znode(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        async with coord.connect(server.connect_string) as other:

            async def attempt() -> None:
                """Wait in line, then for a permit at the head of it."""
                with trio.move_on_after(1):
                    async with trio.open_nursery() as nursery, Semaphore(other, PATH, 1):
                        nursery.start_soon(one, zk)
                        nursery.start_soon(one, zk)
                        await until_waiting(other, QUEUE[KAZOO], 2)

            async def one(zk: Client) -> None:
                async with Semaphore(zk, PATH, 1):
                    pass

            async def nothing_stays() -> None:
                await zk.janitor.idle()
                await other.janitor.idle()
                for path in (PATH, QUEUE[KAZOO]):
                    assert await zk.exists(path) is None or await zk.children(path) == []

            assert await cancel_everywhere(attempt, nothing_stays) > 50


@pytest.mark.trio
async def test_permits_whose_data_no_request_can_carry(zk: Client) -> None:
    """One permit could: so it is not found out before the turn has come."""
    with trio.fail_after(10), pytest.raises(coord.errors.RequestTooLarge):
        async with Semaphore(zk, PATH, 3, bytes(400_000)).acquire(3):
            pytest.fail("granted")
    await zk.janitor.idle()
    assert await zk.children(QUEUE[KAZOO]) == await zk.children(PATH) == []
