"""Frames: an int32 length, big-endian, then that many bytes; out of a stream, each whole or not at all.

Owns the bytes of a stream that do not make a whole frame yet. Knows no record. A length below zero or above
the limit raises `FrameTooLarge` (ZooKeeper: `jute.maxbuffer`); after that the stream is unusable, since the
next frame's beginning cannot be found.
"""

from __future__ import annotations

from collections.abc import Generator

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

    __slots__ = ("_data", "limit")

    def __init__(self, limit: int) -> None:
        assert limit > 0
        self._data = b""
        self.limit = limit

    def __len__(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._data)

    def peek(self, count: int) -> bytes:
        """The first `count` bytes that wait (fewer if there are fewer), left where they are."""
        return self._data[:count]

    def receive(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data

    def take(self) -> bytes | None:
        """The first whole frame, consumed; None if there is none yet. Raises as `frames`."""
        frames = self.frames()
        frame = next(frames, None)
        frames.close()
        return frame

    def frames(self) -> Generator[bytes, None, None]:
        """Every whole frame received; consumes each as it yields it.

        Raises `FrameTooLarge` at the first bad length, after having yielded the frames before it.
        """
        position, data = 0, self._data
        available = len(data)
        try:
            while available - position >= 4:
                (length,) = _unpack_int(data, position)
                if not 0 <= length <= self.limit:
                    raise FrameTooLarge(length, self.limit)
                end = position + 4 + length
                if end > available:
                    return
                frame = data[position + 4 : end]
                position = end
                yield frame
        finally:
            self._data = data[position:]


def pack_frame(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return INT.pack(len(body)) + body
