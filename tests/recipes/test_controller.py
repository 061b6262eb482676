"""The controller at work: what it notices, what it does about it, and what it leaves alone."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

import coord
from coord import Client
from coord.wire.records import Op
from recipes import (
    BrokerRegistry,
    Controller,
    PartitionState,
    Term,
    TopicPartition,
    TopicRecord,
    Topics,
    assign,
    leaders,
)
from recipes.beside import beside
from recipes.controller import LISTS
from recipes.kafka import NO_LEADER
from tests.recipes.cluster import (
    ORDERS,
    SECONDS,
    broker,
    controlled,
    end_session,
    until,
    until_gone,
    until_led,
    until_there,
    written,
)
from tests.recipes.proxy import Proxy, open_proxy

STATE = "/brokers/topics/orders/partitions/0/state"


# -- brokers and topics -----------------------------------------------------------------------------------


@pytest.mark.trio
async def test_topics_and_partitions_that_appear_get_leaders(zk: Client) -> None:
    async with controlled(zk) as topics, broker(zk, 1), broker(zk, 2):
        await topics.create("orders", {0: [1, 2]})
        assert await until_led(topics, 1) == PartitionState(1, 0, 1, (1, 2))
        await topics.add_partitions("orders", {1: [2, 1]})
        assert await until_led(topics, 2, TopicPartition("orders", 1)) == PartitionState(2, 0, 1, (2, 1))
        # As Kafka's own tools would do it.
        await zk.create("/brokers/topics/old", b'{"version":1,"partitions":{"0":[2]}}')
        await until_led(topics, 2, TopicPartition("old", 0))


@pytest.mark.trio
@pytest.mark.parametrize("missing", LISTS)
async def test_what_is_looked_at_is_made_if_missing(zk: Client, missing: str) -> None:
    for path in LISTS:
        await zk.ensure_path(path if path != missing else path.rpartition("/")[0] or "/")
    async with controlled(zk) as topics:
        await until_there(zk, missing)
        await zk.ensure_path("/brokers/topics")
        await topics.create("orders", {0: [1]})
        async with broker(zk, 1):
            await until_led(topics, 1)


@pytest.mark.trio
async def test_leaders_follow_the_brokers(zk: Client) -> None:
    async with controlled(zk, chroot="", assume_in_sync=True) as topics:
        await topics.create("orders", {0: [1, 2]})
        async with broker(zk, 2):
            assert await until_led(topics, 2) == PartitionState(2, 0, 1, (2,))
            async with broker(zk, 1):
                assert await until_led(topics, 1) == PartitionState(1, 1, 1, (2, 1))
            assert await until_led(topics, 2) == PartitionState(2, 2, 1, (2,))
        assert await until_led(topics, NO_LEADER) == PartitionState(NO_LEADER, 3, 1, (2,))
        async with broker(zk, 1):
            await topics.create("other", {0: [1]})
            await until_led(topics, 1, TopicPartition("other", 0))
            assert await topics.state(ORDERS) == PartitionState(NO_LEADER, 3, 1, (2,))  # it was not in sync


@pytest.mark.trio
async def test_a_replica_is_in_sync_when_its_leader_says_so(zk: Client) -> None:
    async with controlled(zk) as topics, broker(zk, 2):
        await topics.create("orders", {0: [1, 2]})
        await until_led(topics, 2)
        async with broker(zk, 1):
            await topics.change_isr(ORDERS, leader=2, leader_epoch=0, add=[1])
            # The preferred leader may lead again: the controller has heard of it.
            assert await until_led(topics, 1) == PartitionState(1, 1, 1, (2, 1))
        with trio.fail_after(SECONDS):
            async with zk.watch_children("/isr_change_notification") as states:
                async for names in states:
                    if not names:
                        break


@pytest.mark.trio
async def test_an_unclean_election_costs_what_the_leader_has_missed(zk: Client) -> None:
    async with controlled(zk, unclean=True) as topics:
        await topics.create("orders", {0: [1, 2]})
        async with broker(zk, 1):
            assert (await until_led(topics, 1)).isr == (1,)
        async with broker(zk, 2):
            assert (await until_led(topics, 2)).isr == (2,)


@pytest.mark.trio
async def test_pitfall_48_a_bounce_that_nobody_saw_is_a_failure_and_a_return(zk: Client) -> None:
    async with controlled(zk, assume_in_sync=True) as topics, broker(zk, 2), broker(zk, 1) as me:
        await topics.create("orders", {0: [1, 2]})
        before = await until_led(topics, 1)
        async with zk.transaction() as at_once:
            at_once.delete("/brokers/ids/1")
            at_once.create("/brokers/ids/1", b"{}", ephemeral=True)
        view = await until(topics, lambda view: view.states[ORDERS].leader_epoch > before.leader_epoch + 1)
        # Somebody else has led meanwhile: whoever was bounced is not the same as before.
        assert view.states[ORDERS] == PartitionState(1, before.leader_epoch + 2, 1, (2, 1))
        assert me.epoch == (await BrokerRegistry(zk).brokers())[1].epoch


@pytest.mark.trio
async def test_what_cannot_be_read_is_left_alone(zk: Client) -> None:
    garbage = {
        "/brokers/topics/broken": b"garbage",
        STATE: b"garbage",
        "/admin/controlled_shutdown/whatever": b"garbage",
        "/brokers/ids/7": b"garbage",
    }
    await Topics(zk).create("orders", {0: [1]})
    for path, data in garbage.items():
        await zk.create(path, data, make_parents=True)
    for request in ("/admin/reassign_partitions", "/admin/preferred_replica_election"):
        await zk.create(request, b"garbage")
    async with controlled(zk) as topics, broker(zk, 1):
        await topics.create("good", {0: [1]})
        await until_led(topics, 1, TopicPartition("good", 0))
        for request in ("/admin/reassign_partitions", "/admin/preferred_replica_election"):
            await until_gone(zk, request)
    for path, data in garbage.items():
        assert (await zk.get(path))[0] == data


# -- deleting -----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_deleted_topic_leaves_nothing(zk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders, "BATCH", 4)
    async with controlled(zk) as topics, broker(zk, 1):
        await topics.create("orders", {number: [1] for number in range(9)})
        await topics.create("other", {0: [1]})
        await zk.create("/config/topics/orders", b'{"version":1,"config":{}}', make_parents=True)
        await zk.create("/config/topics/other", b'{"version":1,"config":{}}')
        await until(topics, lambda view: not view.leaderless)
        await topics.delete("orders")
        await until_gone(zk, "/admin/delete_topics/orders")
        assert await zk.children("/brokers/topics") == ["other"]
        assert await zk.children("/config/topics") == ["other"]
        assert await topics.state(TopicPartition("other", 0)) is not None
        await topics.create("orders", {0: [1]})
        assert await until_led(topics, 1) == PartitionState(1, 0, 1, (1,))
        await zk.create("/admin/delete_topics/nothing")  # there is no such topic
        await until_gone(zk, "/admin/delete_topics/nothing")


@pytest.mark.trio
async def test_a_deletion_is_finished_by_the_next_controller(
    hosts: str, zk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 2)
    topics = Topics(zk)
    async with (
        open_proxy(hosts) as proxy,
        coord.connect(proxy.hosts, timeout=30) as first,
        broker(zk, 1),
        controlled(first, 1),
    ):
        await topics.create("orders", {number: [1] for number in range(5)})
        await until(topics, lambda view: view.topics and not view.leaderless)
        proxy.swallow_reply(Op.MULTI, then_closed=True)
        await topics.delete("orders")
        await proxy.lost.wait()
        # Half of it is gone, and so is the controller.
        assert await zk.exists("/brokers/topics/orders") is not None
        await end_session(hosts, first)
        async with controlled(zk, 2):
            await until_gone(zk, "/admin/delete_topics/orders")
            assert await zk.children("/brokers/topics") == []
        proxy.reopen()


@pytest.mark.trio
async def test_a_marker_that_is_taken_back_stops_a_deletion(
    zk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 1)
    topics = Topics(zk)
    await topics.create("orders", {number: [1] for number in range(20)})

    async def change_my_mind() -> None:
        async with zk.watch_children("/brokers/topics/orders/partitions") as states:
            async for names in states:
                if names is not None and len(names) < 20:
                    break
        await zk.delete("/admin/delete_topics/orders")

    async def control(term: Term) -> None:
        await leaders.delete_topic(topics, term, "orders")  # there is no marker
        await topics.settle(term, live={1})
        await topics.delete("orders")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change_my_mind)
            await leaders.delete_topic(topics, term, "orders")

    await BrokerRegistry(zk).run_controller(1, control)
    assert list(await topics.records()) == ["orders"]
    assert 0 < len(await zk.children("/brokers/topics/orders/partitions")) < 20


# -- moving, electing ---------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_replicas_move_without_losing_what_was_in_sync(zk: Client) -> None:
    async with controlled(zk) as topics, broker(zk, 1), broker(zk, 2), broker(zk, 3):
        await topics.create("orders", {0: [1, 2]})
        await until_led(topics, 1)
        topic_id = (await topics.records())["orders"][0].topic_id
        await topics.reassign(
            {ORDERS: [3, 2], TopicPartition("missing", 0): [1], TopicPartition("x", 1): [2]}
        )
        view = await until(topics, lambda view: view.topics["orders"].reassigning)
        assert view.topics["orders"] == TopicRecord({0: (3, 2, 1)}, {0: (3,)}, {0: (1,)}, topic_id)
        assert view.states[ORDERS] == PartitionState(1, 0, 1, (1, 2))  # 1 leads until 3 has caught up
        await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[3])
        await until_gone(zk, "/admin/reassign_partitions")
        view = await until(topics, lambda view: not view.topics["orders"].reassigning)
        assert view.topics["orders"] == TopicRecord({0: (3, 2)}, topic_id=topic_id)
        assert (view.states[ORDERS].leader, set(view.states[ORDERS].isr)) == (3, {2, 3})


@pytest.mark.trio
async def test_many_partitions_move_at_once_and_a_move_can_be_turned_back(zk: Client) -> None:
    async with controlled(zk, assume_in_sync=True) as topics, broker(zk, 1), broker(zk, 2):
        await topics.create("orders", {0: [1], 1: [1], 2: [2]})
        await until(topics, lambda view: view.topics and not view.leaderless)
        moves = {TopicPartition("orders", n): [2, 1] for n in range(3)}
        moves[TopicPartition("orders", 1)] = [3]  # not there: it waits
        await topics.reassign(moves)
        view = await until(topics, lambda view: view.topics["orders"].reassigning == {1})
        assert view.topics["orders"].replicas == {0: (2, 1), 1: (3, 1), 2: (2, 1)}
        data, _ = await zk.get("/admin/reassign_partitions")
        with trio.fail_after(SECONDS):
            async with zk.watch_data("/admin/reassign_partitions") as states:
                async for node in states:  # only what is not through yet remains
                    if node is not None and len(json.loads(node.data)["partitions"]) == 1:
                        break
        await zk.set("/admin/reassign_partitions", data.replace(b"[3]", b"[1]"))
        await until_gone(zk, "/admin/reassign_partitions")
        found = (await topics.records())["orders"][0]
        assert (found.replicas, found.reassigning) == ({0: (2, 1), 1: (1,), 2: (2, 1)}, frozenset())


@pytest.mark.trio
async def test_preferred_leaders_are_elected_on_request(zk: Client) -> None:
    other = TopicPartition("orders", 1)
    async with controlled(zk, rebalance=False, assume_in_sync=True) as topics, broker(zk, 2):
        await topics.create("orders", {0: [1, 2], 1: [1, 2]})
        await until(topics, lambda view: view.topics and not view.leaderless)
        async with broker(zk, 1):
            await until(topics, lambda view: len(view.states[ORDERS].isr) == 2)
            assert [
                state.leader for state, _ in (await topics.states([ORDERS, other])).values() if state
            ] == [2, 2]
            await topics.elect_preferred([ORDERS])
            await until_led(topics, 1)
            await until_gone(zk, "/admin/preferred_replica_election")
            assert (await topics.state(other)) == PartitionState(2, 1, 1, (2, 1))
            await topics.elect_preferred()
            await until_led(topics, 1, other)


# -- leaving in good order ----------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_broker_that_leaves_is_missed_by_nobody(zk: Client) -> None:
    async with controlled(zk, assume_in_sync=True) as topics, broker(zk, 2):
        async with broker(zk, 1) as me:
            await topics.create("orders", {0: [1, 2]})
            await topics.create("alone", {0: [1]})  # nobody else has it: that does not keep us
            await until(topics, lambda view: len(view.states) == 2)
            with trio.fail_after(10):
                await BrokerRegistry(zk).leave(me)
            state, stat = await zk.get(STATE)
            assert json.loads(state)["leader"] == 2
            assert json.loads(state)["isr"] == [2]
            assert stat.version == 1  # one write: there was never nobody
        await topics.create("later", {0: [1, 2]})
        await until_led(topics, 2, TopicPartition("later", 0))
        assert (await zk.get(STATE))[1].version == 1  # that it has gone changed nothing any more
        assert await zk.children("/admin/controlled_shutdown") == []
        async with broker(zk, 1):
            await until_led(topics, 1)  # and it may come back


@pytest.mark.trio
async def test_a_controller_leaves_in_good_order_too(hosts: str, zk: Client) -> None:
    topics = Topics(zk)
    async with broker(zk, 2):
        async with (
            coord.connect(hosts, timeout=30) as other,
            broker(other, 1) as me,
            controlled(other, 1, assume_in_sync=True),
        ):
            await topics.create("orders", {0: [1, 2]})
            await until_led(topics, 1)
            await BrokerRegistry(other).leave(me)
        async with controlled(zk, 2, assume_in_sync=True):
            await topics.create("later", {0: [1, 2]})
            await until_led(topics, 2, TopicPartition("later", 0))
        assert await topics.state(ORDERS) == PartitionState(2, 1, 1, (2,))


@pytest.mark.trio
async def test_who_alone_is_in_sync_has_to_wait_and_may_change_its_mind(zk: Client) -> None:
    async with controlled(zk) as topics, broker(zk, 1) as me:
        await topics.create("orders", {0: [1, 2]})
        await until_led(topics, 1)
        async with broker(zk, 2), trio.open_nursery() as nursery:
            nursery.start_soon(BrokerRegistry(zk).leave, me)
            for later in ("other", "third"):  # by then the controller has seen the request, and been through
                await topics.create(later, {0: [1, 2]})
                await until_led(topics, 2, TopicPartition(later, 0))
            assert await written(zk, f"/admin/controlled_shutdown/1-{me.epoch}") == {
                "version": 1,
                "brokerid": 1,
                "broker_epoch": me.epoch,
            }
            nursery.cancel_scope.cancel()
        await until_gone(zk, f"/admin/controlled_shutdown/1-{me.epoch}")
        await topics.create("again", {0: [1, 2]})
        await until_led(topics, 1, TopicPartition("again", 0))
        async with broker(zk, 2), trio.open_nursery() as nursery:
            nursery.start_soon(BrokerRegistry(zk).leave, me)
            await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2])
            await until_led(topics, 2)
            await topics.change_isr(TopicPartition("again", 0), leader=1, leader_epoch=0, add=[2])
            # Now it is granted, and the nursery ends.


@pytest.mark.trio
async def test_a_request_of_an_earlier_registration_is_refused(zk: Client) -> None:
    async with controlled(zk, assume_in_sync=True) as topics, broker(zk, 2), broker(zk, 1) as me:
        await topics.create("orders", {0: [1, 2]})
        await until_led(topics, 1)
        for epoch in (me.epoch - 1, me.epoch + 1):
            path = f"/admin/controlled_shutdown/1-{epoch}"
            stale = f'{{"version":1,"brokerid":1,"broker_epoch":{epoch}}}'.encode()
            await zk.create(path, stale)
            await until_gone(zk, path)
        assert await topics.state(ORDERS) == PartitionState(1, 0, 1, (1, 2))


@pytest.mark.trio
async def test_who_loses_its_session_while_leaving_asks_again(hosts: str, zk: Client) -> None:
    topics = Topics(zk)
    async with coord.connect(hosts, timeout=30) as other, broker(zk, 2), broker(other, 1) as me:
        await topics.create("orders", {0: [1, 2]})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(BrokerRegistry(other).leave, me)
            await until_there(zk, f"/admin/controlled_shutdown/1-{me.epoch}")
            first = me.epoch
            await end_session(hosts, other)
            await me.epochs.wait_value(lambda epoch: epoch != first)
            async with controlled(zk, assume_in_sync=True):
                await until_led(topics, 2)
                with trio.fail_after(10):
                    while nursery.child_tasks:
                        await trio.lowlevel.checkpoint()
        assert await zk.children("/admin/controlled_shutdown") == [f"1-{me.epoch}"]


# -- whatever is lost ---------------------------------------------------------------------------------------


class Forgetful:
    """A controller that never hears of a write it has made. With `sessions` its first in each term costs its
    session, so that another term has to go on."""

    def __init__(self, hosts: str, proxy: Proxy, zk: Client, *, sessions: bool) -> None:
        self._hosts = hosts
        self._proxy = proxy
        self._zk = zk
        self._sessions = sessions
        self.lost = 0

    async def run(self) -> None:
        await BrokerRegistry(self._zk).run_controller(99, self._control)

    async def _control(self, term: Term) -> None:
        self._proxy.swallow_reply(Op.MULTI, then_closed=self._sessions)
        async with beside(self._lose):
            await Controller(self._zk, assume_in_sync=True).run(term)

    async def _lose(self) -> None:
        while True:
            await self._proxy.lost.wait()
            self.lost += 1
            if self._sessions:
                await end_session(self._hosts, self._zk)
                self._proxy.reopen()
                await trio.sleep_forever()
            self._proxy.swallow_reply(Op.MULTI)


@pytest.mark.trio
@pytest.mark.parametrize("sessions", [False, True], ids=["session_kept", "session_lost"])
async def test_no_reply_is_needed(
    hosts: str, zk: Client, sessions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "BATCH", 2)
    topics = Topics(zk)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        controller = Forgetful(hosts, proxy, client, sessions=sessions)
        async with trio.open_nursery() as nursery, broker(zk, 1) as me, broker(zk, 2), broker(zk, 3):
            nursery.start_soon(controller.run)
            await topics.create("orders", assign([1, 2], partitions=3, replication=2))
            await topics.create("doomed", assign([1, 2], partitions=3, replication=2))
            await until(topics, lambda view: len(view.states) == 6)
            await topics.delete("doomed")
            await topics.reassign({ORDERS: [3, 1]})
            await topics.elect_preferred()
            await until_gone(zk, "/admin/delete_topics/doomed")
            await until_gone(zk, "/admin/reassign_partitions")
            await until_gone(zk, "/admin/preferred_replica_election")
            with trio.fail_after(10):
                await BrokerRegistry(zk).leave(me)
            nursery.cancel_scope.cancel()
        assert controller.lost > 10
    found = await topics.records()
    assert list(found) == ["orders"]
    assert found["orders"][0].replicas == {0: (3, 1), 1: (2, 1), 2: (1, 2)}
    assert found["orders"][0].reassigning == frozenset()
    states = await topics.states(await topics.assignments())
    assert [state.leader for state, _ in states.values() if state] == [3, 2, 2]
