"""Who shall lead a partition: Kafka's rules of assignment and leader choice, as plain functions.

Pure: broker ids in, broker ids out. Who is live, and writing the result down, is `leaders`' business.

Rules that hold here:

- A leader is always live and, unless the caller allows an *unclean* election, in sync (in the ISR).
- The ISR never loses its last member: whoever was in sync last is the only one who may lead again.
- Every change raises the leader epoch by one; without a change the function returns the state it got. A
  leader that changes its ISR itself (`with_isr`) goes on in the same leader epoch, as Kafka's do.

Synopsis::

    assignment = assign([1, 2, 3], partitions=6, replication=2, racks={1: "a", 2: "b", 3: "b"})
    state = decide(assignment[0], state, Situation(live={1, 3}), controller_epoch=4)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from recipes.kafka import NO_LEADER, PartitionState, Replicas, TopicRecord

# -- which brokers get a replica ------------------------------------------------------------------------


def assign(
    brokers: Iterable[int],
    *,
    partitions: int,
    replication: int,
    racks: Mapping[int, str | None] | None = None,
    start: int = 0,
    first: int = 0,
) -> dict[int, Replicas]:
    """Spread `partitions`, numbered from `first` on, over `brokers`, `replication` each.

    Leaders go round the brokers in turn. Followers go round too, but at a distance from the leader that grows
    with every full round, so that the followers of one broker's partitions are spread over all the others.

    With `racks` (by broker) each partition is spread over as many racks as possible, as evenly as possible,
    and among the brokers that this leaves, those with the fewest replicas get one. Raises ValueError if
    there are too few brokers, or racks known of some only.
    """
    ids = sorted(set(brokers))
    if not 1 <= replication <= len(ids):
        raise ValueError(f"a replication of {replication} needs 1 to {len(ids)} brokers")
    known = {broker: rack for broker in ids if (rack := (racks or {}).get(broker)) is not None}
    if known:
        return _assign_by_rack(ids, known, range(first, first + partitions), replication, start)
    count = len(ids)
    assignment = {}
    for partition in range(first, first + partitions):
        leader, shift = partition + start, partition // count
        followers = (ids[(leader + 1 + (shift + j) % (count - 1)) % count] for j in range(replication - 1))
        assignment[partition] = (ids[leader % count], *followers)
    return assignment


def _assign_by_rack(
    ids: Sequence[int], racks: Mapping[int, str], partitions: Iterable[int], replication: int, start: int
) -> dict[int, Replicas]:
    unknown = [broker for broker in ids if broker not in racks]
    if unknown:
        raise ValueError(f"the racks of brokers {unknown} are not known")
    order, numbers, assignment = _alternate(ids, racks), list(partitions), {}
    count = len(order)
    load = Counter(order[(partition + start) % count] for partition in numbers)  # of leaders, to begin with
    for partition in numbers:
        leader, shift = partition + start, partition // count
        replicas = [order[leader % count]]
        used = Counter(racks[broker] for broker in replicas)
        candidates = [order[(leader + 1 + shift + step) % count] for step in range(count)]
        while len(replicas) < replication:
            free = (one for one in candidates if one not in replicas)
            # The first of equals: the one next in the round.
            _, _, broker = min(((used[racks[one]], load[one], one) for one in free), key=itemgetter(0, 1))
            replicas.append(broker)
            used[racks[broker]] += 1
            load[broker] += 1
        assignment[partition] = tuple(replicas)
    return assignment


def _alternate(ids: Sequence[int], racks: Mapping[int, str]) -> list[int]:
    """The brokers in an order in which neighbours are in different racks, for as long as there are such."""
    seen = Counter[str]()
    places = []
    for broker in ids:
        places.append((seen[racks[broker]], racks[broker], broker))
        seen[racks[broker]] += 1
    return [broker for _, _, broker in sorted(places)]


# -- moving a partition to other brokers ----------------------------------------------------------------


def begin_move(record: TopicRecord, partition: int, target: Replicas) -> TopicRecord:
    """The topic with a partition on its way to `target`: until it has arrived, old and new replicas are its
    own. A move already under way is replaced: what it was adding goes with what is removed."""
    now, adding = record.replicas[partition], record.adding.get(partition, ())
    old = tuple(one for one in now if one not in adding)
    removing = tuple(one for one in now if one not in target)
    added = tuple(one for one in target if one not in old)
    return _with(record, partition, (*target, *removing), adding=added, removing=removing)


def target_of(record: TopicRecord, partition: int) -> Replicas:
    """Where a partition is on its way to; where it is, if it is not moving."""
    removing = record.removing.get(partition, ())
    return tuple(one for one in record.replicas[partition] if one not in removing)


def end_move(
    record: TopicRecord,
    partition: int,
    state: PartitionState,
    live: Collection[int],
    controller_epoch: int,
) -> tuple[TopicRecord, PartitionState] | None:
    """Topic and state once the move is over; None for as long as not all of the target is in sync, and
    while none of it could lead."""
    target = target_of(record, partition)
    leader = state.leader if state.leader in target else reassigned_leader(target, state.isr, live)
    if leader is None or not set(target) <= set(state.isr):
        return None
    isr = tuple(one for one in state.isr if one in target)
    return _with(record, partition, target), _changed(state, leader, isr, controller_epoch)


def _with(
    record: TopicRecord, partition: int, replicas: Replicas, adding: Replicas = (), removing: Replicas = ()
) -> TopicRecord:
    return replace(
        record,
        replicas={**record.replicas, partition: replicas},
        adding=_put(record.adding, partition, adding),
        removing=_put(record.removing, partition, removing),
    )


def _put(moving: Mapping[int, Replicas], partition: int, brokers: Replicas) -> dict[int, Replicas]:
    others = {number: ids for number, ids in moving.items() if number != partition}
    return others | {partition: brokers} if brokers else others


# -- who leads ------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Situation:
    """What a controller knows when it decides who leads."""

    live: Collection[int]
    caught_up: Collection[int] = ()
    """live replicas that count as in sync without their leader's word"""
    leaving: Collection[int] = ()
    """live, but about to shut down: they lead only what nobody else can"""
    unclean: bool = False
    """whether a replica out of sync may lead if no other is left, at the price of what it has missed"""


