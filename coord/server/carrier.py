"""What a connection and whoever moves its bytes agree on: the phases it goes through, and the carrier's part.

Owns nothing. `clients.ClientSocket` and `streams.StreamCarrier` are carriers.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Phase(Enum):
    GREETING = "no ConnectRequest yet"
    OPENING = "the session is being opened"
    OPEN = "requests are served"
    CLOSING = "to be closed once the outbox is empty"
    CLOSED = "closed"


class Carrier(Protocol):
    """Moves a connection's bytes; called only by `Replica`'s owner between turns."""

    def flush(self) -> None:
        """Send the outbox, as far as the network takes it; close once it is empty, if CLOSING."""

    def close(self, reason: str) -> None:
        """Close at once, whatever is unsent."""
