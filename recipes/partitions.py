"""Who shall lead a partition: Kafka's rules of assignment and leader choice, as plain functions.

Pure: broker ids in, broker ids out. Who is live, and writing the result down, is `topics`' business.

Rules that hold here:

- A leader is always live and, unless the caller allows an *unclean* election, in sync (in the ISR).
- The ISR never loses its last member: whoever was in sync last is the only one who may lead again.
- Every change raises the leader epoch by one; without a change the function returns the state it got.

Synopsis::

    assignment = assign([1, 2, 3], partitions=6, replication=2)
    state = after_failure(assignment[0], state, live={1, 3}, controller_epoch=4)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from recipes.kafka import NO_LEADER, PartitionState

Replicas = Sequence[int]
"""Broker ids of one partition in assignment order; the first is the preferred leader."""


def assign(
    brokers: Iterable[int], *, partitions: int, replication: int, start: int = 0
) -> dict[int, tuple[int, ...]]:
    """Spread `partitions` over `brokers`, `replication` each; raises ValueError if there are too few.

    Leaders go round the brokers in turn. Followers go round too, but at a distance from the leader that grows
    with every full round, so that the followers of one broker's partitions are spread over all the others.
    """
    ids = sorted(set(brokers))
    if not 1 <= replication <= len(ids):
        raise ValueError(f"a replication of {replication} needs 1 to {len(ids)} brokers")
    count = len(ids)
    assignment = {}
    for partition in range(partitions):
        first, shift = partition + start, partition // count
        followers = (ids[(first + 1 + (shift + j) % (count - 1)) % count] for j in range(replication - 1))
        assignment[partition] = (ids[first % count], *followers)
    return assignment


def offline_leader(
    replicas: Replicas, isr: Collection[int], live: Collection[int], *, unclean: bool = False
) -> int | None:
    """The leader died: the first live replica in sync; failing that, if `unclean`, the first live."""
    in_sync = next((one for one in replicas if one in live and one in isr), None)
    if in_sync is not None or not unclean:
        return in_sync
    return next((one for one in replicas if one in live), None)


def preferred_leader(replicas: Replicas, isr: Collection[int], live: Collection[int]) -> int | None:
    """The first replica, if it is live and in sync."""
    return replicas[0] if replicas and replicas[0] in live and replicas[0] in isr else None


def reassigned_leader(target: Replicas, isr: Collection[int], live: Collection[int]) -> int | None:
    """The replicas are being moved to `target`: the first of them that is live and in sync."""
    return offline_leader(target, isr, live)


def shutdown_leader(
    replicas: Replicas, isr: Collection[int], live: Collection[int], leaving: Collection[int]
) -> int | None:
    """Brokers `leaving` shut down in good order: the first live one in sync that is not among them."""
    return next((one for one in replicas if one in live and one in isr and one not in leaving), None)


def first_state(replicas: Replicas, live: Collection[int], controller_epoch: int) -> PartitionState | None:
    """A new partition: led by the first live replica, all live ones in sync; None while no replica lives."""
    isr = tuple(one for one in replicas if one in live)
    return PartitionState(isr[0], 0, controller_epoch, isr) if isr else None


def after_failure(
    replicas: Replicas,
    state: PartitionState,
    live: Collection[int],
    controller_epoch: int,
    *,
    unclean: bool = False,
) -> PartitionState:
    """The state once brokers outside `live` are gone: they leave the ISR, and a dead leader is replaced."""
    isr = tuple(one for one in state.isr if one in live) or state.isr
    leader = state.leader if state.leader in live else offline_leader(replicas, isr, live, unclean=unclean)
    if leader is None:
        leader = NO_LEADER
    elif leader not in isr:  # unclean: what the others had is lost, they have to follow the new leader
        isr = (leader,)
    return _changed(state, leader, isr, controller_epoch)


def after_return(
    replicas: Replicas, state: PartitionState, caught_up: Collection[int], controller_epoch: int
) -> PartitionState:
    """The state once live replicas have `caught_up` with the leader: they are in sync again.

    Without a leader nobody can: first a member of the last ISR has to return (`after_failure` finds it).
    """
    if state.leader == NO_LEADER:
        return state
    isr = (*state.isr, *(one for one in replicas if one in caught_up and one not in state.isr))
    return _changed(state, state.leader, isr, controller_epoch)


def to_preferred(
    replicas: Replicas, state: PartitionState, live: Collection[int], controller_epoch: int
) -> PartitionState:
    """The state with the preferred leader leading again, if it may."""
    leader = preferred_leader(replicas, state.isr, live)
    return state if leader is None else _changed(state, leader, state.isr, controller_epoch)


def before_shutdown(
    replicas: Replicas,
    state: PartitionState,
    live: Collection[int],
    leaving: Collection[int],
    controller_epoch: int,
) -> PartitionState:
    """The state before brokers `leaving` stop: others lead, if any can, and they are no longer in sync."""
    leader: int | None = state.leader
    if leader in leaving:
        leader = shutdown_leader(replicas, state.isr, live, leaving)
    if leader is None:
        return state
    isr = tuple(one for one in state.isr if one not in leaving)
    return _changed(state, leader, isr or state.isr, controller_epoch)


Choice = Callable[[Replicas, PartitionState], PartitionState]
"""A rule applied to one partition; returns the same object where nothing is to be changed."""


def _changed(
    state: PartitionState, leader: int, isr: tuple[int, ...], controller_epoch: int
) -> PartitionState:
    if leader == state.leader and isr == state.isr:
        return state
    return replace(
        state, leader=leader, isr=isr, leader_epoch=state.leader_epoch + 1, controller_epoch=controller_epoch
    )
