"""Topics, their partitions, and who leads these: as Kafka keeps them, seen by brokers and operators.

Owns reading `/brokers/topics`, asking for changes there, and a leader's word on who is in sync. What becomes
of a request is `controller`'s business; which broker shall lead, `partitions`'.

Rules that hold here:

- Topics are created, and get more partitions, by whoever likes; the controller notices. Deleting them, moving
  replicas and electing preferred leaders are requests to the controller, which each call only hands in.
- A request whose reply was lost is found out about, or handed in again where that changes nothing.
- A leader changes the ISR only while it leads in that very leader epoch, and is registered; in the same
  transaction it tells the controller. Who is added has to be registered, and not about to leave.

Synopsis::

    topics = Topics(zk, chroot="/kafka")
    await topics.create("orders", assign(view.ids, partitions=6, replication=2, racks=view.racks))
    async with topics.watch() as views:
        async for view in views:
            for which in view.led_by(me.id):
                print(which, view.states[which].leader_epoch)
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import trio

from coord import (
    BadVersion,
    Client,
    ConnectionLost,
    Events,
    GetData,
    NodeExists,
    NoNode,
    RequestFailed,
    RequestTooLarge,
    SessionExpired,
    Stat,
    Watch,
)
from recipes import leaders
from recipes.errors import NotLeader
from recipes.kafka import (
    NO_LEADER,
    TOPICS,
    BadRecord,
    PartitionState,
    Replicas,
    TopicPartition,
    TopicRecord,
    broker_path,
    check_topic,
    decode_state,
    decode_topic,
    encode_state,
    encode_topic,
    state_path,
    topic_path,
)
from recipes.kafka_requests import (
    DELETE_TOPICS,
    ISR_CHANGE,
    ISR_CHANGES,
    PREFERRED_ELECTION,
    REASSIGN_PARTITIONS,
    SHUTDOWNS,
    encode_partitions,
    encode_reassignment,
    marker_path,
)
from recipes.partitions import Situation, with_isr
from recipes.term import Term

LOST: Final = (ConnectionLost, SessionExpired)
"""A reply did not come. What is written here is no session's, and goes on in the next one."""

READS: Final = 200
"""How many znodes are read by one request."""


@dataclass(frozen=True)
class TopicsView:
    """All topics, and the states of their partitions as far as they have one."""

    topics: dict[str, TopicRecord]
    states: dict[TopicPartition, PartitionState]

    def led_by(self, broker_id: int) -> list[TopicPartition]:
        return [which for which, state in self.states.items() if state.leader == broker_id]

    @property
    def leaderless(self) -> list[TopicPartition]:
        """Partitions that nobody leads: not yet, or not any more."""
        every = (TopicPartition(topic, n) for topic, record in self.topics.items() for n in record.replicas)
        return [one for one in every if one not in self.states or self.states[one].leader == NO_LEADER]


