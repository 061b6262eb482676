"""What a controller writes about topics: their partitions' leaders, moves to other replicas, their end.

Owns these writes. What is to be written is decided by `partitions`; when, by `controller`.

Rules that hold here:

- Every write is a transaction of the term: refused by the server once another controller has been elected.
- A state or an assignment is written conditionally on the version it was read with, and decided anew if that
  has changed, or if the reply was lost.
- A state written by a later controller than ours ends our term (`ControllerMoved`): nothing is overwritten.
- Transactions are bounded. What has to be one, is: a move's end in assignment and state, a topic's last
  znode and the marker that asked for its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from coord import BadVersion, ConnectionLost, NodeExists, NoNode, NotEmpty
from recipes.kafka import (
    PartitionState,
    Replicas,
    TopicPartition,
    TopicRecord,
    encode_state,
    encode_topic,
    partition_path,
    partitions_path,
    state_path,
    topic_path,
)
from recipes.kafka_requests import TOPIC_CONFIGS, marker_path
from recipes.partitions import Situation, begin_move, decide, end_move, target_of
from recipes.term import Term

if TYPE_CHECKING:
    from recipes.topics import Topics

T = TypeVar("T")

BATCH: Final = 100
"""How many partitions, or znodes, one transaction changes."""

CONFLICTS: Final = (BadVersion, NodeExists, NoNode, NotEmpty, ConnectionLost)
"""Somebody was faster, or we do not know: look again."""


class _Change(NamedTuple):
    which: TopicPartition
    state: PartitionState
    version: int
    """of the state's znode; -1: it has to be created"""


async def settle(
    topics: Topics,
    term: Term,
    situation: Situation,
    *,
    preferred: bool | Collection[TopicPartition] = True,
) -> dict[TopicPartition, PartitionState]:
    """Give every partition the leader it should have; returns what was changed.

    `preferred` says where preferred leaders may take over from others.
    """
    changed: dict[TopicPartition, PartitionState] = {}
    doubtful: dict[TopicPartition, PartitionState] = {}
    batch = BATCH
    while True:
        term.ensure()
        records = {topic: record for topic, (record, _) in (await topics.records()).items()}
        replicas = {
            TopicPartition(topic, number): ids
            for topic, record in records.items()
            for number, ids in record.replicas.items()
        }
        states = await topics.states(replicas)
        for which, (state, _) in states.items():
            if state is not None and doubtful.get(which) == state:  # the reply was lost, not the write
                changed[which] = state
        doubtful = {}
        for some in batches(_changes(term, situation, replicas, states, preferred), batch):
            try:
                await _write(topics, term, some)
                changed.update({which: state for which, state, _ in some})
            except CONFLICTS:
                doubtful.update({which: state for which, state, _ in some})
        if not doubtful:
            return changed
        batch = 1  # so that one conflict does not hold up all the others


def _changes(
    term: Term,
    situation: Situation,
    replicas: Mapping[TopicPartition, Replicas],
    states: Mapping[TopicPartition, tuple[PartitionState | None, int]],
    preferred: bool | Collection[TopicPartition],
) -> Iterator[_Change]:
    for which, ids in replicas.items():
        old, version = states.get(which, (None, -1))
        if old is None and version >= 0:
            continue  # it cannot be read: what would be lost by overwriting it, nobody knows
        if old is not None and old.controller_epoch > term.epoch:
            raise term.loss(f"{which} was settled by the controller of epoch {old.controller_epoch}")
        may_prefer = preferred if isinstance(preferred, bool) else which in preferred
        new = decide(ids, old, situation, term.epoch, preferred=may_prefer)
        if new is not None and new is not old:
            yield _Change(which, new, version)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def _write(topics: Topics, term: Term, changes: Sequence[_Change]) -> None:
    transaction = term.transaction()
    there = await _numbers(topics, {one.which.topic for one in changes if one.version < 0})
    for which, state, version in changes:
        if version >= 0:
            transaction.set(topics.chroot + state_path(*which), encode_state(state), version=version)
            continue
        # The parents, too, in the transaction: nothing grows back below a topic that is being deleted.
        if (known := there.get(which.topic)) is None:
            known = there[which.topic] = set()
            transaction.create(topics.chroot + partitions_path(which.topic))
        if which.partition not in known:
            transaction.create(topics.chroot + partition_path(*which))
        transaction.create(topics.chroot + state_path(*which), encode_state(state))
    await transaction.commit()


