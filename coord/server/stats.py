"""Counters that the four-letter words report: of the server, and of each connection.

Owns counting, and what a reset forgets. Plain numbers: no clock here, times are given, in seconds.

Synopsis::

    stats.received += 1
    stats.replied(Op.GET_DATA, xid=7, zxid=0x100000005, seconds=0.003, now=now)
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Latency:
    """How long requests took from their arrival to their reply, in seconds."""

    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    last: float = 0.0

    def add(self, seconds: float) -> None:
        if seconds < self.low or not self.count:
            self.low = seconds
        if seconds > self.high:
            self.high = seconds
        self.count += 1
        self.total += seconds
        self.last = seconds

    @property
    def average(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class ServerStats:
    """Since the start, or the last `srst`: what all connections together did."""

    received: int = 0
    sent: int = 0
    latency: Latency = field(default_factory=Latency)

    def replied(self, seconds: float) -> None:
        self.sent += 1
        self.latency.add(seconds)

    def reset(self) -> None:
        self.received = self.sent = 0
        self.latency = Latency()


@dataclass(slots=True)
class ConnectionStats:
    """Of one connection, since it was opened or the last `crst`."""

    established_ms: int = 0
    """ms since 1970; a reset keeps it"""
    received: int = 0
    sent: int = 0
    last_op: int | None = None
    """opcode of the newest reply"""
    last_xid: int = -1
    last_zxid: int = -1
    last_reply: float = 0.0
    """when, on the server's own clock"""
    latency: Latency = field(default_factory=Latency)

    def replied(self, op: int, xid: int, zxid: int, seconds: float, now: float = 0.0) -> None:
        self.sent += 1
        self.last_op = op
        self.last_xid = xid
        self.last_zxid = zxid
        self.last_reply = now
        self.latency.add(seconds)

    def reset(self) -> None:
        self.received = self.sent = 0
        self.last_op, self.last_xid, self.last_zxid, self.last_reply = None, -1, -1, 0.0
        self.latency = Latency()
