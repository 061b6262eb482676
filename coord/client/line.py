"""One connection's bytes, with as little in between as can be.

Owns the socket or the stream, and the bytes that it has not taken yet. Must not know: frames, sessions, time.

Rules that hold here:

- `send` never waits. What the connection does not take at once stays, in order, until it was `drained`.
- That a connection is broken shows in `receive` and `drained`, never in `send`.
- A plain TCP connection is read and written directly. A trio stream is a checkpoint at every read and write,
  also where nothing has to be waited for, and each costs a turn of the loop.

Synopsis::

    line = line_of(stream)
    line.send(b"hello")
    await line.drained()
    data = await line.receive()  # b"" at its end
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Final

import trio

RECEIVE_BYTES: Final = 128 * 1024
"""Received in one turn of the loop. Those who are told what came of it have their turn at the latest after
the next one: so two of these are to be no more than they can keep (see `watching.EVENTS_MAX`)."""


class Line(ABC):
    """See the module's text."""

    __slots__ = ("_unsent",)

    def __init__(self) -> None:
        self._unsent = b""

    @property
    def behind(self) -> bool:
        """Are there bytes that the connection has not taken?"""
        return bool(self._unsent)

    @property
    @abstractmethod
    def direct(self) -> bool:
        """Does `send` send, rather than only note down what `drained` is to send?"""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Sends as much as the connection takes at once."""

    @abstractmethod
    async def drained(self) -> None:
        """Returns when all of it is sent. Raises `OSError` or trio's resource errors."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Waits for bytes; b"" when the other side has closed. Raises as `drained`."""

    @abstractmethod
    async def close(self) -> None:
        """Closes it at once."""


class _Socket(Line):
    """A plain TCP connection."""

    __slots__ = ("_socket",)
    direct = True

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock

    def send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except OSError:  # it takes nothing now, or never again: `drained` will see
            sent = 0
        if sent < len(data):
            self._unsent = data[sent:]

    async def drained(self) -> None:
        while self._unsent:
            await trio.lowlevel.wait_writable(self._socket)
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                pass

    async def receive(self) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                pass

    async def close(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


class _Stream(Line):
    """Whatever else carries bytes: TLS, a stream in memory."""

    __slots__ = ("_stream",)
    direct = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__()
        self._stream = stream

    def send(self, data: bytes) -> None:
        self._unsent += data

    async def drained(self) -> None:
        while self._unsent:
            data, self._unsent = self._unsent, b""
            await self._stream.send_all(data)

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some(RECEIVE_BYTES))

    async def close(self) -> None:
        await trio.aclose_forcefully(self._stream)


def line_of(stream: trio.abc.Stream) -> Line:
    """Takes `stream` over."""
    if isinstance(stream, trio.SocketStream):
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return _Socket(sock)
    return _Stream(stream)
