"""Clients by a trio task each: for streams that a selector cannot watch.

The path for TLS, for platforms whose selector is not pollable, and for the servers of tests, whose streams
can be held up; other plain TCP goes through `clients`. Feeds the same `Connection`, with the same rules: stop
reading while it is congested, send its outbox in order, close when it says so.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from coord.limits import OUTBOX_BYTES_FATAL, RECEIVE_BYTES_MAX
from coord.server.carrier import Phase
from coord.server.clients import admit
from coord.server.connection import Connection
from coord.server.shell import Shell


class StreamCarrier:
    """Carries one connection's bytes over a trio stream; `run` is its task."""

    def __init__(self, stream: trio.abc.Stream, connection: Connection) -> None:
        self._stream = stream
        self._connection = connection
        self._unsent = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._lingers = False

    def flush(self) -> None:
        self._unsent += self._connection.take_outbox()
        self._connection.unsent_bytes = len(self._unsent)
        if len(self._unsent) > OUTBOX_BYTES_FATAL:
            self.close(f"the client reads too slowly: {len(self._unsent)} bytes wait for it")
        self._connection.resume()
        self._changed.unpark_all()

    def close(self, reason: str) -> None:
        self._connection.closed(reason)
        self._scope.cancel()

    async def run(self, shell: Shell) -> None:
        """Serves the client until either side closes."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, shell)
                    nursery.start_soon(self._send, shell)
        finally:
            self._connection.closed("")
            with trio.CancelScope(shield=True, deadline=0):
                await trio.aclose_forcefully(self._stream)

    async def _receive(self, shell: Shell) -> None:
        connection = self._connection
        while connection.phase is not Phase.CLOSED:
            while (connection.congested or connection.phase is Phase.CLOSING) and not self._lingers:
                await self._changed.park()
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES_MAX)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self.close("")
                return
            if not self._lingers:
                shell.begin_turn()
                connection.receive(bytes(data))
                shell.settle()

    async def _send(self, shell: Shell) -> None:
        connection = self._connection
        while True:
            while not self._unsent:
                if connection.phase is Phase.CLOSING:
                    await self._end()
                await self._changed.park()
            data = bytes(self._unsent)
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.close("the connection broke")
                return
            del self._unsent[: len(data)]
            connection.unsent_bytes = len(self._unsent)
            self._changed.unpark_all()
            if connection.stalled:
                shell.begin_turn()
                connection.resume()
                shell.settle()

    async def _end(self) -> None:
        """Nothing more is said. After a goodbye the client is the first to close, as in `clients`, if the
        stream can be closed halfway."""
        if self._connection.said_goodbye and isinstance(self._stream, trio.abc.HalfCloseableStream):
            self._lingers = True
            try:
                await self._stream.send_eof()
                self._changed.unpark_all()
                return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        self.close(self._connection.close_reason)


async def serve_streams(
    shell: Shell,
    listener: trio.SocketListener,
    wrap: Callable[[trio.SocketStream], trio.abc.Stream] = lambda stream: stream,
) -> None:
    """Accepts for ever, a task per client; `wrap` may put TLS around the stream."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            host, port = stream.socket.getpeername()[:2]
            connection = admit(shell.replica, host, port)
        except OSError:  # that client is gone already
            connection = None
        if connection is None:
            await stream.aclose()
            return
        connection.carrier = carrier = StreamCarrier(wrap(stream), connection)
        await carrier.run(shell)

    await trio.serve_listeners(serve, [listener])
