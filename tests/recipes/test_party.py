"""The party: members stay members, and everybody sees the same. Pitfalls are numbered as in the survey of
recipes.

Pitfall 51 (watches that stay behind): cannot occur, since `Party.watch` is a context manager and
owns its watch.
"""

# ruff: noqa: SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import coord
from coord import BadArguments, Client, RequestTooLarge, SessionState
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import (
    CURATOR,
    CURATOR_LATCH,
    KAZOO,
    KAZOO_SHALLOW,
    Layout,
    Member,
    MemberNameTaken,
    Party,
    PartyChanges,
    PartyView,
)
from recipes.membership import PARTY_LAYOUTS, znode_name
from tests.recipes.faults import TIMEOUT, cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

PATH = "/service/members"
NONE: frozenset[Member] = frozenset()
LAYOUTS = pytest.mark.parametrize("layout", PARTY_LAYOUTS, ids=lambda layout: layout.name)


def name_in(layout: Layout, name: str) -> str | None:
    return name if layout == CURATOR else None


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


async def next_view(changes: PartyChanges) -> PartyView:
    with trio.fail_after(10):
        return await changes.receive()


async def until_data(changes: PartyChanges, data: list[bytes]) -> PartyView:
    with trio.fail_after(10):
        async for view in changes:
            if sorted(one.data for one in view) == data:
                return view
    raise AssertionError("no such view")


def data_of(members: frozenset[Member]) -> list[bytes]:
    return sorted(one.data for one in members)


# -- being there ------------------------------------------------------------------------------------------


@pytest.mark.trio
@LAYOUTS
async def test_a_member_is_there_for_its_block(zk: Client, layout: Layout) -> None:
    party = Party(zk, PATH, layout=layout)
    assert await party.members() == NONE
    async with party.join(b"host7", name=name_in(layout, "seven")) as me:
        assert me.present.value
        (member,) = await party.members()
        assert member == Member(me.name, b"host7", zk.session.id, me.czxid)
        assert (await zk.get(me.path))[0] == b"host7"
    assert not me.present.value
    assert await party.members() == NONE


@pytest.mark.trio
async def test_two_with_the_same_data_are_two(zk: Client) -> None:
    party = Party(zk, PATH)
    async with party.join(b"twin"), party.join(b"twin"), party.join():
        assert data_of(await party.members()) == [b"", b"twin", b"twin"]


@pytest.mark.trio
@LAYOUTS
async def test_pitfall_46_it_comes_back_in_every_session(hosts: str, zk: Client, layout: Layout) -> None:
    async with coord.connect(hosts, timeout=30) as other, Party(zk, PATH, layout=layout).watch() as changes:
        party = Party(other, PATH, layout=layout)
        async with party.join(b"host7", name=name_in(layout, "seven")) as me:
            (first,) = await until_data(changes, [b"host7"])
            await end_session(hosts, other)
            view = await next_view(changes)
            seen = [view]
            while first in view.members or len(view) != 1:
                view = await next_view(changes)
                seen.append(view)
            (second,) = view
            assert second.czxid > first.czxid
            assert second.session_id == other.session.id
            assert any(first in one.left for one in seen)
            assert any(second in one.joined for one in seen)
            await me.present.wait_value(True)
            assert me.czxid == second.czxid
            await zk.delete(me.path)  # somebody else's doing: undone
            view = await next_view(changes)
            while not view.members:  # which may be missed
                view = await next_view(changes)
            assert (second in view.members, data_of(view.joined)) == (False, [b"host7"])
        await until_data(changes, [])


