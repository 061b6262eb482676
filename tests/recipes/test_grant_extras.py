"""What a grant can be waited for, and what can be asked of its holder."""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client, Loss
from coord.wire.records import Op
from recipes import Election, Grant, Lock, LockLost, ReadWriteLock
from recipes.grant import Standing, holding, let_go_of_name
from tests.recipes.faults import TIMEOUT, open_world
from tests.recipes.lines import end_session, until_waiting
from tests.recipes.proxy import open_proxy

PATH = "/lock"


class Outside:
    """A task outside of the block, which waits for the grant's loss; `outcome` is what it was told."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.outcome: bool | None = None
        self.at = 0.0

    def watch(self, grant: Grant) -> None:
        self._nursery.start_soon(self._wait, grant)

    async def _wait(self, grant: Grant) -> None:
        self.outcome = await grant.wait_lost()
        self.at = trio.current_time()


# -- waiting for the loss ------------------------------------------------------------------------------


@pytest.mark.trio
async def test_the_loss_is_told_outside_of_the_block_at_the_same_moment(autojump_clock: MockClock) -> None:
    async with open_world(1) as world, trio.open_nursery() as nursery:
        (member,) = world.members
        early, late = Outside(nursery), Outside(nursery)
        cancelled_at = 0.0
        with pytest.raises(LockLost):
            async with Lock(member.zk, PATH) as grant:
                early.watch(grant)
                await trio.sleep(3 * TIMEOUT)  # the session's acknowledgements move the moment on
                assert early.outcome is None
                await member.zk.sync()
                await trio.sleep(TIMEOUT / 20)
                await member.zk.sync()  # which moves it too little to be worth it
                late.watch(grant)
                member.proxy.close()
                begin = trio.current_time()
                try:
                    await trio.sleep_forever()
                finally:
                    cancelled_at = trio.current_time()
                    with trio.CancelScope(shield=True):  # whatever the block does meanwhile
                        await trio.sleep(TIMEOUT)
        assert early.outcome is True
        assert late.outcome is True
        assert 0 < early.at - begin <= TIMEOUT * 5 / 6
        assert early.at == late.at == cancelled_at


@pytest.mark.trio
@pytest.mark.parametrize("policy", list(Loss))
async def test_every_way_of_losing_is_told(autojump_clock: MockClock, policy: Loss) -> None:
    async with open_world(1) as world, trio.open_nursery() as nursery:
        (member,) = world.members
        outside = Outside(nursery)
        with pytest.raises(LockLost):
            async with Lock(member.zk, PATH, policy=policy) as grant:
                outside.watch(grant)
                await world.settle()
                if policy is Loss.IMMEDIATE:
                    member.proxy.cut()
                else:
                    await end_session(world.server.connect_string, member.zk)
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                assert outside.outcome is True
        assert await grant.wait_lost()  # and afterwards, at once


@pytest.mark.trio
@pytest.mark.parametrize(
    ("policy", "seconds"),
    [(Loss.IMMEDIATE, 0), (Loss.DEADLINE, TIMEOUT * 5 / 6), (Loss.EXPIRED, 2 * TIMEOUT)],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_each_policy_stops_the_block_at_its_moment(
    autojump_clock: MockClock, policy: Loss, seconds: float
) -> None:
    """The connection is gone, and comes back after two session timeouts: with the server's word."""
    async with open_world(1) as world:
        (member,) = world.members

        async def come_back() -> None:
            await trio.sleep(2 * TIMEOUT)
            member.proxy.reopen()

        with pytest.raises(LockLost):
            async with Lock(member.zk, PATH, policy=policy):
                member.proxy.close()
                begin = trio.current_time()
                member.start(come_back)
                await trio.sleep_forever()
        # (Attempts to connect are made once a second or more often.)
        assert begin + seconds <= trio.current_time() + 1e-6 < begin + seconds + TIMEOUT / 6


