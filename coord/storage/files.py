"""What every file of coord needs: errors that name the file, durable replacement, and the directory's lock.

Owns the only calls that make something durable. Knows no format.

Rules that hold here:

- A file that is replaced is, after any crash, wholly the old one or wholly the new one: temp, fsync, rename,
  fsync of the directory.
- A name is durable once its directory is; a function that creates or deletes names syncs the directory.
- Temporary names end in `TEMPORARY`, and nothing but `remove_leftovers` may find one after a crash.

Synopsis::

    with lock_directory(data_dir / "coord"):
        replace_durably(data_dir / "coord" / "epochs", [b"..."])
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from coord.errors import CoordError

TEMPORARY = ".temporary"

SYNCED_BYTES = 1024 * 1024
"""A large file becomes durable in pieces of this size: whoever syncs another file of the same disk meanwhile
(the log) waits for one piece, not for all that was written."""

GIVEN_BACK_BYTES = 8 * 1024 * 1024
"""The same for what a large file gives back before it is deleted."""

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file reached the largest size allowed",
    errno.EROFS: "the file system is read-only",
}


class StorageDamaged(CoordError):
    """Bytes that were durable are not what was written; going on would lose or invent history.

    `file` (a path), `offset` (bytes from its beginning) and `why` say what to look at.
    """

    def __init__(self, file: Path, offset: int, why: str) -> None:
        super().__init__(f"{file} is damaged at byte {offset}: {why}")
        self.file = file
        self.offset = offset
        self.why = why

    def __reduce__(self) -> tuple[type[StorageDamaged], tuple[Path, int, str]]:
        return type(self), (self.file, self.offset, self.why)


class StorageFailed(CoordError):
    """The operating system refused to read or write `file`; `reason` is for people."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason

    def __reduce__(self) -> tuple[type[StorageFailed], tuple[Path, str]]:
        return type(self), (self.file, self.reason)


class DirectoryInUse(CoordError):
    """Another process holds the lock of this data directory."""


def reason_of(error: OSError) -> str:
    """Why the system call failed, in words an operator can act on."""
    known = _REASONS.get(error.errno or 0)
    text = error.strerror or str(error)
    return f"{known} ({text})" if known else text


@contextlib.contextmanager
def naming(file: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into a `StorageFailed` that names `file`."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(file, reason_of(error)) from error


def sync_data(fd: int) -> None:
    """Makes the contents (and size) of an open file durable."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # its fsync leaves the bytes in the drive's cache
    else:
        os.fdatasync(fd)


def fsync_directory(directory: Path) -> None:
    """Makes the names in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Creates `directory` and its missing parents, durably. Raises `StorageFailed`."""
    with naming(directory):
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        for created in missing:
            fsync_directory(created.parent)


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Writes all of `data` at `offset`; a system call may well take less than it is given."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def replace_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Makes `parts` the content of `path`: after a crash it is all of them, or what was there before.

    Raises `StorageFailed`; whatever else `parts` raises passes through. Either way `path` is as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    with naming(path):
        try:
            with temporary.open("wb", SYNCED_BYTES) as file:
                unsynced = 0
                for part in parts:
                    unsynced += file.write(part)
                    if unsynced >= SYNCED_BYTES:
                        file.flush()
                        sync_data(file.fileno())
                        unsynced = 0
                file.flush()
                sync_data(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def empty_gently(path: Path) -> None:
    """Shrinks the file to nothing in small durable steps. What a file system gives back at once (and tells
    the disk of) when a large file is deleted makes every sync of that moment wait. Raises `StorageFailed`.
    """
    with naming(path), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        while size:
            size = max(0, size - GIVEN_BACK_BYTES)
            file.truncate(size)
            sync_data(file.fileno())


def delete_files(paths: Sequence[Path]) -> None:
    """Deletes files of one directory, durably, the first one first. Raises `StorageFailed`."""
    for path in paths:
        with naming(path):
            path.unlink()
    if paths:
        with naming(paths[0].parent):
            fsync_directory(paths[0].parent)


def remove_leftovers(directory: Path) -> list[Path]:
    """Deletes the temporary files that a crash left in or below `directory`; returns what it deleted."""
    with naming(directory):
        leftovers = sorted(directory.rglob(f"*{TEMPORARY}"))
        for path in leftovers:
            path.unlink(missing_ok=True)
    return leftovers


@contextlib.contextmanager
def lock_directory(directory: Path) -> Iterator[Path]:
    """Holds `directory`/lock for the length of the block; two servers must never share one data directory.

    The kernel drops the lock when the process ends, however it ends. Creates the directory if need be, and
    removes the temporary files of a server that crashed. Raises `DirectoryInUse`, naming the holder's process
    id, and `StorageFailed`.
    """
    make_directory(directory)
    path = directory / "lock"
    with naming(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with naming(path):
            _take(fd, directory)
        remove_leftovers(directory)
        yield path
    finally:
        os.close(fd)


def _take(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        who = f"process {holder}" if holder else "another process"
        raise DirectoryInUse(f"{directory} is in use by {who}; a data directory serves one server") from None
    os.ftruncate(fd, 0)
    write_all(fd, f"{os.getpid()}\n".encode(), 0)