class Topics:
    """The topics below `chroot` ("" for none)."""

    def __init__(self, zk: Client, chroot: str = "") -> None:
        self.zk = zk
        self.chroot = chroot.rstrip("/")

    # -- changes, and requests for some ---------------------------------------------------------------

    async def create(self, topic: str, assignment: Mapping[int, Sequence[int]]) -> None:
        """Create a topic: which brokers have which partition. Leaders come with the controller.

        Raises `NodeExists`, and ValueError for a name or an assignment that Kafka would not take.
        """
        check_topic(topic)
        record = TopicRecord(_checked(assignment, 0), topic_id=_new_topic_id())
        path, lost = self.chroot + topic_path(topic), False
        while True:
            try:
                await self.zk.create(path, encode_topic(record), make_parents=True)
                return
            except RequestTooLarge:
                raise  # it would be as large the next time
            except LOST:
                lost = True
            except NodeExists:
                found = await self._record(topic) if lost else None
                if found is None or found[0].topic_id != record.topic_id:
                    raise
                return

    async def add_partitions(self, topic: str, assignment: Mapping[int, Sequence[int]]) -> None:
        """Add partitions to a topic, numbered from the first free number on.

        Raises `NoNode`, and ValueError for an assignment that Kafka would not take.
        """
        path, lost = self.chroot + topic_path(topic), False
        while True:
            found = await self._record(topic)
            if found is None:
                raise NoNode(path=path, operation="add_partitions")
            record, version = found
            if lost and all(record.replicas.get(n) == tuple(ids) for n, ids in assignment.items()):
                return
            added = _checked(assignment, len(record.replicas))
            new = replace(record, replicas={**record.replicas, **added})
            try:
                await self.zk.set(path, encode_topic(new), version=version)
                return
            except BadVersion:
                continue
            except RequestTooLarge:
                raise  # it would be as large the next time
            except LOST:
                lost = True

    async def delete(self, topic: str) -> None:
        """Mark a topic for deletion; the controller deletes it. Raises `NoNode` if there is none."""
        path, lost = self.chroot + marker_path(topic), False
        while True:
            transaction = self.zk.transaction()
            transaction.check(self.chroot + topic_path(topic))
            transaction.create(path)
            try:
                await transaction.commit()
                return
            except NodeExists:
                return  # marked already
            except LOST:
                lost = True
            except NoNode as error:
                if error.path == path:
                    await self._ensure(self.chroot + DELETE_TOPICS)
                elif lost:
                    return  # deleted already
                else:
                    raise

    async def reassign(self, targets: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Ask for partitions to be moved to other replicas, the preferred leader first.

        Raises `NodeExists` while an earlier request is under way.
        """
        for which, replicas in targets.items():
            _check_replicas(str(which), replicas)
        await self._ask(REASSIGN_PARTITIONS, encode_reassignment(targets))

    async def elect_preferred(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """Ask for preferred leaders to lead, where they may: of every partition if None.

        Raises `NodeExists` while an earlier request is under way.
        """
        while partitions is None:
            try:
                partitions = (await self.assignments()).keys()
            except SessionExpired:
                continue
        await self._ask(PREFERRED_ELECTION, encode_partitions(partitions))

    async def _ask(self, where: str, data: bytes) -> None:
        path, lost = self.chroot + where, False
        while True:
            try:
                await self.zk.create(path, data, make_parents=True)
                return
            except RequestTooLarge:
                raise  # it would be as large the next time
            except LOST:
                lost = True  # once more: if it was done already, it changes nothing to do it again
            except NodeExists:
                if not lost or await self._data(path) != data:
                    raise
                return

    async def _data(self, path: str) -> bytes | None:
        node = await self._node(path)
        return None if node is None else node[0]

    async def _node(self, path: str) -> tuple[bytes, Stat] | None:
        """What is there now, whatever becomes of the session meanwhile."""
        while True:
            try:
                return await self.zk.get(path, linearizable=True)
            except NoNode:
                return None
            except SessionExpired:
                continue

    async def _ensure(self, path: str) -> None:
        try:
            await self.zk.ensure_path(path)
        except LOST:
            pass

    # -- a leader's word ------------------------------------------------------------------------------

    async def change_isr(
        self,
        which: TopicPartition,
        *,
        leader: int,
        leader_epoch: int,
        add: Collection[int] = (),
        remove: Collection[int] = (),
    ) -> PartitionState:
        """Say as its leader who is in sync, and who no longer is; returns the state after that.

        Brokers to `add` that are not registered, are about to leave, or have no replica are left out. Raises
        `NotLeader` unless broker `leader` leads the partition in `leader_epoch`, and is registered; and
        `SessionExpired`, since a leader does not outlive its session.
        """
        while True:
            found, assigned = await self._state(which), await self._record(which.topic)
            now = None if found is None else found[0]
            if now is None or (now.leader, now.leader_epoch) != (leader, leader_epoch) or found is None:
                raise NotLeader(
                    f"broker {leader} does not lead {which} in epoch {leader_epoch}: {now}",
                    path=self.chroot + state_path(*which),
                )
            replicas = () if assigned is None else assigned[0].replicas.get(which.partition, ())
            new = with_isr(replicas, now, await self._eligible(add), remove)
            needed = {leader, *set(new.isr).difference(now.isr)}
            if new is now or await self._tell(which, new, found[1], needed):
                return new

    async def _eligible(self, brokers: Collection[int]) -> set[int]:
        """Those of `brokers` that are registered and not about to leave."""
        if not brokers:
            return set()
        there = {one for one in brokers if await self.zk.exists(self.chroot + broker_path(one)) is not None}
        try:
            asking = await self.zk.children(self.chroot + SHUTDOWNS)
        except NoNode:
            return there
        return there - {int(name.partition("-")[0]) for name in asking if name.partition("-")[0].isdecimal()}

    async def _tell(
        self, which: TopicPartition, state: PartitionState, version: int, needed: Iterable[int]
    ) -> bool:
        """Write the state and tell the controller, while brokers `needed` are registered; False if
        something is not as it was, or we do not know."""
        transaction = self.zk.transaction()
        transaction.set(self.chroot + state_path(*which), encode_state(state), version=version)
        for broker in needed:
            transaction.check(self.chroot + broker_path(broker))
        transaction.create(self.chroot + ISR_CHANGE, encode_partitions([which]), sequential=True)
        try:
            await transaction.commit()
            return True
        except (BadVersion, ConnectionLost):
            return False
        except NoNode as error:
            leader = self.chroot + broker_path(state.leader)
            if error.path == leader:
                raise NotLeader(f"broker {state.leader} is not registered", path=leader) from error
            await self._ensure(self.chroot + ISR_CHANGES)
            return False

    # -- reading --------------------------------------------------------------------------------------

    async def assignments(self) -> dict[TopicPartition, Replicas]:
        """The replicas of every partition, the preferred leader first."""
        return {
            TopicPartition(topic, number): replicas
            for topic, (record, _) in (await self.records()).items()
            for number, replicas in record.replicas.items()
        }

    async def records(self, watch: Watch | None = None) -> dict[str, tuple[TopicRecord, int]]:
        """Every topic whose record can be read, with the version of its znode; `watch` hears of changes (and
        needs `/brokers/topics` to be there, or `NoNode` is raised)."""
        root = self.chroot + TOPICS
        try:
            names = sorted(await self.zk.children(root, watch=watch))
        except NoNode:
            if watch is not None:
                raise
            return {}
        if watch is None:
            nodes = await self._read([self.chroot + topic_path(topic) for topic in names])
        else:
            nodes = [await self._watched(self.chroot + topic_path(topic), watch) for topic in names]
        found = {}
        for topic, node in zip(names, nodes, strict=True):
            try:
                if node is not None:
                    found[topic] = decode_topic(topic, node[0]), node[1].version
            except BadRecord:
                pass  # nobody can say what it should be
        return found

    async def _watched(self, path: str, watch: Watch) -> tuple[bytes, Stat] | None:
        try:
            return await self.zk.get(path, watch=watch)
        except NoNode:
            return None

    async def states(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, tuple[PartitionState | None, int]]:
        """The states of those of the partitions that have one (None if it cannot be read), with the versions
        of their znodes."""
        asked = list(partitions)
        nodes = await self._read([self.chroot + state_path(*which) for which in asked])
        return {
            which: (_readable(which, node[0]), node[1].version)
            for which, node in zip(asked, nodes, strict=True)
            if node is not None
        }

    async def _read(self, paths: Sequence[str]) -> list[tuple[bytes, Stat] | None]:
        nodes: list[tuple[bytes, Stat] | None] = []
        for begin in range(0, len(paths), READS):
            for found in await self.zk.multi_read([GetData(path) for path in paths[begin : begin + READS]]):
                if isinstance(found, RequestFailed) and not isinstance(found, NoNode):
                    raise found
                nodes.append(found if isinstance(found, tuple) else None)
        return nodes

    async def state(self, which: TopicPartition) -> PartitionState | None:
        """Who leads a partition; None before the controller has settled that."""
        found = await self._state(which, linearizable=False)
        return None if found is None else found[0]

    async def _state(
        self, which: TopicPartition, *, linearizable: bool = True
    ) -> tuple[PartitionState, int] | None:
        path = self.chroot + state_path(*which)
        try:
            data, stat = await self.zk.get(path, linearizable=linearizable)
        except NoNode:
            return None
        return decode_state(*which, data), stat.version

    async def _record(self, topic: str) -> tuple[TopicRecord, int] | None:
        node = await self._node(self.chroot + topic_path(topic))
        return None if node is None else (decode_topic(topic, node[0]), node[1].version)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[TopicsView]]:
        """Views of all topics: the present one first, then one whenever it differs.

        States, not events: whatever happens while nobody looks is summed up in the next view.
        """
        await self._ensure(self.chroot + TOPICS)
        async with self.zk.add_watch(self.chroot + TOPICS, recursive=True) as events:
            views = self._views(events)
            try:
                yield views
            finally:
                await views.aclose()

    async def _views(self, events: Events) -> AsyncGenerator[TopicsView]:
        last: TopicsView | None = None
        while True:
            try:
                view = await self.view()
            except SessionExpired:
                continue  # look again in the new session
            if view != last:
                last = view
                yield view
            await events.receive()
            try:
                while True:
                    events.receive_nowait()
            except trio.WouldBlock:
                pass

    async def view(self) -> TopicsView:
        """All topics now."""
        topics = {topic: record for topic, (record, _) in (await self.records()).items()}
        every = [TopicPartition(topic, n) for topic, record in topics.items() for n in record.replicas]
        found = await self.states(every)
        states = {which: state for which, (state, _) in found.items() if state is not None}
        return TopicsView(topics, states)

    # -- for a controller of one's own ------------------------------------------------------------------

    async def settle(
        self,
        term: Term,
        live: Collection[int],
        *,
        caught_up: Collection[int] | None = None,
        leaving: Collection[int] = (),
        unclean: bool = False,
    ) -> dict[TopicPartition, PartitionState]:
        """Give every partition the leader it should have with these brokers `live`; returns what was changed.

        In this order: dead leaders are replaced, brokers that have `caught_up` are in sync again (every live
        one if None), preferred leaders lead again where they may, and who is `leaving` hands over.
        """
        situation = Situation(live, live if caught_up is None else caught_up, leaving, unclean)
        return await leaders.settle(self, term, situation)


def _readable(which: TopicPartition, data: bytes) -> PartitionState | None:
    try:
        return decode_state(*which, data)
    except BadRecord:
        return None


def _checked(assignment: Mapping[int, Sequence[int]], first: int) -> dict[int, Replicas]:
    """The assignment of partitions from `first` on; raises ValueError if Kafka would not take it."""
    numbers = sorted(assignment)
    if not numbers or numbers != list(range(first, first + len(numbers))):
        raise ValueError(f"partitions have to be numbered from {first} on without gaps, not {numbers}")
    for number, replicas in assignment.items():
        _check_replicas(f"partition {number}", replicas)
    if len({len(replicas) for replicas in assignment.values()}) > 1:
        raise ValueError("all partitions of a topic have to have equally many replicas")
    return {number: tuple(assignment[number]) for number in numbers}


def _check_replicas(what: str, replicas: Sequence[int]) -> None:
    if not replicas or len(set(replicas)) < len(replicas) or min(replicas) < 0:
        raise ValueError(f"{what}: {list(replicas)} are not one or more different brokers")


def _new_topic_id() -> str:
    """16 random bytes as Kafka writes them; none begins with a dash, which its tools would take for an
    option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text
