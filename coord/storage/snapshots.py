"""Snapshots: the whole state at one zxid in one file, which is complete or does not count.

Owns the files `snapshot.<zxid, 16 hex digits>`::

    header    magic 8, version u16, zxid u64, crc32                  (big-endian throughout)
    chunk     length u32 (never 0), crc32, bytes
    ...
    trailer   0 u32, count of chunks u64, digest i128, crc32

Every crc goes on from the one before it, so that a chunk which is lost, swapped or from elsewhere does not
verify; the trailer's vouches for the file. The name appears only when all of it is durable, so a power loss
cannot tear a snapshot that counts (ZOOKEEPER-2872). What chunks and digest mean is their maker's business.

Synopsis::

    save(directory, machine.zxid, machine.digest, machine.snapshot())
    zxid, digest, chunks = load(newest(directory).path)
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple
from zlib import crc32

from coord.storage.files import (
    StorageDamaged,
    StorageFailed,
    delete_files,
    empty_gently,
    make_directory,
    naming,
    replace_durably,
)

MAGIC = b"coordsna"
VERSION = 1

_NAME = re.compile(r"snapshot\.[0-9a-f]{16}")
_HEADER = Struct(">8sHQ")
_CHUNK = Struct(">II")
_TRAILER = Struct(">IQ16s")
_CRC = Struct(">I")
_TRAILER_BYTES = _TRAILER.size + _CRC.size


class Snapshot(NamedTuple):
    """A snapshot that was read to its end and verified."""

    path: Path
    zxid: int
    digest: int


def save(directory: Path, zxid: int, digest: int, chunks: Iterable[bytes]) -> Path:
    """Writes a snapshot; durable, and visible, when it returns. Creates the directory if need be.

    `digest` is a signed integer of 128 bits, `chunks` non-empty bytes of less than 4 GiB each. Raises
    `StorageFailed`; an error of `chunks` passes through; neither leaves a file behind.
    """
    make_directory(directory)
    path = directory / f"snapshot.{zxid:016x}"
    replace_durably(path, _parts(zxid, digest, chunks))
    return path


def _parts(zxid: int, digest: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    header = _HEADER.pack(MAGIC, VERSION, zxid)
    crc, count = crc32(header), 0
    yield header + _CRC.pack(crc)
    for chunk in chunks:
        if not chunk:
            raise ValueError("a chunk of a snapshot cannot be empty")
        crc, count = crc32(chunk, crc), count + 1
        yield _CHUNK.pack(len(chunk), crc)
        yield chunk
    trailer = _TRAILER.pack(0, count, digest.to_bytes(16, "big", signed=True))
    yield trailer + _CRC.pack(crc32(trailer, crc))


def load(path: Path) -> tuple[int, int, Iterator[bytes]]:
    """(zxid, digest, chunks); the chunks are read, and verified, as they are asked for.

    Raises `StorageDamaged`, at once or from the iterator, and `StorageFailed`. The chunks are all there, and
    right, only if the iterator comes to its end.
    """
    with naming(path), path.open("rb") as file:
        zxid, crc = _read_header(file, path)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _TRAILER_BYTES, file.tell()))
        trailer = file.read(_TRAILER_BYTES)
    if len(trailer) < _TRAILER_BYTES:
        raise StorageDamaged(path, size, "the snapshot has no end")
    _, _, digest = _TRAILER.unpack_from(trailer)
    return zxid, int.from_bytes(digest, "big", signed=True), _chunks(path, crc, size - _TRAILER_BYTES)


def _read_header(file: BinaryIO, path: Path) -> tuple[int, int]:
    header, tail = file.read(_HEADER.size), file.read(_CRC.size)
    crc = crc32(header)
    if tail != _CRC.pack(crc):
        raise StorageDamaged(path, 0, "the snapshot's header does not verify")
    magic, version, zxid = _HEADER.unpack(header)
    if magic != MAGIC or version != VERSION:
        raise StorageDamaged(path, 0, f"its format is {magic!r} version {version}; this is version {VERSION}")
    if not path.name.endswith(f".{zxid:016x}"):
        raise StorageDamaged(path, 0, f"it holds the state at zxid {zxid:#x}")
    return zxid, crc


def _chunks(path: Path, crc: int, end: int) -> Iterator[bytes]:
    """The chunks between the header and the trailer at `end`, which must vouch for all of them."""
    count, offset = 0, _HEADER.size + _CRC.size
    with naming(path), path.open("rb") as file:
        file.seek(offset)
        while offset < end:
            try:
                length, expected = _CHUNK.unpack(file.read(_CHUNK.size))
            except struct.error:
                raise StorageDamaged(path, offset, "the snapshot ends inside a chunk") from None
            if not 0 < length <= end - offset - _CHUNK.size:
                raise StorageDamaged(path, offset, f"a chunk cannot have {length} bytes here")
            chunk = file.read(length)
            crc = crc32(chunk, crc)
            if crc != expected:
                raise StorageDamaged(path, offset, "a chunk does not verify")
            yield chunk
            count, offset = count + 1, offset + _CHUNK.size + length
        trailer = file.read(_TRAILER_BYTES)
    _, announced, _ = _TRAILER.unpack_from(trailer)
    crc = crc32(trailer[: _TRAILER.size], crc)
    if trailer[_TRAILER.size :] != _CRC.pack(crc) or announced != count:
        raise StorageDamaged(path, offset, "the snapshot's end does not verify")


def verify(path: Path) -> Snapshot:
    """Reads all of it. Raises `StorageDamaged`, `StorageFailed`."""
    zxid, digest, chunks = load(path)
    for _ in chunks:
        pass
    return Snapshot(path, zxid, digest)


def verified(directory: Path) -> list[Snapshot]:
    """The snapshots that can be restored, newest first. Reads all of every one; a damaged one is left out."""
    return list(_verified(directory))


def newest(directory: Path) -> Snapshot | None:
    """The first of `verified`, without reading the others."""
    return next(_verified(directory), None)


def later(directory: Path, zxid: int) -> list[Path]:
    """The files of snapshots of more than `zxid`, newest first, whether they verify or not."""
    with naming(directory):
        return [path for path in reversed(_paths(directory)) if _zxid_of(path) > zxid]


def _verified(directory: Path) -> Iterator[Snapshot]:
    with naming(directory):
        paths = _paths(directory)
    for path in reversed(paths):
        try:
            yield verify(path)
        except (StorageDamaged, StorageFailed):
            continue


def _paths(directory: Path) -> list[Path]:
    if not directory.exists():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))


def _zxid_of(path: Path) -> int:
    return int(path.name.partition(".")[2], 16)


def purge(directory: Path, keep: int) -> int:
    """Deletes what is older than the newest `keep` snapshots that verify (ZOOKEEPER-3231); damaged ones
    neither count nor protect.

    Returns the zxid of the oldest snapshot kept, up to which the log may be purged; 0 if nothing verifies.
    Raises `StorageFailed`.
    """
    if keep < 1:
        raise ValueError("at least one snapshot must be kept")
    kept: list[Snapshot] = []
    for snapshot in _verified(directory):
        kept.append(snapshot)
        if len(kept) == keep:
            break
    if len(kept) < keep:
        return kept[-1].zxid if kept else 0
    with naming(directory):
        older = [path for path in _paths(directory) if path < kept[-1].path]
    for path in older:
        empty_gently(path)  # a crash may leave less than a snapshot: it does not verify, and is not needed
    delete_files(older)
    return kept[-1].zxid
