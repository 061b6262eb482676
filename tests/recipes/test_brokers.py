"""Registration and the view of who is there, by Kafka's rules.

Pitfall 51: cannot occur, since views are a context manager, and hold no watch outside of it.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

import coord
from coord import Client
from coord.wire.records import Op
from recipes import BrokerIdTaken, BrokerInfo, BrokerRegistry, BrokerView, EndpointTaken
from tests.recipes.cluster import controlled, end_session
from tests.recipes.faults import cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

NONE: frozenset[int] = frozenset()
JUST_2 = frozenset({2})


def info(broker_id: int | None, port: int | None = None) -> BrokerInfo:
    return BrokerInfo(broker_id, [("PLAINTEXT", "127.0.0.1", port or 9000 + (broker_id or 0))])


def other_than(old: int) -> Callable[[int], bool]:
    return lambda epoch: epoch != old


async def next_view(views: AsyncIterator[BrokerView]) -> BrokerView:
    with trio.fail_after(10):
        return await anext(views)


@pytest.mark.trio
async def test_a_registration_is_kafkas(zk: Client) -> None:
    registry = BrokerRegistry(zk, chroot="/kafka")
    async with registry.register(info(7)) as me:
        data, stat = await zk.get("/kafka/brokers/ids/7")
        assert json.loads(data)["endpoints"] == ["PLAINTEXT://127.0.0.1:9007"]
        assert (me.id, me.epoch) == (7, stat.czxid)
        assert stat.ephemeral_owner == zk.session.id
        assert stat.version == 1  # created empty and filled in one transaction, as Kafka does
        brokers = await registry.brokers()
        assert brokers[7].info == info(7)
        assert brokers[7].epoch == me.epoch
    assert await registry.brokers() == {}


@pytest.mark.trio
async def test_generated_ids_begin_above_the_reserved(zk: Client) -> None:
    registry = BrokerRegistry(zk)
    async with registry.register(info(None, 9001)) as one, registry.register(info(None, 9002)) as two:
        assert (one.id, two.id) == (1001, 1002)
        assert set(await registry.brokers()) == {1001, 1002}


@pytest.mark.trio
async def test_one_endpoint_one_broker(zk: Client) -> None:
    registry = BrokerRegistry(zk)
    async with registry.register(info(1, 9000)):
        with pytest.raises(EndpointTaken, match="broker 1"):
            async with registry.register(info(2, 9000)):
                pytest.fail("registered")


@pytest.mark.trio
async def test_a_live_foreign_owner_keeps_the_id(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as other, BrokerRegistry(other).register(info(1)) as theirs:
        with pytest.raises(BrokerIdTaken):
            async with BrokerRegistry(zk).register(info(1), takeover_seconds=0.1):
                pytest.fail("registered")
        with trio.move_on_after(0.1):
            async with BrokerRegistry(zk).register(info(1)):
                pytest.fail("registered")
        # Neither attempt has touched what is another's.
        assert (await BrokerRegistry(zk).brokers())[1].epoch == theirs.epoch


@pytest.mark.trio
async def test_kafka_6584_a_dead_foreign_owner_is_outwaited(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, trio.open_nursery() as nursery:
        registered = trio.Event()

        async def die() -> None:
            async with coord.connect(proxy.hosts, timeout=1.0) as doomed:
                async with BrokerRegistry(doomed).register(info(1)):
                    registered.set()
                    await trio.sleep_forever()

        nursery.start_soon(die)
        await registered.wait()
        proxy.close()
        async with BrokerRegistry(zk).register(info(1)) as me:
            assert (await BrokerRegistry(zk).brokers())[1].epoch == me.epoch
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_who_was_cut_off_looks_again_before_it_gives_up(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(2) as world:
        one, two = world.members
        registered = trio.Event()

        async def take_over() -> None:
            async with BrokerRegistry(two.zk).register(info(1), takeover_seconds=5):
                registered.set()

        async with BrokerRegistry(one.zk).register(info(1)):
            two.start(take_over)
            await world.settle()
            two.proxy.close()
            await two.zk.session.state.wait_value(coord.SessionState.SUSPENDED)
        await trio.sleep(6)
        two.proxy.reopen()
        with trio.fail_after(3):
            await registered.wait()


@pytest.mark.trio
async def test_a_registration_whose_reply_was_lost_is_ours(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.ensure_path("/brokers/ids")
        proxy.swallow_reply(Op.MULTI)
        async with BrokerRegistry(zk).register(info(1)) as me:
            assert proxy.lost.is_set()
            _, stat = await zk.get("/brokers/ids/1")
            assert (stat.czxid, stat.ephemeral_owner) == (me.epoch, zk.session.id)


@pytest.mark.trio
async def test_kafka_14845_reply_and_session_lost_it_is_registered_anew(hosts: str, zk: Client) -> None:
    """Whether it was created nobody knows any more, and not by whom either: it must not be fatal."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as broker:
        await broker.ensure_path("/brokers/ids")
        proxy.swallow_reply(Op.MULTI, then_closed=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_registered, zk, broker)
            await proxy.lost.wait()
            first = (await BrokerRegistry(zk).brokers())[1].epoch
            await end_session(hosts, broker)
            proxy.reopen()
        assert await BrokerRegistry(zk).brokers() == {}
        assert first < broker.session.last_zxid


