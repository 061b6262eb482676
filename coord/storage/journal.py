"""What any log promises, whatever it is made of; and the order of zxids, which all of them check.

A log is a sequence of records. A record is an opaque payload that stands for the zxids `first` to `last`;
records leave no zxid out: see `follows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from coord.limits import RECORD_BYTES_MAX


class Segment(NamedTuple):
    """One file of a log: its records have zxids `first_zxid` … `last_zxid`."""

    path: Path
    first_zxid: int
    last_zxid: int


def follows(previous_zxid: int, first_zxid: int) -> bool:
    """Whether nothing is missing between the two: the counter goes up by one, or a later epoch begins."""
    if first_zxid >> 32 == previous_zxid >> 32:
        return first_zxid == previous_zxid + 1
    return first_zxid > previous_zxid and first_zxid & 0xFFFFFFFF == 1


def check_record(previous_zxid: int, first_zxid: int, last_zxid: int, payload: bytes) -> None:
    """Raises `ValueError` for a record that no log takes after `previous_zxid`: a fault of the caller."""
    if not follows(previous_zxid, first_zxid):
        raise ValueError(f"zxid {first_zxid:#x} does not follow {previous_zxid:#x}")
    if not first_zxid <= last_zxid or first_zxid >> 32 != last_zxid >> 32:
        raise ValueError(f"a record cannot span the zxids {first_zxid:#x} to {last_zxid:#x}")
    if not 0 < len(payload) <= RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(payload)} bytes; allowed are 1 to {RECORD_BYTES_MAX}")


class Journal(Protocol):
    """The interface of `log.Log` and `memory.MemoryLog`. No two calls may overlap, whatever the threads."""

    last_zxid: int
    """of the newest record appended, or where the log begins if it has none"""
    dropped: str | None
    """what recovery cut off the end (never anything that was durable), in words, or None"""

    def records(self, after_zxid: int) -> Iterator[tuple[int, int, bytes]]:
        """(first, last, payload) of the records durable now that end after `after_zxid`, oldest first.

        Raises `StorageDamaged` if the log has later records but not everything in between.
        """

    def append(self, first_zxid: int, last_zxid: int, payload: bytes) -> None:
        """Takes a record; does no input or output. Raises `ValueError` if it does not follow."""

    def sync(self) -> None:
        """Returns when everything appended is durable."""

    def roll(self) -> None:
        """Ends the segment (after a `sync`); the next record begins another."""

    def truncate(self, after_zxid: int) -> None:
        """Durably forgets every record after `after_zxid`, which must be where a record ends."""

    def clear(self, after_zxid: int) -> None:
        """Durably forgets every record; the next one follows `after_zxid` (a snapshot's)."""

    def closed_segments(self) -> list[Segment]:
        """The files that will not be written to any more, oldest first."""

    def purge(self, upto_zxid: int) -> list[Path]:
        """Lets go of closed segments that end at or before `upto_zxid`: their files, oldest first, are the
        caller's to delete, in that order."""

    def close(self) -> None:
        """Makes everything durable and lets go of the files."""
