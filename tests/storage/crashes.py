"""What a crash leaves of a directory, at every moment of what is done in it.

Synopsis::

    with Crashes(home, tmp_path / "crashed") as crashes:
        ...  # anything that writes below `home`
    for left in crashes.left:
        ...  # a copy of `home`, as a start would find it

A moment comes before each system call that makes something durable or changes a name, and one after all of
them. Each leaves two copies: of a process that was killed, everything it wrote; of a machine that lost its
power, only what was synced: contents as of the file's last fsync, names as of the directory's. A disk may do
anything in between; what is right at both ends of the range, and says so by checksums, is right within it.

Knows nothing of what the files mean. Watches the calls of the operating system, not ours.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

WATCHED = ("fsync", "fdatasync", "rename", "unlink", "ftruncate")


class Crashes:
    def __init__(self, home: Path, copies: Path) -> None:
        """What is in `home` now is durable."""
        self.left: list[Path] = []
        self._home = home
        self._copies = copies
        self._patch = pytest.MonkeyPatch()
        self._open: dict[int, int] = {}  # inode -> descriptor: while it is open, no other file gets the inode
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._seen: set[tuple[tuple[str, bytes], ...]] = set()

    def __enter__(self) -> Self:
        self._look()
        for inode, fd in self._open.items():
            self._synced(inode, fd)
        for name in WATCHED:
            self._patch.setattr(os, name, self._watching(name, getattr(os, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        self._moment()
        for fd in self._open.values():
            os.close(fd)

    def _watching(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(target: Any, *args: Any, **options: Any) -> Any:
            self._moment()
            result = call(target, *args, **options)
            if "sync" in name:
                self._synced(os.fstat(target).st_ino, target)
            return result

        return watched

    def _look(self) -> None:
        for path in (self._home, *self._home.rglob("*")):
            inode = path.stat().st_ino
            if inode not in self._open:
                self._open[inode] = os.open(path, os.O_RDONLY)

    def _synced(self, inode: int, fd: int) -> None:
        self._look()
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self._names[inode] = {entry.name: entry.inode() for entry in os.scandir(fd)}
        elif inode in self._open:
            self._contents[inode] = self._content(inode)

    def _content(self, inode: int) -> bytes:
        fd = self._open[inode]
        return os.pread(fd, os.fstat(fd).st_size, 0)

    # -- copies ---------------------------------------------------------------------------------------

    def _moment(self) -> None:
        self._look()
        files: dict[str, bytes] = {}
        for path in self._home.rglob("*"):
            name = str(path.relative_to(self._home))
            files |= {f"{name}/": b""} if path.is_dir() else {name: path.read_bytes()}
        self._keep(files)
        self._keep(self._durable(self._home.stat().st_ino, ""))

    def _durable(self, directory: int, prefix: str) -> dict[str, bytes]:
        """The files (and folders, with a slash) that are there for certain, whatever their names are now."""
        found: dict[str, bytes] = {}
        for name, inode in self._names.get(directory, {}).items():
            if stat.S_ISDIR(os.fstat(self._open[inode]).st_mode):
                found |= {f"{prefix}{name}/": b"", **self._durable(inode, f"{prefix}{name}/")}
            else:
                found[prefix + name] = self._contents.get(inode, b"")
        return found

    def _keep(self, files: dict[str, bytes]) -> None:
        state = tuple(sorted(files.items()))
        if state not in self._seen:
            self._seen.add(state)
            copy = self._copies / str(len(self.left))
            for name, content in files.items():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                if name.endswith("/"):
                    (copy / name).mkdir(exist_ok=True)
                else:
                    (copy / name).write_bytes(content)
            copy.mkdir(parents=True, exist_ok=True)
            self.left.append(copy)
