"""The load engine: sockets with open sessions, kept supplied with requests, and every reply timed.

Owns the sockets, what is in flight on each, and the tally of one window of load. Must not know what requests
mean (see `workload`), how sessions begin and end (`sessions`), nor who shows what.

Rules that hold here:

- Nothing runs between a reply and the clock: no event loop, no task for each connection. `run` sleeps in
  the selector and comes back after the time that it was given, so that who has a loop can turn it meanwhile.
- A connection's replies come in the order of its requests. Another order, or a garbled frame, is an error of
  that connection, which is closed; so is one that the server closes. What was in flight there has failed. It
  is not opened again, and the others go on.
- Closed loop: a request is sent for each reply, and its time counts from when it is sent. With a rate, from
  when it was due, however late it was sent, because all its predecessors were waited for.

Synopsis::

    with Engine(outstanding=20) as engine:
        engine.add(sock, "127.0.0.1:2181")
        engine.start(workload, limit=1000)
        while not engine.idle:
            engine.run(0.05)
        engine.tally
"""

from __future__ import annotations

import select
import selectors
import socket
from collections import Counter, deque
from dataclasses import dataclass, field
from struct import Struct
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self

from coord.cli.bench.tally import LOST, OUT_OF_ORDER, Tally, kind_of
from coord.cli.bench.workload import Workload
from coord.limits import REPLY_FRAME_BYTES_MAX
from coord.wire.records import Op, Xid

RECEIVE_BYTES: Final = 256 * 1024
FIRST_XID: Final = 2
"""The session's beginning has used the first one."""
PING_NS: Final = 5_000_000_000
"""A session lives on a ping after so long without a request."""

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_LENGTH_AND_XID = Struct(">ii")
_REPLY = Struct(">iiqi")
"""A frame's length, and the reply's header: xid, zxid, error."""
_REPLY_BYTES_MIN: Final = _REPLY.size - 4
_PING: Final = Struct(">iii").pack(8, Xid.PING, Op.PING)


@dataclass(slots=True, eq=False)
class Connection:
    """One session's socket."""

    sock: socket.socket
    server: str
    rest: bytes = b""
    """received, and not a whole frame yet"""
    unsent: bytes | memoryview = b""
    in_flight: deque[tuple[int, bytes]] = field(default_factory=deque)
    """when some requests were sent (or due), and the operations of each of them"""
    outstanding: int = 0
    next_xid: int = FIRST_XID
    expected: int = FIRST_XID
    """the xid of the next reply"""
    place: int = 0
    """in the workload's cycle"""
    sent_at: int = field(default_factory=perf_counter_ns)


