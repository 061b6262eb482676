"""The rules by which partitions get their leaders."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.kafka import NO_LEADER, PartitionState, TopicRecord
from recipes.partitions import (
    Situation,
    after_failure,
    after_return,
    assign,
    before_shutdown,
    begin_move,
    decide,
    end_move,
    first_state,
    offline_leader,
    preferred_leader,
    reassigned_leader,
    shutdown_leader,
    target_of,
    to_preferred,
    with_isr,
)


def test_assignment_goes_round() -> None:
    assert assign([3, 1, 2], partitions=7, replication=2) == {
        0: (1, 2),
        1: (2, 3),
        2: (3, 1),
        3: (1, 3),
        4: (2, 1),
        5: (3, 2),
        6: (1, 2),
    }
    assert assign([5], partitions=2, replication=1) == {0: (5,), 1: (5,)}


@pytest.mark.parametrize("replication", [0, 4])
def test_too_few_brokers(replication: int) -> None:
    with pytest.raises(ValueError, match="replication"):
        assign([1, 2, 3], partitions=1, replication=replication)


@settings(deadline=None)
@given(st.sets(st.integers(0, 99), min_size=1, max_size=7), st.integers(1, 40), st.integers(0, 9), st.data())
def test_assignment_is_even(brokers: set[int], partitions: int, start: int, data: st.DataObject) -> None:
    replication = data.draw(st.integers(1, len(brokers)))
    assignment = assign(brokers, partitions=partitions, replication=replication, start=start)
    assert list(assignment) == list(range(partitions))
    assert all(len(set(replicas)) == replication for replicas in assignment.values())
    leaders = Counter(replicas[0] for replicas in assignment.values())
    assert max(leaders.values()) - min(leaders[broker] for broker in brokers) <= 1


def test_new_partitions_go_on_where_the_old_ones_ended() -> None:
    all_at_once = assign([1, 2, 3], partitions=7, replication=2)
    later = assign([1, 2, 3], partitions=3, replication=2, first=4)
    assert later == {number: all_at_once[number] for number in (4, 5, 6)}


def test_racks_alternate() -> None:
    racks = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
    assert assign(racks, partitions=6, replication=3, racks=racks) == {
        0: (1, 3, 5),
        1: (3, 2, 6),
        2: (5, 4, 1),
        3: (2, 4, 6),
        4: (4, 1, 5),
        5: (6, 3, 2),
    }


def test_racks_are_known_of_all_brokers_or_none() -> None:
    assert assign([1, 2], partitions=1, replication=2, racks={1: None, 2: None}) == {0: (1, 2)}
    with pytest.raises(ValueError, match=r"racks of brokers \[2\]"):
        assign([1, 2], partitions=1, replication=2, racks={1: "a", 2: None})


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 99), st.sampled_from("abcd"), min_size=1, max_size=9),
    st.integers(1, 40),
    st.integers(0, 9),
    st.data(),
)
def test_replicas_are_on_as_many_racks_as_possible(
    racks: dict[int, str], partitions: int, start: int, data: st.DataObject
) -> None:
    replication = data.draw(st.integers(1, len(racks)))
    assignment = assign(racks, partitions=partitions, replication=replication, racks=racks, start=start)
    assert list(assignment) == list(range(partitions))
    sizes = Counter(racks.values())
    for replicas in assignment.values():
        assert len(set(replicas)) == len(replicas) == replication
        used = Counter(racks[broker] for broker in replicas)
        assert len(used) == min(replication, len(sizes))
        # A rack has one more than another only because that one has no broker left.
        roomy = [used[rack] for rack in sizes if used[rack] < sizes[rack]]
        assert not roomy or max(used.values()) <= min(roomy) + 1
    leaders = Counter(replicas[0] for replicas in assignment.values())
    assert max(leaders.values()) - min(leaders[broker] for broker in racks) <= 1
    load = Counter(broker for replicas in assignment.values() for broker in replicas)
    for rack in sizes:  # and within a rack nobody has much more than another
        loads = [load[broker] for broker in racks if racks[broker] == rack]
        assert max(loads) - min(loads) <= 2


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 40), st.data())
def test_with_racks_of_one_size_everybody_has_as_much(
    racks: int, size: int, partitions: int, data: st.DataObject
) -> None:
    brokers = {number: str(number % racks) for number in range(racks * size)}
    replication = data.draw(st.integers(1, len(brokers)))
    assignment = assign(brokers, partitions=partitions, replication=replication, racks=brokers)
    load = Counter(broker for replicas in assignment.values() for broker in replicas)
    assert max(load.values()) - min(load[broker] for broker in brokers) <= 2


@pytest.mark.parametrize(
    ("isr", "live", "unclean", "leader"),
    [
        ({1, 2, 3}, {1, 2, 3}, False, 1),
        ({1, 2, 3}, {2, 3}, False, 2),
        ({1, 3}, {2, 3}, False, 3),
        ({1}, {2, 3}, False, None),
        ({1}, {2, 3}, True, 2),
        ({1}, set(), True, None),
    ],
)
def test_offline_election(isr: set[int], live: set[int], unclean: bool, leader: int | None) -> None:
    assert offline_leader((1, 2, 3), isr, live, unclean=unclean) == leader


def test_preferred_reassigned_and_shutdown_elections() -> None:
    assert preferred_leader((1, 2), {1, 2}, {1, 2}) == 1
    assert preferred_leader((1, 2), {2}, {1, 2}) is None
    assert preferred_leader((1, 2), {1, 2}, {2}) is None
    assert preferred_leader((), {1}, {1}) is None
    assert reassigned_leader((4, 5), {1, 5}, {1, 4, 5}) == 5
    assert shutdown_leader((1, 2, 3), {1, 2, 3}, {1, 2, 3}, {1, 2}) == 3
    assert shutdown_leader((1, 2), {1, 2}, {1, 2}, {1, 2}) is None


def test_a_new_partition_is_led_by_its_first_live_replica() -> None:
    assert first_state((1, 2, 3), {2, 3}, 9) == PartitionState(2, 0, 9, (2, 3))
    assert first_state((1,), {2}, 9) is None


def test_failure_and_return() -> None:
    replicas, state = (1, 2, 3), PartitionState(1, 0, 1, (1, 2, 3))
    state = after_failure(replicas, state, {2, 3}, 1)
    assert state == PartitionState(2, 1, 1, (2, 3))
    state = after_failure(replicas, state, {3}, 2)
    assert state == PartitionState(3, 2, 2, (3,))
    state = after_failure(replicas, state, set(), 2)
    assert state == PartitionState(NO_LEADER, 3, 2, (3,))
    # 1 and 2 are back, but what 3 had last nobody else has.
    assert after_return(replicas, state, {1, 2}, 2) is state
    assert after_failure(replicas, state, {1, 2}, 2) is state
    assert after_failure(replicas, state, {1, 2}, 2, unclean=True) == PartitionState(1, 4, 2, (1,))
    state = after_failure(replicas, state, {1, 2, 3}, 2)
    assert state == PartitionState(3, 4, 2, (3,))
    state = after_return(replicas, state, {1, 2, 3}, 2)
    assert state == PartitionState(3, 5, 2, (3, 1, 2))
    state = to_preferred(replicas, state, {1, 2, 3}, 2)
    assert state == PartitionState(1, 6, 2, (3, 1, 2))
    assert to_preferred(replicas, state, {1, 2, 3}, 2) is state


def test_a_shutdown_in_good_order() -> None:
    replicas, state = (1, 2), PartitionState(1, 0, 1, (1, 2))
    moved = before_shutdown(replicas, state, {1, 2}, {1}, 1)
    assert moved == PartitionState(2, 1, 1, (2,))
    assert before_shutdown(replicas, moved, {1, 2}, {1, 2}, 1) is moved
    assert before_shutdown(replicas, state, {1, 2}, {2}, 1) == PartitionState(1, 1, 1, (1,))


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(1, 4)), min_size=1, max_size=12), st.booleans())
def test_whatever_happens_a_leader_is_live_and_nothing_is_lost(steps: list[set[int]], unclean: bool) -> None:
    replicas = (1, 2, 3)
    state = PartitionState(1, 0, 1, (1, 2, 3))
    for live in steps:
        before = state
        state = after_failure(replicas, state, live, 1, unclean=unclean)
        assert state.leader == NO_LEADER or (state.leader in live and state.leader in state.isr)
        assert state.isr
        if not unclean:
            assert set(state.isr) <= set(before.isr)  # nobody is called in sync who was not
        state = after_return(replicas, state, live, 1)
        state = to_preferred(replicas, state, live, 1)
        assert (state.leader_epoch > before.leader_epoch) == (state is not before)
        if state.leader == NO_LEADER:
            assert not live & set(state.isr)


# -- deciding, and moving -----------------------------------------------------------------------------------


def test_one_decision_is_one_leader_epoch() -> None:
    state = PartitionState(2, 5, 1, (2,))
    back = Situation(live={1, 2}, caught_up={1, 2})
    assert decide((1, 2), state, back, 3) == PartitionState(1, 6, 3, (2, 1))
    assert decide((1, 2), state, back, 3, preferred=False) == PartitionState(2, 6, 3, (2, 1))
    assert decide((1, 2), state, Situation(live={1, 2}), 3) is state


def test_who_is_leaving_leads_only_what_nobody_else_can() -> None:
    leaving = Situation(live={1, 2}, caught_up={1, 2}, leaving={1})
    state = PartitionState(1, 0, 1, (1, 2))
    moved = PartitionState(2, 1, 1, (2,))
    assert decide((1, 2), state, leaving, 1) == moved
    assert decide((1, 2), moved, leaving, 1) is moved  # and it does not come back
    alone = PartitionState(1, 0, 1, (1,))
    assert decide((1, 2), alone, Situation(live={1, 2}, leaving={1}), 1) is alone
    assert decide((1, 2), None, leaving, 1) == PartitionState(2, 0, 1, (2,))
    assert decide((1,), None, leaving, 1) == PartitionState(1, 0, 1, (1,))


def test_a_leader_changes_the_isr_and_nothing_else() -> None:
    state = PartitionState(1, 4, 2, (1, 2))
    assert with_isr((3, 1, 2), state, {3, 9}, {2}) == PartitionState(1, 4, 2, (1, 3))
    assert with_isr((3, 1, 2), state, {2}, {1}) is state


def test_a_move_ends_when_all_the_new_replicas_are_in_sync() -> None:
    record = begin_move(TopicRecord({0: (1, 2), 1: (2, 1)}, topic_id="x"), 0, (3, 2))
    assert record == TopicRecord({0: (3, 2, 1), 1: (2, 1)}, {0: (3,)}, {0: (1,)}, "x")
    assert (record.reassigning, target_of(record, 0)) == (frozenset({0}), (3, 2))
    state = PartitionState(1, 7, 1, (1, 2))
    assert end_move(record, 0, state, {1, 2, 3}, 2) is None
    state = PartitionState(1, 7, 1, (1, 2, 3))
    assert end_move(record, 0, state, set(), 2) is None
    ended = TopicRecord({0: (3, 2), 1: (2, 1)}, topic_id="x")
    assert end_move(record, 0, state, {2, 3}, 2) == (ended, PartitionState(3, 8, 2, (2, 3)))


def test_a_move_may_be_replaced_by_another_and_turned_back() -> None:
    record = begin_move(TopicRecord({0: (1, 2)}), 0, (3, 4))
    other = begin_move(record, 0, (5, 2))
    assert other == TopicRecord({0: (5, 2, 3, 4, 1)}, {0: (5,)}, {0: (3, 4, 1)})
    back = begin_move(record, 0, (1, 2))
    assert back == TopicRecord({0: (1, 2, 3, 4)}, {}, {0: (3, 4)})
    state = PartitionState(1, 0, 1, (1, 2, 3))
    assert end_move(back, 0, state, {1, 2}, 1) == (TopicRecord({0: (1, 2)}), PartitionState(1, 1, 1, (1, 2)))


brokers = st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True).map(tuple)


@settings(deadline=None)
@given(brokers, st.lists(brokers, min_size=1, max_size=4), st.data())
def test_wherever_it_moves_the_leader_stays_a_replica(
    first: tuple[int, ...], targets: list[tuple[int, ...]], data: st.DataObject
) -> None:
    record = TopicRecord({0: first})
    state = first_state(first, first, 1)
    assert state is not None
    for target in targets:
        record = begin_move(record, 0, target)
        assert set(state.isr) <= set(record.replicas[0])  # nobody in sync is forgotten
        assert target_of(record, 0) == target
        state = with_isr(record.replicas[0], state, data.draw(st.sets(st.integers(1, 6))), ())
    state = with_isr(record.replicas[0], state, target, ())
    ended = end_move(record, 0, state, record.replicas[0], 2)
    assert ended is not None
    record, state = ended
    assert record == TopicRecord({0: target})
    assert state.leader in state.isr
    assert set(state.isr) == set(target)
