"""ZooKeeper's client protocol by hand, as fast as a load needs it: a socket that blocks, frames of bytes.

Owns the few requests that the benchmarks of scale send, to any server that speaks the protocol. Decodes of a
reply no more than its header. It is no client: nothing is retried or kept alive.

Synopsis::

    with Wire(("127.0.0.1", 2181)) as wire:
        wire.ask(CREATE, create("/a", b"x"))
        for reply in wire.ask_many(frames, window=50):
            ...
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from struct import Struct
from types import TracebackType
from typing import NamedTuple, Self

CREATE, EXISTS, GET, SET, SYNC, PING, MULTI = 1, 3, 4, 5, 9, 11, 14
PING_XID, EVENT_XID = -2, -1
REPLY_BYTES_MAX = 1 << 20

_INT = Struct(">i")
_CONNECT = Struct(">iiqiqi16sb")
_HEADER = Struct(">iii")  # length, xid, opcode
_REPLY = Struct(">iqi")
_MULTI_HEADER = Struct(">ibi")
_OPEN_TO_ALL = Struct(">iii5si6si").pack(1, 31, 5, b"world", 6, b"anyone", 0)
"""The ACL that lets everybody do everything, and the flags of a persistent znode."""
_MULTI_CREATE = _MULTI_HEADER.pack(CREATE, 0, -1)
_MULTI_END = _MULTI_HEADER.pack(-1, 1, -1)


class Refused(Exception):
    """The server answered with an error, or closed the connection."""


class Reply(NamedTuple):
    xid: int
    zxid: int
    err: int
    body: bytes


def text(value: str) -> bytes:
    data = value.encode()
    return _INT.pack(len(data)) + data


def create(path: str, data: bytes) -> bytes:
    """The body of a create."""
    return b"".join((text(path), _INT.pack(len(data)), data, _OPEN_TO_ALL))


def multi_of_creates(znodes: Iterable[tuple[str, bytes]]) -> bytes:
    """The body of a multi."""
    parts = [_MULTI_CREATE + create(path, data) for path, data in znodes]
    return b"".join(parts) + _MULTI_END


def set_data(path: str, data: bytes) -> bytes:
    return b"".join((text(path), _INT.pack(len(data)), data, _INT.pack(-1)))


def read(path: str, watch: bool = False) -> bytes:
    """The body of a getData, an exists, or a getChildren."""
    return text(path) + bytes([watch])


def frame(xid: int, op: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(len(body) + 8, xid, op) + body


PING_FRAME = frame(PING_XID, PING)


def connect_frame(timeout_ms: int) -> bytes:
    return _CONNECT.pack(45, 0, 0, timeout_ms, 0, 16, bytes(16), 0)


class Frames:
    """A stream's bytes in, replies out. The first frame of a connection is no reply: `greeting`."""

    __slots__ = ("_data", "greeted")

    def __init__(self) -> None:
        self._data = b""
        self.greeted = False

    def feed(self, data: bytes) -> list[Reply]:
        data = self._data + data if self._data else data
        replies, position, size = [], 0, len(data)
        while size - position >= 4:
            (length,) = _INT.unpack_from(data, position)
            end = position + 4 + length
            if end > size:
                break
            if self.greeted:
                xid, zxid, err = _REPLY.unpack_from(data, position + 4)
                replies.append(Reply(xid, zxid, err, data[position + 20 : end]))
            self.greeted = True
            position = end
        self._data = data[position:]
        return replies


class Wire:
    """One connection with a session of its own."""

    def __init__(self, address: tuple[str, int], *, timeout_ms: int = 30_000, seconds: float = 60.0) -> None:
        """Raises `OSError`, or `Refused` if no session is given."""
        self.socket = socket.create_connection(address, seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = Frames()
        self._ready: list[Reply] = []
        self._xid = 0
        try:
            self.socket.sendall(connect_frame(timeout_ms))
            while not self._frames.greeted:
                self._receive()
        except BaseException:
            self.close()
            raise

    def ask(self, op: int, body: bytes) -> Reply:
        """Raises `Refused` if the server does."""
        self._xid += 1
        self.socket.sendall(frame(self._xid, op, body))
        return self._reply()

    def ask_many(self, requests: Iterable[tuple[int, bytes]], window: int) -> Iterator[Reply]:
        """The replies to (opcode, body), in order; never more than `window` of them wait for theirs."""
        outstanding = 0
        for op, body in requests:
            self._xid += 1
            self.socket.sendall(frame(self._xid, op, body))
            outstanding += 1
            if outstanding == window:
                yield self._reply()
                outstanding -= 1
        for _ in range(outstanding):
            yield self._reply()

    def send(self, op: int, body: bytes) -> None:
        """One request; `poll` has its reply."""
        self._xid += 1
        self.socket.sendall(frame(self._xid, op, body))

    def poll(self) -> list[Reply]:
        """Waits for bytes; the whole replies, and events, that have come with them."""
        self._receive()
        ready, self._ready = self._ready, []
        return ready

    def _reply(self) -> Reply:
        while True:
            while not self._ready:
                self._receive()
            reply = self._ready.pop(0)
            if reply.xid >= 0:
                if reply.err:
                    raise Refused(f"the server answers with error {reply.err}")
                return reply

    def _receive(self) -> None:
        data = self.socket.recv(REPLY_BYTES_MAX)
        if not data:
            raise Refused("the server closed the connection")
        self._ready += self._frames.feed(data)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