async def be_registered(zk: Client, broker: Client) -> None:
    async with BrokerRegistry(broker).register(info(1)) as me:
        _, stat = await zk.get("/brokers/ids/1")
        assert (stat.czxid, stat.ephemeral_owner) == (me.epoch, broker.session.id)


@pytest.mark.trio
async def test_kafka_7165_what_an_earlier_session_of_ours_has_left_is_replaced(
    hosts: str, zk: Client
) -> None:
    """A server that is behind may still show the registration of our session that expired: it would go in a
    moment, and with it we would."""
    async with coord.connect(hosts, timeout=30) as earlier, BrokerRegistry(zk).register(info(1)) as me:
        me.sessions.add(earlier.session.id)
        first = me.epoch
        old = earlier.transaction()
        old.delete("/brokers/ids/1")
        old.create("/brokers/ids/1", b"{}", ephemeral=True)
        await old.commit()
        with trio.fail_after(10):
            second = await me.epochs.wait_value(other_than(first))
        _, stat = await zk.get("/brokers/ids/1")
        assert (stat.czxid, stat.ephemeral_owner) == (second, zk.session.id)


@pytest.mark.trio
async def test_pitfall_5_a_registration_of_another_session_is_not_ours(hosts: str, zk: Client) -> None:
    """The reply was lost, and by the time we look somebody else is registered there."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as broker:
        await zk.ensure_path("/brokers/ids")
        proxy.swallow_reply(Op.MULTI, then_closed=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_refused, broker)
            await proxy.lost.wait()
            async with zk.transaction() as usurp:
                usurp.delete("/brokers/ids/1")
                usurp.create("/brokers/ids/1", b"{}", ephemeral=True)
            proxy.reopen()
    assert await zk.exists("/brokers/ids/1") is not None


async def be_refused(broker: Client) -> None:
    with pytest.raises(BrokerIdTaken):
        async with BrokerRegistry(broker).register(info(1), takeover_seconds=0.1):
            pytest.fail("registered")


@pytest.mark.trio
async def test_a_farewell_whose_reply_was_lost_leaves_nothing(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as broker:
        async with BrokerRegistry(broker).register(info(1)):
            proxy.swallow_reply(Op.DELETE)
        assert proxy.lost.is_set()
        await broker.janitor.idle()
        assert await BrokerRegistry(zk).brokers() == {}


@pytest.mark.trio
async def test_cancelled_anywhere_no_registration_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(1) as world:
        zk = world.zk

        async def attempt() -> None:
            async with BrokerRegistry(zk).register(info(1)) as me:
                await BrokerRegistry(zk).leave(me)

        async def nothing_stays() -> None:
            await zk.janitor.idle()
            await zk.sync()
            assert await BrokerRegistry(zk).brokers() == {}
            assert await zk.children("/admin/controlled_shutdown") == []

        await zk.ensure_path("/admin/controlled_shutdown")
        async with controlled(world.members[0].zk):
            assert await cancel_everywhere(attempt, nothing_stays) > 30


@pytest.mark.trio
async def test_pitfall_46_it_comes_back_after_the_session_expired(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as broker, BrokerRegistry(broker).register(info(1)) as me:
        first = me.epoch
        await end_session(hosts, broker)
        second = await me.epochs.wait_value(other_than(first))
        assert second > first
        assert (await BrokerRegistry(zk).brokers())[1].epoch == second
        # And after somebody deleted it.
        await zk.delete("/brokers/ids/1")
        third = await me.epochs.wait_value(other_than(second))
        assert third > second
        assert me.sessions >= {broker.session.id}
    assert await BrokerRegistry(zk).brokers() == {}


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_what_the_block_raises_leaves_as_it_is(zk: Client, failure: Exception) -> None:
    registry = BrokerRegistry(zk)
    with pytest.raises(type(failure)) as caught:
        async with registry.register(info(1)):
            raise failure
    assert caught.value is failure
    with trio.CancelScope() as scope:
        async with registry.register(info(1)):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await registry.brokers() == {}


@pytest.mark.trio
async def test_losing_the_id_for_good_ends_the_block(hosts: str, zk: Client) -> None:
    """The session expires and somebody else is faster: the error comes out bare, in place of the block."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as broker:
        with pytest.raises(BrokerIdTaken):
            async with BrokerRegistry(broker).register(info(1), takeover_seconds=0.1):
                proxy.close()
                await broker.session.state.wait_value(coord.SessionState.SUSPENDED)
                await end_session(hosts, broker)
                async with BrokerRegistry(zk).register(info(1)):
                    proxy.reopen()
                    await trio.sleep_forever()


