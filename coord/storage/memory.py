"""A log without a disk: `journal.Journal` in memory, for embedded servers and simulations.

Keeps the disk log's distinctions — appended is not durable before `sync`, only closed segments are purged —
so that code which forgets one of them fails here too. `crash()` forgets what was not durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from coord.storage.files import StorageDamaged
from coord.storage.journal import Segment, check_record

_PLACE = Path("memory")


class MemoryLog:
    """`after_zxid`: where the log begins, e.g. the zxid of the snapshot that the state was restored from."""

    def __init__(self, *, after_zxid: int = 0) -> None:
        self.last_zxid = after_zxid
        self.dropped: str | None = None
        self._after_zxid = after_zxid
        self._records: list[tuple[int, int, bytes]] = []
        self._durable = 0
        self._rolled: list[int] = []
        """zxids at which a segment was closed"""

    def records(self, after_zxid: int) -> Iterator[tuple[int, int, bytes]]:
        """As `Log.records`, and as strict about a gap."""
        durable = self._records[: self._durable]
        kept = [record for record in durable if record[1] > after_zxid]
        if kept and kept[0][0] > after_zxid:
            index = len(durable) - len(kept)
            previous = durable[index - 1][1] if index else self._after_zxid
            if previous != after_zxid:
                raise StorageDamaged(_PLACE, 0, f"nothing in the log follows zxid {after_zxid:#x}")
        return iter(kept)

    def append(self, first_zxid: int, last_zxid: int, payload: bytes) -> None:
        check_record(self.last_zxid, first_zxid, last_zxid, payload)
        self._records.append((first_zxid, last_zxid, payload))
        self.last_zxid = last_zxid

    def sync(self) -> None:
        self._durable = len(self._records)

    def roll(self) -> None:
        self.sync()
        if self._records and self.last_zxid not in self._rolled:
            self._rolled.append(self.last_zxid)

    def truncate(self, after_zxid: int) -> None:
        if self.last_zxid <= after_zxid:
            return
        self.roll()
        if after_zxid < self._after_zxid:
            raise ValueError(f"the log begins after zxid {self._after_zxid:#x}")
        if any(first <= after_zxid < last for first, last, _ in self._records):
            raise ValueError(f"zxid {after_zxid:#x} is inside a record, not at its end")
        self._records = [record for record in self._records if record[1] <= after_zxid]
        self.last_zxid = self._records[-1][1] if self._records else self._after_zxid
        self._rolled = [zxid for zxid in self._rolled if zxid < self.last_zxid]
        if self._records:
            self._rolled.append(self.last_zxid)
        self._durable = len(self._records)

    def clear(self, after_zxid: int) -> None:
        self._records, self._rolled, self._durable = [], [], 0
        self.last_zxid = self._after_zxid = after_zxid

    def closed_segments(self) -> list[Segment]:
        """Always empty: there are no files."""
        return []

    def purge(self, upto_zxid: int) -> list[Path]:
        """Forgets what `Log.purge` would let go of; there is no file to name."""
        limit = max((zxid for zxid in self._rolled if zxid <= upto_zxid), default=self._after_zxid)
        kept = [record for record in self._records if record[1] > limit]
        self._durable -= len(self._records) - len(kept)
        self._records, self._after_zxid = kept, limit
        self._rolled = [zxid for zxid in self._rolled if zxid > limit]
        return []

    def close(self) -> None:
        self.sync()

    def crash(self) -> None:
        """What was not durable is gone, as if the process had been killed."""
        del self._records[self._durable :]
        self.last_zxid = self._records[-1][1] if self._records else self._after_zxid