@pytest.mark.trio
async def test_a_block_that_ends_in_order_is_no_loss(autojump_clock: MockClock) -> None:
    async with open_world(1) as world, trio.open_nursery() as nursery:
        (member,) = world.members
        outside, gone = Outside(nursery), Outside(nursery)
        async with Lock(member.zk, PATH) as grant:
            outside.watch(grant)
            await world.settle()
        await world.settle()
        assert outside.outcome is False
        assert not await grant.wait_lost()
        await trio.sleep(10 * TIMEOUT)
        assert not await grant.wait_lost()
        with pytest.raises(LockLost):
            async with Lock(member.zk, PATH) as grant:
                gone.watch(grant)
                await world.zk.delete(grant.path)  # by somebody's hand
                await world.settle()
                assert gone.outcome is None  # which nobody looks at, until
                with pytest.raises(LockLost):
                    await grant.verify()
                await world.settle()
                assert gone.outcome is True


@pytest.mark.trio
async def test_whoever_finds_it_gone_ends_the_block(autojump_clock: MockClock) -> None:
    """By a question or by a refused write, inside the block or outside: there is one answer to all."""
    async with open_world(1) as world, trio.open_nursery() as nursery:
        (member,) = world.members

        async def verify(grant: Grant) -> None:
            with pytest.raises(LockLost, match="znode is gone"):
                await grant.verify()

        async def write(grant: Grant) -> None:
            with pytest.raises(LockLost, match="refused"):
                async with grant.transaction() as transaction:
                    transaction.create("/late")

        for find_out in (verify, write):
            outside = Outside(nursery)
            with pytest.raises(LockLost, match="gone"):
                async with Lock(member.zk, PATH) as grant:
                    outside.watch(grant)
                    await world.zk.delete(grant.path)
                    nursery.start_soon(find_out, grant)
                    await trio.sleep(1)
                    pytest.fail("nobody has stopped it")
            await world.settle()
            assert outside.outcome is True
        assert await world.zk.exists("/late") is None