def decide(
    replicas: Replicas,
    state: PartitionState | None,
    situation: Situation,
    controller_epoch: int,
    *,
    preferred: bool = True,
) -> PartitionState | None:
    """The state a partition should have; None for a new one of which no replica lives.

    In this order: a dead leader is replaced, who has caught up is in sync again, the preferred leader leads
    again if it may (and `preferred` says so), and whoever is leaving gives up what others can take.
    """
    live, leaving = situation.live, situation.leaving
    staying = set(live) - set(leaving)
    if state is None:
        return first_state(replicas, staying, controller_epoch) or first_state(
            replicas, live, controller_epoch
        )
    new = after_failure(replicas, state, live, controller_epoch, unclean=situation.unclean)
    new = after_return(replicas, new, staying & set(situation.caught_up), controller_epoch)
    if preferred:
        new = to_preferred(replicas, new, staying, controller_epoch)
    if leaving:
        new = before_shutdown(replicas, new, live, leaving, controller_epoch)
    return _changed(state, new.leader, new.isr, controller_epoch)


def with_isr(
    replicas: Replicas, state: PartitionState, add: Collection[int], remove: Collection[int]
) -> PartitionState:
    """The state as its leader wants it: same leader, same epochs, some more or fewer in sync. The leader
    itself stays in sync, whatever it says."""
    kept = tuple(one for one in state.isr if one not in remove or one == state.leader)
    isr = (*kept, *(one for one in replicas if one in add and one not in kept))
    return state if isr == state.isr else replace(state, isr=isr)


def _changed(
    state: PartitionState, leader: int, isr: tuple[int, ...], controller_epoch: int
) -> PartitionState:
    if leader == state.leader and isr == state.isr:
        return state
    return replace(
        state, leader=leader, isr=isr, leader_epoch=state.leader_epoch + 1, controller_epoch=controller_epoch
    )
