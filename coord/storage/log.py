"""The log: segments on disk, oldest to newest, and the only thing that may write them.

Owns the log's directory: which segments exist, which one is written, what is durable. Payloads are opaque.

Rules that hold here:

- A segment is begun only when the one before is durable, and never written again once another one is begun,
  or the log is opened anew. So only the newest may have a torn end (see `segments`).
- After any failure to write, what the disk holds is unknown: the log is *poisoned*, and every later call
  raises `StorageFailed` with the first reason. The server must end, and recover from the disk when it starts.
- Opening reads the newest segment and the headers of the others; those are verified when they are read.
- `append` does no input or output; `sync` may run in another thread. No two calls may overlap.

Synopsis::

    log = Log.open(directory, after_zxid=snapshot_zxid)
    for first_zxid, last_zxid, payload in log.records(snapshot_zxid):
        ...
    log.append(first_zxid, last_zxid, payload)
    log.sync()  # durable now
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from coord.storage.appender import Appender
from coord.storage.files import StorageFailed, fsync_directory, make_directory, naming, reason_of, sync_data
from coord.storage.journal import Segment, check_record
from coord.storage.segments import (
    find_end,
    first_zxid_of,
    read_header,
    read_records,
    recover,
    segment_paths,
)


class Log:
    """A `journal.Journal` on disk; made by `open`."""

    def __init__(self, directory: Path, closed: list[Segment], last_zxid: int, dropped: str | None) -> None:
        self.directory = directory
        self.last_zxid = last_zxid
        self.dropped = dropped
        self._closed = closed
        self._appender: Appender | None = None
        self._failure: StorageFailed | None = None

    @classmethod
    def open(cls, directory: Path, *, after_zxid: int = 0) -> Log:
        """Opens the log in `directory`, which is created if need be, and repairs what a crash left.

        `after_zxid` is the zxid of the newest snapshot. A log that does not reach it is one that the snapshot
        was to replace when a crash came in between: it is cleared, for what comes next must not follow it.
        Raises `StorageDamaged` where something that had been durable does not verify, `StorageFailed`.
        """
        make_directory(directory)
        with naming(directory):
            paths = segment_paths(directory)
            closed, dropped = _recover_newest(paths)
        log = cls(directory, closed, closed[-1].last_zxid if closed else 0, dropped)
        if log.last_zxid < after_zxid:
            log.clear(after_zxid)
        return log

    # -- reading ----------------------------------------------------------------------------------------

    def records(self, after_zxid: int) -> Iterator[tuple[int, int, bytes]]:
        """(first, last, payload) of the records durable now that end after `after_zxid`, oldest first.

        Records are read as the caller asks for them. One that spans `after_zxid` comes whole. Raises
        `StorageDamaged` if the log has later records but not all that follow `after_zxid`, or if one does not
        verify; `StorageFailed` if a file cannot be read (or was purged meanwhile).
        """
        self._check()
        segments, end = self.closed_segments(), None
        if self._appender is not None and self._appender.durable:
            segments.append(self._appender.segment)
            end = self._appender.durable
        return read_records(segments, after_zxid, end)

    def closed_segments(self) -> list[Segment]:
        """The files that are not written to any more, oldest first; `segments.read_records` reads them."""
        return list(self._closed)

    # -- writing ----------------------------------------------------------------------------------------

    def append(self, first_zxid: int, last_zxid: int, payload: bytes) -> None:
        """Takes a record, durable after the next `sync`. `ValueError` if it does not follow the last."""
        self._check()
        check_record(self.last_zxid, first_zxid, last_zxid, payload)
        if self._appender is None:
            self._appender = Appender(self.directory, first_zxid, self.last_zxid)
        self._appender.append(first_zxid, last_zxid, payload)
        self.last_zxid = last_zxid

    def sync(self) -> None:
        """Returns when everything appended is durable. Raises `StorageFailed`, which is final."""
        self._check()
        if self._appender is not None:
            with self._poisoning():
                self._appender.sync()

    def roll(self) -> None:
        """Makes everything durable and ends the segment; the next record begins another."""
        self._check()
        if self._appender is not None:
            with self._poisoning():
                self._appender.seal()
            self._closed.append(self._appender.segment)
            self._appender = None

    def truncate(self, after_zxid: int) -> None:
        """Durably forgets every record after `after_zxid`.

        Raises `ValueError`, having lost nothing, if `after_zxid` is inside a record or before the log begins:
        then only a snapshot helps (see `clear`). A crash on the way leaves a longer log without gaps.
        """
        self._check()
        if self.last_zxid <= after_zxid:
            return
        self.roll()
        begins = read_header(self._closed[0].path) if self._closed else self.last_zxid
        if begins > after_zxid:
            raise ValueError(f"the log begins after zxid {begins:#x}: it cannot go back to {after_zxid:#x}")
        kept = [segment for segment in self._closed if segment.first_zxid <= after_zxid]
        offset, last_zxid = find_end(kept[-1], after_zxid) if kept else (0, begins)
        with self._poisoning():
            self._delete_newest(len(self._closed) - len(kept))
            if kept and last_zxid < kept[-1].last_zxid:
                _cut(kept[-1].path, offset)
                self._closed[-1] = kept[-1]._replace(last_zxid=last_zxid)
        self.last_zxid = last_zxid

    def clear(self, after_zxid: int) -> None:
        """Durably forgets every record; the next one follows `after_zxid`, the zxid of a durable snapshot."""
        self._check()
        with self._poisoning():
            if self._appender is not None:
                self._appender.sync()
                self._appender.release()
                self._closed.append(self._appender.segment)
                self._appender = None
            self._delete_newest(len(self._closed))
        self.last_zxid = after_zxid

    def purge(self, upto_zxid: int) -> list[Path]:
        """Lets go of closed segments that end at or before `upto_zxid`. Their files, oldest first, are the
        caller's to delete in that order (`files.delete_files`); until then they do no harm.

        A snapshot at or after `upto_zxid` must be durable.
        """
        self._check()
        purged = [segment.path for segment in takewhile(lambda one: one.last_zxid <= upto_zxid, self._closed)]
        del self._closed[: len(purged)]
        return purged

    def close(self) -> None:
        """Makes everything durable and lets go of the files. A poisoned log is let go as it is."""
        if self._failure is None:
            self.roll()
        elif self._appender is not None:
            self._appender.release()

    def _delete_newest(self, count: int) -> None:
        # Each name is gone for good before the one before it goes: a crash must not leave a gap.
        for _ in range(count):
            self._closed[-1].path.unlink()
            fsync_directory(self.directory)
            del self._closed[-1]

    # -- failing ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure.file, self._failure.reason)

    @contextlib.contextmanager
    def _poisoning(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = self._appender.path if self._appender is not None else self.directory
            self._failure = StorageFailed(path, reason_of(error))
            raise self._failure from error


def _recover_newest(paths: list[Path]) -> tuple[list[Segment], str | None]:
    """The segments that hold records, and what was dropped; durable when it returns.

    A newest segment without a record is as good as absent. It was begun, though: the one before is whole.
    """
    dropped: str | None = None
    sealed = False
    while paths:
        found = recover(paths[-1], sealed)
        dropped = dropped or found.dropped
        if found.segment is not None:
            _cut(paths[-1], found.end)
            return [*_older_segments(paths), found.segment], dropped
        path = paths.pop()
        path.unlink()
        fsync_directory(path.parent)
        sealed = True
    return [], dropped


def _older_segments(paths: list[Path]) -> list[Segment]:
    """All but the newest, by their names and headers alone: where one ends, the next one says."""
    ends = [read_header(path) for path in paths[1:]]
    return [
        Segment(path, first_zxid_of(path), last_zxid)
        for path, last_zxid in zip(paths[:-1], ends, strict=True)
    ]


def _cut(path: Path, size: int) -> None:
    """Makes `size` the durable size of the file, if it is not."""
    if path.stat().st_size != size:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            sync_data(fd)
        finally:
            os.close(fd)
