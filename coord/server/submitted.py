"""What was submitted since the last proposal, and how much of it one batch takes.

Owns the bounds of a batch: `BATCH_REQUESTS_MAX` and `BATCH_BYTES_MAX`, which keep its record below what the
log takes. Knows nothing of what the requests mean.
"""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, NamedTuple

from coord.limits import BATCH_BYTES_MAX, BATCH_REQUESTS_MAX
from coord.wire.ensemble import Identities

if TYPE_CHECKING:
    from coord.server.connection import Connection


class Submitted(NamedTuple):
    """Requests gathered since the last proposal, as the columns of the batch to come."""

    heads: list[tuple[int, int, int]]
    identities: list[Identities]
    bodies: list[bytes]
    origins: list[Connection | None]

    @classmethod
    def none(cls) -> Submitted:
        return cls([], [], [], [])

    def fitting(self) -> int:
        """How many of them, from the first on, one batch may hold: one at least, however large."""
        first = self.bodies[:BATCH_REQUESTS_MAX]
        if sum(map(len, first)) <= BATCH_BYTES_MAX:
            return len(first)
        ends = accumulate(map(len, first))
        return max(1, sum(1 for _ in takewhile(lambda end: end <= BATCH_BYTES_MAX, ends)))

    def split(self, count: int) -> tuple[Submitted, Submitted]:
        heads, identities, bodies, origins = self
        return (
            Submitted(heads[:count], identities[:count], bodies[:count], origins[:count]),
            Submitted(heads[count:], identities[count:], bodies[count:], origins[count:]),
        )
