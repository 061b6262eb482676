"""One link of the members' network: it carries messages both ways, in order, until it breaks.

Owns the link's unsent frames and their bound. What is said in one turn leaves together. Must not know what
the messages mean, but for one thing: what a leader says before its `NewLeader` is history that the follower
asked for, and may be of any size; everything else counts towards the bound, and a reader that lets more than
that gather is cut off, for it would cost the leader its memory.

Whose bytes a selector moves is a `SocketLink`; a `StreamLink` is for streams that are not sockets, or not
ours alone.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import trio

from coord.errors import ProtocolError
from coord.limits import MEMBER_UNSENT_BYTES_MAX, RECEIVE_BYTES_MAX
from coord.server.shell import Turns
from coord.server.sockets import READ, WRITE, Sockets
from coord.wire.member_codec import FROM_FOLLOWERS, FROM_LEADERS, Message, MessageReader, frames_of
from coord.wire.members import LinkMessage, NewLeader
from coord.zab.links import Link

_TOGETHER_BYTES = 256 * 1024


class PeerLink(ABC):
    def __init__(self, link: Link, *, to_leader: bool) -> None:
        """`to_leader`: this end follows the other."""
        self.link = link
        self.reason = ""
        """why it ended; "" for no reason of this end's"""
        self.unsent_max = MEMBER_UNSENT_BYTES_MAX
        self._reader = MessageReader(FROM_LEADERS if to_leader else FROM_FOLLOWERS)
        self._counts = to_leader
        self._queue: deque[tuple[tuple[bytes, ...], int]] = deque()  # a frame, and what it counts
        self._unsent = 0

    def send(self, message: LinkMessage) -> None:
        """Takes the message, to be sent after those before it, once `flush` says that the turn is over."""
        if isinstance(message, NewLeader):
            self._counts = True
        for frame in frames_of(message):
            size = sum(map(len, frame)) if self._counts else 0
            self._queue.append((frame, size))
            self._unsent += size
        if self._unsent > self.unsent_max:
            self.cut(f"it reads too slowly: {self._unsent} bytes wait for it")

    def cut(self, reason: str) -> None:
        """Ends the link, with what is unsent."""
        self.reason = self.reason or reason
        self._queue.clear()
        self._end()

    @abstractmethod
    def flush(self) -> None:
        """What was said so far leaves."""

    @abstractmethod
    async def run(self, receive: Callable[[list[Message]], None]) -> None:
        """Returns when the link has ended. `receive` is called with all messages that have come by then."""

    @abstractmethod
    def _end(self) -> None:
        """Lets `run` return."""

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


class StreamLink(PeerLink):
    """Whenever something comes that is a turn of its own."""

    def __init__(self, link: Link, stream: trio.abc.Stream, shell: Turns, *, to_leader: bool) -> None:
        super().__init__(link, to_leader=to_leader)
        self._stream = stream
        self._shell = shell
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    def flush(self) -> None:
        self._changed.unpark_all()

    def _end(self) -> None:
        self._scope.cancel()

    async def run(self, receive: Callable[[list[Message]], None]) -> None:
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
                self._shell.begin_turn()
                receive(messages)
                self._shell.settle()

    async def _send(self) -> None:
        while True:
            while not self._queue:
                await self._changed.park()
            data, counted = self._take()
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end()
                return
            self._unsent -= counted


class SocketLink(PeerLink):
    """What comes is a part of the turn of all sockets."""

    def __init__(self, link: Link, sock: socket.socket, sockets: Sockets, *, to_leader: bool) -> None:
        """Takes the socket, which is closed when `run` has ended."""
        super().__init__(link, to_leader=to_leader)
        self._socket = sock
        self._sockets = sockets
        self._interest = 0
        self._rest = memoryview(b"")  # what the network did not take yet, and what it counts
        self._rest_counted = 0
        self._ended = trio.Event()

    async def run(self, receive: Callable[[list[Message]], None]) -> None:
        self._receive = receive
        try:
            if not self._ended.is_set():
                self._watch_for(READ)
                self.flush()
            await self._ended.wait()
        finally:
            self._end()
            self._socket.close()

    def ready(self, mask: int) -> None:
        if mask & READ and self._interest:
            self._read()
        if mask & WRITE and self._interest:
            self.flush()

    def _read(self) -> None:
        try:
            data = self._sockets.receive(self._socket)
            messages = self._reader.receive(data)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        except ProtocolError as error:
            self.cut(str(error))
            return
        if not data:
            self._end()
        elif messages:
            self._receive(messages)

    def flush(self) -> None:
        if not self._interest:  # it does not run yet, or not any more
            return
        while self._rest or self._queue:
            if not self._rest:
                data, self._rest_counted = self._take()
                self._rest = memoryview(data)
            try:
                sent = self._socket.send(self._rest)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._end()
                return
            self._rest = self._rest[sent:]
            if self._rest:
                break
            self._unsent -= self._rest_counted
        self._watch_for(READ | WRITE if self._rest else READ)

    def _end(self) -> None:
        self._watch_for(0)
        self._ended.set()

    def _watch_for(self, interest: int) -> None:
        if interest != self._interest:
            self._interest = interest
            self._sockets.watch(self._socket, self, interest)
