"""What the leader is about to propose, and how much of it one batch takes.

Owns the bounds of a batch: `BATCH_REQUESTS_MAX` and `BATCH_BYTES_MAX`, which keep its record below what the
log takes. Knows nothing of what the requests mean.
"""

from __future__ import annotations

from collections.abc import Container

from coord.limits import BATCH_BYTES_MAX, BATCH_REQUESTS_MAX
from coord.server.pending import Request
from coord.wire.ensemble import Batch
from coord.zab.links import Link


class Submitted:
    """Requests since the last proposal, each with the link it came over (None: from this member)."""

    def __init__(self) -> None:
        self._rows: list[tuple[Link | None, Request]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, request: Request, link: Link | None = None) -> None:
        self._rows.append((link, request))

    def clear(self) -> None:
        self._rows.clear()

    def take(self, first_zxid: int, time_ms: int, links: Container[Link]) -> Batch | None:
        """The next batch; what came over links that are gone is thrown away (its member sends it again)."""
        if any(link is not None and link not in links for link, _ in self._rows):
            self._rows = [row for row in self._rows if row[0] is None or row[0] in links]
        count = self._fitting()
        if not count:
            return None
        requests = [request for _, request in self._rows[:count]]
        del self._rows[:count]
        return Batch(
            first_zxid,
            time_ms,
            [(request.session_id, request.number, request.op) for request in requests],
            [request.identities for request in requests],
            [request.body for request in requests],
        )

    def _fitting(self) -> int:
        """How many of them, from the first on, one batch may hold: one at least, however large."""
        size = 0
        for count, (_, request) in enumerate(self._rows[:BATCH_REQUESTS_MAX]):
            size += len(request.body)
            if size > BATCH_BYTES_MAX:
                return max(1, count)
        return min(len(self._rows), BATCH_REQUESTS_MAX)
