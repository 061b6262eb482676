"""Brokers that crash, bounce, lose sessions and leave, while topics come, go and move: whatever happens.

Each member is a broker: it registers, stands for controller, and says of the partitions it leads who is in
sync. All the while an observer writes down every state of every partition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

import coord
from coord import ConnectionLost, NodeExists, NoNode, SessionExpired
from recipes import (
    BrokerRegistry,
    Controller,
    ControllerMoved,
    NotLeader,
    PartitionState,
    Registration,
    Term,
    TopicPartition,
    Topics,
    assign,
)
from recipes.kafka import NO_LEADER, decode_epoch
from tests.recipes.cluster import info
from tests.recipes.faults import EXPIRE, FAULTS, TIMEOUT, Member, Step, World, open_world, stateful

MEMBERS = 3
NAMES = ("orders", "users")
MOVES = ((1, 2), (2, 3), (3, 1), (3, 2), (1,), (2,), (3, 1, 2), (2, 1))
LEAVE_SECONDS = 12.0


class Cluster:
    """What runs in the members, and what has been seen of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked_to_leave: dict[int, trio.Event] = {}
        self.terms: list[tuple[int, int]] = []
        """(epoch, member): who took office, in order"""
        self.in_office = 0
        self.most_in_office = 0
        self.seen: dict[tuple[str, TopicPartition], tuple[PartitionState, int]] = {}
        """by the id of the topic: the latest state, and the version of its znode"""
        self.steps_checked = 0

    # -- in the members -----------------------------------------------------------------------------------

    def boot(self, member: Member) -> None:
        self.asked_to_leave[member.index] = trio.Event()
        member.start(self._serve, member, self.asked_to_leave[member.index])

    def has_left(self, index: int) -> bool:
        """Has it been asked to, at least."""
        return self.asked_to_leave[index].is_set()

    async def _serve(self, member: Member, asked_to_leave: trio.Event) -> None:
        registry, topics = BrokerRegistry(member.zk), Topics(member.zk)
        async with registry.register(info(member.index + 1)) as me, trio.open_nursery() as nursery:
            nursery.start_soon(registry.run_controller, me.id, lambda term: self._control(member, term))
            nursery.start_soon(self._follow_topics, topics, me)
            nursery.start_soon(self._follow_brokers, registry, topics, me)
            await asked_to_leave.wait()
            with trio.move_on_after(LEAVE_SECONDS):
                await registry.leave(me)
            nursery.cancel_scope.cancel()

    async def _control(self, member: Member, term: Term) -> None:
        self.terms.append((term.epoch, member.index))
        self.in_office += 1
        self.most_in_office = max(self.most_in_office, self.in_office)
        try:
            await Controller(member.zk).run(term)
        finally:
            self.in_office -= 1
            with trio.move_on_after(2 * TIMEOUT, shield=not member.scope.cancel_called):
                await self._write_late(member.zk, term)

    async def _write_late(self, zk: coord.Client, term: Term) -> None:
        """What a controller must not be able to do once there is another one."""
        with suppress(ControllerMoved, ConnectionLost, SessionExpired):
            async with term.transaction() as transaction:
                transaction.create("/late/", b"%d" % term.epoch, sequential=True)

    async def _follow_topics(self, topics: Topics, me: Registration) -> None:
        async with topics.watch() as views:
            async for _ in views:
                await self._catch_up(topics, me)

    async def _follow_brokers(self, registry: BrokerRegistry, topics: Topics, me: Registration) -> None:
        async with registry.watch() as views:
            async for _ in views:
                await self._catch_up(topics, me)

    async def _catch_up(self, topics: Topics, me: Registration) -> None:
        """There are no messages: whoever is there has them all."""
        with suppress(SessionExpired):
            view = await topics.view()
            for which in view.led_by(me.id):
                state, replicas = view.states[which], view.topics[which.topic].replicas[which.partition]
                with suppress(NotLeader):
                    await topics.change_isr(
                        which, leader=me.id, leader_epoch=state.leader_epoch, add=set(replicas) - {*state.isr}
                    )

    # -- what is seen ---------------------------------------------------------------------------------------

    async def observe(self) -> None:
        topics = Topics(self.world.zk)
        async with topics.watch() as views:
            async for _ in views:
                await self._look(topics)

    async def _look(self, topics: Topics) -> None:
        records = await topics.records()
        for which, (state, version) in (await topics.states(await topics.assignments())).items():
            record = records.get(which.topic)
            if record is None or state is None or record[0].topic_id is None:
                continue
            key = record[0].topic_id, which
            if key in self.seen:
                self._check_step(*self.seen[key], state, version)
            self.seen[key] = state, version

    def _check_step(self, old: PartitionState, before: int, new: PartitionState, after: int) -> None:
        assert new.isr
        assert new.leader in (NO_LEADER, *new.isr)
        assert new.leader_epoch >= old.leader_epoch
        assert new.controller_epoch >= old.controller_epoch
        if after != before + 1:
            return  # there was another one in between
        self.steps_checked += 1
        if new.leader_epoch == old.leader_epoch:  # the leader's own word
            assert (new.leader, new.controller_epoch) == (old.leader, old.controller_epoch)
        else:  # the controller's
            assert new.leader_epoch == old.leader_epoch + 1
            assert new.leader in (NO_LEADER, *old.isr)
            assert set(new.isr) <= set(old.isr)


