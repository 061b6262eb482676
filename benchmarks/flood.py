"""As many requests as the servers take: the same one again and again, on a few connections to each.

Owns connections with a fixed number of requests under way; each reply is answered with the next request.
Counts replies, and checks of each that it is no error.

Synopsis::

    flood([("127.0.0.1", 2181)], [(GET, read("/a"))], seconds=5)  # requests a second
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.wire import Refused, Wire, frame

CONNECTIONS: Final = 20
"""to all servers together, at least one to each"""
WINDOW: Final = 20
"""requests under way on each"""


def flood(
    addresses: Sequence[tuple[str, int]], requests: Sequence[tuple[int, bytes]], seconds: float
) -> float:
    """Answered requests a second; the connections share `requests`, evenly. Raises `Refused`, `OSError`."""
    count = max(CONNECTIONS, len(addresses))
    wires = [Wire(addresses[number % len(addresses)]) for number in range(count)]
    frames = [frame(1, *requests[number % len(requests)]) for number in range(count)]
    answered = 0
    with selectors.DefaultSelector() as selector:
        for wire, one in zip(wires, frames, strict=True):
            selector.register(wire.socket, selectors.EVENT_READ, (wire, one))
            wire.socket.sendall(one * WINDOW)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for key, _ in selector.select(1.0):
                wire, one = key.data
                replies = wire.poll()
                if any(reply.err for reply in replies):
                    raise Refused(f"the server answers with error {replies[0].err}")
                answered += len(replies)
                wire.socket.sendall(one * len(replies))
        passed = time.monotonic() - began
    for wire in wires:
        wire.close()
    return answered / passed