@pytest.mark.trio
async def test_verifying_in_a_session_that_ends_is_a_loss(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        with pytest.raises(LockLost, match="session"):
            async with Lock(zk, PATH) as grant:
                proxy.close()
                await zk.session.state.wait_value(coord.SessionState.SUSPENDED)
                await end_session(hosts, zk)
                proxy.reopen()
                with trio.CancelScope(shield=True):  # so that it is the question that notices
                    await grant.verify()


@pytest.mark.trio
async def test_a_block_that_has_ended_proves_nothing_and_was_not_lost(zk: Client) -> None:
    async with Lock(zk, PATH) as grant:
        grant.ensure()
    with pytest.raises(LockLost, match="its block has ended"):
        grant.ensure()
    with pytest.raises(LockLost, match="its block has ended"):
        await grant.verify()
    with pytest.raises(LockLost, match="its block has ended"):
        async with grant.transaction() as transaction:
            transaction.create("/late")
    assert not grant.lost
    assert not await grant.wait_lost()


@pytest.mark.trio
async def test_a_name_that_is_anothers_by_now_proves_nothing(hosts: str, zk: Client) -> None:
    """Not every grant's znode has a name that nobody else uses."""
    async with coord.connect(hosts, timeout=30) as slow:

        async def hold(stat: coord.Stat) -> None:
            standing = Standing("/name", stat.czxid, slow.session.id)
            async with holding(
                slow,
                standing,
                error=LockLost,
                what="name",
                policy=Loss.DEADLINE,
                release=trio.lowlevel.checkpoint,
            ) as grant:
                await zk.delete("/name")
                await zk.create("/name")
                await grant.wait_revoked()

        _, stat = await slow.create_with_stat("/name", ephemeral=True)
        with trio.fail_after(5), pytest.raises(LockLost, match="its znode is gone"):
            await hold(stat)


@pytest.mark.trio
async def test_letting_go_of_a_name_asks_the_leader(hosts: str) -> None:
    """A create whose reply was lost may be unknown yet to the server we are connected to now."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.create("/name", ephemeral=True)
        await let_go_of_name(zk, "/name")
        assert [Op(op) for op in proxy.requests[-3:]] == [Op.SYNC, Op.EXISTS, Op.DELETE]


@pytest.mark.trio
async def test_move_on_leaves_without_an_error_whoever_notices(zk: Client) -> None:
    async def verify(grant: Grant) -> None:
        await grant.verify()

    async def write(grant: Grant) -> None:
        async with grant.transaction() as transaction:
            transaction.create("/late")

    for notice in (verify, write):
        async with Lock(zk, PATH).acquire(on_loss="move_on") as grant:
            await zk.delete(grant.path)
            await notice(grant)
            pytest.fail("it was noticed")
        assert grant.lost
    with pytest.raises(LockLost):  # what another lock says is the body's own
        async with Lock(zk, PATH).acquire(on_loss="move_on"), Lock(zk, "/other") as other:
            await zk.delete(other.path)
            await other.verify()


@pytest.mark.trio
async def test_a_transaction_that_was_committed_in_its_block(zk: Client) -> None:
    async with Lock(zk, PATH) as grant:
        async with grant.transaction() as transaction:
            transaction.create("/made")
            assert await transaction.commit() == ["/made"]
        assert transaction.results == ["/made"]


@pytest.mark.trio
async def test_the_client_is_closed_under_a_holder(hosts: str, zk: Client) -> None:
    held, close = trio.Event(), trio.Event()

    async def live(task_status: trio.TaskStatus[Client]) -> None:
        async with coord.connect(hosts) as client:
            task_status.started(client)
            await close.wait()

    async def hold(client: Client) -> None:
        with pytest.raises(LockLost, match="the client was closed"):
            async with Lock(client, PATH):
                held.set()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, await nursery.start(live))
        await held.wait()
        close.set()
    assert await zk.children(PATH) == []


# -- being asked to let go -----------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_holder_is_asked_and_consents(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        assert await Lock(zk, PATH).request_release() == 0  # nobody holds it
        held = trio.Event()

        async def hold() -> None:
            async with Lock(zk, PATH, b"me") as grant:
                held.set()
                await zk.set(grant.path, b"something else")  # which asks for nothing
                await grant.wait_revoked()
                await grant.verify()  # until it lets go, it is still ours

        nursery.start_soon(hold)
        await held.wait()
        nursery.start_soon(_pass_through, other)
        await until_waiting(zk, PATH, 2)
        assert await Lock(other, PATH).request_release() == 1
    assert await zk.exists(PATH) is not None


async def _pass_through(zk: Client) -> None:
    async with Lock(zk, PATH):
        pass


@pytest.mark.trio
async def test_curators_revoker_is_understood_and_a_request_is_seen_that_came_before(zk: Client) -> None:
    async with Lock(zk, PATH) as grant:
        await zk.set(grant.path, b"__REVOKE__")
        with trio.fail_after(5):
            await grant.wait_revoked()


@pytest.mark.trio
async def test_it_is_the_present_holder_that_is_asked(hosts: str, zk: Client) -> None:
    """The server at hand may not know yet that the last one has let go."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with Lock(zk, PATH):
            assert await Lock(other, PATH).request_release() == 1
            assert proxy.requests[0] == Op.SYNC


@pytest.mark.trio
async def test_all_readers_are_asked(zk: Client) -> None:
    rw, other = ReadWriteLock(zk, PATH), ReadWriteLock(zk, PATH)
    async with rw.read as one, other.read as two:
        assert await rw.write.request_release() == 2
        with trio.fail_after(5):
            await one.wait_revoked()
            await two.wait_revoked()
        async with trio.open_nursery() as nursery:  # those who wait are not asked
            nursery.start_soon(_pass_through, zk)
            await until_waiting(zk, PATH, 3)
            assert await rw.write.request_release() == 2
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_leader_is_asked_to_step_down(zk: Client) -> None:
    async def lead(term: Grant) -> str:
        assert await Election(zk, PATH).request_release() == 1
        await term.wait_revoked()
        return "stepped down"

    with trio.fail_after(5):
        assert await Election(zk, PATH).run(lead) == "stepped down"


@pytest.mark.trio
async def test_waiting_to_be_asked_ends_with_the_grant(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as client, trio.open_nursery() as nursery:

        async def wait(grant: Grant) -> None:
            with pytest.raises(LockLost):
                await grant.wait_revoked()

        async with Lock(client, PATH) as grant:
            nursery.start_soon(wait, grant)
        with pytest.raises(LockLost):
            async with Lock(client, PATH) as grant:
                nursery.start_soon(wait, grant)
                await end_session(hosts, client)
                await trio.sleep_forever()


@pytest.mark.trio
async def test_who_does_not_ask_pays_nothing(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.ensure_path(PATH)
        before = len(proxy.requests)
        async with Lock(zk, PATH):
            pass
        assert [Op(op) for op in proxy.requests[before:]] == [
            *(Op.CREATE2, Op.SYNC, Op.MULTI_READ),
            Op.DELETE,
        ]


@pytest.mark.trio
@pytest.mark.parametrize("session", [False, True], ids=["session kept", "session lost"])
async def test_a_request_whose_reply_was_lost(autojump_clock: MockClock, session: bool) -> None:
    async with open_world(2) as world:
        one, two = world.members
        asked: list[int] = []
        revoked = trio.Event()

        async def hold() -> None:
            async with Lock(two.zk, PATH) as grant:
                await grant.wait_revoked()
                revoked.set()

        two.start(hold)
        await world.settle()
        one.proxy.swallow_reply(Op.SET_DATA, then_closed=session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, one.zk, asked)
            await one.proxy.lost.wait()
            if session:
                await end_session(world.server.connect_string, one.zk)
            one.proxy.heal()
        assert asked == [1]
        assert revoked.is_set()


async def _ask(zk: Client, asked: list[int]) -> None:
    asked.append(await Lock(zk, PATH).request_release())


# -- watching who holds --------------------------------------------------------------------------------


@pytest.mark.trio
async def test_holders_of_a_lock(hosts: str, zk: Client) -> None:
    async with (
        coord.connect(hosts, timeout=30) as looking,
        Lock(looking, PATH).watch_holders() as states,
        trio.open_nursery() as nursery,
    ):
        assert await anext(states) == ()
        async with Lock(zk, PATH, b"one") as grant:
            (holder,) = await anext(states)
            assert (holder.data, holder.czxid, holder.session_id) == (b"one", grant.token, zk.session.id)
            nursery.start_soon(_pass_through, zk)
            await until_waiting(zk, PATH, 2)
            await end_session(hosts, looking)  # and it goes on in the next session
            await zk.set(grant.path, b"renamed")
            assert [one.data for one in await anext(states)] == [b"renamed"]
        while await anext(states):
            pass


@pytest.mark.trio
async def test_holders_of_a_read_write_lock(zk: Client) -> None:
    rw, other = ReadWriteLock(zk, PATH), ReadWriteLock(zk, PATH)
    async with rw.read.watch_holders() as states:
        assert await anext(states) == ()
        async with rw.read.acquire(data=b"r1"):
            assert [one.data for one in await anext(states)] == [b"r1"]
            async with other.read.acquire(data=b"r2"):
                assert [one.data for one in await anext(states)] == [b"r1", b"r2"]
            assert [one.data for one in await anext(states)] == [b"r1"]
        assert await anext(states) == ()
        async with rw.write.acquire(data=b"w") as grant:
            assert [one.data for one in await anext(states)] == [b"w"]
            async with rw.downgrade(grant) as reading:
                assert [one.path for one in await anext(states)] == [reading.path]
        assert await anext(states) == ()


@pytest.mark.trio
async def test_watching_a_sole_holder_costs_one_watch(hosts: str, zk: Client) -> None:
    """Those who join behind it wake nobody."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as looking:
        async with Lock(zk, PATH), Lock(looking, PATH).watch_holders() as states:
            assert len(await anext(states)) == 1
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(_pass_through, zk)
                await until_waiting(zk, PATH, 6)
                await looking.sync()
                assert proxy.events == 0
                nursery.cancel_scope.cancel()