@pytest.mark.trio
@LAYOUTS
async def test_pitfall_46_a_znode_of_an_earlier_session_is_not_believed(
    hosts: str, zk: Client, layout: Layout
) -> None:
    """The server has given us another session while ours lives on: its znode is still there."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        party = Party(other, PATH, layout=layout)
        async with party.join(b"host7", name=name_in(layout, "seven")) as me:
            old = other.session.id
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            await end_session(hosts, other)
            # The close of the old session, as if a server had not heard of it: the znode is there again,
            # and is somebody's whom we know to have been ourselves.
            async with coord.connect(hosts, timeout=30) as ghost:
                await ghost.create(me.path, b"ghost", ephemeral=True)
                me.sessions.add(ghost.session.id)
                async with Party(zk, PATH, layout=layout).watch() as changes:
                    before = await next_view(changes)
                    proxy.reopen()
                    view = await until_data(changes, [b"host7"])
            (member,) = view
            assert member not in before.members
            assert member.session_id == other.session.id != old
    assert await Party(zk, PATH, layout=layout).members() == NONE


@pytest.mark.trio
async def test_present_tells_and_the_body_runs_on(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        (member,) = world.members
        async with Party(member.zk, PATH).join(b"host7") as me:
            member.proxy.close()
            await trio.sleep(2 * TIMEOUT)
            assert me.present.value  # nobody has told us otherwise
            assert await Party(world.zk, PATH).members() == NONE
            with trio.fail_after(TIMEOUT):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(me.present.wait_transition, False)
                    member.proxy.reopen()
                await me.present.wait_value(True)
            assert data_of(await Party(world.zk, PATH).members()) == [b"host7"]


@pytest.mark.trio
async def test_a_name_is_one_live_members(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string, timeout=10) as one:
        async with coord.connect(server.connect_string, timeout=10) as two:
            parties = [Party(zk, PATH, layout=CURATOR) for zk in (one, two)]
            async with parties[0].join(b"first", name="seven") as me:
                begin = trio.current_time()
                with pytest.raises(MemberNameTaken):
                    async with parties[1].join(b"second", name="seven"):
                        pytest.fail("joined")
                assert trio.current_time() - begin == pytest.approx(15, abs=0.1)
                with trio.move_on_after(1):
                    async with parties[1].join(b"second", name="seven"):
                        pytest.fail("joined")
                (member,) = await parties[0].members()  # untouched by either attempt
                assert (member.data, member.czxid) == (b"first", me.czxid)


@pytest.mark.trio
async def test_a_name_is_taken_although_its_owner_changes_its_data(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        one, two = (member.zk for member in world.members)
        async with Party(one, PATH, layout=CURATOR).join(b"0", name="seven") as me:

            async def change() -> None:
                for number in range(1, 100):
                    await trio.sleep(1)
                    await one.set(me.path, str(number).encode())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                begin = trio.current_time()
                with pytest.raises(MemberNameTaken):
                    async with Party(two, PATH, layout=CURATOR).join(b"other", name="seven"):
                        pytest.fail("joined")
                assert trio.current_time() - begin == pytest.approx(1.5 * TIMEOUT, abs=0.1)
                nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_data_that_no_server_takes_is_told(zk: Client) -> None:
    with trio.fail_after(5), pytest.raises(RequestTooLarge):
        async with Party(zk, PATH).join(bytes(1_100_000)):
            pytest.fail("joined")


@pytest.mark.trio
async def test_leaving_asks_what_the_leader_knows(hosts: str, zk: Client) -> None:
    """The server at hand may lag behind, and not know yet of a create whose reply was lost."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with Party(other, PATH, layout=CURATOR).join(name="seven"):
            before = len(proxy.requests)
        asked = proxy.requests[before:]
        assert asked[asked.index(Op.EXISTS) - 1] == Op.SYNC


@pytest.mark.trio
async def test_who_lost_its_name_meanwhile_waits_for_it(autojump_clock: MockClock) -> None:
    """For as long as it takes, and the body is not cancelled: membership is never lost."""
    async with open_world(1) as world:
        (member,) = world.members
        party = Party(world.zk, PATH, layout=CURATOR)
        async with Party(member.zk, PATH, layout=CURATOR).join(b"old", name="seven") as me:
            member.proxy.close()
            await trio.sleep(2 * TIMEOUT)
            async with party.join(b"new", name="seven"):
                member.proxy.reopen()
                await me.present.wait_value(False)
                await trio.sleep(10 * TIMEOUT)
                assert data_of(await party.members()) == [b"new"]
            await me.present.wait_value(True)
            assert data_of(await party.members()) == [b"old"]
        assert await party.members() == NONE


@pytest.mark.trio
@LAYOUTS
async def test_giving_up_without_a_connection_leaves_nothing(
    autojump_clock: MockClock, layout: Layout
) -> None:
    """Before anybody knows whether the znode was made, and the session lives on."""
    async with open_world(1) as world:
        (member,) = world.members
        party = Party(world.zk, PATH, layout=layout)
        await world.zk.ensure_path(PATH)
        member.proxy.swallow_reply(Op.CREATE2, then_closed=True)
        with trio.move_on_after(1) as scope:
            async with Party(member.zk, PATH, layout=layout).join(name=name_in(layout, "seven")):
                pytest.fail("joined")
        assert scope.cancelled_caught
        assert len(await party.members()) == 1
        member.proxy.reopen()
        await member.zk.janitor.idle()
        assert await party.members() == NONE
        assert member.zk.session.generation == 1


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_what_the_block_raises_leaves_as_it_is(zk: Client, failure: Exception) -> None:
    party = Party(zk, PATH)
    with pytest.raises(type(failure)) as caught:
        async with party.join():
            raise failure
    assert caught.value is failure
    with trio.CancelScope() as scope:
        async with party.join():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await party.members() == NONE


