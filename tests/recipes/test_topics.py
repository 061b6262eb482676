"""What brokers and operators do with topics: create, ask for changes, say who is in sync, watch.

Pitfall 15: cannot occur, since none of the znodes here is a container.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

import coord
from coord import Client, NodeExists, NoNode, RequestTooLarge, SessionExpired
from coord.wire.records import Op
from recipes import NotLeader, PartitionState, TopicPartition, TopicRecord, Topics, TopicsView
from recipes.kafka import encode_topic
from tests.recipes.cluster import ORDERS, broker, end_session, written
from tests.recipes.faults import cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

STATE = "/brokers/topics/orders/partitions/0/state"
LED_BY_1 = b'{"version":1,"leader":1,"leader_epoch":0,"controller_epoch":1,"isr":[1]}'


# -- create, add, delete --------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_topic_is_kafkas(zk: Client) -> None:
    topics = Topics(zk, chroot="/kafka/")
    await topics.create("orders", {1: [2, 1], 0: [1, 2]})
    record = await written(zk, "/kafka/brokers/topics/orders")
    topic_id = record.pop("topic_id")
    assert record == {
        "version": 3,
        "partitions": {"0": [1, 2], "1": [2, 1]},
        "adding_replicas": {},
        "removing_replicas": {},
    }
    assert re.fullmatch(r"[\w][\w-]{21}", topic_id)
    with pytest.raises(NodeExists):
        await topics.create("orders", {0: [1]})


@pytest.mark.trio
async def test_data_that_no_server_takes_are_told(autojump_clock: trio.testing.MockClock) -> None:
    many = {number: [1] for number in range(100_000)}
    async with open_world(1) as world:
        topics = Topics(world.members[0].zk)
        await topics.create("small", {0: [1]})
        targets = {TopicPartition("small", number): [1] for number in range(30_000)}
        requests: list[Callable[[], Awaitable[None]]] = [
            lambda: topics.create("orders", many),
            lambda: topics.add_partitions("small", {1 + number: [1] for number in many}),
            lambda: topics.reassign(targets),
        ]
        for request in requests:
            with trio.fail_after(100), pytest.raises(RequestTooLarge):
                await request()


@pytest.mark.trio
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "x" * 250])
async def test_names_that_kafka_would_not_take(zk: Client, name: str) -> None:
    with pytest.raises(ValueError, match="topic's name"):
        await Topics(zk).create(name, {0: [1]})


@pytest.mark.trio
@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ({}, "without gaps"),
        ({1: [1]}, "without gaps"),
        ({0: [1], 2: [1]}, "without gaps"),
        ({0: []}, "different brokers"),
        ({0: [1, 1]}, "different brokers"),
        ({0: [-1]}, "different brokers"),
        ({0: [1], 1: [1, 2]}, "equally many"),
    ],
)
async def test_assignments_that_kafka_would_not_take(
    zk: Client, assignment: dict[int, list[int]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        await Topics(zk).create("orders", assignment)
    assert await Topics(zk).records() == {}


@pytest.mark.trio
async def test_partitions_are_added_and_all_else_is_kept(zk: Client) -> None:
    topics = Topics(zk)
    await zk.create("/brokers/topics/old", b'{"version":1,"partitions":{"0":[1,2]}}', make_parents=True)
    data = (
        b'{"version":3,"partitions":{"0":[1,2,3]},"adding_replicas":{"0":[3]},'
        b'"removing_replicas":{},"topic_id":"ikAub9q6QcW9qUakngNwfQ"}'
    )
    await zk.create("/brokers/topics/orders", data)
    await topics.add_partitions("old", {1: [2, 1]})
    await topics.add_partitions("orders", {1: [2, 3], 2: [3, 1]})
    found = {topic: record for topic, (record, _) in (await topics.records()).items()}
    assert found == {
        "old": TopicRecord({0: (1, 2), 1: (2, 1)}),
        "orders": TopicRecord({0: (1, 2, 3), 1: (2, 3), 2: (3, 1)}, {0: (3,)}, {}, "ikAub9q6QcW9qUakngNwfQ"),
    }
    assert (await written(zk, "/brokers/topics/old"))["version"] == 2
    with pytest.raises(ValueError, match="from 3 on"):
        await topics.add_partitions("orders", {2: [1]})
    with pytest.raises(NoNode):
        await topics.add_partitions("missing", {0: [1]})


@pytest.mark.trio
async def test_two_who_add_partitions_at_once_do_not_overwrite_each_other(hosts: str, zk: Client) -> None:
    await Topics(zk).create("orders", {0: [1]})
    refused = 0

    async def add(broker_id: int) -> None:
        nonlocal refused
        try:
            await Topics(zk).add_partitions("orders", {1: [broker_id]})
        except ValueError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for broker_id in range(5):
            nursery.start_soon(add, broker_id)
    assert refused == 4
    assert len(await Topics(zk).assignments()) == 2


@pytest.mark.trio
async def test_deleting_leaves_a_marker_once(zk: Client) -> None:
    topics = Topics(zk)
    with pytest.raises(NoNode):
        await topics.delete("orders")
    await topics.create("orders", {0: [1]})
    await topics.delete("orders")
    await topics.delete("orders")
    assert await zk.children("/admin/delete_topics") == ["orders"]


@pytest.mark.trio
async def test_requests_are_kafkas_and_one_at_a_time(zk: Client) -> None:
    topics = Topics(zk)
    await topics.create("orders", {0: [1], 1: [2]})
    await topics.reassign({TopicPartition("orders", 1): [3, 4]})
    assert await written(zk, "/admin/reassign_partitions") == {
        "version": 1,
        "partitions": [{"topic": "orders", "partition": 1, "replicas": [3, 4]}],
    }
    await topics.elect_preferred()
    assert await written(zk, "/admin/preferred_replica_election") == {
        "version": 1,
        "partitions": [{"topic": "orders", "partition": 0}, {"topic": "orders", "partition": 1}],
    }
    with pytest.raises(NodeExists):
        await topics.reassign({ORDERS: [1]})
    with pytest.raises(NodeExists):
        await topics.elect_preferred([ORDERS])
    with pytest.raises(ValueError, match="orders-0"):
        await topics.reassign({ORDERS: []})


# -- replies that are lost --------------------------------------------------------------------------------

Change = Callable[[Topics], Awaitable[object]]
CHANGES: dict[str, tuple[int, Change]] = {
    "create": (Op.CREATE, lambda topics: topics.create("new", {0: [1]})),
    "add_partitions": (Op.SET_DATA, lambda topics: topics.add_partitions("orders", {1: [2, 1]})),
    "delete": (Op.MULTI, lambda topics: topics.delete("orders")),
    "reassign": (Op.CREATE, lambda topics: topics.reassign({ORDERS: [2, 1]})),
    "elect_preferred": (Op.CREATE, lambda topics: topics.elect_preferred([ORDERS])),
    "change_isr": (Op.MULTI, lambda topics: topics.change_isr(ORDERS, leader=1, leader_epoch=0, add={2})),
}


async def done(zk: Client) -> dict[str, bool]:
    """Which of the changes have been made, and just once."""
    topics = Topics(zk)
    state = await topics.state(ORDERS)
    notes = await zk.children("/isr_change_notification")
    records = await topics.records()
    return {
        "create": "new" in records,
        "add_partitions": len(records["orders"][0].replicas) == 2 and records["orders"][1] == 1,
        "delete": await zk.children("/admin/delete_topics") == ["orders"],
        "reassign": await zk.exists("/admin/reassign_partitions") is not None,
        "elect_preferred": await zk.exists("/admin/preferred_replica_election") is not None,
        "change_isr": state == PartitionState(1, 0, 1, (1, 2)) and len(notes) == 1,
    }


async def prepare(zk: Client) -> None:
    for path in ("/admin/delete_topics", "/isr_change_notification", "/brokers/topics"):
        await zk.ensure_path(path)
    await Topics(zk).create("orders", {0: [1, 2]})
    await zk.create(STATE, LED_BY_1, make_parents=True)


@pytest.mark.trio
@pytest.mark.parametrize("session", ["kept", "lost"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_whose_reply_was_lost_is_made_once(
    hosts: str, zk: Client, change: str, session: str
) -> None:
    op, do = CHANGES[change]
    await prepare(zk)
    async with broker(zk, 1), broker(zk, 2), open_proxy(hosts) as proxy:
        async with coord.connect(proxy.hosts, timeout=30) as client, trio.open_nursery() as nursery:
            proxy.swallow_reply(op, then_closed=session == "lost")
            nursery.start_soon(ignoring, SessionExpired if change == "change_isr" else (), do, Topics(client))
            await proxy.lost.wait()
            if session == "lost":
                await end_session(hosts, client)
                proxy.reopen()
        assert [name for name, is_done in (await done(zk)).items() if is_done] == [change]


async def ignoring(error: type[Exception] | tuple[()], do: Change, topics: Topics) -> None:
    try:
        await do(topics)
    except error:
        pass


@pytest.mark.trio
async def test_a_topic_that_somebody_else_created_is_not_taken_for_ours(hosts: str, zk: Client) -> None:
    await zk.ensure_path("/brokers/topics")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        await Topics(zk).create("orders", {0: [1]})
        proxy.swallow_reply(Op.CREATE)  # it says that there is such a topic, which we do not hear
        with pytest.raises(NodeExists):
            await Topics(client).create("orders", {0: [1]})
        assert proxy.lost.is_set()


@pytest.mark.trio
async def test_a_request_that_somebody_else_made_is_not_taken_for_ours(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        await Topics(zk).reassign({ORDERS: [1]})
        proxy.swallow_reply(Op.CREATE)
        with pytest.raises(NodeExists):
            await Topics(client).reassign({ORDERS: [2]})
        assert proxy.lost.is_set()


@pytest.mark.trio
async def test_a_topic_that_is_gone_before_the_reply_is_there_has_been_deleted(
    hosts: str, zk: Client
) -> None:
    await prepare(zk)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.MULTI, then_closed=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Topics(client).delete, "orders")
            await proxy.lost.wait()
            await zk.delete("/admin/delete_topics/orders")  # by the controller
            await zk.delete_recursive("/brokers/topics/orders")
            proxy.reopen()
    assert await zk.children("/admin/delete_topics") == []


@pytest.mark.trio
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_is_cancelled_is_made_or_not(
    change: str, autojump_clock: trio.testing.MockClock
) -> None:
    _, do = CHANGES[change]
    outcomes = set()
    async with open_world(0) as world:
        zk = world.zk

        async def attempt() -> None:
            await do(Topics(zk))

        async def look_and_begin_afresh() -> None:
            await zk.sync()
            outcomes.add((await done(zk))[change])
            for path in ("/admin", "/brokers/topics", "/isr_change_notification"):
                await zk.delete_recursive(path)
            await prepare(zk)

        await prepare(zk)
        async with broker(zk, 1), broker(zk, 2):
            with trio.CancelScope() as before:
                before.cancel()
                await attempt()
            await look_and_begin_afresh()
            # From then on it may be made wherever it is cancelled: a lone request leaves at once.
            assert await cancel_everywhere(attempt, look_and_begin_afresh) > 2
    assert outcomes == {True, False}


# -- a leader's word --------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_leader_says_who_is_in_sync(zk: Client) -> None:
    await prepare(zk)
    topics = Topics(zk)
    async with broker(zk, 1), broker(zk, 2):
        grown = await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2, 3])
        assert grown == PartitionState(1, 0, 1, (1, 2))  # the same leader epoch; 3 is no replica
        assert await topics.state(ORDERS) == grown
        assert await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2]) == grown
        shrunk = await topics.change_isr(ORDERS, leader=1, leader_epoch=0, remove=[1, 2])
        assert shrunk == PartitionState(1, 0, 1, (1,))  # it cannot drop itself
    notes = await zk.children("/isr_change_notification")
    assert len(notes) == 2  # and none where nothing was changed
    assert await written(zk, f"/isr_change_notification/{notes[0]}") == {
        "version": 1,
        "partitions": [{"topic": "orders", "partition": 0}],
    }


@pytest.mark.trio
async def test_only_the_present_leader_may_say_so(zk: Client) -> None:
    await prepare(zk)
    topics = Topics(zk)
    await zk.set(STATE, LED_BY_1.replace(b"[1]", b"[1,2]"))
    with pytest.raises(NotLeader, match="broker 1 is not registered"):
        await topics.change_isr(ORDERS, leader=1, leader_epoch=0, remove=[2])
    async with broker(zk, 1), broker(zk, 2):
        for leader, epoch in ((2, 0), (1, 1), (1, -1)):
            with pytest.raises(NotLeader, match="orders-0"):
                await topics.change_isr(ORDERS, leader=leader, leader_epoch=epoch, remove=[2])
        with pytest.raises(NotLeader, match="orders-7"):
            await topics.change_isr(TopicPartition("orders", 7), leader=1, leader_epoch=0, add=[2])
    assert await topics.state(ORDERS) == PartitionState(1, 0, 1, (1, 2))


@pytest.mark.trio
async def test_nobody_is_added_who_is_not_there_or_about_to_leave(zk: Client) -> None:
    await prepare(zk)
    topics = Topics(zk)
    async with broker(zk, 1):
        assert (await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2])).isr == (1,)
        async with broker(zk, 2) as me:
            path = f"/admin/controlled_shutdown/2-{me.epoch}"
            await zk.create(path, b"{}", ephemeral=True, make_parents=True)
            assert (await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2])).isr == (1,)
            await zk.delete(path)
            assert (await topics.change_isr(ORDERS, leader=1, leader_epoch=0, add=[2])).isr == (1, 2)


@pytest.mark.trio
async def test_nothing_that_is_said_at_once_is_forgotten(zk: Client) -> None:
    await prepare(zk)
    others = range(2, 7)
    await zk.set("/brokers/topics/orders", encode_topic(TopicRecord({0: (1, *others)})))
    async with AsyncExitStack() as stack:
        for broker_id in (1, *others):
            await stack.enter_async_context(broker(zk, broker_id))

        async def add(broker_id: int) -> None:
            await Topics(zk).change_isr(ORDERS, leader=1, leader_epoch=0, add=[broker_id])

        async with trio.open_nursery() as nursery:
            for broker_id in others:
                nursery.start_soon(add, broker_id)
    state = await Topics(zk).state(ORDERS)
    assert state is not None
    assert set(state.isr) == {1, *others}
    assert len(await zk.children("/isr_change_notification")) == len(others)


# -- watching ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_views_tell_of_topics_and_leaders(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as watcher, Topics(watcher).watch() as views:
        with trio.fail_after(10):
            assert await anext(views) == TopicsView({}, {})
            await Topics(zk).create("orders", {0: [1, 2]})
            view = await anext(views)
            assert (list(view.topics), view.states, view.leaderless) == (["orders"], {}, [ORDERS])
            await end_session(hosts, watcher)
            await zk.ensure_path(STATE)
            await zk.set(STATE, LED_BY_1)
            while not view.states:
                view = await anext(views)
            assert (view.led_by(1), view.led_by(2), view.leaderless) == ([ORDERS], [], [])
            await zk.delete_recursive("/brokers/topics/orders")
            while view.topics:
                view = await anext(views)
            assert view == TopicsView({}, {})


@pytest.mark.trio
async def test_what_cannot_be_read_is_left_out(zk: Client) -> None:
    await prepare(zk)
    await zk.create("/brokers/topics/broken", b"garbage")
    await zk.set(STATE, b"garbage")
    topics = Topics(zk)
    assert list(await topics.records()) == ["orders"]
    assert await topics.states([ORDERS]) == {ORDERS: (None, 1)}
    async with topics.watch() as views:
        assert (await anext(views)).states == {}
