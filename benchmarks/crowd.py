"""Thousands of sessions in one process, each on its own connection: all that a client does that waits.

Owns the sockets and one selector over them; a pass takes whatever is ready. Heartbeats are spread evenly over
a third of the timeout, as those of clients that have come at different times are. Raises `Refused` as soon as
the server closes one of them.

Synopsis::

    with Crowd(address, 10_000, timeout_ms=30_000) as crowd:
        crowd.keep_alive(seconds=20)
        crowd.ask_each(EXISTS, read("/a", watch=True))
        crowd.receive(10_000)  # the events
"""

from __future__ import annotations

import selectors
import socket
import time
from itertools import cycle
from types import TracebackType
from typing import Final, Self

from benchmarks.wire import PING_FRAME, Frames, Refused, connect_frame, frame

GREETED_AT_ONCE: Final = 50
"""Apache ZooKeeper closes a connection that has waited ten seconds for its session."""
RECEIVE_BYTES: Final = 1 << 18
PATIENCE_SECONDS: Final = 30.0


class _Member:
    __slots__ = ("frames", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE_SECONDS)
        self.frames = Frames()

    def receive(self) -> int:
        """How many replies and events have come."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise Refused("the server closed a connection")
        return len(self.frames.feed(data))


class Crowd:
    def __init__(self, address: tuple[str, int], size: int, *, timeout_ms: int) -> None:
        """Opens them all. Raises `OSError`, `Refused`."""
        self._timeout_ms = timeout_ms
        self._selector = selectors.DefaultSelector()
        self._members: list[_Member] = []
        try:
            for first in range(0, size, GREETED_AT_ONCE):
                self._open(address, min(GREETED_AT_ONCE, size - first))
        except BaseException:
            self.close()
            raise

    def _open(self, address: tuple[str, int], count: int) -> None:
        new: list[_Member] = []
        for _ in range(count):
            new.append(_Member(address))
            self._members.append(new[-1])
            new[-1].socket.sendall(connect_frame(self._timeout_ms))
        for member in new:
            while not member.frames.greeted:
                member.receive()
            self._selector.register(member.socket, selectors.EVENT_READ, member)

    def keep_alive(self, seconds: float) -> None:
        """Every one's heartbeats for so long; all of them must have been answered at the end."""
        interval = self._timeout_ms / 3000 / len(self._members)
        began, sent, answered = time.monotonic(), 0, 0
        order = cycle(self._members)
        while (passed := time.monotonic() - began) < seconds:
            while sent * interval <= passed:
                next(order).socket.sendall(PING_FRAME)
                sent += 1
            answered += self._pass(timeout=0.005)
        self.receive(sent - answered)

    def ask_each(self, op: int, body: bytes) -> None:
        """The same request of everybody; returns when all have their reply."""
        request = frame(1, op, body)
        for first in range(0, len(self._members), GREETED_AT_ONCE):
            some = self._members[first : first + GREETED_AT_ONCE]
            for member in some:
                member.socket.sendall(request)
            self.receive(len(some))

    def receive(self, count: int) -> None:
        """Until so many replies and events have come. Raises `TimeoutError`."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while count > 0:
            count -= self._pass(timeout=1.0)
            if time.monotonic() > ends:
                raise TimeoutError(f"{count} answers have not come")

    def _pass(self, timeout: float) -> int:
        return sum(key.data.receive() for key, _ in self._selector.select(timeout))

    def close(self) -> None:
        for member in self._members:
            member.socket.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
