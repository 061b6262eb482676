"""Items shared out among members. Pitfalls are numbered as in the survey of recipes.

Pitfall 53: cannot occur, since nothing but members is below ``PATH/party``, and there are no hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from kazoo.recipe.partitioner import SetPartitioner
from trio.testing import MockClock

import coord
from coord import Client, NoNode
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import Grant, Lock, LockLost, Partitioner
from recipes.partitioner import share_of
from tests.recipes.faults import TIMEOUT, World, cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

PATH = "/work"
ITEMS = ("a", "b", "c", "d", "e")


class Floor:
    """Where everybody works: who is at which item. Two at one item fail the test."""

    def __init__(self) -> None:
        self.at: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.tokens: dict[str, list[int]] = {}
        self._changed = trio.Event()

    def enter(self, name: str, item: str) -> None:
        assert item not in self.at, f"{name} and {self.at[item]} both work on {item}"
        self.at[item] = name
        self.calls.append((name, item))
        self._notify()

    def leave(self, item: str) -> None:
        del self.at[item]
        self._notify()

    def worker(self, name: str) -> Callable[[str, Grant], Awaitable[None]]:
        async def work(item: str, grant: Grant) -> None:
            self.enter(name, item)
            grant.ensure()
            self.tokens.setdefault(item, []).append(grant.token)
            try:
                await trio.sleep_forever()
            finally:
                self.leave(item)

        return work

    def of(self, name: str) -> str:
        return "".join(sorted(item for item, who in self.at.items() if who == name))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, **shares: str) -> None:
        """Until everybody named has exactly this share."""
        with trio.fail_after(120):
            while any(self.of(name) != share for name, share in shares.items()):
                await self._changed.wait()


def partitioner(zk: Client, name: str, settle: float = 0.05) -> Partitioner:
    return Partitioner(zk, PATH, ITEMS, name, settle=settle)


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


async def nothing_stays(zk: Client) -> None:
    """No member, no lock."""
    for path in (f"{PATH}/party", *(f"{PATH}/locks/{item}" for item in ITEMS)):
        try:
            async with zk.watch_children(path) as lists:
                with trio.fail_after(20):
                    async for names in lists:
                        if not names:
                            break
        except NoNode:
            pass


# -- the allocation -------------------------------------------------------------------------------------

IDENTIFIERS = st.text("ab-1", min_size=1, max_size=3)
SOME_ITEMS = st.sets(st.text("xyz", min_size=1, max_size=2))


@given(st.lists(IDENTIFIERS, min_size=1, max_size=6, unique=True), SOME_ITEMS)
def test_shares_are_kazoos(identifiers: list[str], items: set[str]) -> None:
    names = {one: f"{number:032x}-{one}" for number, one in enumerate(reversed(identifiers))}
    for one in identifiers:
        theirs = SetPartitioner._partitioner(None, one, identifiers, items)
        assert share_of(names[one], names.values(), items) == set(theirs)


@given(st.lists(IDENTIFIERS, min_size=1, max_size=6), SOME_ITEMS)
def test_pitfall_52_equal_identifiers_are_told_apart(identifiers: list[str], items: set[str]) -> None:
    """Every item goes to one member, and sizes differ by one at most."""
    names = [f"{number:032x}-{one}" for number, one in enumerate(identifiers)]
    shares = [share_of(name, names, items) for name in names]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"items": "abc"},
        {"items": ["a/b"]},
        {"items": [""]},
        {"items": [".."]},
        {"items": [1, 2]},
        {"items": ["a"], "identifier": ""},
        {"items": ["a"], "identifier": "host/1"},
        {"items": ["a"], "settle": -1},
        {"items": ["a"], "settle": float("nan")},
    ],
)
def test_bad_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="/work"):
        Partitioner(None, PATH, **arguments)  # type: ignore[arg-type]  # refused before they are looked at


# -- sharing --------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_members_share_and_only_what_moves_is_let_go_of(hosts: str, zk: Client) -> None:
    floor = Floor()
    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        nursery.start_soon(partitioner(zk, "one").run, floor.worker("one"))
        await floor.until(one="abcde")
        with trio.CancelScope() as second:
            async with trio.open_nursery() as seconds:
                seconds.start_soon(partitioner(other, "two").run, floor.worker("two"))
                await floor.until(one="ace", two="bd")
                assert sorted(floor.calls) == [("one", item) for item in ITEMS] + [("two", "b"), ("two", "d")]
                znodes = await zk.children(f"{PATH}/party")
                assert {znode.partition("-")[2] for znode in znodes} == {"one", "two"}
                data = [(await zk.get(f"{PATH}/party/{znode}"))[0] for znode in znodes]
                assert sorted(data) == [b"one", b"two"]
                second.cancel()
        assert len(await zk.children(f"{PATH}/party")) == 1
        await floor.until(one="abcde")
        assert len(floor.calls) == 9  # a, c and e were never interrupted
        for tokens in floor.tokens.values():
            assert tokens == sorted(set(tokens))
        nursery.cancel_scope.cancel()
    await nothing_stays(zk)


@pytest.mark.trio
async def test_more_members_than_items_and_equal_names(hosts: str) -> None:
    floor = Floor()
    async with coord.connect(hosts, timeout=30) as zk, trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(partitioner(zk, "same").run, floor.worker(str(number)))
        with trio.fail_after(10):
            while sorted(floor.at) != list(ITEMS) or len(set(floor.at.values())) < 5:
                await floor._changed.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_lock_is_released_when_its_worker_has_ended(hosts: str, zk: Client) -> None:
    cleaning, clean = trio.Event(), trio.Event()
    floor = Floor()

    async def slow(item: str, grant: Grant) -> None:
        try:
            await floor.worker("slow")(item, grant)
        finally:
            with trio.CancelScope(shield=True):
                floor.at[item] = "slow"
                if item == "a":
                    cleaning.set()
                    await clean.wait()
                del floor.at[item]

    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        nursery.start_soon(partitioner(zk, "z-slow").run, slow)
        await floor.until(slow="abcde")
        nursery.start_soon(partitioner(other, "a-other").run, floor.worker("other"))
        await cleaning.wait()
        await floor.until(other="ce")  # while it waits for "a"
        assert floor.of("slow") == "abd"
        clean.set()
        await floor.until(other="ace", slow="bd")
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_deleted_again_while_it_joins_again(hosts: str, zk: Client) -> None:
    """It sees the same list as before: the one without it."""
    floor = Floor()
    async with (
        open_proxy(hosts) as proxy,
        coord.connect(proxy.hosts, timeout=30) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(partitioner(other, "one").run, floor.worker("one"))
        await floor.until(one="abcde")
        joins = proxy.hold(Op.CREATE2)
        for name in await zk.children(f"{PATH}/party"):
            await zk.delete(f"{PATH}/party/{name}")
        await joins.wait()
        proxy.let_pass()
        looks = proxy.hold(Op.GET_CHILDREN)
        await looks.wait()
        for name in await zk.children(f"{PATH}/party"):
            await zk.delete(f"{PATH}/party/{name}")
        proxy.let_pass()
        with trio.fail_after(5):
            async with zk.watch_children(f"{PATH}/party") as lists:
                async for names in lists:
                    if names:
                        break
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_who_comes_and_goes_while_it_settles_moves_nothing(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with open_world(2) as world:
        one, two = world.members
        began = trio.current_time()
        one.start(partitioner(one.zk, "one", settle=5).run, floor.worker("one"))
        await floor.until(one="abcde")
        assert trio.current_time() - began == pytest.approx(5, abs=0.01)
        with trio.move_on_after(4):
            await partitioner(two.zk, "two", settle=5).run(floor.worker("two"))
        await trio.sleep(20)
        assert floor.of("one") == "abcde"
        assert len(floor.calls) == 5


# -- workers --------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_what_a_worker_raises_leaves_bare(zk: Client) -> None:
    failure = ValueError("mine")
    ended: list[str] = []

    async def work(item: str, grant: Grant) -> None:
        if item == "c":
            raise failure
        try:
            await trio.sleep_forever()
        finally:
            ended.append(item)

    with pytest.raises(ValueError, match="mine") as caught:
        await partitioner(zk, "one").run(work)
    assert caught.value is failure
    assert "c" not in ended
    await nothing_stays(zk)

    async def all_fail(item: str, grant: Grant) -> None:
        try:
            await trio.sleep_forever() if item != "a" else None
            raise KeyError(item)
        finally:
            if item == "b":
                raise ValueError(item)

    with pytest.raises(ExceptionGroup) as group:
        await Partitioner(zk, PATH, ["a", "b"], settle=0).run(all_fail)
    assert {type(error) for error in group.value.exceptions} == {KeyError, ValueError}


@pytest.mark.trio
async def test_a_cancellation_from_outside_passes(zk: Client) -> None:
    floor = Floor()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partitioner(zk, "one").run, floor.worker("one"))
            await floor.until(one="abcde")
            scope.cancel()
    assert scope.cancelled_caught
    await nothing_stays(zk)


@pytest.mark.trio
async def test_who_returns_is_through_until_the_item_moves(hosts: str, zk: Client) -> None:
    floor, done = Floor(), []

    async def short(item: str, grant: Grant) -> None:
        done.append(item)

    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        nursery.start_soon(partitioner(zk, "one").run, short)
        async with trio.open_nursery() as seconds:
            seconds.start_soon(partitioner(other, "two").run, floor.worker("two"))
            await floor.until(two="bd")
            seconds.cancel_scope.cancel()
        with trio.fail_after(10):
            while done.count("b") < 1 or done.count("d") < 1:
                await zk.sync()
        assert sorted(set(done)) == list(ITEMS)
        assert [done.count(item) for item in "ace"] == [1, 1, 1]
        for item in ITEMS:  # and nobody else gets at it meanwhile
            assert [one.mine for one in await Lock(zk, f"{PATH}/locks/{item}").contenders()] == [True]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_only_the_loss_of_its_own_lock_is_no_failure(zk: Client) -> None:
    calls: list[int] = []

    async def write_late(item: str, grant: Grant) -> None:
        calls.append(grant.token)
        if len(calls) < 3:
            await zk.delete(grant.path)
        async with grant.transaction() as transaction:
            transaction.create(f"{PATH}/result")
        raise ValueError("third time")

    with pytest.raises(ValueError, match="third time"):
        await Partitioner(zk, PATH, ["a"], settle=0).run(write_late)
    assert calls == sorted(set(calls))

    async def lose_another(item: str, grant: Grant) -> None:
        async with Lock(zk, "/another") as another:
            raise another.loss("of another lock")

    with pytest.raises(LockLost, match="another"):
        await Partitioner(zk, PATH, ["a"], settle=0).run(lose_another)


# -- losing connection and session ------------------------------------------------------------------------


async def two_at_work(world: World, floor: Floor) -> None:
    for member, name in zip(world.members, ("one", "two"), strict=True):
        member.start(partitioner(member.zk, name, settle=2).run, floor.worker(name))
    await floor.until(one="ace", two="bd")


@pytest.mark.trio
async def test_workers_stop_before_anybody_else_can_begin(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with open_world(2) as world:
        await two_at_work(world, floor)
        world.members[0].proxy.close()
        begin = trio.current_time()
        await floor.until(one="")
        assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.5)
        assert floor.of("two") == "bd"
        await floor.until(two="abcde")
        assert trio.current_time() - begin == pytest.approx(TIMEOUT + 2, abs=2)
        calls = len(floor.calls)
        world.members[0].proxy.reopen()  # in a new session
        await floor.until(one="ace", two="bd")
        assert len(floor.calls) == calls + 3


@pytest.mark.trio
async def test_pitfall_52_an_interruption_is_ridden_out(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with open_world(2) as world:
        await two_at_work(world, floor)
        world.members[0].proxy.close()
        await trio.sleep(5)
        world.members[0].proxy.reopen()
        await trio.sleep(60)
        assert len(floor.calls) == 5
        # One that lasts longer than the guarantee, and not as long as the session, costs the workers only.
        session = world.members[0].zk.session.id
        world.members[0].proxy.close()
        await floor.until(one="")
        world.members[0].proxy.reopen()
        await floor.until(one="ace", two="bd")
        assert (world.members[0].zk.session.id, len(floor.calls)) == (session, 8)


@pytest.mark.trio
async def test_pitfall_46_after_a_lost_session_it_joins_anew(hosts: str, zk: Client) -> None:
    floor = Floor()
    async with coord.connect(hosts, timeout=30) as one, trio.open_nursery() as nursery:
        nursery.start_soon(partitioner(one, "one").run, floor.worker("one"))
        await floor.until(one="abcde")
        first = await zk.children(f"{PATH}/party")
        await end_session(hosts, one)
        await floor.until(one="")
        await floor.until(one="abcde")
        second = await zk.children(f"{PATH}/party")
        assert len(second) == 1
        assert second != first
        _, stat = await zk.get(f"{PATH}/party/{second[0]}")
        assert stat.ephemeral_owner == one.session.id
        # Deleted by somebody, the same: but nothing was lost.
        await zk.delete(f"{PATH}/party/{second[0]}")
        async with zk.watch_children(f"{PATH}/party") as lists:
            async for names in lists:
                if names and list(names) != second:
                    break
        assert floor.of("one") == "abcde"
        assert len(floor.calls) == 10
        nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True], ids=["reply", "reply and session"])
async def test_pitfall_46_joining_when_the_reply_is_lost(hosts: str, zk: Client, session_too: bool) -> None:
    floor = Floor()
    await zk.ensure_path(f"{PATH}/party")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as one:
        proxy.swallow_reply(Op.CREATE2, then_closed=session_too)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partitioner(one, "one").run, floor.worker("one"))
            await proxy.lost.wait()
            if session_too:
                await end_session(hosts, one)
                proxy.reopen()
            await floor.until(one="abcde")
            assert len(await zk.children(f"{PATH}/party")) == 1
            # And leaving: the delete is done, or done again.
            proxy.swallow_reply(Op.DELETE)
            nursery.cancel_scope.cancel()
        await nothing_stays(zk)


@pytest.mark.trio
async def test_leaving_waits_for_no_connection(hosts: str, zk: Client) -> None:
    floor = Floor()
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partitioner(one, "one").run, floor.worker("one"))
            await floor.until(one="abcde")
            proxy.close()
            await one.session.state.wait_value(coord.SessionState.SUSPENDED)
            left = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - left < 0.5
        proxy.reopen()
        await nothing_stays(zk)


@pytest.mark.trio
async def test_a_closed_client_ends_it(hosts: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        pass
    with pytest.raises(coord.ClientClosed):
        await partitioner(zk, "one").run(Floor().worker("one"))


@pytest.mark.trio
async def test_cancelled_anywhere_it_leaves_nothing(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string, timeout=30) as zk:

        async def attempt() -> None:
            async def until_both(item: str, grant: Grant) -> None:
                working.add(item)
                if working == {"a", "b"}:
                    scope.cancel()
                await trio.sleep_forever()

            working: set[str] = set()
            with trio.CancelScope() as scope:
                await Partitioner(zk, PATH, ["a", "b"], "one", settle=1).run(until_both)

        async def check() -> None:
            await zk.janitor.idle()
            assert await zk.ephemerals() == []

        assert await cancel_everywhere(attempt, check) > 50
