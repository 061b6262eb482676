"""Time that passes when it is told to: for clients and servers that share a trio clock.

Owns how virtual time is moved: from one deadline to the next, each met at its exact moment, for as long as
nobody has anything else to do. Must not know servers.

Synopsis::

    trio.run(main, clock=trio.testing.MockClock(rate=1))

    await advance(30)  # at once, and everything that is due in 30 seconds has been done
"""

from __future__ import annotations

import time
from math import inf

import trio
from trio.testing import MockClock


async def advance(seconds: float) -> None:
    """Returns when so much (virtual) time has passed.

    Only those who wait on this loop's clock have lived through it; for a client with a clock of its own it
    took no time. Raises `RuntimeError` if the clock of this loop cannot be moved.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock):
        raise RuntimeError(
            "this loop runs in real time, which cannot be advanced: run it with "
            "clock=trio.testing.MockClock(rate=1), or use pytest-trio's mock_clock or autojump_clock"
        )
    move = _moves.get(None) or _Move()
    _moves.set(move)
    if not move.depth:
        move.before = clock.rate, clock.autojump_threshold
    move.depth += 1
    clock.rate, clock.autojump_threshold = 0, 0  # real time does not count: every run is the same
    try:
        await trio.sleep(seconds)
    finally:
        move.depth -= 1
        if not move.depth:
            clock.rate, clock.autojump_threshold = move.before


class _Move:
    """How often this loop's clock is being moved now, and how it went before."""

    depth = 0
    before = 1.0, inf


_moves: trio.lowlevel.RunVar[_Move | None] = trio.lowlevel.RunVar("moves of the clock")


class WallClock:
    """The time of day, moved as this loop's clock is."""

    def __init__(self) -> None:
        self._ahead = time.time() - trio.current_time()

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self._ahead + trio.current_time()
