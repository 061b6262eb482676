"""Jute, the encoding of ZooKeeper's client protocol: big-endian, no tags, no padding.

Owns the primitive types (`zookeeper.jute`); knows no record. A `Reader` walks over one frame and raises
`ProtocolError`, never anything else, when the bytes do not fit the type it is asked for. The `pack_*`
functions return bytes to be joined by the caller.

========  ==================================================
type      bytes
========  ==================================================
byte      1
boolean   1 (0 or 1)
int       4, signed
long      8, signed
buffer    int length, then the bytes; length -1 is null
ustring   int length, then UTF-8; length -1 is null
vector    int count, then the items; count -1 is null
========  ==================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar

from coord.errors import ProtocolError

T = TypeVar("T")

INT = struct.Struct(">i")
LONG = struct.Struct(">q")

_unpack_int = INT.unpack_from
_unpack_long = LONG.unpack_from

pack_int: Callable[[int], bytes] = INT.pack
pack_long: Callable[[int], bytes] = LONG.pack

NULL = pack_int(-1)


class Reader:
    """Reads values off `data` from `position` on; `finish()` refuses left-over bytes."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def read_byte(self) -> int:
        try:
            value = self.data[self.position]
        except IndexError:
            raise self._short("a byte") from None
        self.position += 1
        return value

    def read_bool(self) -> bool:
        return self.read_byte() != 0

    def read_int(self) -> int:
        try:
            (value,) = _unpack_int(self.data, self.position)
        except struct.error:
            raise self._short("an int") from None
        self.position += 4
        return int(value)

    def read_long(self) -> int:
        try:
            (value,) = _unpack_long(self.data, self.position)
        except struct.error:
            raise self._short("a long") from None
        self.position += 8
        return int(value)

    def read_buffer(self) -> bytes | None:
        length = self.read_int()
        if length == -1:
            return None
        end = self.position + length
        if length < 0 or end > len(self.data):
            raise self._short(f"a buffer of {length} bytes")
        value = self.data[self.position : end]
        self.position = end
        return value

    def read_ustring(self) -> str | None:
        raw = self.read_buffer()
        if raw is None:
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"a string is not UTF-8: {error}") from None

    def read_string(self) -> str:
        """A ustring that may not be null."""
        value = self.read_ustring()
        if value is None:
            raise ProtocolError(f"a string is null at byte {self.position - 4}")
        return value

    def read_vector(self, read_item: Callable[[], T]) -> list[T]:
        """A vector; null reads as empty, as ZooKeeper treats it."""
        count = self.read_int()
        # Every item takes at least one byte, so a count beyond the frame is refused before the loop.
        if count < -1 or count > len(self.data) - self.position:
            raise self._short(f"a vector of {count} items")
        return [read_item() for _ in range(count)]

    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def finish(self) -> None:
        if self.position != len(self.data):
            raise ProtocolError(f"{len(self.data) - self.position} bytes too many at byte {self.position}")

    def _short(self, what: str) -> ProtocolError:
        return ProtocolError(f"the frame of {len(self.data)} bytes has no {what} at byte {self.position}")


def pack_bool(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def pack_buffer(value: bytes | None) -> bytes:
    return NULL if value is None else pack_int(len(value)) + value


def pack_ustring(value: str | None) -> bytes:
    if value is None:
        return NULL
    raw = value.encode("utf-8")
    return pack_int(len(raw)) + raw


def pack_vector(items: Iterable[bytes]) -> bytes:
    """A vector of items that are packed already."""
    packed = list(items)
    return pack_int(len(packed)) + b"".join(packed)
