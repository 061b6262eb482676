"""What the controller of a cluster of brokers does all day, in one loop.

Owns the loop: look at everything there is to react to, act, wait until something of it has changed. How one
becomes the controller is `term`'s business, who shall lead `partitions`', and the writes are `leaders`'.

Rules that hold here:

- One task owns what the controller knows, and that is little: the epochs of the brokers as they were when it
  last looked. Everything else is read anew; so whatever happened meanwhile, in whatever order, to whichever
  controller, each look leads to the same end, and half of it done is no harm.
- Watches are set before the look: nothing is missed, nothing is polled.
- Every write is fenced by the term. `ControllerMoved` ends the loop.
- A broker registered anew (*bounced*) has failed and come back: others lead first, then it may again.
- Requests of brokers to leave are read before the brokers are: one whose epoch is not the registered one is
  an earlier registration's, and refused.

Synopsis::

    registry = BrokerRegistry(zk)
    async with registry.register(BrokerInfo(1, [("PLAINTEXT", "host1", 9092)])) as me:
        await registry.run_controller(me.id, Controller(zk).run)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from coord import Client, NoNode, Stat, Watch
from recipes import leaders
from recipes.brokers import BrokerRegistry
from recipes.kafka import BROKERS, TOPICS, BadRecord, Replicas, TopicPartition
from recipes.kafka_requests import (
    DELETE_TOPICS,
    ISR_CHANGES,
    PREFERRED_ELECTION,
    REASSIGN_PARTITIONS,
    SHUTDOWNS,
    Leave,
    decode_leave,
    decode_partitions,
    decode_reassignment,
    encode_leave,
    encode_reassignment,
)
from recipes.partitions import Situation
from recipes.term import Term
from recipes.topics import Topics

LISTS: Final = (BROKERS, TOPICS, DELETE_TOPICS, SHUTDOWNS, ISR_CHANGES)
"""whose children are what there is to look at; a controller creates them"""


@dataclass(frozen=True)
class _Requests:
    """What was asked for when we looked."""

    deletions: frozenset[str]
    isr_changes: tuple[str, ...]
    leaves: dict[str, Leave]
    moves: dict[TopicPartition, Replicas]
    moves_version: int | None
    """of the request's znode; None if there is none"""
    elections: frozenset[TopicPartition]
    elections_version: int | None


