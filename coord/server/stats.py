"""Counters that the four-letter words report: of the server, and of each connection.

Owns counting, and what a reset forgets. Plain numbers: no clock here, times are given in milliseconds.

Synopsis::

    stats.received += 1
    stats.replied(latency_ms=3, times=20)
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Summary:
    """Of whole numbers: how long requests took, in milliseconds from their arrival to their reply, or how
    many bytes proposals had."""

    count: int = 0
    total: int = 0
    low: int = 0
    high: int = 0
    last: int = 0

    def add(self, value: int, times: int = 1) -> None:
        if value < self.low or not self.count:
            self.low = value
        if value > self.high:
            self.high = value
        self.count += times
        self.total += value * times
        self.last = value

    @property
    def average(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class ServerStats:
    """Since the start, or the last `srst`."""

    received: int = 0
    sent: int = 0
    latency: Summary = field(default_factory=Summary)

    proposals: Summary = field(default_factory=Summary)
    """bytes of what this member has proposed since it leads"""

    def replied(self, latency_ms: int, times: int = 1) -> None:
        self.sent += times
        self.latency.add(latency_ms, times)

    def reset(self) -> None:
        self.received = self.sent = 0
        self.latency = Summary()
        self.proposals = Summary()


@dataclass(slots=True)
class ConnectionStats:
    """Of one connection, since it was opened or the last `crst`."""

    established_ms: int
    """ms since 1970; a reset keeps it"""
    received: int = 0
    sent: int = 0
    last_op: int | None = None
    """opcode of the newest reply"""
    last_xid: int = -1
    last_zxid: int = -1
    last_reply_ms: int = 0
    """ms on the server's own clock"""
    latency: Summary = field(default_factory=Summary)

    def replied(self, last: tuple[int, int, int, int], latency_ms: int, times: int) -> None:
        """Replies of one latency; `last` is the opcode, xid and zxid of the last of them, and when it was."""
        self.sent += times
        self.last_op, self.last_xid, self.last_zxid, self.last_reply_ms = last
        self.latency.add(latency_ms, times)

    def reset(self) -> None:
        self.received = self.sent = 0
        self.last_op, self.last_xid, self.last_zxid, self.last_reply_ms = None, -1, -1, 0
        self.latency = Summary()
