"""What a load has measured: latencies and errors, by operation.

Owns what is counted, and the names of errors. Pure; `report` says how it looks.

Rule that holds here: an error is counted under its kind, and its latency is not among those of replies that
bring what was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from coord.cli.bench.histogram import Histogram
from coord.errors import ErrorCode

LOST: Final = "connection lost"
UNANSWERED: Final = "no answer"
OUT_OF_ORDER: Final = "reply out of order"
CONNECTION_ERRORS: Final = (LOST, UNANSWERED, OUT_OF_ORDER)
"""What is no server's answer."""


def kind_of(code: int) -> str:
    """What an error of the protocol is called, e.g. ``no node``."""
    try:
        return ErrorCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"error {code}"


@dataclass
class Count:
    """One operation's."""

    latencies: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.errors.total()

    def add(self, other: Count) -> None:
        self.latencies.add(other.latencies)
        self.errors.update(other.errors)


class Tally:
    """A `Count` of each of `names`, in their order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.counts = [Count() for _ in self.names]

    @property
    def done(self) -> int:
        """Requests that were answered, or are known not to be."""
        return sum(one.latencies.count + one.failed for one in self.counts)

    def replied(self, operations: bytes, latency_ns: int) -> None:
        """Requests of these operations (by their places in `names`) had their replies after so long."""
        if len(self.counts) == 1:
            self.counts[0].latencies.record(latency_ns, len(operations))
            return
        for place, count in enumerate(self.counts):
            if times := operations.count(place):
                count.latencies.record(latency_ns, times)

    def failed(self, operations: bytes, kind: str) -> None:
        for place, count in enumerate(self.counts):
            if times := operations.count(place):
                count.errors[kind] += times

    def together(self) -> Count:
        whole = Count()
        for count in self.counts:
            whole.add(count)
        return whole
