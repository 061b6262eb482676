"""The way back from a read-only server: looks for one with a quorum while the client uses one without.

Owns the questions (the four-letter word `isro`, on connections of their own) and the pauses between them.
Must not know: sessions. Whoever asks for `find` moves the client.

Synopsis::

    address = await find(addresses, open_stream, answer_seconds=1.0)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

import trio

from coord.client.hosts import Address, Addresses
from coord.client.words import ask

PAUSE_SECONDS_FIRST: Final = 0.1
PAUSE_SECONDS_MAX: Final = 10.0

BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a connection raises that is gone, or was not to be had."""

OpenStream = Callable[[Address], Awaitable[trio.abc.Stream]]


async def find(addresses: Addresses, open_stream: OpenStream, answer_seconds: float) -> Address:
    """Where a server that reads and writes is, asking all of them again and again, ever more slowly.

    A server that does not tell (its `4lw.commands.whitelist` may forbid it) is not found.
    """
    for attempt in count():
        pause = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * (1 << min(attempt, 16)))
        await trio.sleep(pause * addresses.jitter())
        for address in await addresses.every():
            with trio.move_on_after(answer_seconds):
                if await _reads_and_writes(address, open_stream):
                    return address
    raise AssertionError("unreachable")


async def _reads_and_writes(address: Address, open_stream: OpenStream) -> bool:
    try:
        async with await open_stream(address) as stream:
            return await ask(stream, "isro") == "rw"
    except BROKEN:
        return False