# -- the steps ----------------------------------------------------------------------------------------------


async def create(topics: Topics, number: int) -> None:
    with suppress(NodeExists):
        await topics.create(NAMES[number % 2], assign([1, 2, 3], partitions=2, replication=2, start=number))


async def delete(topics: Topics, number: int) -> None:
    with suppress(NoNode):
        await topics.delete(NAMES[number % 2])


async def move(topics: Topics, number: int) -> None:
    with suppress(NodeExists):
        await topics.reassign({TopicPartition(NAMES[number % 2], number // 4): MOVES[number]})


async def elect(topics: Topics, number: int) -> None:
    with suppress(NodeExists):
        await topics.elect_preferred()


ASK: dict[str, Callable[[Topics, int], Awaitable[None]]] = {
    "create": create,
    "delete": delete,
    "move": move,
    "elect": elect,
}


async def play(world: World, steps: list[Step]) -> Cluster:
    cluster = Cluster(world)
    await world.zk.create("/late")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.observe)
        for member in world.members:
            cluster.boot(member)
        await create(Topics(world.zk), 0)
        for step in steps:
            member = world.members[step.member]
            if step.action in ASK:
                member.start(ASK[step.action], Topics(member.zk), step.number)
            elif step.action == "leave":
                cluster.asked_to_leave[step.member].set()
            elif step.action == "crash" or (step.action == "boot" and cluster.has_left(step.member)):
                cluster.boot(await world.crash(member))
            elif step.action in (*FAULTS, EXPIRE):
                await world.inflict(step)
            await world.settle()
        for member in world.members:
            if cluster.has_left(member.index):
                cluster.boot(await world.crash(member))
        await world.heal()
        await everything_is_as_it_should_be(cluster)
        nursery.cancel_scope.cancel()
    return cluster


async def everything_is_as_it_should_be(cluster: Cluster) -> None:
    zk = cluster.world.zk
    live = (await BrokerRegistry(zk).brokers()).keys()
    assert live == {1, 2, 3}
    assert cluster.in_office == 1
    epoch = decode_epoch((await zk.get("/controller_epoch"))[0])
    epochs = [term_epoch for term_epoch, _ in cluster.terms]
    assert epochs == sorted(epochs)
    # Never two in one epoch; but who was silent, and not for too long, finds the office still its own.
    assert len(set(cluster.terms)) == len(set(epochs))
    assert epochs[-1] == epoch
    late = [int((await zk.get(f"/late/{name}"))[0]) for name in sorted(await zk.children("/late"))]
    assert late == sorted(late)  # and nobody wrote after a later one

    view = await Topics(zk).view()
    assert view.leaderless == []
    for which, state in view.states.items():
        replicas = view.topics[which.topic].replicas[which.partition]
        assert state.leader == replicas[0]
        assert set(state.isr) == set(replicas)
    assert [topic for topic, record in view.topics.items() if record.reassigning] == []
    for place in ("/admin/delete_topics", "/admin/controlled_shutdown", "/isr_change_notification"):
        assert await zk.children(place) == []
    for request in ("/admin/reassign_partitions", "/admin/preferred_replica_election"):
        assert await zk.exists(request) is None


ACTIONS = ("create", "delete", "move", "elect", "leave", "boot", "boot")


@stateful(*ACTIONS, *FAULTS, members=MEMBERS, steps=20, examples=25)
async def test_whatever_happens_the_cluster_recovers(world: World, steps: list[Step]) -> None:
    cluster = await play(world, steps)
    assert cluster.most_in_office == 1


@stateful(*ACTIONS, EXPIRE, EXPIRE, "pass", members=MEMBERS, steps=20, examples=8)
async def test_sessions_that_end_at_any_moment_are_made_up_for(world: World, steps: list[Step]) -> None:
    await play(world, steps)


@pytest.mark.trio
async def test_the_observer_sees_the_steps(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(MEMBERS) as world:
        # It looks when it is its turn, and two steps in between are one to it: so many that some are not.
        crashes = [Step(action, member, 3) for member in range(3) for action in ("crash", "pass", "pass")]
        cluster = await play(world, 5 * crashes)
    assert cluster.steps_checked > 2
    assert len(cluster.terms) > 1
