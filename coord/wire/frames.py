"""Frames: an int32 length, big-endian, then that many bytes; out of a stream, each whole or not at all.

Owns the bytes of a stream that do not make a whole frame yet. Knows no record. A length below zero or above
the limit raises `FrameTooLarge` (ZooKeeper: `jute.maxbuffer`); after that the stream is unusable, since the
next frame's beginning cannot be found.
"""

from __future__ import annotations

from collections.abc import Iterator

from coord.errors import ProtocolError
from coord.wire.jute import INT

_unpack_int = INT.unpack_from


class FrameTooLarge(ProtocolError):
    """A frame announces more bytes than allowed (or fewer than none)."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"a frame announces {length} bytes; the limit (jute.maxbuffer) is {limit}")
        self.length = length
        self.limit = limit


class FrameBuffer:
    """Bytes in with `receive`, whole frames (without their length) out by iterating `frames`."""

    __slots__ = ("_data", "_later", "_missing", "_position", "limit")

    def __init__(self, limit: int) -> None:
        assert limit > 0
        self._data = b""
        self._position = 0  # of the first byte that waits
        self._later: list[bytes] = []  # what came behind it while the frame was not whole
        self._missing = 0  # bytes without which it is not; 0 if its length is not known yet
        self.limit = limit

    def __len__(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._data) - self._position + sum(map(len, self._later))

    def peek(self, count: int) -> bytes:
        """The first `count` bytes that wait (fewer if there are fewer), left where they are."""
        return self._data[self._position : self._position + count]

    def receive(self, data: bytes) -> None:
        if self._missing > len(data):  # a large frame is put together once, and not at each of its pieces
            self._missing -= len(data)
            self._later.append(data)
            return
        if self._later:
            data = b"".join((*self._later, data))
            self._later = []
        self._missing = 0
        if self._position < len(self._data):
            data = self._data[self._position :] + data
        self._data, self._position = data, 0

    def take(self) -> bytes | None:
        """The first whole frame, consumed; None if there is none yet. Raises `FrameTooLarge`."""
        data, start = self._data, self._position + 4
        if start <= len(data):
            (length,) = _unpack_int(data, start - 4)
            if not 0 <= length <= self.limit:
                raise FrameTooLarge(length, self.limit)
            end = start + length
            if end <= len(data):
                self._position = end
                return data[start:end]
            if not self._later:
                self._missing = end - len(data)
        # What was consumed is not kept until more comes.
        self._data, self._position = data[self._position :], 0
        return None

    def frames(self) -> Iterator[bytes]:
        """Every whole frame received; consumes each as it yields it.

        Raises `FrameTooLarge` at the first bad length, after having yielded the frames before it.
        """
        return iter(self.take, None)


def pack_frame(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return INT.pack(len(body)) + body
