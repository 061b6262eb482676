"""Topics, and the partitions' leaders as the controller keeps them.

Owns reading and writing `/brokers/topics`. Which broker shall lead is `partitions`' business, and that only
the present controller writes is its term's.

Rules that hold here:

- A partition's state is written conditionally on the version it was read with, and decided anew if that has
  changed.
- A state written by a later controller than ours ends our term (`ControllerMoved`): nothing is overwritten.

Synopsis::

    topics = Topics(zk, chroot="/kafka")
    await topics.create(term, "orders", assign(view.ids, partitions=6, replication=2))
    changed = await topics.settle(term, live=view.ids)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from coord import BadVersion, Client, ConnectionLost, NodeExists, NoNode
from recipes.controller import Term
from recipes.kafka import (
    TOPICS,
    PartitionState,
    decode_state,
    decode_topic,
    encode_state,
    encode_topic,
    partition_path,
    state_path,
    topic_path,
)
from recipes.partitions import after_failure, after_return, first_state, to_preferred


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Topics:
    """The topics below `chroot` ("" for none)."""

    def __init__(self, zk: Client, chroot: str = "") -> None:
        self._zk = zk
        self.chroot = chroot.rstrip("/")

    async def create(self, term: Term, topic: str, assignment: Mapping[int, Sequence[int]]) -> None:
        """Create a topic: which brokers have which partition. Raises `NodeExists`; leaders come with
        `settle`."""
        await self._zk.ensure_path(self.chroot + TOPICS)
        transaction = term.transaction()
        transaction.create(self.chroot + topic_path(topic), encode_topic(assignment))
        await transaction.commit()

    async def assignments(self) -> dict[TopicPartition, tuple[int, ...]]:
        """The replicas of every partition, the preferred leader first."""
        try:
            names = await self._zk.children(self.chroot + TOPICS)
        except NoNode:
            return {}
        found = {}
        for topic in sorted(names):
            try:
                data, _ = await self._zk.get(self.chroot + topic_path(topic))
            except NoNode:
                continue
            for number, replicas in sorted(decode_topic(topic, data).items()):
                found[TopicPartition(topic, number)] = replicas
        return found

    async def state(self, which: TopicPartition) -> PartitionState | None:
        """Who leads a partition; None before it was first settled."""
        found = await self._read(which)
        return None if found is None else found[0]

    async def settle(
        self,
        term: Term,
        live: Collection[int],
        *,
        caught_up: Collection[int] | None = None,
        unclean: bool = False,
    ) -> dict[TopicPartition, PartitionState]:
        """Give every partition the leader it should have with these brokers `live`; returns what was changed.

        In this order: dead leaders are replaced, brokers that have `caught_up` are in sync again (every live
        one if None), and preferred leaders lead again where they may.
        """
        changed = {}
        for which, replicas in (await self.assignments()).items():
            state = await self._settle_one(
                term, which, replicas, live, live if caught_up is None else caught_up, unclean=unclean
            )
            if state is not None:
                changed[which] = state
        return changed

    async def _settle_one(
        self,
        term: Term,
        which: TopicPartition,
        replicas: Sequence[int],
        live: Collection[int],
        caught_up: Collection[int],
        *,
        unclean: bool,
    ) -> PartitionState | None:
        while True:
            term.ensure()
            found = await self._read(which)
            if found is None:
                old, version, new = None, -1, first_state(replicas, live, term.epoch)
            else:
                old, version = found
                if old.controller_epoch > term.epoch:
                    raise term.loss(f"{which} was settled by the controller of epoch {old.controller_epoch}")
                new = after_failure(replicas, old, live, term.epoch, unclean=unclean)
                new = after_return(replicas, new, set(caught_up) & set(live), term.epoch)
                new = to_preferred(replicas, new, live, term.epoch)
            if new is None or new is old:
                return None
            try:
                await self._write(term, which, new, version)
                return new
            except (BadVersion, NodeExists, ConnectionLost):
                continue  # somebody was faster, or we do not know: read again

    async def _read(self, which: TopicPartition) -> tuple[PartitionState, int] | None:
        try:
            data, stat = await self._zk.get(self.chroot + state_path(*which))
        except NoNode:
            return None
        return decode_state(*which, data), stat.version

    async def _write(self, term: Term, which: TopicPartition, state: PartitionState, version: int) -> None:
        path = self.chroot + state_path(*which)
        transaction = term.transaction()
        if version >= 0:
            transaction.set(path, encode_state(state), version=version)
        else:
            await self._zk.ensure_path(self.chroot + partition_path(*which))
            transaction.create(path, encode_state(state))
        await transaction.commit()
