"""One link of the members' network: a stream that carries messages both ways, in order, until it breaks.

Owns the link's unsent frames and their bound. What is said in one turn leaves together. Must not know what
the messages mean, but for one thing: what a leader says before its `NewLeader` is history that the follower
asked for, and may be of any size; everything else counts towards the bound, and a reader that lets more than
that gather is cut off, for it would cost the leader its memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from coord.errors import ProtocolError
from coord.limits import MEMBER_UNSENT_BYTES_MAX, RECEIVE_BYTES_MAX
from coord.wire.member_codec import FROM_FOLLOWERS, FROM_LEADERS, Message, MessageReader, frames_of
from coord.wire.members import LinkMessage, NewLeader
from coord.zab.links import Link

_TOGETHER_BYTES = 256 * 1024


class PeerLink:
    def __init__(self, link: Link, stream: trio.abc.Stream, *, to_leader: bool) -> None:
        """`to_leader`: this end follows the other."""
        self.link = link
        self.reason = ""
        """why it ended; "" for no reason of this end's"""
        self.unsent_max = MEMBER_UNSENT_BYTES_MAX
        self._stream = stream
        self._reader = MessageReader(FROM_LEADERS if to_leader else FROM_FOLLOWERS)
        self._counts = to_leader
        self._queue: deque[tuple[tuple[bytes, ...], int]] = deque()  # a frame, and what it counts
        self._unsent = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    def send(self, message: LinkMessage) -> None:
        """Takes the message, to be sent after those before it."""
        if isinstance(message, NewLeader):
            self._counts = True
        for frame in frames_of(message):
            size = sum(map(len, frame)) if self._counts else 0
            self._queue.append((frame, size))
            self._unsent += size
        if self._unsent > self.unsent_max:
            self.cut(f"it reads too slowly: {self._unsent} bytes wait for it")
        self._changed.unpark_all()

    def cut(self, reason: str) -> None:
        """Ends the link, with what is unsent."""
        self.reason = self.reason or reason
        self._queue.clear()
        self._scope.cancel()

    async def run(self, receive: Callable[[list[Message]], None]) -> None:
        """Returns when the link has ended. `receive` is called with all messages that have come by then."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                await self._receive(receive)
                nursery.cancel_scope.cancel()

    async def _receive(self, receive: Callable[[list[Message]], None]) -> None:
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES_MAX)
                messages = self._reader.receive(bytes(data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            except ProtocolError as error:
                self.cut(str(error))
                return
            if not data:
                return
            if messages:
                receive(messages)

    async def _send(self) -> None:
        while True:
            while not self._queue:
                await self._changed.park()
            data, counted = self._take()
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._scope.cancel()
                return
            self._unsent -= counted

    def _take(self) -> tuple[bytes, int]:
        """Some frames as one piece, and what they count."""
        parts: list[bytes] = []
        length = counted = 0
        while self._queue and length < _TOGETHER_BYTES:
            frame, size = self._queue.popleft()
            parts += frame
            length += sum(map(len, frame))
            counted += size
        return b"".join(parts), counted
