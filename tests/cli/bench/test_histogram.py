"""The histogram against sorted lists."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.bench.histogram import (
    BUCKETS,
    DURATION_MAX,
    PRECISION_BITS,
    Histogram,
    bucket_of,
    limits_of,
)

durations = st.one_of(
    st.integers(0, 1000),
    st.integers(0, DURATION_MAX),
    st.integers(0, 42).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), (1 << bits) + 2)),
)
recorded = st.lists(st.tuples(durations, st.integers(1, 5)), min_size=1, max_size=60)
percents = st.one_of(st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 100.0]), st.floats(0, 100))


def of(entries: list[tuple[int, int]]) -> Histogram:
    histogram = Histogram()
    for duration, times in entries:
        histogram.record(duration, times)
    return histogram


def spelled_out(entries: list[tuple[int, int]]) -> list[int]:
    return sorted(duration for duration, times in entries for _ in range(times))


@given(durations)
def test_a_bucket_has_what_is_in_it_and_is_narrow(duration: int) -> None:
    least, greatest = limits_of(bucket_of(duration))
    assert least <= duration <= greatest
    assert (greatest - least) << PRECISION_BITS <= least


def test_buckets_follow_each_other_without_a_gap() -> None:
    assert limits_of(0) == (0, 0)
    for bucket in range(1, BUCKETS):
        assert limits_of(bucket)[0] == limits_of(bucket - 1)[1] + 1
    assert limits_of(BUCKETS - 1)[1] == DURATION_MAX


@given(recorded, percents)
def test_a_percentile_is_that_of_the_sorted_list_to_one_part_in_128(
    entries: list[tuple[int, int]], percent: float
) -> None:
    everything = spelled_out(entries)
    rank = max(1, ceil(round(len(everything) * percent / 100, 6)))
    true = everything[rank - 1]
    found = of(entries).percentile(percent)
    assert true <= found <= true + (true >> PRECISION_BITS)


@given(recorded)
def test_count_extremes_and_mean_are_exact(entries: list[tuple[int, int]]) -> None:
    everything, histogram = spelled_out(entries), of(entries)
    assert (histogram.count, histogram.least, histogram.most) == (
        len(everything),
        everything[0],
        everything[-1],
    )
    assert histogram.mean == sum(everything) / len(everything)
    assert histogram.percentile(100) == everything[-1]
    assert sum(bucket.times for bucket in histogram.buckets()) == len(everything)


@given(recorded, recorded, percents)
def test_two_added_are_one_of_everything(
    some: list[tuple[int, int]], others: list[tuple[int, int]], percent: float
) -> None:
    added, whole = of(some), of(some + others)
    added.add(of(others))
    added.add(Histogram())
    assert list(added.buckets()) == list(whole.buckets())
    assert (added.count, added.total, added.least, added.most) == (
        whole.count,
        whole.total,
        whole.least,
        whole.most,
    )
    assert added.percentile(percent) == whole.percentile(percent)


def test_what_is_too_long_is_in_the_last_bucket_and_its_length_is_kept() -> None:
    histogram = of([(10 * DURATION_MAX, 1), (1, 1)])
    assert [bucket.times for bucket in histogram.buckets()] == [1, 1]
    assert histogram.most == 10 * DURATION_MAX
    assert list(histogram.buckets())[-1].greatest == DURATION_MAX


def test_nothing_recorded() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.mean, histogram.percentile(50), list(histogram.buckets())) == (
        0,
        0.0,
        0,
        [],
    )


def test_no_clock_gives_a_negative_duration() -> None:
    with pytest.raises(IndexError):
        Histogram().record(-1)
