"""The lock: exclusive, in order, and over in time. Pitfalls are numbered as in the survey of lock recipes."""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import math

import pytest
import trio

import coord
from coord import Client, EventType, NoNode
from coord.wire.records import Op
from recipes import CURATOR, KAZOO, Grant, Layout, LayoutConflict, Lock, LockLost
from tests.recipes.proxy import Proxy, open_proxy

PATH = "/locks/one"


async def until_waiting(zk: Client, count: int, path: str = PATH) -> None:
    """Wait until `count` contenders are in line, by its own watch."""
    async with zk.watch_children(path) as states:
        async for names in states:
            if names is not None and len(names) == count:
                return


async def until_empty(zk: Client, path: str = PATH) -> None:
    async with zk.watch_children(path) as states:
        async for names in states:
            if not names:
                return


async def end_session(hosts: str, zk: Client) -> None:
    """Expire the client's session, as the server would: resumed by another connection and closed there."""
    async with coord.connect(hosts, session=zk.session.handle):
        pass


# -- exclusive, in order ------------------------------------------------------------------------------


@pytest.mark.trio
async def test_one_at_a_time_with_many_contenders(hosts: str) -> None:
    inside, most, entered, tokens = 0, 0, 0, []

    async def contend(zk: Client) -> None:
        nonlocal inside, most, entered
        for _ in range(3):
            async with Lock(zk, PATH) as grant:
                inside += 1
                most = max(most, inside)
                await zk.exists("/")  # a round trip, so that others have every chance to come in
                tokens.append(grant.token)
                entered += 1
                inside -= 1

    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(contend, (one, two)[index % 2])
    assert (most, entered) == (1, 60)
    assert tokens == sorted(set(tokens))  # every grant's token is higher than all before


@pytest.mark.trio
@pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)
async def test_first_come_first_served(zk: Client, layout: Layout) -> None:
    order: list[int] = []

    async def contend(number: int) -> None:
        async with Lock(zk, PATH, layout=layout):
            order.append(number)

    async with trio.open_nursery() as nursery:
        async with Lock(zk, PATH, layout=layout):
            for number in range(8):
                nursery.start_soon(contend, number)
                await until_waiting(zk, number + 2)
    assert order == list(range(8))


@pytest.mark.trio
async def test_pitfall_9_one_release_wakes_one(hosts: str, zk: Client) -> None:
    """Fifty wait, each on the one before it: the holder's going is one event for one of them."""
    holding = trio.Event()

    async def contend() -> None:
        async with Lock(waiters, PATH):
            holding.set()
            await trio.sleep_forever()

    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as waiters:
        async with trio.open_nursery() as nursery:
            async with Lock(zk, PATH) as grant:
                for _ in range(50):
                    nursery.start_soon(contend)
                while proxy.requests.count(Op.GET_DATA) < 50:  # each asks for its predecessor, once
                    await waiters.sync()
                assert len(await zk.children(PATH)) == 51
                before = len(proxy.requests)
            await holding.wait()
            await waiters.sync()
            # The woken one looks, at what the leader knows; the other 49 stay silent.
            assert [Op(op) for op in proxy.requests[before:] if op != Op.PING] == [
                Op.SYNC,
                Op.MULTI_READ,
                Op.SYNC,
            ]
            assert grant.lost is False
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_pitfall_16_the_timeout_is_of_the_whole_acquisition(zk: Client) -> None:
    async with Lock(zk, PATH):
        with pytest.raises(trio.TooSlowError):
            async with Lock(zk, PATH).acquire(timeout=0.05):
                pytest.fail("held twice")
        await until_waiting(zk, 1)
    async with Lock(zk, PATH).acquire(timeout=5):
        pass


@pytest.mark.trio
async def test_pitfall_3_trying_leaves_nothing(zk: Client) -> None:
    async with Lock(zk, PATH).acquire(wait=False):
        for _ in range(10):
            with pytest.raises(trio.WouldBlock):
                async with Lock(zk, PATH).acquire(wait=False):
                    pytest.fail("held twice")
        assert len(await zk.children(PATH)) == 1
    async with Lock(zk, PATH).acquire(wait=False):
        pass


