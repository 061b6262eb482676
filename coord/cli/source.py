"""A file that `coord import` reads: checked as a whole first, and then read once more.

Owns the file. The format is `transfer`'s business.

Rule that holds here: what is kept in memory is paths, never data; standard input and pipes, which cannot be
read twice, go through a temporary file.

Synopsis::

    source = Source("-")
    await source.check()  # without a connection; may take as long as who writes
    for znode in source.read():
        ...
    source.close()
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Final

import trio

from coord import ACL, Id, Perms
from coord.cli.content import STANDARD_INPUT, InputUnreadable, open_file
from coord.cli.transfer import Damaged, Reader, Znode

CHECKED_AT_A_TIME: Final = 500
ANYBODY: Final = Id("world", "anyone")


class Source:
    """An export: its `root`, how many `znodes` and `ephemerals` it has, and which of them are `guarded`:
    parents of others whose ACL does not let everybody create children."""

    def __init__(self, name: str) -> None:
        """`name` is a file's; ``-``: standard input."""
        self._name = name
        self._file: BinaryIO | None = None
        self.root = ""
        self.znodes = 0
        self.ephemerals = 0
        self.guarded: set[str] = set()

    async def check(self) -> None:
        """Reads all of it, once. Raises `InputUnreadable`, `Damaged`."""
        if self._file is not None:
            return
        # What is opened by a thread that was left behind, nobody closes; a file opens at once.
        may_wait = self._name == STANDARD_INPUT or not await trio.Path(self._name).is_file()
        self._file = await trio.to_thread.run_sync(_seekable, self._name, abandon_on_cancel=may_wait)
        try:
            await self._check(self._reader())
        except Damaged as error:
            self.close()
            raise Damaged(f"{self._name}: {error}") from None
        except OSError as error:
            self.close()
            raise InputUnreadable(f"{self._name}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    async def _check(self, reader: Reader) -> None:
        self.root = reader.root
        closed: set[str] = set()
        znodes = reader.znodes()
        while some := list(islice(znodes, CHECKED_AT_A_TIME)):
            for znode in some:
                self.znodes += 1
                self.ephemerals += znode.ephemeral
                parent = znode.path.rpartition("/")[0] or "/"
                if parent in closed:
                    self.guarded.add(parent)
                if not any(map(_opens, znode.acl)):
                    closed.add(znode.path)
            await trio.lowlevel.checkpoint()

    def read(self) -> Iterator[Znode]:
        """From the beginning."""
        return self._reader().znodes()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reader(self) -> Reader:
        assert self._file is not None, "it is checked first"
        self._file.seek(0)
        return Reader(self._file)


def _opens(entry: ACL) -> bool:
    return entry.id == ANYBODY and bool(entry.perms & Perms.CREATE)


def _seekable(name: str) -> BinaryIO:
    try:
        file = os.fdopen(open_file(name), "rb")
        if file.seekable():
            return file
        with file:
            spool = tempfile.TemporaryFile()  # noqa: SIM115  its owner closes it, as it closes `file`
            while piece := os.read(file.fileno(), 1 << 20):
                spool.write(piece)
    except OSError as error:
        raise InputUnreadable(f"{name}: {error.strerror}") from None
    return spool