@pytest.mark.trio
async def test_views_tell_who_came_went_and_bounced(hosts: str, zk: Client) -> None:
    registry = BrokerRegistry(zk)
    async with registry.watch() as views:
        view = await next_view(views)
        assert view == BrokerView({})
        async with coord.connect(hosts, timeout=30) as two:
            async with BrokerRegistry(two).register(info(2)) as me:
                view = await next_view(views)
                assert (view.ids, view.added, view.removed) == (JUST_2, JUST_2, NONE)
                old = me.epoch
                await end_session(hosts, two)
                await me.epochs.wait_value(other_than(old))
                bounced = False
                while not bounced:  # gone and back, or both at once: either way nobody can miss it
                    view = await next_view(views)
                    bounced = bool(view.bounced) or view.added == {2}
                assert view.brokers[2].epoch == me.epoch
        view = await next_view(views)
        assert (view.ids, view.removed) == (NONE, JUST_2)


@pytest.mark.trio
async def test_a_restart_between_two_looks_is_seen_by_the_epoch(zk: Client) -> None:
    registry = BrokerRegistry(zk)
    async with registry.watch() as views:
        async with registry.register(info(1)):
            await next_view(views)
        async with registry.register(info(1)):
            view = await next_view(views)
            assert (view.added, view.removed, view.bounced) == (NONE, NONE, frozenset({1}))


@pytest.mark.trio
async def test_a_registration_nobody_can_read_is_still_a_broker(zk: Client) -> None:
    registry = BrokerRegistry(zk)
    await zk.create("/brokers/ids/5", b"garbage", ephemeral=True, make_parents=True)
    await zk.create("/brokers/ids/not-a-number", b"", ephemeral=True)
    brokers = await registry.brokers()
    assert set(brokers) == {5}
    assert brokers[5].info is None
    async with registry.register(info(1)):  # and hinders nobody
        pass


@pytest.mark.trio
async def test_views_go_on_in_the_next_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as watcher, BrokerRegistry(watcher).watch() as views:
        assert await next_view(views) == BrokerView({})
        await end_session(hosts, watcher)
        async with BrokerRegistry(zk).register(info(3)):
            assert (await next_view(views)).added == {3}