@pytest.mark.trio
async def test_pitfall_3_trying_does_not_believe_a_server_that_lags_behind(hosts: str, zk: Client) -> None:
    """To which a holder may seem to be there that has let go. And it costs no more than one look."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        async with Lock(zk, PATH):
            with pytest.raises(trio.WouldBlock):
                async with Lock(client, PATH).acquire(wait=False):
                    pytest.fail("held twice")
        await client.janitor.idle()
        assert proxy.requests == [Op.SYNC, Op.GET_CHILDREN]


@pytest.mark.trio
async def test_two_that_try_at_once(zk: Client) -> None:
    """Both may see an empty line; at most one has the lock at a time, and nothing stays."""
    holders: list[int] = []

    async def attempt(number: int) -> None:
        try:
            async with Lock(zk, PATH).acquire(wait=False):
                assert holders == []
                holders.append(number)
                await zk.exists("/")
                holders.remove(number)
        except trio.WouldBlock:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, 1)
        nursery.start_soon(attempt, 2)
    await until_empty(zk)


@pytest.mark.trio
async def test_a_task_cannot_wait_for_itself(zk: Client) -> None:
    lock = Lock(zk, PATH)
    async with lock:
        with pytest.raises(RuntimeError, match="already"):
            async with lock:
                pytest.fail("re-entered")
    async with lock:  # and the failed attempt did no harm
        pass


@pytest.mark.trio
async def test_contenders_are_shown_in_order(zk: Client) -> None:
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            async with Lock(zk, PATH, b"second"):
                pass

        async with Lock(zk, PATH, b"first") as grant:
            nursery.start_soon(wait)
            await until_waiting(zk, 2)
            first, second = await Lock(zk, PATH).contenders()
            assert (first.order, first.data, first.path, first.czxid) == (
                0,
                b"first",
                grant.path,
                grant.token,
            )
            assert (second.order, second.data, second.mine) == (1, b"second", True)
            assert first.session_id == zk.session.id
    assert await Lock(zk, PATH).contenders() == []
    assert await Lock(zk, "/nowhere").contenders() == []


@pytest.mark.trio
async def test_pitfall_21_foreign_children_do_not_confuse(zk: Client) -> None:
    await zk.create(f"{PATH}/lease_holder", make_parents=True)
    async with Lock(zk, PATH):
        pass
    await zk.create(f"{PATH}/n_", sequential=True)  # an unknown library's: waited for
    with pytest.raises(trio.WouldBlock):
        async with Lock(zk, PATH).acquire(wait=False):
            pass
    with pytest.raises(LayoutConflict):
        async with Lock(zk, PATH, strict=True):
            pass


@pytest.mark.trio
async def test_pitfall_14_equal_numbers_are_told_apart_by_age(zk: Client) -> None:
    """As Curator's downgraded readers make them, or a sequence that has come to its end."""
    await zk.create(PATH, make_parents=True)
    older = await zk.create(f"{PATH}/zzz__lock__0000000000", ephemeral=True)
    async with trio.open_nursery() as nursery:
        held = trio.Event()

        async def wait() -> None:
            async with Lock(zk, PATH):
                held.set()

        nursery.start_soon(wait)
        await until_waiting(zk, 2)
        mine = next(name for name in await zk.children(PATH) if not name.startswith("zzz"))
        assert not held.is_set()
        # A younger one with our number does not block us.
        await zk.create(f"{PATH}/aaa__lock__{mine[-10:]}", ephemeral=True)
        await zk.delete(older)
        await held.wait()


@pytest.mark.trio
async def test_pitfall_15_the_parent_may_vanish(zk: Client) -> None:
    async with Lock(zk, PATH):
        pass
    await zk.delete(PATH)
    async with Lock(zk, PATH):
        pass


# -- tokens and fences --------------------------------------------------------------------------------


@pytest.mark.trio
async def test_pitfall_15_tokens_rise_even_when_the_parent_is_made_anew(zk: Client) -> None:
    tokens = []
    for _ in range(3):
        async with Lock(zk, PATH) as grant:
            tokens.append(grant.token)
            stat = await zk.exists(grant.path)
            assert stat is not None
            assert stat.czxid == grant.token
        await zk.delete(PATH)
    assert tokens == sorted(set(tokens))


