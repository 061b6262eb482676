"""Sessions by hand, no more of them than loads need: requests out in one piece, replies in, and who answers.

What a request looks like is told by `wire`. Owns one blocking socket for each session. Nothing is retried, no
session is kept alive, no watch is set.

Rules that hold here:

- What is measured is a server: the client's side is to cost little, and to be the same for every server.
- Replies come in the order of the requests and without an error, or `OSError` is raised.

Synopsis::

    with RawSession.open(2181) as session:
        session.send([set_data("/bench", bytes(100))] * 20)  # in one piece
        session.replies(20)
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from benchmarks import wire

HOST: Final = "127.0.0.1"
SECONDS: Final = 10.0
SESSION_MS: Final = 30_000
NODE_EXISTS: Final = -110

_CONNECT: Final = struct.Struct(">iiqiqi16sb")
_CONNECTED: Final = struct.Struct(">iiiqi16s")
_REPLY: Final = struct.Struct(">iqi")
_LENGTH: Final = struct.Struct(">i")
_CLOSE: Final = (-11, b"")

Request = tuple[int, bytes]
"""The number of an operation, and the record that follows the header."""


def get_data(path: str) -> Request:
    return wire.GET, wire.read(path)


def set_data(path: str, data: bytes) -> Request:
    return wire.SET, wire.set_data(path, data)


def create(path: str, data: bytes = b"") -> Request:
    return wire.CREATE, wire.create(path, data)


def sync(path: str) -> Request:
    return wire.SYNC, wire.text(path)


class RawSession:
    """One session on one connection, without a thread or task beside it."""

    def __init__(self, sock: socket.socket, session: int, password: bytes) -> None:
        self.id, self.password = session, password
        self._socket = sock
        self._received = b""
        self._sent = self._answered = 0

    @classmethod
    def open(
        cls,
        port: int,
        resume: RawSession | None = None,
        *,
        seconds: float = SECONDS,
        session_ms: int = SESSION_MS,
    ) -> Self:
        """A new session, or the one of `resume` moved here; `seconds` bound every wait. Raises `OSError`
        where there is nobody, or none that serves, or where the session is over."""
        old, password = (resume.id, resume.password) if resume else (0, bytes(16))
        sock = socket.create_connection((HOST, port), seconds)
        try:
            sock.settimeout(seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(_CONNECT.pack(_CONNECT.size - 4, 0, 0, session_ms, old, 16, password, 0))
            reply = _exactly(sock, 4)
            reply += _exactly(sock, _LENGTH.unpack(reply)[0])
            _, _, timeout, session, _, password = _CONNECTED.unpack_from(reply)
            if timeout <= 0:
                raise ConnectionError("the session is over")
        except BaseException:
            sock.close()
            raise
        return cls(sock, session, password)

    def send(self, requests: Sequence[Request]) -> None:
        """All of them in one piece."""
        frames = []
        for op, record in requests:
            self._sent += 1
            frames.append(wire.frame(self._sent, op, record))
        self._socket.sendall(b"".join(frames))

    def replies(self, count: int, allowed: Sequence[int] = ()) -> None:
        """Wait for so many; raises `OSError` for an error that is not among those allowed."""
        for _ in range(count):
            xid, _, error = _REPLY.unpack_from(self._frame())
            self._answered += 1
            if xid != self._answered or (error and error not in allowed):
                raise OSError(f"the answer to request {self._answered} is {error} to request {xid}")

    def call(self, request: Request, allowed: Sequence[int] = ()) -> None:
        """One request and its reply."""
        self.send([request])
        self.replies(1, allowed)

    def _frame(self) -> bytes:
        while True:
            if len(self._received) >= 4:
                end = 4 + _LENGTH.unpack_from(self._received)[0]
                if len(self._received) >= end:
                    frame, self._received = self._received[4:end], self._received[end:]
                    return frame
            if not (data := self._socket.recv(1 << 20)):
                raise ConnectionError("the server closed the connection")
            self._received += data

    def abandon(self) -> None:
        """Close the connection and leave the session to its timeout."""
        self._socket.close()

    def close(self) -> None:
        """End the session."""
        try:
            self.call(_CLOSE)
        except OSError:
            pass  # then it ends by its timeout
        self.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (piece := sock.recv(count - len(data))):
            raise ConnectionError("the server closed the connection")
        data += piece
    return data


def serves(port: int, seconds: float = 2.0) -> bool:
    """Does a new session open there? It is closed again at once."""
    try:
        with RawSession.open(port, seconds=seconds):
            return True
    except OSError:
        return False


def word(port: int, name: str, seconds: float = 2.0) -> str:
    """What the server answers to a four-letter word; "" if it does not."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), seconds) as sock:
            sock.settimeout(seconds)
            sock.sendall(name.encode())
            while data := sock.recv(65536):
                answer += data
    except OSError:
        return ""
    return answer.decode("utf-8", "replace")
