"""Topics and their leaders, settled by a controller of one's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable

import pytest

import coord
from coord import BadVersion, Client, NoNode
from coord.wire.records import Op
from recipes import BrokerRegistry, PartitionState, Term, TopicPartition, Topics, assign, leaders
from tests.recipes.cluster import broker
from tests.recipes.proxy import open_proxy

ORDERS = [TopicPartition("orders", number) for number in range(3)]


@pytest.mark.trio
async def test_topics_get_leaders_lose_them_and_get_them_back(zk: Client) -> None:
    topics = Topics(zk, chroot="/kafka")

    async def control(term: Term) -> None:
        assert await topics.settle(term, live={1}) == {}
        await topics.create("orders", assign([1, 2, 3], partitions=3, replication=2))
        assert await topics.assignments() == dict(zip(ORDERS, [(1, 2), (2, 3), (3, 1)], strict=True))
        assert await topics.state(ORDERS[0]) is None
        changed = await topics.settle(term, live={1, 2, 3})
        assert changed == {
            ORDERS[0]: PartitionState(1, 0, 1, (1, 2)),
            ORDERS[1]: PartitionState(2, 0, 1, (2, 3)),
            ORDERS[2]: PartitionState(3, 0, 1, (3, 1)),
        }
        assert await topics.settle(term, live={1, 2, 3}) == {}
        changed = await topics.settle(term, live={1, 3})
        assert changed == {
            ORDERS[0]: PartitionState(1, 1, 1, (1,)),
            ORDERS[1]: PartitionState(3, 1, 1, (3,)),
        }
        # Back, but not yet in sync: nothing changes until it has caught up.
        assert await topics.settle(term, live={1, 2, 3}, caught_up={1, 3}) == {}
        await topics.settle(term, live={1, 2, 3})
        state = await topics.state(ORDERS[1])
        assert state is not None
        assert (state.leader, set(state.isr)) == (2, {2, 3})
        with pytest.raises(coord.NodeExists):
            await topics.create("orders", {0: [1]})

    await BrokerRegistry(zk, chroot="/kafka").run_controller(1, control)
    data, stat = await zk.get("/kafka/brokers/topics/orders/partitions/1/state")
    assert json.loads(data)["leader"] == 2
    assert stat.version == 2  # the partition's epoch: created, shrunk, grown back


@pytest.mark.trio
async def test_a_later_controllers_state_is_not_overwritten(zk: Client) -> None:
    topics = Topics(zk)
    terms = 0

    async def control(term: Term) -> None:
        nonlocal terms
        terms += 1
        if terms > 1:
            return
        await topics.create("orders", {0: [1, 2]})
        await topics.settle(term, live={1, 2})
        later = b'{"version":1,"leader":2,"leader_epoch":9,"controller_epoch":7,"isr":[2]}'
        await zk.set("/brokers/topics/orders/partitions/0/state", later)
        await topics.settle(term, live={1, 2})

    await BrokerRegistry(zk).run_controller(1, control)
    assert terms == 2
    state = await topics.state(ORDERS[0])
    assert state == PartitionState(2, 9, 7, (2,))


@pytest.mark.trio
async def test_a_state_that_changed_meanwhile_is_decided_anew(hosts: str) -> None:
    """The reply to a settled state is lost: it is read again, and found to be as it should be."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        topics = Topics(zk)

        async def control(term: Term) -> None:
            await topics.create("orders", {0: [1, 2]})
            await zk.ensure_path("/brokers/topics/orders/partitions/0")
            proxy.swallow_reply(Op.MULTI)
            await topics.settle(term, live={1, 2})
            assert proxy.lost.is_set()

        await BrokerRegistry(zk).run_controller(1, control)
        assert await topics.state(ORDERS[0]) == PartitionState(1, 0, 1, (1, 2))
        with pytest.raises(NoNode):
            await zk.get("/controller")


class Overtaken(Topics):
    """Somebody else is faster, once: between what is read here and what is written."""

    def __init__(self, zk: Client, meddle: Callable[[Topics], Awaitable[object]]) -> None:
        super().__init__(zk)
        self._meddle: Callable[[Topics], Awaitable[object]] | None = meddle

    async def states(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, tuple[PartitionState | None, int]]:
        found = await super().states(partitions)
        if self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            await meddle(Topics(self.zk))
        return found


@pytest.mark.trio
async def test_a_leaders_word_that_comes_in_between_is_not_overwritten(zk: Client) -> None:
    which = ORDERS[0]

    async def grow(topics: Topics) -> None:
        await topics.change_isr(which, leader=1, leader_epoch=0, add={3})

    async def control(term: Term) -> None:
        await Topics(zk).create("orders", {0: [1, 2, 3]})
        await Topics(zk).settle(term, live={1, 2})
        changed = await Overtaken(zk, grow).settle(term, live={1, 3}, caught_up=())
        assert changed == {which: PartitionState(1, 1, 1, (1, 3))}

    async with broker(zk, 1), broker(zk, 3):
        await BrokerRegistry(zk).run_controller(1, control)


@pytest.mark.trio
async def test_one_conflict_does_not_hold_up_the_others(zk: Client) -> None:
    async def grow(topics: Topics) -> None:
        await topics.change_isr(ORDERS[1], leader=1, leader_epoch=0, add={3})

    async def control(term: Term) -> None:
        await Topics(zk).create("orders", {n: [1, 2, 3] for n in range(3)})
        await Topics(zk).settle(term, live={1, 2})
        changed = await Overtaken(zk, grow).settle(term, live={1, 3}, caught_up=())
        assert {one.partition: state.isr for one, state in changed.items()} == {0: (1,), 1: (1, 3), 2: (1,)}

    async with broker(zk, 1), broker(zk, 3):
        await BrokerRegistry(zk).run_controller(1, control)


@pytest.mark.trio
async def test_partitions_that_are_added_while_a_move_ends_are_not_lost(zk: Client) -> None:
    async def add(topics: Topics) -> None:
        await topics.add_partitions("orders", {1: [1]})

    async def control(term: Term) -> None:
        topics = Topics(zk)
        await topics.create("orders", {0: [1]})
        await topics.settle(term, live={1})
        assert await leaders.begin_moves(topics, term, {ORDERS[0]: (2,)}) == set()
        await topics.settle(term, live={1, 2})
        with pytest.raises(BadVersion):
            await leaders.end_moves(Overtaken(zk, add), term, live={1, 2})
        assert (await topics.records())["orders"][0].replicas == {0: (2, 1), 1: (1,)}
        await leaders.end_moves(topics, term, live={1, 2})
        assert (await topics.records())["orders"][0].replicas == {0: (2,), 1: (1,)}
        assert await topics.state(ORDERS[0]) == PartitionState(2, 2, 1, (2,))

    await BrokerRegistry(zk).run_controller(1, control)


@pytest.mark.trio
async def test_a_topic_that_is_being_deleted_does_not_grow_back(zk: Client) -> None:
    async def end(topics: Topics) -> None:
        await topics.zk.delete_recursive("/brokers/topics/orders")

    async def control(term: Term) -> None:
        await Topics(zk).create("orders", {0: [1], 1: [1]})
        assert await Overtaken(zk, end).settle(term, live={1}) == {}

    await BrokerRegistry(zk).run_controller(1, control)
    assert await zk.children("/brokers/topics") == []