@pytest.mark.trio
async def test_a_write_of_a_lost_grant_is_refused(zk: Client) -> None:
    await zk.create("/last", b"")
    with pytest.raises(LockLost):
        async with Lock(zk, PATH) as grant:
            async with grant.transaction() as transaction:
                transaction.set("/last", b"one")
            assert isinstance(transaction.results[0], coord.Stat)
            await zk.delete(grant.path)
            async with grant.transaction() as transaction:
                transaction.set("/last", b"two")
    assert (await zk.get("/last"))[0] == b"one"


@pytest.mark.trio
async def test_other_failures_of_a_fenced_transaction_are_their_own(zk: Client) -> None:
    async with Lock(zk, PATH) as grant:
        with pytest.raises(NoNode) as caught:
            async with grant.transaction() as transaction:
                transaction.create("/made")
                transaction.set("/missing", b"")
        assert caught.value.path == "/missing"
        assert await zk.exists("/made") is None
        with pytest.raises(ZeroDivisionError):
            async with grant.transaction() as transaction:
                transaction.create("/made")
                raise ZeroDivisionError
        assert await zk.exists("/made") is None
        tx = grant.transaction()
        tx.check("/")
        tx.create("/made", b"1")
        tx.delete("/made")
        assert await tx.commit() == [None, "/made", None]


@pytest.mark.trio
async def test_verify_asks_the_server(zk: Client) -> None:
    with pytest.raises(LockLost):
        async with Lock(zk, PATH) as grant:
            await grant.verify()
            grant.ensure()
            await zk.delete(grant.path)
            await grant.verify()
    assert grant.lost


# -- losing it ----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_pitfall_1_the_body_is_cancelled_when_the_session_ends(hosts: str) -> None:
    cancelled = False
    async with coord.connect(hosts, timeout=30) as zk:
        with pytest.raises(LockLost) as caught:
            async with Lock(zk, PATH) as grant:
                await end_session(hosts, zk)
                try:
                    await trio.sleep_forever()
                finally:
                    cancelled = True
        assert cancelled
        assert grant.lost
        assert "lock /locks/one lost" in str(caught.value)
        with pytest.raises(LockLost):
            grant.ensure()
        # Pitfall 2: the lock itself remembers nothing of it.
        async with Lock(zk, PATH) as grant:
            assert not grant.lost