class Controller:
    """A controller for the brokers and topics below `chroot`; `run` it in a term.

    With `unclean`, a replica that is out of sync may lead when no other is left: what it has missed is lost.
    With `rebalance` (or on request without it) preferred leaders lead again as soon as they may. With
    `assume_in_sync` a live replica counts as in sync, for brokers that have nothing to catch up with;
    otherwise only a partition's leader says so (`Topics.change_isr`).
    """

    def __init__(
        self,
        zk: Client,
        chroot: str = "",
        *,
        unclean: bool = False,
        rebalance: bool = True,
        assume_in_sync: bool = False,
    ) -> None:
        self._zk = zk
        self._topics = Topics(zk, chroot)
        self._registry = BrokerRegistry(zk, chroot)
        self._chroot = self._topics.chroot
        self._unclean = unclean
        self._rebalance = rebalance
        self._assume_in_sync = assume_in_sync

    async def run(self, term: Term) -> NoReturn:
        """Control until cancelled; raises `ControllerMoved` when a write comes too late."""
        epochs: dict[int, int] = {}
        """of the brokers, when we last looked"""
        with self._zk.watch() as watch:
            while True:
                watch.clear()
                try:
                    await self._round(term, watch, epochs)
                except NoNode:
                    await self._prepare()
                except leaders.CONFLICTS:
                    pass
                else:
                    await watch.wait()

    async def _prepare(self) -> None:
        """Somebody, or something, was not there: perhaps what every look begins with."""
        for path in LISTS:
            await self._zk.ensure_path(self._chroot + path)

    async def _round(self, term: Term, watch: Watch, epochs: dict[int, int]) -> None:
        """Look and act; `epochs` is brought up to date."""
        asked = await self._requests(watch)
        await self._zk.children(self._chroot + BROKERS, watch=watch)
        now = {broker: seen.epoch for broker, seen in (await self._registry.brokers()).items()}
        await self._topics.records(watch)

        for topic in sorted(asked.deletions):
            await leaders.delete_topic(self._topics, term, topic)
        bounced = {one for one, epoch in now.items() if epochs.get(one, epoch) != epoch}
        if bounced:
            # Never unclean: who alone is in sync is back already.
            await leaders.settle(self._topics, term, Situation(now.keys() - bounced), preferred=False)
        epochs.clear()
        epochs.update(now)
        through = await leaders.begin_moves(self._topics, term, asked.moves)
        leaving = {one.broker_id for one in asked.leaves.values() if _is_of(one, now)}
        caught_up = now.keys() if self._assume_in_sync else ()
        situation = Situation(now.keys(), caught_up, leaving, self._unclean)
        preferred = self._rebalance or asked.elections
        await leaders.settle(self._topics, term, situation, preferred=preferred)
        await leaders.end_moves(self._topics, term, now.keys() - leaving)
        await self._answer_leaves(term, asked.leaves, now)
        await self._forget(term, asked, through)

    # -- what is asked for ------------------------------------------------------------------------------

    async def _requests(self, watch: Watch) -> _Requests:
        moves = await self._node(REASSIGN_PARTITIONS, watch)
        elections = await self._node(PREFERRED_ELECTION, watch)
        return _Requests(
            deletions=frozenset(await self._names(DELETE_TOPICS, watch)),
            isr_changes=tuple(await self._names(ISR_CHANGES, watch)),
            leaves=await self._leaves(watch),
            moves={} if moves is None else _moves(moves[0]),
            moves_version=None if moves is None else moves[1].version,
            elections=frozenset() if elections is None else _elections(elections[0]),
            elections_version=None if elections is None else elections[1].version,
        )

    async def _names(self, path: str, watch: Watch) -> list[str]:
        return await self._zk.children(self._chroot + path, watch=watch)

    async def _node(self, path: str, watch: Watch) -> tuple[bytes, Stat] | None:
        while True:
            try:
                return await self._zk.get(self._chroot + path, watch=watch)
            except NoNode:
                if await self._zk.exists(self._chroot + path, watch=watch) is None:
                    return None

    async def _leaves(self, watch: Watch) -> dict[str, Leave]:
        found = {}
        for name in await self._names(SHUTDOWNS, watch):
            path = f"{self._chroot}{SHUTDOWNS}/{name}"
            try:
                found[path] = decode_leave(path, (await self._zk.get(path))[0])
            except (NoNode, BadRecord):
                pass  # taken back, or nothing that anybody waits for an answer to
        return found

    # -- answers ----------------------------------------------------------------------------------------

    async def _answer_leaves(self, term: Term, leaves: dict[str, Leave], epochs: dict[int, int]) -> None:
        """Let those go who have handed over everything; refuse those whose registration is not the present
        one."""
        if not leaves:
            return
        # What has no other replica goes down with its broker, as in Kafka.
        shared = [which for which, ids in (await self._topics.assignments()).items() if len(ids) > 1]
        states = (await self._topics.states(shared)).values()
        in_sync = {broker for state, _ in states if state for broker in state.isr}
        for path, leave in leaves.items():
            transaction = term.transaction()
            if not _is_of(leave, epochs):
                transaction.delete(path)
            elif leave.granted_by is None and leave.broker_id not in in_sync:
                granted = Leave(leave.broker_id, leave.broker_epoch, term.epoch)
                transaction.set(path, encode_leave(granted), version=0)
            else:
                continue
            try:
                await transaction.commit()
            except NoNode:
                pass  # taken back

    async def _forget(self, term: Term, asked: _Requests, through: Collection[TopicPartition]) -> None:
        """Delete the requests that have been fulfilled."""
        await self._forget_all(term, [f"{self._chroot}{ISR_CHANGES}/{name}" for name in asked.isr_changes])
        if asked.elections_version is not None:
            transaction = term.transaction()
            transaction.delete(self._chroot + PREFERRED_ELECTION, version=asked.elections_version)
            await transaction.commit()
        if asked.moves_version is None:
            return
        left = {which: target for which, target in asked.moves.items() if which not in through}
        transaction, path = term.transaction(), self._chroot + REASSIGN_PARTITIONS
        if not left:
            transaction.delete(path, version=asked.moves_version)
        elif len(left) < len(asked.moves):
            transaction.set(path, encode_reassignment(left), version=asked.moves_version)
        else:
            return
        await transaction.commit()

    async def _forget_all(self, term: Term, paths: Iterable[str]) -> None:
        for some in leaders.batches(paths, leaders.BATCH):
            transaction = term.transaction()
            for path in some:
                transaction.delete(path)
            await transaction.commit()


def _is_of(leave: Leave, epochs: dict[int, int]) -> bool:
    """Is it the registered broker itself that asks?"""
    return epochs.get(leave.broker_id) == leave.broker_epoch


def _moves(data: bytes) -> dict[TopicPartition, Replicas]:
    try:
        return decode_reassignment(data)
    except BadRecord:
        return {}  # nobody can fulfil it: it is taken away, as Kafka does


def _elections(data: bytes) -> frozenset[TopicPartition]:
    try:
        return decode_partitions(PREFERRED_ELECTION, data)
    except BadRecord:
        return frozenset()