@pytest.mark.trio
@LAYOUTS
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("op", [Op.CREATE2, Op.DELETE])
async def test_lost_replies(hosts: str, zk: Client, layout: Layout, op: Op, expired: bool) -> None:
    party = Party(zk, PATH, layout=layout)
    await zk.ensure_path(PATH)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        finish = trio.Event()

        async def belong(task_status: trio.TaskStatus[None]) -> None:
            joined = Party(other, PATH, layout=layout).join(b"host7", name=name_in(layout, "seven"))
            async with joined:
                task_status.started()
                await finish.wait()

        async def heal() -> None:
            await proxy.lost.wait()
            if expired:
                await end_session(hosts, other)
            proxy.reopen()

        async with trio.open_nursery() as nursery:
            if op is Op.CREATE2:
                proxy.swallow_reply(op, then_closed=True)
                nursery.start_soon(heal)
            await nursery.start(belong)
            (member,) = await party.members()
            assert member.session_id == other.session.id
            if op is Op.DELETE:
                proxy.swallow_reply(op, then_closed=True)
                nursery.start_soon(heal)
            finish.set()
        async with party.watch() as changes:
            await until_data(changes, [])
        await other.janitor.idle()


@pytest.mark.trio
@LAYOUTS
async def test_leaving_without_a_connection_waits_for_nothing(
    autojump_clock: MockClock, layout: Layout
) -> None:
    """Also while the registration is being made again, and nobody knows whether it was."""
    async with open_world(1) as world:
        (member,) = world.members
        party = Party(world.zk, PATH, layout=layout)
        async with Party(member.zk, PATH, layout=layout).join(b"7", name=name_in(layout, "seven")):
            member.proxy.close()
            await world.settle()
            begin = trio.current_time()
        assert trio.current_time() == begin
        member.proxy.reopen()
        await member.zk.janitor.idle()
        assert await party.members() == NONE
        async with Party(member.zk, PATH, layout=layout).join(b"7", name=name_in(layout, "seven")) as me:
            member.proxy.swallow_reply(Op.CREATE2, then_closed=True)
            await world.zk.delete(me.path)
            await member.proxy.lost.wait()
            await world.settle()
            begin = trio.current_time()
            assert len(await party.members()) == 1
        assert trio.current_time() == begin
        member.proxy.reopen()
        await member.zk.janitor.idle()
        assert await party.members() == NONE
        assert member.zk.session.generation == 1


@pytest.mark.trio
@LAYOUTS
async def test_cancelled_anywhere_it_leaves_nothing(autojump_clock: MockClock, layout: Layout) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        party = Party(zk, PATH, layout=layout)
        await zk.ensure_path(PATH)

        async def attempt() -> None:
            async with party.join(b"host7", name=name_in(layout, "seven")), party.watch() as changes:
                await changes.receive()

        async def nothing_stays() -> None:
            await zk.janitor.idle()
            assert await zk.children(PATH) == []

        assert await cancel_everywhere(attempt, nothing_stays) > 10


# -- seeing who is there ----------------------------------------------------------------------------------


@pytest.mark.trio
@LAYOUTS
async def test_pitfall_47_views_tell_who_came_went_and_was_made_anew(zk: Client, layout: Layout) -> None:
    party = Party(zk, PATH, layout=layout)
    async with party.watch() as changes:
        assert await next_view(changes) == PartyView(NONE)
        async with party.join(b"1", name=name_in(layout, "one")):
            view = await next_view(changes)
            assert (data_of(view.members), data_of(view.joined), view.left) == ([b"1"], [b"1"], NONE)
            (one,) = view
            async with party.join(b"2", name=name_in(layout, "two")):
                view = await next_view(changes)
                assert (data_of(view.members), data_of(view.joined)) == ([b"1", b"2"], [b"2"])
            async with party.join(b"3", name=name_in(layout, "three")):
                view = await until_data(changes, [b"1", b"3"])  # two's going may be a view of its own
                assert one not in view.joined | view.left
        async with party.join(b"1", name=name_in(layout, "one")):
            view = await until_data(changes, [b"1"])
            assert one not in view.members  # registered anew: another one
    with pytest.raises(trio.ClosedResourceError):
        await changes.receive()