@pytest.mark.trio
async def test_the_body_is_cancelled_before_the_session_can_have_expired(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(hosts, timeout=30) as other:
        async with coord.connect(proxy.hosts, timeout=2.0) as zk, trio.open_nursery() as nursery:
            order = []

            async def take_over() -> None:
                async with Lock(other, PATH):
                    order.append("the other holds it")

            with pytest.raises(LockLost):
                async with Lock(zk, PATH):
                    nursery.start_soon(take_over)
                    await until_waiting(other, 2)
                    proxy.close()  # nothing is said, nothing is heard
                    try:
                        await trio.sleep_forever()
                    finally:
                        order.append("the body was stopped")
    assert order == ["the body was stopped", "the other holds it"]


@pytest.mark.trio
async def test_a_loss_without_a_checkpoint_is_noticed_at_the_end(
    hosts: str, zk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LockLost):
        async with Lock(zk, PATH) as grant:
            now = trio.current_time()
            monkeypatch.setattr(trio, "current_time", lambda: now + 31)  # a minute of busy work
            with pytest.raises(LockLost):
                grant.ensure()
    monkeypatch.undo()
    await until_empty(zk)


@pytest.mark.trio
async def test_move_on_leaves_without_an_error(hosts: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        async with Lock(zk, PATH).acquire(on_loss="move_on") as grant:
            await end_session(hosts, zk)
            await trio.sleep_forever()
        assert grant.lost


@pytest.mark.trio
async def test_pitfall_8_a_short_interruption_is_ridden_out(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        async with trio.open_nursery() as nursery:
            got_it = trio.Event()

            async def wait() -> None:
                async with Lock(zk, PATH):
                    got_it.set()

            async with Lock(zk, PATH) as grant:
                nursery.start_soon(wait)
                await until_waiting(zk, 2)
                proxy.cut()
                await zk.sync()
                await grant.verify()
                # The watch of the waiter has to fire although what it waits for happens in its absence.
                async with coord.connect(hosts) as other:
                    proxy.close()
                    await zk.session.state.wait_value(coord.SessionState.SUSPENDED)
                    await other.delete(grant.path)
                    proxy.reopen()
                await got_it.wait()


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_the_bodys_exception_leaves_as_it_is(zk: Client, failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        async with Lock(zk, PATH):
            raise failure
    assert caught.value is failure
    assert not hasattr(failure, "__notes__")
    await until_empty(zk)


@pytest.mark.trio
async def test_the_bodys_exception_wins_over_the_loss(hosts: str) -> None:
    failure = ValueError("mine")
    async with coord.connect(hosts, timeout=30) as zk:
        with pytest.raises(ValueError, match="mine") as caught:
            async with Lock(zk, PATH):
                await end_session(hosts, zk)
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    raise failure from None
    assert caught.value is failure
    assert "lost" in failure.__notes__[0]


@pytest.mark.trio
async def test_a_cancellation_from_outside_passes_untouched(zk: Client) -> None:
    with trio.move_on_after(math.inf) as scope:
        async with Lock(zk, PATH):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await until_empty(zk)


# -- lost replies -------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)
async def test_a_create_whose_reply_was_lost_is_found_again(hosts: str, layout: Layout) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.ensure_path(PATH)
        proxy.swallow_reply(Op.CREATE2)
        async with Lock(zk, PATH, layout=layout) as grant:
            assert proxy.lost.is_set()
            (name,) = await zk.children(PATH)
            assert grant.path == f"{PATH}/{name}"
            await grant.verify()
        assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_pitfall_5_a_create_whose_reply_and_session_were_lost_is_not_ours(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.ensure_path(PATH)
        proxy.swallow_reply(Op.CREATE2, then_closed=True)
        held = trio.Event()
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                async with Lock(zk, PATH) as grant:
                    assert grant.session_id == zk.session.id
                    await grant.verify()
                    held.set()

            nursery.start_soon(hold)
            await proxy.lost.wait()
            first = zk.session.id
            await end_session(hosts, zk)
            proxy.reopen()
            await held.wait()
            assert zk.session.id != first
        await until_empty(zk)


@pytest.mark.trio
async def test_waiting_through_a_lost_session_means_the_back_of_the_line(hosts: str, zk: Client) -> None:
    order: list[str] = []

    async def wait(client: Client, name: str) -> None:
        async with Lock(client, PATH):
            order.append(name)

    async with coord.connect(hosts, timeout=30) as unlucky, trio.open_nursery() as nursery:
        async with Lock(zk, PATH):
            nursery.start_soon(wait, unlucky, "unlucky")
            await until_waiting(zk, 2)
            nursery.start_soon(wait, zk, "other")
            await until_waiting(zk, 3)
            before = await zk.children(PATH)
            await end_session(hosts, unlucky)
            async with zk.watch_children(PATH) as states:
                async for names in states:
                    if names is not None and len(names) == 3 and set(names) != set(before):
                        break
    assert order == ["other", "unlucky"]


# -- leaving ------------------------------------------------------------------------------------------


async def cancel_at(zk: Client, checkpoint: int) -> bool:
    """Acquire, cancelled at the given checkpoint; whether it was reached."""
    reached = 0

    class Counting(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal reached
            if task is mine:
                reached += 1
                if reached == checkpoint:
                    scope.cancel()

    mine, instrument = trio.lowlevel.current_task(), Counting()
    with trio.CancelScope() as scope:
        trio.lowlevel.add_instrument(instrument)
        try:
            async with Lock(zk, PATH):
                pass
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return reached >= checkpoint


@pytest.mark.trio
@pytest.mark.parametrize("contended", [False, True])
async def test_pitfall_4_cancelled_anywhere_it_leaves_no_znode(
    hosts: str, zk: Client, contended: bool
) -> None:
    async with coord.connect(hosts, timeout=30) as other:
        checkpoint = 1
        while True:
            held, release = trio.Event(), trio.Event()

            async def hold(held: trio.Event = held, release: trio.Event = release) -> None:
                async with Lock(other, PATH):
                    held.set()
                    await release.wait()

            async with trio.open_nursery() as nursery:
                if contended:
                    nursery.start_soon(hold)
                    await held.wait()
                    nursery.start_soon(release_when_joined, zk, release)
                reached = await cancel_at(zk, checkpoint)
                release.set()
            await until_empty(zk)
            if not reached:
                break
            checkpoint += 1
    assert checkpoint > 4  # how many there are depends on who is faster


async def release_when_joined(zk: Client, release: trio.Event) -> None:
    with trio.move_on_after(0.2):
        await until_waiting(zk, 2)
    release.set()


@pytest.mark.trio
@pytest.mark.parametrize("named", [True, False], ids=["with its name", "without the reply that names it"])
async def test_s38_a_contender_that_gives_up_while_suspended_leaves_no_znode(
    hosts: str, zk: Client, named: bool
) -> None:
    """kazoo #760: its cleanup failed without a connection, and everybody behind waited for a ghost."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        await client.ensure_path(PATH)
        async with Lock(zk, PATH):
            if not named:
                proxy.swallow_reply(Op.CREATE2, then_closed=True)
            async with trio.open_nursery() as nursery:

                async def acquire() -> None:
                    async with Lock(client, PATH):
                        pytest.fail("acquired")

                nursery.start_soon(acquire)
                await until_waiting(zk, 2)
                if named:
                    while Op.GET_DATA not in proxy.requests:  # it looks at its predecessor
                        await trio.sleep(0.01)
                    proxy.close()
                await client.session.state.wait_value(coord.SessionState.SUSPENDED)
                nursery.cancel_scope.cancel()
            assert len(await zk.children(PATH)) == 2
            proxy.reopen()
            await client.janitor.idle()
            assert len(await zk.children(PATH)) == 1
            assert client.session.generation == 1, "not the session's end, but the client took it away"
        async with Lock(zk, PATH).acquire(timeout=5):
            pass


@pytest.mark.trio
async def test_pitfall_18_leaving_waits_for_no_connection(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        async with Lock(client, PATH):
            await until_waiting(zk, 1)
            proxy.close()
            await client.session.state.wait_value(coord.SessionState.SUSPENDED)
            left = trio.current_time()
        assert trio.current_time() - left < 0.5  # not even as long as a release may take
        assert len(await zk.children(PATH)) == 1
        proxy.reopen()  # and the janitor does it
        await until_empty(zk)


@pytest.mark.trio
async def test_leaving_lets_the_next_one_in_although_the_reply_is_lost(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        async with Lock(client, PATH):
            proxy.swallow_reply(Op.DELETE)
        assert proxy.lost.is_set()
        async with Lock(zk, PATH).acquire(timeout=5):
            pass


@pytest.mark.trio
async def test_pitfall_10_the_watch_on_the_predecessor_is_not_left_behind(hosts: str, zk: Client) -> None:
    """A contender that leaves hears nothing any more."""
    async with coord.connect(hosts, timeout=30) as waiter, Lock(zk, PATH) as grant:
        with trio.move_on_after(0.1):
            async with Lock(waiter, PATH):
                pytest.fail("held twice")
        with waiter.watch() as watch:
            await waiter.get(grant.path, watch=watch)
            await zk.set(grant.path, b"x")
            assert (await watch.wait()).type == EventType.DATA_CHANGED


def test_what_a_grant_says_of_itself() -> None:
    assert issubclass(LockLost, coord.CoordError)
    assert Grant.__doc__ is not None
    assert Proxy.__doc__ is not None


# -- places -------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_at_the_root_of_a_chroot_that_is_not_there_yet(hosts: str) -> None:
    async with coord.connect(f"{hosts}/not/yet") as zk:
        async with Lock(zk, "/").watch_holders() as holders:
            assert await anext(holders) == ()
            async with Lock(zk, "/") as grant:
                assert [one.path for one in await anext(holders)] == [grant.path]
        assert await zk.children("/") == []


@pytest.mark.trio
async def test_what_is_no_path(zk: Client) -> None:
    for path in ("locks", ""):  # which is not the root
        with pytest.raises(ValueError, match="begins with a slash"):
            Lock(zk, path)
    with pytest.raises(coord.BadArguments, match="empty component"):
        async with Lock(zk, "/a//b"):
            pytest.fail("held")


@pytest.mark.trio
async def test_below_a_znode_that_can_have_no_children(zk: Client) -> None:
    await zk.create("/eph", ephemeral=True)
    for path in ("/eph", "/eph/lock"):
        with pytest.raises(coord.NoChildrenForEphemerals):
            async with Lock(zk, path):
                pytest.fail("held")
