"""A histogram of latencies with a bounded error and a bounded size, after Gil Tene's HdrHistogram.

Owns how durations fall into buckets, and percentiles. Pure; knows neither clocks nor what was measured.

Rules that hold here:

- Durations are integers, in nanoseconds. Below 256 each has a bucket of its own; above, each doubling is cut
  into 128 buckets of the same width: a bucket is never wider than 1/128 (0.8 %) of what is in it.
- A percentile is never less than the true one of what was recorded, and more by 1/128 of it at most. Least,
  most, mean and count are exact.
- However much is recorded, there are at most `BUCKETS` counters. What exceeds the last one is counted in it.

Synopsis::

    histogram = Histogram()
    histogram.record(1_250_000, times=3)
    histogram.percentile(99.9)
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final, NamedTuple

PRECISION_BITS: Final = 7
_CUTS: Final = 1 << PRECISION_BITS
DURATION_MAX: Final = (1 << 43) - 1
"""2.4 hours; longer ones fall into the same bucket."""


def bucket_of(duration: int) -> int:
    """The number of the bucket that the duration is in; buckets are in the order of durations."""
    shift = duration.bit_length() - PRECISION_BITS - 1
    return duration if shift <= 0 else (shift << PRECISION_BITS) + (duration >> shift)


def limits_of(bucket: int) -> tuple[int, int]:
    """The least and the greatest duration that are in the bucket."""
    if bucket < 2 * _CUTS:
        return bucket, bucket
    shift = (bucket >> PRECISION_BITS) - 1
    least = (bucket - (shift << PRECISION_BITS)) << shift
    return least, least + (1 << shift) - 1


BUCKETS: Final = bucket_of(DURATION_MAX) + 1


class Bucket(NamedTuple):
    least: int
    greatest: int
    times: int
    """how many of them were recorded"""


class Histogram:
    """`count` durations: `least` and `most` of them (0 if there is none), `total` their sum."""

    __slots__ = ("_counts", "count", "least", "most", "total")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0

    def record(self, duration: int, times: int = 1) -> None:
        """The same duration, `times` times. Negative ones, which no clock gives, raise `IndexError`."""
        shift = duration.bit_length() - PRECISION_BITS - 1
        if shift <= 0:
            bucket = duration
        else:
            bucket = (shift << PRECISION_BITS) + (duration >> shift)
        if duration < 0:
            raise IndexError(f"a duration of {duration} ns")
        self._counts[bucket if bucket < BUCKETS else BUCKETS - 1] += times
        if duration > self.most:
            self.most = duration
        if duration < self.least or not self.count:
            self.least = duration
        self.count += times
        self.total += duration * times

    def add(self, other: Histogram) -> None:
        """All that the other one has."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        self._counts = [mine + its for mine, its in zip(self._counts, other._counts, strict=True)]

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """A duration that `percent` of what was recorded does not exceed; 0 if nothing was."""
        wanted = max(1, ceil(round(self.count * percent / 100, 6)))
        seen = 0
        for bucket in self.buckets():
            seen += bucket.times
            if seen >= wanted:
                return min(bucket.greatest, self.most)
        return self.most

    def buckets(self) -> Iterator[Bucket]:
        """Those in which there is something, shortest durations first."""
        for number, count in enumerate(self._counts):
            if count:
                yield Bucket(*limits_of(number), count)
