"""A proxy between a client and its server that loses what it is told to lose.

Synopsis::

    async with open_proxy(hosts) as proxy:
        async with coord.connect(proxy.hosts) as zk:
            proxy.swallow_reply(
                Op.CREATE2
            )  # the request arrives; the reply is lost, and the connection with it
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from coord.wire.records import Xid


@dataclass(eq=False)
class _Connection:
    client: trio.SocketStream
    server: trio.SocketStream
    doomed_xid: int | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Proxy:
    """`hosts` is where to connect to."""

    def __init__(self, target: str, nursery: trio.Nursery) -> None:
        address, slash, chroot = target.partition("/")
        host, _, port = address.rpartition(":")
        self._target = host, int(port)
        self._chroot = slash + chroot
        self._nursery = nursery
        self._connections: set[_Connection] = set()
        self._doomed_op: int | None = None
        self._doomed_request: int | None = None
        self._hold = False
        self._held_op: int | None = None
        self._held = self._pass = trio.Event()
        self._open = trio.Event()
        self._open.set()
        self.hosts = ""
        self.lost = trio.Event()
        """set once a reply was swallowed, until the next order to do so"""
        self.requests: list[int] = []
        """the opcode of every request that passed"""
        self.events = 0
        """how many watch events have passed"""

    def swallow_reply(self, op: int, *, then_closed: bool = False) -> None:
        """Lose the reply to the next request `op`, with its connection; `then_closed`: and admit no other."""
        self._doomed_op = op
        self._hold = then_closed
        self.lost = trio.Event()

    def hold(self, op: int) -> trio.Event:
        """Hold the next request `op` back until `let_pass`; the event says that it is there."""
        self._held_op, self._held, self._pass = op, trio.Event(), trio.Event()
        return self._held

    def let_pass(self) -> None:
        self._pass.set()

    def lose_request(self, op: int) -> None:
        """Lose the next request `op` itself, with its connection: to its sender it looks the same."""
        self._doomed_request = op
        self.lost = trio.Event()

    def hold_off(self) -> None:
        """Let no new connection through until `reopen`; those that are there stay."""
        self._open = trio.Event()

    def close(self) -> None:
        """Cut every connection, and let no new one through until `reopen`."""
        self.hold_off()
        self.cut()

    def reopen(self) -> None:
        self._open.set()

    def heal(self) -> None:
        """Forget every order to lose something, and let connections through."""
        self._doomed_op, self._doomed_request, self._hold = None, None, False
        self.reopen()

    def cut(self) -> None:
        for connection in list(self._connections):
            connection.scope.cancel()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.hosts = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}{self._chroot}"
        task_status.started()
        await trio.serve_listeners(self._carry, listeners)

    async def _carry(self, client: trio.SocketStream) -> None:
        await self._open.wait()
        try:
            server = await trio.open_tcp_stream(*self._target)
        except OSError:
            await client.aclose()
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            async with server, client:
                with connection.scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, connection, client, server, self._sent)
                        nursery.start_soon(self._pump, connection, server, client, self._answered)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._connections.discard(connection)

    async def _pump(
        self,
        connection: _Connection,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        look: Callable[[_Connection, bytes], bool],
    ) -> None:
        """Pass whole frames on, for as long as `look` lets them."""
        buffer, hello = b"", True
        async for data in source:
            buffer += data
            while len(buffer) >= 4 and len(buffer) >= 4 + (size := struct.unpack_from(">i", buffer)[0]):
                frame, buffer = buffer[: 4 + size], buffer[4 + size :]
                if not hello and not look(connection, frame[4:]):
                    return
                if not hello and look == self._sent:
                    await self._keep_back(frame)
                hello = False
                await sink.send_all(frame)
        connection.scope.cancel()

    async def _keep_back(self, frame: bytes) -> None:
        if struct.unpack_from(">i", frame, 8)[0] == self._held_op:
            self._held_op = None
            self._held.set()
            await self._pass.wait()

    def _sent(self, connection: _Connection, frame: bytes) -> bool:
        xid, op = struct.unpack_from(">ii", frame)
        if op == self._doomed_request:
            self._doomed_request = None
            self.lost.set()
            connection.scope.cancel()
            return False
        self.requests.append(op)
        if op == self._doomed_op:
            self._doomed_op, connection.doomed_xid = None, xid
        return True

    def _answered(self, connection: _Connection, frame: bytes) -> bool:
        (xid,) = struct.unpack_from(">i", frame)
        self.events += xid == Xid.NOTIFICATION
        if xid != connection.doomed_xid:
            return True
        if self._hold:
            self.hold_off()
        self.lost.set()
        connection.scope.cancel()
        return False


@asynccontextmanager
async def open_proxy(target: str) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        proxy = Proxy(target, nursery)
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