class Engine:
    """`tally` is that of the window that `start` has begun; `lost` counts connections by their servers."""

    tally: Tally

    def __init__(self, outstanding: int) -> None:
        # Made before there are many sockets: see `_wait`.
        self._selector = selectors.DefaultSelector()
        self._depth = outstanding
        self.connections: list[Connection] = []
        self.lost: Counter[str] = Counter()
        self.in_flight = 0
        self.quiet_since = 0
        """since when nothing was heard, though something is in flight; of `perf_counter_ns`"""
        self.backlog = 0
        """requests that were due, and were not sent when the window ended"""
        self._going = False
        self._turn_of = 0
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.connections:
            connection.sock.close()
        self._selector.close()

    def add(self, sock: socket.socket, server: str) -> None:
        """`sock` does not block, has an open session, and is the engine's from now on."""
        connection = Connection(sock, server)
        self.connections.append(connection)
        self._selector.register(sock, _READ, connection)

    # -- one window of load ---------------------------------------------------------------------------

    def start(self, workload: Workload, *, limit: int | None = None, rate: float | None = None) -> None:
        """Begins a window: `limit` requests, or until `stop`; `rate` of them a second, of all together."""
        assert not self.in_flight, "the window before has not ended"
        self._workload = workload
        self._left = limit
        self._rate = rate
        self._issued = 0
        self.tally = Tally(workload.names)
        self.backlog = 0
        self._going = True
        self._began = self.quiet_since = perf_counter_ns()
        count = max(1, len(self.connections))
        for number, connection in enumerate(list(self.connections)):
            connection.place = workload.cycle * number // count
            if rate is None:
                self._issue(connection, self._depth)

    def stop(self) -> None:
        """No more requests, once what is due is sent; those in flight are waited for by who goes on calling
        `run`."""
        if self._going and self._rate is not None:
            now = perf_counter_ns()
            self._issue_due(now)
            self.backlog = self._due(now) - self._issued
        self._going = False

    @property
    def idle(self) -> bool:
        """Has the window ended, and every request had its reply? Or is no connection left?"""
        over = not self._going or self._left == 0
        return (over and not self.in_flight) or not self.connections

    def run(self, seconds: float) -> None:
        """Sends and receives for so long, or until it is idle."""
        until = perf_counter_ns() + int(seconds * 1e9)
        while not self.idle:
            now = perf_counter_ns()
            if now >= until:
                return
            wake = until
            if self._rate is not None and self._going:
                wake = min(until, self._issue_due(now))
            for key, mask in self._wait(max(0, wake - now) / 1e9):
                if mask & _WRITE:
                    self._flush(key.data)
                if mask & _READ:
                    self._receive(key.data)

    def give_up(self, kind: str) -> None:
        """Closes every connection on which replies are waited for; what is in flight has failed."""
        for connection in [one for one in self.connections if one.outstanding]:
            self._lose(connection, kind)

    def _wait(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """The selector's own time-outs are milliseconds, too coarse for requests that are due at a time."""
        if self._rate is not None and hasattr(self._selector, "fileno"):
            select.select([self._selector], [], [], seconds)
            seconds = 0
        return self._selector.select(seconds)

    # -- requests -------------------------------------------------------------------------------------

    def _issue(self, connection: Connection, count: int, due: int | None = None) -> None:
        """Sends the next `count` requests, or as many as are still to be sent."""
        if not self._going:
            return
        if self._left is not None:
            count = min(count, self._left)
        while count and connection.sock.fileno() >= 0:  # sending may fail between two
            requests = self._workload.requests(connection.place, count)
            operations = self._workload.operations(connection.place, len(requests))
            xid = connection.next_xid
            parts: list[bytes] = []
            for length, head, tail in requests:
                parts += (_LENGTH_AND_XID.pack(length, xid), head, tail)
                xid += 1
            connection.next_xid = xid
            connection.place = (connection.place + len(requests)) % self._workload.cycle
            count -= len(requests)
            if self._left is not None:
                self._left -= len(requests)
            self._issued += len(requests)
            connection.outstanding += len(requests)
            now = perf_counter_ns()
            if not self.in_flight:
                self.quiet_since = now
            self.in_flight += len(requests)
            connection.in_flight.append((now if due is None else due, operations))
            connection.sent_at = now
            self._send(connection, b"".join(parts))

    def _due(self, now: int) -> int:
        """How many requests should have been sent by now."""
        assert self._rate is not None
        due = int((now - self._began) * self._rate / 1e9) + 1
        return due if self._left is None else min(due, self._issued + self._left)

    def _issue_due(self, now: int) -> int:
        """Sends what is due, where there is room for it; returns when there is something to do again."""
        assert self._rate is not None
        due = self._due(now)
        while self._issued < due:
            connection = self._next_with_room()
            if connection is None:
                return now + PING_NS  # a reply makes room
            self._issue(connection, 1, self._began + int(self._issued * 1e9 / self._rate))
        for connection in [one for one in self.connections if now - one.sent_at > PING_NS]:
            connection.sent_at = now
            self._send(connection, _PING)
        return self._began + int(self._issued * 1e9 / self._rate)

    def _next_with_room(self) -> Connection | None:
        """Each connection in turn."""
        count = len(self.connections)
        for step in range(count):
            connection = self.connections[(self._turn_of + step) % count]
            if connection.outstanding < self._depth:
                self._turn_of = (self._turn_of + step + 1) % count
                return connection
        return None

    def _send(self, connection: Connection, data: bytes | memoryview) -> None:
        if connection.unsent:
            connection.unsent = b"".join((connection.unsent, data))
            return
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(connection, LOST)
            return
        if sent < len(data):
            connection.unsent = memoryview(data)[sent:]
            self._selector.modify(connection.sock, _READ | _WRITE, connection)

    def _flush(self, connection: Connection) -> None:
        data, connection.unsent = connection.unsent, b""
        if data:
            self._selector.modify(connection.sock, _READ, connection)
            self._send(connection, data)

    # -- replies --------------------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        if connection.sock.fileno() < 0:
            return  # sending has failed, in this turn
        try:
            count = connection.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        now = perf_counter_ns()
        if not count:
            self._lose(connection, LOST)
            return
        data = bytes(self._buffer[:count])
        self.quiet_since = now
        answered = self._take(connection, connection.rest + data if connection.rest else data, now)
        if answered and self._rate is None:
            self._issue(connection, answered)

    def _take(self, connection: Connection, data: bytes, now: int) -> int:
        """Reads the whole frames; how many requests they have answered."""
        unpack, position, end = _REPLY.unpack_from, 0, len(data)
        first = good_from = expected = connection.expected
        unsaid = connection.next_xid
        while end - position >= _REPLY.size:
            length, xid, _, error = unpack(data, position)
            garbled = not _REPLY_BYTES_MIN <= length <= REPLY_FRAME_BYTES_MAX
            if position + 4 + length > end and not garbled:
                break
            position += 4 + length
            if xid == expected < unsaid and not error and not garbled:
                expected += 1
                continue
            if xid < 0 and not garbled:
                continue  # a ping's reply
            self._settle(connection, expected - good_from, now)
            if garbled or not xid == expected < unsaid:
                self._lose(connection, OUT_OF_ORDER)
                return 0
            self._settle(connection, 1, now, kind_of(error))
            expected += 1
            good_from = expected
        self._settle(connection, expected - good_from, now)
        connection.rest = data[position:]
        connection.expected = expected
        return expected - first

    def _settle(self, connection: Connection, count: int, now: int, kind: str = "") -> None:
        """The next `count` requests in flight were answered, with an error if there is a `kind`."""
        self.in_flight -= count
        connection.outstanding -= count
        while count:
            since, operations = connection.in_flight.popleft()
            if len(operations) > count:
                connection.in_flight.appendleft((since, operations[count:]))
                operations = operations[:count]
            count -= len(operations)
            if kind:
                self.tally.failed(operations, kind)
            else:
                self.tally.replied(operations, max(0, now - since))

    def _lose(self, connection: Connection, kind: str) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        self.connections.remove(connection)
        self.lost[connection.server] += 1
        self._settle(connection, connection.outstanding, 0, kind)
