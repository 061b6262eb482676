"""`coord export`: a subtree as a stream of records, read while it is written.

Owns what of a znode is exported, and the file. The format is `transfer`'s.

Rules that hold here:

- An export is not one moment's state: each znode is as it was when it was read, and one that vanishes
  meanwhile is left out. /zookeeper is left out, unless it is what was asked for.
- What cannot be had is said: ephemerals that are left out, hashes of passwords that the server hides. That a
  znode is a container or has a TTL, servers since 3.5 tell no client.
- A file has its name only once it is complete.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import trio

from coord import ACL, Client, CoordError, NoNode, Stat
from coord.cli.jobs import Output
from coord.cli.printing import OutputFailed
from coord.cli.results import Note, Said, Verbatim
from coord.cli.transfer import Format, Writer, Znode
from coord.cli.walk import DATA_PER_REQUEST, Walk, for_each, read_data

SYSTEM: Final = "/zookeeper"
ROUND_BYTES: Final = 4 * 1024 * 1024
"""Read at once, and so kept in memory, unless znodes are much larger than those before them."""
ROUND_PATHS_MAX: Final = 8 * DATA_PER_REQUEST
HIDDEN_HASH: Final = "x"
"""Servers say this instead of a password's hash to who may not change the ACL (ZOOKEEPER-1392)."""

_CONTAINER: Final = -(1 << 63)
_EXTENDED: Final = 0xFF << 56
_TTL_MASK: Final = (1 << 40) - 1


class Kind(NamedTuple):
    """What a Stat's ephemeralOwner tells."""

    ephemeral: bool = False
    container: bool = False
    ttl_ms: int | None = None


def kind_of(stat: Stat) -> Kind:
    owner = stat.ephemeral_owner
    if owner == 0:
        return Kind()
    if owner == _CONTAINER:
        return Kind(container=True)
    if owner & _EXTENDED == _EXTENDED:
        return Kind(ttl_ms=owner & _TTL_MASK)
    return Kind(ephemeral=True)


class Sink(Protocol):
    async def __call__(self, chunk: bytes) -> object: ...


async def export(
    zk: Client,
    out: Output,
    path: str,
    *,
    file: str | None = None,
    form: Format = "json",
    with_ephemerals: bool = False,
) -> None:
    """Writes the subtree to `file`, or to standard output. Raises `NoNode`, `NoAuth`."""
    async with _sink(out, file) as write:
        exported = Export(zk, Writer(form, path), with_ephemerals=with_ephemerals)
        with out.progress("exporting") as advance:
            chunk = exported.writer.header()
            walk = Walk(zk, path, "export")
            while paths := await walk.next():
                for some in exported.rounds([each for each in paths if _wanted(each, path)]):
                    znodes = await exported.read(some)
                    await write(chunk + b"".join(map(exported.writer.znode, znodes)))
                    chunk = b""
                    advance(len(znodes))
            await write(exported.writer.end())
    for note in exported.notes():
        out(Note(note))
    if file is not None:
        out(Said(f"{exported.writer.znodes} znodes exported to {file}"))


class Export:
    """What is read of the znodes, and what was left out."""

    def __init__(self, zk: Client, writer: Writer, *, with_ephemerals: bool) -> None:
        self.writer = writer
        self._zk = zk
        self._with_ephemerals = with_ephemerals
        self._ephemerals = 0
        self._hidden = 0
        self._round = DATA_PER_REQUEST

    def rounds(self, paths: Sequence[str]) -> Iterator[Sequence[str]]:
        """The paths in portions to be read at once: as many as are likely to fit, going by the last one."""
        at = 0
        while at < len(paths):
            some = paths[at : at + self._round]
            yield some
            at += len(some)

    async def read(self, paths: Sequence[str]) -> list[Znode]:
        """Those that are still there, and wanted."""
        reads = (partial(read_data, self._zk, paths), partial(for_each, paths, self._zk.get_acl))
        answers: list[Any] = await for_each(reads, _call)
        for answer in answers:
            if isinstance(answer, CoordError):
                raise answer
        znodes: list[Znode] = []
        for path, data, acl in zip(paths, *answers, strict=True):
            failed = next((one for one in (data, acl) if isinstance(one, CoordError)), None)
            if isinstance(failed, NoNode):
                continue
            if failed is not None:
                raise type(failed)(path=path, operation="export")
            znodes += self._znode(path, data, acl[0])
        largest = max((len(znode.data) for znode in znodes), default=0)
        fitting = ROUND_BYTES // max(1, largest)
        self._round = max(DATA_PER_REQUEST, min(fitting, 2 * self._round, ROUND_PATHS_MAX))
        return znodes

    def _znode(self, path: str, found: tuple[bytes, Stat], acl: Sequence[ACL]) -> list[Znode]:
        data, stat = found
        ephemeral, container, ttl_ms = kind_of(stat)
        if ephemeral and not self._with_ephemerals:
            self._ephemerals += 1
            return []
        self._hidden += any(_is_hidden(one) for one in acl)
        return [Znode(path, data, tuple(acl), ttl_ms, container, ephemeral)]

    def notes(self) -> list[str]:
        notes = []
        if self._ephemerals:
            notes.append(f"ephemeral znodes left out: {self._ephemerals} (--with-ephemerals keeps them)")
        if self._hidden:
            notes.append(
                f"ACLs whose password hashes the server hides from this client: {self._hidden}; imported, "
                "they would lock their owners out (export with --auth of who may change them)"
            )
        return notes


async def _call(read: Callable[[], Awaitable[Any]]) -> Any:
    return await read()


def _wanted(path: str, root: str) -> bool:
    return not f"{path}/".startswith(f"{SYSTEM}/") or f"{root}/".startswith(f"{SYSTEM}/")


def _is_hidden(entry: ACL) -> bool:
    return entry.id.scheme == "digest" and entry.id.id.rpartition(":")[2] == HIDDEN_HASH


@asynccontextmanager
async def _sink(out: Output, file: str | None) -> AsyncIterator[Sink]:
    if file is None:
        yield partial(_say, out)
        return
    is_device = await trio.Path(file).exists() and not await trio.Path(file).is_file()
    part = file if is_device else f"{file}.part"
    with _failing_as_output(part):
        stream = await trio.open_file(part, "wb")
    try:
        async with stream:
            yield partial(_write, stream, part)
            with _failing_as_output(part):
                await stream.flush()
        if not is_device:
            os.replace(part, file)
    except BaseException:
        if not is_device:
            with suppress(OSError):
                os.unlink(part)
        raise


async def _say(out: Output, chunk: bytes) -> None:
    out(Verbatim(chunk))
    await out.room()


async def _write(stream: Any, name: str, chunk: bytes) -> None:
    with _failing_as_output(name):
        await stream.write(chunk)


@contextmanager
def _failing_as_output(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(f"{name} cannot be written: {error.strerror}") from None
