"""One measurement: how long so many operations took, and what they asked of the server.

Owns the clock of this process's processor time, and the counting at the server, which is the same for every
library: packets that it received are requests, packets that it sent beyond one reply to each are watch
events, which are wake-ups of somebody.

Rules that hold here:

- The counters are the whole server's. Sessions that only keep alive add a request and its reply now and then;
  a server that others use at the same time cannot be counted at.
- A server that does not tell (the four-letter word mntr is not in its whitelist) leaves the counts None.

Synopsis::

    counters = Counters("127.0.0.1:2181")
    with counters.window() as window:
        ...
    Sample.of(window, operations=100, seconds=1.5)
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import add
from statistics import median, quantiles
from time import process_time
from typing import NamedTuple, Self

ANSWER_SECONDS = 5.0


class Counts(NamedTuple):
    """What a server has counted since it started; `watches` are those set now."""

    received: int
    sent: int
    watches: int


@dataclass
class Window:
    """The counts before and after; None where the server does not tell."""

    before: Counts | None
    after: Counts | None = None
    cpu_seconds: float = 0.0
    """of this process, all its threads"""


class Counters:
    """The counters of the servers in `hosts`, added up; asked for on connections of their own each time."""

    def __init__(self, hosts: str) -> None:
        self._addresses = []
        for one in hosts.partition("/")[0].split(","):
            host, _, port = one.rpartition(":")
            self._addresses.append((host, int(port)))

    def read(self) -> Counts | None:
        """Blocks for about a millisecond: not to be called while time is taken."""
        total = Counts(0, 0, 0)
        for address in self._addresses:
            values = self._ask(address)
            try:
                found = [
                    int(values[f"zk_{key}"]) for key in ("packets_received", "packets_sent", "watch_count")
                ]
            except (KeyError, ValueError):
                return None
            total = Counts(*map(add, total, found))
        return total

    def server(self) -> str:
        """What the (first) server calls itself."""
        return self._ask(self._addresses[0]).get("zk_version", "one that does not say what it is")

    def _ask(self, address: tuple[str, int]) -> dict[str, str]:
        """All that mntr says; {} if it says nothing."""
        answer = b""
        with socket.create_connection(address, ANSWER_SECONDS) as sock:
            sock.sendall(b"mntr")
            while data := sock.recv(65536):
                answer += data
        pairs = (line.partition("\t") for line in answer.decode("utf-8", "replace").splitlines())
        return {key: value for key, tab, value in pairs if tab}

    @contextmanager
    def window(self) -> Iterator[Window]:
        """What the server counts during the block."""
        idle, before = self.read(), self.read()
        if idle is not None and before is not None:
            # Apache ZooKeeper counts the question itself: what two in a row differ by is not the block's.
            before = Counts(*(2 * second - first for first, second in zip(idle, before, strict=True)))
        window = Window(before)
        began = process_time()
        yield window
        window.cpu_seconds = process_time() - began
        window.after = self.read()


@dataclass(frozen=True)
class Sample:
    """So many operations in so many seconds. Counts are of all operations together."""

    operations: int
    seconds: float
    cpu_seconds: float = 0.0
    """of the clients' process"""
    requests: int | None = None
    events: int | None = None
    latencies: tuple[float, ...] = ()
    """seconds of each operation, where they were taken one by one"""

    @classmethod
    def of(cls, window: Window, *, operations: int, seconds: float, latencies: Sequence[float] = ()) -> Self:
        before, after = window.before, window.after
        if before is None or after is None:
            return cls(operations, seconds, window.cpu_seconds, latencies=tuple(latencies))
        requests = after.received - before.received
        events = after.sent - before.sent - requests
        return cls(operations, seconds, window.cpu_seconds, requests, events, tuple(latencies))

    @classmethod
    def sum(cls, parts: Sequence[Sample]) -> Sample:
        """Several measurements as one."""
        requests = [one.requests for one in parts if one.requests is not None]
        events = [one.events for one in parts if one.events is not None]
        return Sample(
            sum(one.operations for one in parts),
            sum(one.seconds for one in parts),
            sum(one.cpu_seconds for one in parts),
            sum(requests) if len(requests) == len(parts) else None,
            sum(events) if len(events) == len(parts) else None,
            tuple(latency for one in parts for latency in one.latencies),
        )

    @property
    def rate(self) -> float:
        """Operations in a second."""
        return self.operations / self.seconds

    @property
    def cpu_each(self) -> float:
        """Seconds of the clients' processor for one operation."""
        return self.cpu_seconds / self.operations

    @property
    def requests_each(self) -> float | None:
        return None if self.requests is None else self.requests / self.operations

    @property
    def events_each(self) -> float | None:
        return None if self.events is None else self.events / self.operations

    def percentile(self, percent: int) -> float:
        """Of the latencies, in seconds."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that were measured; None if none was."""
    known = [value for value in values if value is not None]
    return median(known) if known else None
