"""Quorums: any two share a member, whatever the rule; and what a quorum has agreed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.zab.quorum import Hierarchical, Majority, Quorum, agreed

GROUPS = st.lists(st.integers(0, 3), min_size=1, max_size=9)  # the group of each member, 1, 2, …
WEIGHTS = st.lists(st.integers(0, 3), min_size=9, max_size=9)


def hierarchical(of_member: list[int], weights: list[int]) -> Hierarchical | None:
    groups: dict[int, list[int]] = {}
    for member, group in enumerate(of_member, start=1):
        groups.setdefault(group, []).append(member)
    if not sum(weights[: len(of_member)]):
        return None
    return Hierarchical(groups, dict(enumerate(weights, start=1)))


@given(st.integers(1, 9), st.sets(st.integers(1, 12)))
def test_two_majorities_share_a_member(members: int, some: set[int]) -> None:
    voters = set(range(1, members + 1))
    quorum = Majority(voters)
    assert not (quorum.reached(some) and quorum.reached(voters - some))
    assert quorum.reached(voters)
    assert not quorum.reached([])


@given(GROUPS, WEIGHTS, st.sets(st.integers(1, 12)))
def test_two_hierarchical_quorums_share_a_member(
    of_member: list[int], weights: list[int], some: set[int]
) -> None:
    quorum = hierarchical(of_member, weights)
    if quorum is None:
        return
    assert not (quorum.reached(some) and quorum.reached(quorum.voters - some))
    assert quorum.reached(quorum.voters)
    assert not quorum.reached([])


def test_groups_vote_by_weight() -> None:
    quorum = Hierarchical({1: [1, 2, 3], 2: [4, 5, 6], 3: [7, 8, 9]}, {})
    assert quorum.reached([1, 2, 4, 5])
    assert not quorum.reached([1, 2, 4, 7])
    assert not quorum.reached([1, 2, 3])
    heavy = Hierarchical({1: [1, 2, 3]}, {1: 3})
    assert heavy.reached([1])
    assert not heavy.reached([2, 3])


def test_members_and_groups_without_weight_do_not_count() -> None:
    quorum = Hierarchical({1: [1, 2], 2: [3], 3: [4]}, {2: 0, 4: 0})
    assert quorum.voters == {1, 2, 3, 4}
    assert quorum.reached([1, 3])
    assert not quorum.reached([1, 2, 4])
    with pytest.raises(AssertionError):
        Hierarchical({1: [1]}, {1: 0})


@pytest.mark.parametrize(
    "quorum", [*(Majority(range(1, n + 1)) for n in range(1, 8)), Hierarchical({1: [1, 2], 2: [3]}, {2: 2})]
)
@given(acknowledged=st.dictionaries(st.integers(1, 7), st.integers(0, 20)))
def test_agreed_is_what_a_naive_count_says(quorum: Quorum, acknowledged: dict[int, int]) -> None:
    def durable(zxid: int) -> bool:
        return quorum.reached([member for member in range(1, 8) if acknowledged.get(member, 0) >= zxid])

    naive = max([0, *(zxid for zxid in acknowledged.values() if durable(zxid))])
    assert agreed(quorum, acknowledged) == naive
