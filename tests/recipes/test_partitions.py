"""The rules by which partitions get their leaders."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.kafka import NO_LEADER, PartitionState
from recipes.partitions import (
    after_failure,
    after_return,
    assign,
    before_shutdown,
    first_state,
    offline_leader,
    preferred_leader,
    reassigned_leader,
    shutdown_leader,
    to_preferred,
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


@given(st.sets(st.integers(0, 99), min_size=1, max_size=7), st.integers(1, 40), st.integers(0, 9), st.data())
def test_assignment_is_even(brokers: set[int], partitions: int, start: int, data: st.DataObject) -> None:
    replication = data.draw(st.integers(1, len(brokers)))
    assignment = assign(brokers, partitions=partitions, replication=replication, start=start)
    assert list(assignment) == list(range(partitions))
    assert all(len(set(replicas)) == replication for replicas in assignment.values())
    leaders = Counter(replicas[0] for replicas in assignment.values())
    assert max(leaders.values()) - min(leaders[broker] for broker in brokers) <= 1


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
    assert offline_leader([1, 2, 3], isr, live, unclean=unclean) == leader


def test_preferred_reassigned_and_shutdown_elections() -> None:
    assert preferred_leader([1, 2], {1, 2}, {1, 2}) == 1
    assert preferred_leader([1, 2], {2}, {1, 2}) is None
    assert preferred_leader([1, 2], {1, 2}, {2}) is None
    assert preferred_leader([], {1}, {1}) is None
    assert reassigned_leader([4, 5], {1, 5}, {1, 4, 5}) == 5
    assert shutdown_leader([1, 2, 3], {1, 2, 3}, {1, 2, 3}, {1, 2}) == 3
    assert shutdown_leader([1, 2], {1, 2}, {1, 2}, {1, 2}) is None


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
