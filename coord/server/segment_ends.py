"""Where the log's segments end, and what the state was there.

Owns when a segment is long enough (`snapCount`, `snapSizeLimitInKb`), and the zxids at which the digest of
the live state is wanted: a snapshot is made of each closed segment, and must come to the same digest. Knows
neither files nor znodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from coord.config import Config
from coord.state.machine import Machine
from coord.wire.ensemble import Batch


class SegmentEnds:
    def __init__(self, config: Config, history: Iterable[Batch]) -> None:
        """`history` is what the log holds beyond the newest snapshot."""
        self._entries_max = config.snap_count
        self._bytes_max = config.snap_size_limit_kb * 1024
        self._entries = self._bytes = 0  # since the last end
        self._last_zxid = 0
        self._wanted: deque[int] = deque()
        self.digests: deque[tuple[int, int]] = deque()
        """(zxid, digest of the live state there) at the end of each log segment: a snapshot is due"""
        for batch in history:
            self.logged(batch, sum(len(body) for *_, body in batch.requests))

    def logged(self, batch: Batch, size: int) -> None:
        self._last_zxid = batch.last_zxid
        self._entries += len(batch)
        self._bytes += size

    def truncated(self, zxid: int) -> None:
        """The log ends at `zxid` again."""
        self._last_zxid = zxid
        while self._wanted and self._wanted[-1] > zxid:
            self._wanted.pop()

    def installed(self, zxid: int) -> None:
        """The state at `zxid` has taken the place of the log."""
        self._last_zxid = zxid
        self._wanted.clear()
        self._entries = self._bytes = 0

    def applied(self, machine: Machine) -> None:
        """A batch, by `machine`, whose digest is asked for only where it is wanted."""
        # A segment may have ended where nothing is applied any more: at the zxid of a snapshot.
        while self._wanted and self._wanted[0] <= machine.zxid:
            zxid = self._wanted.popleft()
            if zxid == machine.zxid:
                self.digests.append((zxid, machine.digest))

    def take(self, durable_zxid: int) -> Iterator[tuple[int, int]]:
        """The ends whose segments this member's own disk has; a batch may be applied before that."""
        while self.digests and self.digests[0][0] <= durable_zxid:
            yield self.digests.popleft()

    def due(self) -> bool:
        """Is the segment long enough? Ask right after work was taken: a True is to be obeyed."""
        too_large = 0 < self._bytes_max <= self._bytes
        if self._entries < self._entries_max and not too_large:
            return False
        self._entries = self._bytes = 0
        self._wanted.append(self._last_zxid)
        return True
