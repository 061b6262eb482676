"""What can be held up between a client, a server and another member; and a port that stays ours meanwhile.

Owns the gate through which a connection's bytes go. Must not know what the bytes mean.

As in a network that loses packets, a shut gate loses no connection: what was said comes through once it is
opened, unless the ends have given up by then, and who hangs up is not heard either.

Synopsis::

    gate = Gate()
    stream = GatedStream(stream, gate)
    with gate.shut():
        ...  # nothing comes or goes
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from types import TracebackType
from weakref import WeakSet

import trio

HOST = "127.0.0.1"

_LISTENS_BESIDE_HOLDER = sys.platform == "linux"
"""With SO_REUSEADDR, Linux lets one socket listen on a port while another one is bound to it: so there is no
moment at which somebody else could be given it."""


class Gate:
    """Open at first."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()
        self._passing: WeakSet[trio.socket.SocketType] = WeakSet()
        self._held: list[trio.socket.SocketType] = []
        """copies, without which the system would tell the other end that a socket was closed"""

    @property
    def is_shut(self) -> bool:
        return not self._opened.is_set()

    def shut(self) -> None:
        if not self.is_shut:
            self._opened = trio.Event()
            for one in self._passing:
                self._hold(one)

    def open(self) -> None:
        """What has waited goes on, and who has hung up meanwhile is heard to."""
        self._opened.set()
        held, self._held = self._held, []
        for one in held:
            one.close()

    async def passed(self) -> None:
        while self.is_shut:
            await self._opened.wait()

    def admit(self, sock: trio.socket.SocketType) -> None:
        """This socket's connection goes through here from now on."""
        self._passing.add(sock)
        if self.is_shut:
            self._hold(sock)

    def _hold(self, sock: trio.socket.SocketType) -> None:
        if sock.fileno() >= 0:
            self._held.append(sock.dup())


class GatedStream(trio.abc.HalfCloseableStream):
    """Takes the place of `stream`."""

    def __init__(self, stream: trio.SocketStream, gate: Gate) -> None:
        self._stream = stream
        self._gate = gate
        gate.admit(stream.socket)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._gate.passed()
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            await self._gate.passed()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._gate.passed()
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            await self._gate.passed()  # the end of a connection is something to be heard, too
            raise
        await self._gate.passed()
        return data

    async def send_eof(self) -> None:
        await self._gate.passed()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Partition:
    """What a `partition()` returns: it has begun already, and as a ``with`` block it ends with the block."""

    def __init__(self, heal: Callable[[], None]) -> None:
        self._heal = heal

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heal()


class Port:
    """A port of the loopback that nobody else is given, also while its server is down: connecting is refused
    then.

    (Else a client that keeps trying would some day be given that very port, and reach itself.)
    """

    def __init__(self, number: int = 0) -> None:
        """0: any free one, as soon as it is held."""
        self.number = number
        self._holder: socket.socket | None = None

    def hold(self) -> None:
        """Raises `OSError` if somebody else has it."""
        if self._holder is not None:
            return
        holder = socket.socket()
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((HOST, self.number))
        except OSError:
            holder.close()
            raise
        self.number = holder.getsockname()[1]
        self._holder = holder

    def lend(self) -> None:
        """To the server, which is to listen there next; afterwards, `hold` it again."""
        if not _LISTENS_BESIDE_HOLDER:
            self.leave()

    def leave(self) -> None:
        """For good."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None
