"""How long a session is good for, and when to ask: a function of what was sent, acknowledged and received.

Owns the moments that matter to one session's life on one connection. Pure; moments are seconds on the
caller's clock. Must not know: requests, bytes, states.

What a server without a quorum acknowledges keeps the connection, and guarantees nothing: whoever has a quorum
counts on.

With a timeout T: the client pings when the newest acknowledgement is T/3 old, gives a pinged server up after
T/6 of silence (so half the timeout after the last sign of life), and relies on the session for T less a
sixth. A third of T then remains to find another server before anything has to be given up.
"""

from __future__ import annotations

from math import inf
from typing import Final

PING_AFTER: Final = 1 / 3
"""of the timeout: so old may the newest acknowledgement get before the client asks for another"""
SILENCE: Final = 1 / 6
"""of the timeout: so long may a pinged server stay silent before it is given up"""
MARGIN: Final = 1 / 6
"""of the timeout: kept from what the session guarantees, for clocks that run apart and slow reactions"""

assert PING_AFTER + SILENCE < 1 - MARGIN


class Lease:
    """`timeout` is in seconds: what is asked for, then what the server granted."""

    __slots__ = ("acknowledged_at", "guaranteed_from", "guarantees", "pinged_at", "received_at", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.acknowledged_at = -inf
        """when the newest acknowledged request was sent"""
        self.guarantees = True
        """is the server one whose acknowledgements count: does it have a quorum?"""
        self.guaranteed_from = -inf
        """when the newest was sent that such a server acknowledged"""
        self.received_at = -inf
        self.pinged_at: float | None = None
        """when the ping was sent that is not answered yet"""

    @property
    def valid_until(self) -> float:
        """Until then no server has expired the session; -inf if there is none, or a read-only one.

        It counts from the sending of what was acknowledged: no server can have counted from before.
        """
        return self.guaranteed_from + self.timeout * (1 - MARGIN)

    @property
    def next_tick(self) -> float:
        """When to ping or, after a ping, to give the server up."""
        if self.pinged_at is None:
            return self.acknowledged_at + self.timeout * PING_AFTER
        return max(self.pinged_at, self.received_at) + self.timeout * SILENCE

    def acknowledge(self, sent_at: float) -> None:
        """What was sent at `sent_at` was acknowledged."""
        if sent_at > self.acknowledged_at:
            self.acknowledged_at = sent_at
        if sent_at > self.guaranteed_from and self.guarantees:
            self.guaranteed_from = sent_at

    def pong(self) -> None:
        """The ping was answered."""
        if self.pinged_at is not None:
            self.acknowledge(self.pinged_at)
            self.pinged_at = None

    def end(self) -> None:
        """There is no session any more."""
        self.acknowledged_at = self.guaranteed_from = -inf
        self.pinged_at = None