@pytest.mark.trio
async def test_one_task_receives_at_a_time(zk: Client) -> None:
    async with Party(zk, PATH).watch() as changes, trio.open_nursery() as nursery:
        await changes.receive()
        nursery.start_soon(changes.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await changes.receive()
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_closing_wakes_who_receives(zk: Client) -> None:
    async def receive() -> None:
        with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
            await changes.receive()

    async with trio.open_nursery() as nursery, Party(zk, PATH).watch() as changes:
        await changes.receive()
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.trio
async def test_members_are_told_in_whatever_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as other, Party(zk, PATH).join(b"me"):
        async with coord.connect(hosts, session=other.session.handle):
            pass
        assert data_of(await Party(other, PATH).members()) == [b"me"]


@pytest.mark.trio
async def test_a_path_may_end_in_a_slash(zk: Client) -> None:
    party = Party(zk, PATH + "/")
    async with party.join(b"me"), party.watch() as changes:
        assert data_of((await changes.receive()).members) == data_of(await party.members()) == [b"me"]


@pytest.mark.trio
async def test_who_is_slow_sees_what_is_and_not_what_was(zk: Client) -> None:
    party = Party(zk, PATH)
    async with party.watch() as changes:
        await next_view(changes)
        for number in range(5):
            async with party.join(b"%d" % number):
                pass
        async with party.join(b"last"):
            view = await next_view(changes)
            assert data_of(view.members) == data_of(view.joined) == [b"last"]
            assert view.left == NONE


@pytest.mark.trio
@LAYOUTS
async def test_pitfall_53_what_is_no_member_is_not_listed(zk: Client, layout: Layout) -> None:
    """A leader's znode, a folder, and a name of the right form that no session owns."""
    await zk.create(f"{PATH}/locks/a", make_parents=True)
    await zk.create(f"{PATH}/{znode_name(layout, UUID(int=7).hex, b'x', name_in(layout, 'x'))}")
    if layout != CURATOR:  # where every ephemeral child is a member
        await zk.create(f"{PATH}/leader", b"host7", ephemeral=True)
    party = Party(zk, PATH, layout=layout)
    async with party.watch() as changes:
        assert await next_view(changes) == PartyView(NONE)
        async with party.join(b"me", name=name_in(layout, "me")):
            assert data_of((await next_view(changes)).members) == [b"me"]
            assert data_of(await party.members()) == [b"me"]


@pytest.mark.trio
async def test_data_that_changes_is_seen_and_the_member_is_the_same(zk: Client) -> None:
    """As Curator's members do it."""
    party = Party(zk, PATH, layout=CURATOR)
    async with party.join(b"old", name="seven") as me, party.watch() as changes:
        await next_view(changes)
        await zk.set(me.path, b"new")
        view = await next_view(changes)
        assert (data_of(view.members), view.joined, view.left) == ([b"new"], NONE, NONE)


@pytest.mark.trio
async def test_pitfall_49_the_path_may_come_and_go(zk: Client) -> None:
    party = Party(zk, PATH)
    async with party.watch() as changes:
        assert await next_view(changes) == PartyView(NONE)
        for _ in range(2):
            async with party.join(b"me"):
                assert data_of((await next_view(changes)).members) == [b"me"]
            assert (await next_view(changes)).members == NONE
            await zk.delete(PATH)


@pytest.mark.trio
async def test_watching_goes_on_over_connections_and_sessions(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with Party(other, PATH).watch() as changes, Party(zk, PATH).join(b"1"):
            await until_data(changes, [b"1"])
            with trio.move_on_after(0.05):  # a wait that was given up does no harm
                await changes.receive()
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            async with Party(zk, PATH).join(b"2"):
                proxy.reopen()
                await until_data(changes, [b"1", b"2"])
                await end_session(hosts, other)
                async with Party(zk, PATH).join(b"3"):
                    await until_data(changes, [b"1", b"2", b"3"])
            view = await until_data(changes, [b"1"])
            assert data_of(view.left) in ([b"2"], [b"2", b"3"], [b"3"])


# -- names ------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_others() -> None:
    guid = UUID(int=0xABC).hex
    assert znode_name(KAZOO, guid, b"\xff", None) == "00000000000000000000000000000abc__party__"
    assert znode_name(KAZOO_SHALLOW, guid, b"a-b", None) == f"{guid}-a-b"
    assert znode_name(CURATOR, guid, b"a/b", "seven") == "seven"


@pytest.mark.parametrize(
    ("layout", "data", "name", "match"),
    [
        (CURATOR, b"x", None, "needs a name"),
        (CURATOR, b"x", "", "needs a name"),
        (CURATOR, b"x", "a/b", "without a slash"),
        (KAZOO, b"x", "seven", "only members in Curator's layout"),
        (KAZOO_SHALLOW, b"a/b", None, "UTF-8, without a slash"),
        (KAZOO_SHALLOW, b"\xff", None, "UTF-8, without a slash"),
    ],
)
def test_what_a_layout_cannot_express_is_told(
    layout: Layout, data: bytes, name: str | None, match: str
) -> None:
    with pytest.raises(BadArguments, match=match):
        znode_name(layout, UUID(int=1).hex, data, name)


@pytest.mark.trio
async def test_a_layout_that_parties_do_not_have_is_told(zk: Client) -> None:
    with pytest.raises(ValueError, match=r"/party: .* or CURATOR, not curator-latch"):
        Party(zk, "/party", layout=CURATOR_LATCH)
