"""What the leader is about to propose, and how much of it one batch takes.

Owns the bounds of a batch: `BATCH_REQUESTS_MAX` and `BATCH_BYTES_MAX`, which keep its record below what the
log takes. Knows nothing of what the requests mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container

from coord.limits import BATCH_BYTES_MAX, BATCH_REQUESTS_MAX
from coord.wire.ensemble import Batch, Request
from coord.zab.links import Link


class Submitted:
    """Requests since the last proposal, each with the link it came over (None: from this member)."""

    def __init__(self) -> None:
        self._runs: deque[tuple[Link | None, list[Request]]] = deque()  # never an empty one

    def __len__(self) -> int:
        return sum(len(requests) for _, requests in self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, requests: list[Request], link: Link | None = None) -> None:
        if self._runs and self._runs[-1][0] == link:
            self._runs[-1][1].extend(requests)
        elif requests:
            self._runs.append((link, list(requests)))

    def clear(self) -> None:
        self._runs.clear()

    def take(self, first_zxid: int, time_ms: int, links: Container[Link]) -> Batch | None:
        """The next batch; what came over links that are gone is thrown away (its member sends it again)."""
        runs = self._runs
        taken: list[Request] = []
        size = 0
        while runs and len(taken) < BATCH_REQUESTS_MAX and size < BATCH_BYTES_MAX:
            link, requests = runs.popleft()
            if link is not None and link not in links:
                continue
            count, more = _fitting(requests, BATCH_REQUESTS_MAX - len(taken), BATCH_BYTES_MAX - size)
            if not count and not taken:
                count, more = 1, BATCH_BYTES_MAX  # however large, and alone
            taken += requests[:count]
            size += more
            if count < len(requests):
                runs.appendleft((link, requests[count:]))
                break
        return Batch(first_zxid, time_ms, taken) if taken else None


def take_piece(requests: list[Request]) -> list[Request]:
    """The first of them, taken off, within the same bounds: a message to the leader is no larger than a
    record, whatever has gathered."""
    count, _ = _fitting(requests, BATCH_REQUESTS_MAX, BATCH_BYTES_MAX)
    piece = requests[: max(count, 1)]
    del requests[: len(piece)]
    return piece


def _fitting(requests: list[Request], count_max: int, bytes_max: int) -> tuple[int, int]:
    """How many of them, from the first on, are within the bounds, and how many bytes they have."""
    sizes = [len(body) for _, _, _, _, body in requests[:count_max]]
    total = sum(sizes)
    while total > bytes_max:
        total -= sizes.pop()
    return len(sizes), total
