"""History: contiguity, where two histories part, truncation, snapshots, and what stays in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.wire.members import Proposal
from coord.zab.history import History, epoch_of, follows


def zxid(epoch: int, counter: int) -> int:
    return epoch << 32 | counter


def one(epoch: int, counter: int, payload: bytes = b"x") -> Proposal:
    return Proposal(zxid(epoch, counter), zxid(epoch, counter), payload)


@pytest.mark.parametrize(
    ("previous", "after", "expected"),
    [
        ((0, 0), (1, 1), True),
        ((1, 1), (1, 2), True),
        ((1, 1), (1, 3), False),
        ((1, 9), (2, 1), True),
        ((1, 9), (3, 1), True),
        ((1, 9), (2, 2), False),
        ((2, 9), (1, 1), False),
    ],
)
def test_what_may_follow(previous: tuple[int, int], after: tuple[int, int], expected: bool) -> None:
    assert follows(zxid(*previous), zxid(*after)) is expected


def test_it_moves_forward_only() -> None:
    history = History(0)
    history.append(Proposal(zxid(1, 1), zxid(1, 5), b""))
    with pytest.raises(AssertionError):
        history.commit(zxid(1, 6))
    history.commit(zxid(1, 5))
    history.commit(zxid(1, 2))
    assert history.committed == zxid(1, 5)


def test_what_is_committed_is_not_truncated() -> None:
    history = History(0)
    history.append(one(1, 1))
    history.append(one(1, 2))
    history.commit(zxid(1, 2))
    with pytest.raises(AssertionError, match="committed"):
        history.truncate(zxid(1, 1))


@pytest.mark.parametrize(
    ("mine", "theirs", "common"),
    [
        ([(0, 0)], [(0, 0)], (0, 0)),
        ([(1, 5)], [(0, 0)], (0, 0)),
        ([(1, 5)], [(1, 3)], (1, 3)),
        ([(1, 5)], [(1, 7)], (1, 5)),
        ([(1, 5), (2, 2)], [(1, 7)], (1, 5)),
        ([(1, 5), (3, 2)], [(1, 4), (2, 9)], (1, 4)),
        ([(1, 5), (3, 2)], [(1, 5), (3, 4), (4, 1)], (3, 2)),
        ([(7, 73), (8, 1)], [(7, 74)], (7, 73)),
    ],
)
def test_where_two_histories_part(
    mine: list[tuple[int, int]], theirs: list[tuple[int, int]], common: tuple[int, int]
) -> None:
    ends = [zxid(*end) for end in mine]
    assert History(ends[-1], ends).common(zxid(*end) for end in theirs) == zxid(*common)


def test_before_its_base_nothing_is_known() -> None:
    history = History(zxid(3, 4), [zxid(3, 1), zxid(3, 4)][-1:], base=zxid(3, 1))
    assert history.common([zxid(2, 5)]) is None
    assert history.common([zxid(2, 5), zxid(3, 2)]) == zxid(3, 2)


STEPS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), max_size=4)
"""(epochs skipped, proposals)"""


@given(STEPS, STEPS, STEPS)
def test_common_is_the_longest_common_beginning(
    shared: list[tuple[int, int]], left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    """Epochs are led by one member each: those of the branches are different ones (odd and even)."""

    def grown(history: History, steps: list[tuple[int, int]], odd: int) -> None:
        for gap, count in steps:
            epoch = (epoch_of(history.logged) // 2 + gap) * 2 + odd
            for counter in range(1, count + 1):
                history.append(one(epoch, counter))

    mine, theirs, both = History(0), History(0), History(0)
    for history in (mine, theirs, both):
        grown(history, shared, 0)
    grown(mine, left, 1)
    grown(theirs, [(gap + 2, count) for gap, count in right], 0)
    assert mine.common(theirs.ends) == theirs.common(mine.ends) == both.logged


def test_ends_follow_append_and_truncate() -> None:
    history = History(0)
    for proposal in (one(1, 1), one(1, 2), one(3, 1), one(3, 2)):
        history.append(proposal)
    assert list(history.ends) == [0, zxid(1, 2), zxid(3, 2)]
    history.truncate(zxid(3, 1))
    assert list(history.ends) == [0, zxid(1, 2), zxid(3, 1)]
    history.truncate(zxid(1, 1))
    assert list(history.ends) == [0, zxid(1, 1)]
    history.append(one(4, 1))
    assert list(history.ends) == [0, zxid(1, 1), zxid(4, 1)]


def test_a_snapshot_begins_it_again() -> None:
    history = History(0)
    history.append(one(1, 1))
    history.persisted(zxid(1, 1))
    history.install(zxid(5, 3))
    assert {history.base, history.logged, history.committed} == {zxid(5, 3)}
    assert history.durable == zxid(1, 1), "until the disk has it"
    assert history.ends == (zxid(5, 3),)
    assert list(history.since(zxid(5, 3))) == []


def test_recent_proposals_stay_in_memory_up_to_a_size() -> None:
    history = History(0, recent_bytes=10)
    for counter in range(1, 8):
        history.append(one(1, counter, b"four"))
    history.commit(zxid(1, 7))
    assert history.recent_after == zxid(1, 5)
    assert [proposal.first_zxid for proposal in history.since(zxid(1, 5))] == [zxid(1, 6), zxid(1, 7)]
    with pytest.raises(AssertionError):
        list(history.since(zxid(1, 4)))


def test_what_is_not_committed_stays_in_memory_whatever_its_size() -> None:
    history = History(0, recent_bytes=10)
    for counter in range(1, 8):
        history.append(one(1, counter, b"four"))
    assert history.recent_after == 0
    history.commit(zxid(1, 3))
    assert history.recent_after == zxid(1, 3)


def test_one_large_proposal_stays_in_memory_whatever_its_size() -> None:
    history = History(0, recent_bytes=10)
    history.append(one(1, 1, bytes(100)))
    assert history.recent_after == 0


def test_truncation_reaches_what_is_no_longer_in_memory() -> None:
    history = History(0, recent_bytes=10)
    for counter in range(1, 8):
        history.append(one(1, counter, b"four"))
        history.commit(zxid(1, min(counter, 5)))
    assert history.recent_after == zxid(1, 5)
    history.truncate(zxid(1, 5))
    history.append(one(2, 1))
    assert [proposal.first_zxid for proposal in history.since(zxid(1, 5))] == [zxid(2, 1)]
