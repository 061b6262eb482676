"""TCP proxies between the members of an ensemble: what one says to another can be held up, or come late.

Synopsis::

    switchboard = Switchboard()
    async with switchboard.running():
        port = await switchboard.extension(1, 2, port_of_2)  # member 1 reaches member 2 there
        switchboard.cut(1, 2)  # nothing that 1 says arrives at 2; what 2 says arrives at 1
        switchboard.heal()

As in a network that loses packets, a cut loses no connection: what was said arrives after it, unless the ends
have given up by then. A new connection can be opened through a cut, but the one end hears nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio

HOST = "127.0.0.1"


class Switchboard:
    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._open: dict[tuple[int, int], trio.Event] = {}
        self._cut: set[tuple[int, int]] = set()
        self._delays: dict[tuple[int, int], float] = {}
        self._connections: dict[trio.CancelScope, tuple[int, int]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self._nursery:
            yield
            self._nursery.cancel_scope.cancel()

    async def extension(self, caller: int, callee: int, port: int) -> int:
        """A port that leads `caller` to `port`, which is the callee's."""
        assert self._nursery is not None
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        carry = partial(self._carry, caller, callee, port)
        self._nursery.start_soon(trio.serve_listeners, carry, listeners)
        return int(listeners[0].socket.getsockname()[1])

    # -- faults ---------------------------------------------------------------------------------------

    def cut(self, source: int, target: int) -> None:
        """What `source` says does not arrive at `target` any more."""
        if (source, target) not in self._cut:
            self._cut.add((source, target))
            self._open[source, target] = trio.Event()

    def separate(self, group: Iterable[int], others: Iterable[int]) -> None:
        """No word between the two."""
        others = list(others)
        for one in group:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def delay(self, source: int, target: int, seconds: float) -> None:
        """What `source` says arrives at `target` that much later."""
        self._delays[source, target] = seconds

    def reset(self, one: int, other: int) -> None:
        """Ends every connection between the two."""
        for scope, ends in list(self._connections.items()):
            if set(ends) == {one, other}:
                scope.cancel()

    def heal(self) -> None:
        self._cut.clear()
        self._delays.clear()
        for event in self._open.values():
            event.set()
        self._open.clear()

    # -- connections ----------------------------------------------------------------------------------

    async def _carry(self, caller: int, callee: int, port: int, near: trio.SocketStream) -> None:
        scope = trio.CancelScope()
        self._connections[scope] = caller, callee
        try:
            with scope:
                async with (
                    near,
                    await trio.open_tcp_stream(HOST, port) as far,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._pump, (caller, callee), near, far, scope)
                    nursery.start_soon(self._pump, (callee, caller), far, near, scope)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            del self._connections[scope]

    async def _pump(
        self,
        way: tuple[int, int],
        source: trio.SocketStream,
        sink: trio.SocketStream,
        scope: trio.CancelScope,
    ) -> None:
        """One direction of a connection. Its end comes through a cut, too, but not before what was said."""
        try:
            async for data in source:
                if way in self._delays:
                    await trio.sleep(self._delays[way])
                while way in self._cut:
                    await self._open[way].wait()
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        while way in self._cut:
            await self._open[way].wait()
        scope.cancel()
