"""A steady trickle of reads and writes beside whatever else a server does, each one timed.

Owns two connections, one that reads and one that writes, each with one request under way at the most. What is
sent late, because the answer before it was late, is timed from when it was due: a server that stands still
for a second shows all the requests of that second (no coordinated omission). Linux: the replies' time is
taken when they are received.

Synopsis::

    with Probe(address, "/read", "/write") as probe:
        probe.run(until=lambda: time.monotonic() > ends)
        p99(probe.reads), p99(probe.writes)
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from types import TracebackType
from typing import Final, NamedTuple, Self

from benchmarks.wire import GET, SET, Wire, read, set_data

READ_SECONDS: Final = 0.002
WRITE_SECONDS: Final = 0.005
"""between two requests"""


class Timed(NamedTuple):
    due: float
    """on the monotonic clock"""
    seconds: float


class _Stream:
    def __init__(self, wire: Wire, op: int, body: bytes, interval: float) -> None:
        self.wire, self.op, self.body, self.interval = wire, op, body, interval
        self.due = time.monotonic()
        self.waits = False
        self.timed: list[Timed] = []

    def send(self) -> None:
        self.wire.send(self.op, self.body)
        self.waits = True

    def receive(self) -> None:
        replies = self.wire.poll()
        if replies:
            self.timed.append(Timed(self.due, time.monotonic() - self.due))
            self.due += self.interval
            self.waits = False


class Probe:
    def __init__(self, address: tuple[str, int], read_path: str, write_path: str) -> None:
        self._wires = [Wire(address), Wire(address)]
        reads = _Stream(self._wires[0], GET, read(read_path), READ_SECONDS)
        writes = _Stream(self._wires[1], SET, set_data(write_path, b"probe"), WRITE_SECONDS)
        self._streams = {self._wires[0].socket: reads, self._wires[1].socket: writes}
        self.reads, self.writes = reads.timed, writes.timed

    def run(self, until: Callable[[], bool]) -> None:
        """Until `until` (asked after each request) is true."""
        for stream in self._streams.values():
            stream.due = time.monotonic()
        while not until():
            now = time.monotonic()
            for stream in self._streams.values():
                if not stream.waits and stream.due <= now:
                    stream.send()
            waiting = [sock for sock, stream in self._streams.items() if stream.waits]
            next_due = min((s.due for s in self._streams.values() if not s.waits), default=now + 1)
            ready, _, _ = select.select(waiting, [], [], max(0.0, next_due - time.monotonic()))
            for sock in ready:
                self._streams[sock].receive()
        for stream in self._streams.values():
            while stream.waits:
                stream.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for wire in self._wires:
            wire.close()


def p99(timed: Sequence[Timed]) -> float:
    """In seconds."""
    return quantiles([one.seconds for one in timed], n=100, method="inclusive")[98]


def worst(timed: Sequence[Timed]) -> float:
    return max(one.seconds for one in timed)
