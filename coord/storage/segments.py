"""One segment of the log: its bytes, how to read them, and what a crash may have done to them.

Owns the format. Never writes. A segment is the file `log.<first zxid, 16 hex digits>`::

    file header   magic 8, version u16, first zxid u64, after_zxid u64, crc32        (big-endian throughout)
    record        marker 4, crc32, payload length u32, first zxid u64, last zxid u64, synced u64, payload
    ...
    zeros         room the writer made in advance; they end the segment

`synced` is the offset up to which this file was durable when the record was made. A record of length 0 is a
*mark*: it holds nothing (its last zxid is the one before its first) and is there for its `synced`.

Rules that hold here:

- A crash may leave anything beyond the last sync: lost, torn, in any order. So a record that does not verify
  is the torn end of a write — unless a later record's `synced`, or a later segment (a segment is begun only
  when the one before is durable), proves that it had been durable. The first is dropped, the second is
  `StorageDamaged`; nothing that is known to have been durable is ever dropped in silence.
- A crc also covers the segment's first zxid and the record's offset. Bytes that look like a record (a znode
  may hold a copy of a log) do not verify anywhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple
from zlib import crc32

from coord.limits import RECORD_BYTES_MAX
from coord.storage.files import StorageDamaged, naming
from coord.storage.journal import Segment, follows

MAGIC = b"coordlog"
VERSION = 1
MARKER = b"\xc7\x0d\xb3\x9e"

_HEADER = Struct(">8sHQQ")
_CRC = Struct(">I")
_PLACE = Struct(">QQ")
_FIELDS = Struct(">IQQQ")
HEADER_BYTES = _HEADER.size + _CRC.size
RECORD_HEADER_BYTES = len(MARKER) + _CRC.size + _FIELDS.size

_NAME = re.compile(r"log\.[0-9a-f]{16}")
_WINDOW_BYTES = 1 << 20


class Found(NamedTuple):
    """A record that verifies."""

    first_zxid: int
    last_zxid: int
    synced: int
    payload: bytes
    offset: int

    @property
    def end(self) -> int:
        return self.offset + RECORD_HEADER_BYTES + len(self.payload)


class Recovered(NamedTuple):
    """What a crash left of the newest segment: None if no record, else the segment and where it ends."""

    segment: Segment | None
    end: int
    dropped: str | None


def segment_path(directory: Path, first_zxid: int) -> Path:
    return directory / f"log.{first_zxid:016x}"


def segment_paths(directory: Path) -> list[Path]:
    """The files that are segments by name, oldest first."""
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def first_zxid_of(path: Path) -> int:
    return int(path.name.partition(".")[2], 16)


# -- bytes of the parts ---------------------------------------------------------------------------------


def pack_header(first_zxid: int, after_zxid: int) -> bytes:
    head = _HEADER.pack(MAGIC, VERSION, first_zxid, after_zxid)
    return head + _CRC.pack(crc32(head))


def pack_record(
    segment_first: int, offset: int, synced: int, first_zxid: int, last_zxid: int, payload: bytes
) -> bytes:
    fields = _FIELDS.pack(len(payload), first_zxid, last_zxid, synced)
    crc = crc32(payload, crc32(fields, _place(segment_first, offset)))
    return b"".join((MARKER, _CRC.pack(crc), fields, payload))


def pack_mark(segment_first: int, offset: int, synced: int, last_zxid: int) -> bytes:
    return pack_record(segment_first, offset, synced, last_zxid + 1, last_zxid, b"")


def _place(segment_first: int, offset: int) -> int:
    return crc32(_PLACE.pack(segment_first, offset))


# -- reading --------------------------------------------------------------------------------------------


def read_header(path: Path) -> int:
    """The zxid that precedes the segment. Raises `StorageDamaged` if the header does not verify."""
    with naming(path), path.open("rb") as file:
        after_zxid = _header(file, path)
    if after_zxid is None:
        raise StorageDamaged(path, 0, "the segment's header does not verify")
    return after_zxid


def read_records(
    segments: Sequence[Segment], after_zxid: int, end: int | None = None
) -> Iterator[tuple[int, int, bytes]]:
    """(first, last, payload) of the records in `segments` that end after `after_zxid`, as they are read.

    The last of the segments ends at the offset `end`, if given. A record that spans `after_zxid` is yielded
    whole. Raises `StorageDamaged` if anything does not verify, or is missing between `after_zxid` and the
    last record; `StorageFailed` if a file cannot be read.
    """
    needed = [segment for segment in segments if segment.last_zxid > after_zxid]
    position = None
    for segment in needed:
        before = read_header(segment.path)
        if before > after_zxid if position is None else before != position:
            held = after_zxid if position is None else position
            raise StorageDamaged(
                segment.path, 0, f"it follows zxid {before:#x}, but what comes before it ends at {held:#x}"
            )
        position = before
        for record in _whole_segment(segment, before, end if segment is segments[-1] else None):
            if position < after_zxid < record.first_zxid:
                why = f"the log goes from zxid {position:#x} to {record.first_zxid:#x}, past {after_zxid:#x}"
                raise StorageDamaged(segment.path, record.offset, why)
            position = record.last_zxid
            if position > after_zxid:
                yield record.first_zxid, record.last_zxid, record.payload


def _whole_segment(segment: Segment, after_zxid: int, end: int | None) -> Iterator[Found]:
    """The records of a segment that was closed, or is durable up to `end`: all must verify."""
    path, last_zxid = segment.path, after_zxid
    with naming(path), path.open("rb") as file:
        size = _size(file) if end is None else end
        records = _walk(file, size, path, after_zxid)
        stopped = HEADER_BYTES
        for record in records:
            stopped, last_zxid = record.end, record.last_zxid
            if record.payload:
                yield record
        if not _all_zero(file, stopped, size):
            raise StorageDamaged(path, stopped, "a record does not verify, and later ones exist")
    if last_zxid != segment.last_zxid:
        why = f"the segment ends with zxid {last_zxid:#x}; it must have held {segment.last_zxid:#x}"
        raise StorageDamaged(path, stopped, why)


def recover(path: Path, sealed: bool) -> Recovered:
    """Finds where the newest segment ends, telling a torn end from damage; changes nothing.

    `sealed`: a later segment was begun, so all of this one was durable. Raises `StorageDamaged`.
    """
    first_zxid = last_zxid = first_zxid_of(path)
    with naming(path), path.open("rb") as file:
        size, end, any_record = _size(file), 0, False
        after_zxid = _header(file, path)
        if after_zxid is not None:
            end, last_zxid = HEADER_BYTES, after_zxid
            for record in _walk(file, size, path, after_zxid):
                end, last_zxid, any_record = record.end, record.last_zxid, True
        dropped = None
        if after_zxid is None or not _all_zero(file, end, size):
            _refuse_if_durable(file, size, path, end, sealed)
            dropped = f"{path}: dropped {size - end} bytes from byte {end} on, the torn end of a write"
    segment = Segment(path, first_zxid, last_zxid) if any_record else None
    return Recovered(segment, end, dropped)


def find_end(segment: Segment, after_zxid: int) -> tuple[int, int]:
    """(offset, zxid) where the last record that ends at or before `after_zxid` ends.

    Raises `ValueError` if `after_zxid` is inside a record, since half a record cannot be kept.
    """
    offset, last_zxid = HEADER_BYTES, read_header(segment.path)
    for record in _whole_segment(segment, last_zxid, None):
        if record.last_zxid > after_zxid:
            if record.first_zxid <= after_zxid:
                raise ValueError(f"zxid {after_zxid:#x} is inside a record, not at its end")
            break
        offset, last_zxid = record.end, record.last_zxid
    return offset, last_zxid


def _refuse_if_durable(file: BinaryIO, size: int, path: Path, offset: int, sealed: bool) -> None:
    if sealed:
        raise StorageDamaged(path, offset, "a record does not verify, and a later segment exists")
    for position in _markers(file, size, offset + 1):
        later = _record(file, size, first_zxid_of(path), position)
        if later is not None and later.synced > offset:
            why = f"the record here does not verify, but one at byte {position} proves that it was durable"
            raise StorageDamaged(path, offset, why)


def _walk(file: BinaryIO, size: int, path: Path, after_zxid: int) -> Generator[Found, None, None]:
    """Records and marks from the beginning up to the first that does not verify."""
    offset, previous, segment_first = HEADER_BYTES, after_zxid, first_zxid_of(path)
    while (record := _record(file, size, segment_first, offset)) is not None:
        if record.payload and not follows(previous, record.first_zxid):
            why = f"zxid {record.first_zxid:#x} does not follow {previous:#x}"
            raise StorageDamaged(path, offset, why)
        yield record
        offset, previous = record.end, record.last_zxid


def _header(file: BinaryIO, path: Path) -> int | None:
    file.seek(0)
    head, crc = file.read(_HEADER.size), file.read(_CRC.size)
    if crc != _CRC.pack(crc32(head)):
        return None
    magic, version, first_zxid, after_zxid = _HEADER.unpack(head)
    if magic != MAGIC or version != VERSION:
        raise StorageDamaged(path, 0, f"its format is {magic!r} version {version}; this is version {VERSION}")
    if first_zxid != first_zxid_of(path):
        raise StorageDamaged(path, 0, f"it is the segment that begins with zxid {first_zxid:#x}")
    return int(after_zxid)


def _record(file: BinaryIO, size: int, segment_first: int, offset: int) -> Found | None:
    """The record at `offset`, or None if what is there does not verify."""
    file.seek(offset)
    head = file.read(RECORD_HEADER_BYTES)
    if len(head) < RECORD_HEADER_BYTES or not head.startswith(MARKER):
        return None
    (crc,) = _CRC.unpack_from(head, len(MARKER))
    fields = head[len(MARKER) + _CRC.size :]
    length, first_zxid, last_zxid, synced = _FIELDS.unpack(fields)
    if length > RECORD_BYTES_MAX or offset + RECORD_HEADER_BYTES + length > size:
        return None
    payload = file.read(length)
    if crc != crc32(payload, crc32(fields, _place(segment_first, offset))):
        return None
    return Found(first_zxid, last_zxid, synced, payload, offset)


def _markers(file: BinaryIO, size: int, start: int) -> Iterator[int]:
    """Every offset from `start` on where a record might begin."""
    while start < size:
        file.seek(start)
        window = file.read(_WINDOW_BYTES)
        found = window.find(MARKER)
        while found >= 0:
            yield start + found
            found = window.find(MARKER, found + 1)
        if len(window) < _WINDOW_BYTES:
            return
        start += len(window) - len(MARKER) + 1


def _all_zero(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    while start < end:
        window = file.read(min(_WINDOW_BYTES, end - start))
        if not window:
            return True
        if window.count(0) != len(window):
            return False
        start += len(window)
    return True


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
