"""The way of this member's votes to one other member: one connection, which only this end writes.

Owns that connection, its renewal, and the one vote that waits. Votes may be lost and repeated, and a later
one says all that an earlier one did: so only the latest is kept, and it is said again on a new connection if
it is still what this member would say.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio

from coord.wire.member_codec import frames_of
from coord.wire.members import Vote


class Pauses:
    """Between attempts: each up to twice as long as the one before, none the same for two members."""

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = self._next = shortest
        self._longest = longest
        self._hurry = trio.Event()

    def reset(self) -> None:
        self._next = self._shortest

    def hurry(self) -> None:
        """Now is a good moment: ends the pause, if there is one."""
        self._hurry.set()

    async def pause(self) -> None:
        seconds, self._next = self._next * random.uniform(0.5, 1), min(self._next * 2, self._longest)
        self._hurry = trio.Event()
        with trio.move_on_after(seconds):
            await self._hurry.wait()


class VoteLine:
    def __init__(
        self, reach: Callable[[], Awaitable[trio.abc.Stream | None]], still_fits: Callable[[Vote], bool]
    ) -> None:
        """`reach` opens a connection (None: not possible now); `still_fits`: is this still to be said?"""
        self.pauses = Pauses(0.02, 1.0)
        self._reach = reach
        self._still_fits = still_fits
        self._latest: Vote | None = None
        self._due = False
        self._changed = trio.lowlevel.ParkingLot()

    def post(self, vote: Vote) -> None:
        self._latest, self._due = vote, True
        self._changed.unpark_all()

    async def run(self) -> None:
        """Keeps the connection, for ever."""
        while True:
            stream = await self._reach()
            if stream is not None:
                self.pauses.reset()
                try:
                    await self._carry(stream)
                finally:
                    await trio.aclose_forcefully(stream)
            await self.pauses.pause()

    async def _carry(self, stream: trio.abc.Stream) -> None:
        """Until the connection ends."""
        self._due = self._latest is not None and self._still_fits(self._latest)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream, nursery.cancel_scope)
            try:
                await stream.receive_some(1)  # nothing ever comes but the end
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

    async def _send(self, stream: trio.abc.Stream, connection: trio.CancelScope) -> None:
        while True:
            while not self._due:
                await self._changed.park()
            assert self._latest is not None
            self._due = False
            try:
                for frame in frames_of(self._latest):
                    await stream.send_all(b"".join(frame))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                connection.cancel()
                return
