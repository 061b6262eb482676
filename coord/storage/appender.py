"""The open end of the log: one new segment, written from its beginning.

Owns the segment's file while it is written. `append` only gathers; `sync` does all the input and output, in
one write and one fdatasync (the first also creates the file and makes its name durable). An `OSError` leaves
it unusable: what reached the disk is then unknown, and `log` must not go on.

The file grows by zeros, `ROOM_BYTES` at a time, in the same write as the batch that no longer fits: the
fdatasync of the batches after it then has no size and no extents to record. Measured on ext4 with batches of
15 KB: 0.33-0.39 ms (median) without, 0.18 ms with, and twice the entries per second, the zeros' own cost
included. posix_fallocate gains a tenth only, since its extents must still be converted as they are written.
More room at a time makes the median no better and the slowest batch slower.
"""

from __future__ import annotations

import os
from pathlib import Path

from coord.storage.files import fsync_directory, sync_data, write_all
from coord.storage.journal import Segment
from coord.storage.segments import HEADER_BYTES, pack_header, pack_mark, pack_record, segment_path

ROOM_BYTES = 256 * 1024


class Appender:
    """Writes the segment that begins with `first_zxid`, in `directory`."""

    def __init__(self, directory: Path, first_zxid: int, after_zxid: int) -> None:
        self.path = segment_path(directory, first_zxid)
        self.durable = 0
        """offset up to which the file is durable"""
        self._first_zxid = first_zxid
        self._durable_zxid = after_zxid
        self._last_zxid = after_zxid
        self._pending = [pack_header(first_zxid, after_zxid)]
        self._end = HEADER_BYTES
        self._room = 0
        self._fd = -1

    @property
    def segment(self) -> Segment:
        """The part of the segment that is durable."""
        return Segment(self.path, self._first_zxid, self._durable_zxid)

    def append(self, first_zxid: int, last_zxid: int, payload: bytes) -> None:
        self._gather(pack_record(self._first_zxid, self._end, self.durable, first_zxid, last_zxid, payload))
        self._last_zxid = last_zxid

    def _gather(self, record: bytes) -> None:
        self._pending.append(record)
        self._end += len(record)

    def sync(self) -> None:
        """Makes everything gathered durable. Raises `OSError`."""
        if not self._pending:
            return
        if self._end > self._room:
            self._room = -(-self._end // ROOM_BYTES) * ROOM_BYTES
            self._pending.append(bytes(self._room - self._end))
        data = b"".join(self._pending)
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        write_all(self._fd, data, self.durable)
        sync_data(self._fd)
        if not self.durable:
            fsync_directory(self.path.parent)
        self._pending = []
        self.durable, self._durable_zxid = self._end, self._last_zxid

    def seal(self) -> None:
        """Ends the segment: a mark that says all of it is durable, and no room. Raises `OSError`."""
        self.sync()
        self._gather(pack_mark(self._first_zxid, self._end, self.durable, self._last_zxid))
        self._room = self._end  # no new room: the mark is the end
        self.sync()
        os.ftruncate(self._fd, self._end)
        sync_data(self._fd)
        self.release()

    def release(self) -> None:
        """Closes the file, whatever has become of it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