async def _numbers(topics: Topics, names: Collection[str]) -> dict[str, set[int]]:
    """The partitions that have a znode, of topics that have a place for them."""
    found = {}
    for topic in names:
        try:
            children = await topics.zk.children(topics.chroot + partitions_path(topic))
        except NoNode:
            continue
        found[topic] = {int(name) for name in children if name.isdecimal()}
    return found


# -- moves ----------------------------------------------------------------------------------------------


async def begin_moves(
    topics: Topics, term: Term, targets: Mapping[TopicPartition, Replicas]
) -> set[TopicPartition]:
    """Let partitions be on their way to other replicas; returns those for which nothing is left to do: they
    are where they shall be, or there is no such partition, or no sense in its target."""
    through: set[TopicPartition] = set()
    records = await topics.records()
    changed: dict[str, TopicRecord] = {}
    for which, target in targets.items():
        topic, number = which
        record = changed[topic] if topic in changed else records.get(topic, (TopicRecord({}), -1))[0]
        if number not in record.replicas or not target or len(set(target)) < len(target):
            through.add(which)
        elif target_of(record, number) != target:
            changed[topic] = begin_move(record, number, target)
        elif number not in record.reassigning:
            through.add(which)
    for topic, record in changed.items():
        transaction = term.transaction()
        transaction.set(topics.chroot + topic_path(topic), encode_topic(record), version=records[topic][1])
        await transaction.commit()
    return through


async def end_moves(topics: Topics, term: Term, live: Collection[int]) -> None:
    """End the moves of which every new replica is in sync: in one transaction the assignment is the new
    one, and nobody else leads or is in sync."""
    for topic, (record, version) in (await topics.records()).items():
        if not record.reassigning:
            continue
        moving = sorted(record.reassigning)[:BATCH]
        states = await topics.states(TopicPartition(topic, number) for number in moving)
        new, transaction = record, term.transaction()
        for which, (state, state_version) in states.items():
            if state is None:
                continue
            ended = end_move(new, which.partition, state, live, term.epoch)
            if ended is not None:
                new, after = ended
                data = encode_state(after)
                transaction.set(topics.chroot + state_path(*which), data, version=state_version)
        if new is not record:
            transaction.set(topics.chroot + topic_path(topic), encode_topic(new), version=version)
            await transaction.commit()


# -- the end of a topic ---------------------------------------------------------------------------------


async def delete_topic(topics: Topics, term: Term, topic: str) -> None:
    """Delete every znode of a topic, for as long as the marker asks for it; the marker goes with the last."""
    root, marker = topics.chroot + topic_path(topic), topics.chroot + marker_path(topic)
    config = f"{topics.chroot}{TOPIC_CONFIGS}/{topic}"
    while await topics.zk.exists(marker, linearizable=True) is not None:
        term.ensure()
        try:
            doomed = [*await _below(topics, root), *await _below(topics, config)]
            last = [path for path in doomed if path in (root, config)]
            for some in batches((path for path in doomed if path not in last), BATCH):
                await _delete(term, marker, some)
            await _delete(term, marker, [*last, marker])
        except CONFLICTS:
            continue


async def _delete(term: Term, marker: str, paths: Sequence[str]) -> None:
    transaction = term.transaction()
    transaction.check(marker)
    for path in paths:
        transaction.delete(path)
    await transaction.commit()


async def _below(topics: Topics, path: str) -> list[str]:
    """A znode and everything below it, children before their parents; nothing if there is no such znode."""
    try:
        names = await topics.zk.children(path)
    except NoNode:
        return []
    found: list[str] = []
    for name in names:
        found += await _below(topics, f"{path}/{name}")
    return [*found, path]
