"""What is measured of a client library: calls one after the other, many at once, watches, memory.

Owns the clock, and the order in which one library is measured; how a library does it is that library's
(`client_tasks`, `client_threads`). Must not know: which libraries there are, rounds, tables.

Rules that hold here:

- A figure that a library does not have, or has from another one of its rows, is missing.

Synopsis::

    figures = await measured(library, FULL)  # {"get, one caller": 5901.0, …}
"""

from __future__ import annotations

import os
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = "/bench-client"
DATA: Final = b"x" * 100
SESSION_SECONDS: Final = 30.0
CALLERS: Final = 100


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    alone: int = 2000
    """calls one after the other (of sets, a quarter of that)"""
    each: int = 50
    """calls of each of the callers (of sets, a quarter of that, at least one)"""
    notices: int = 100
    """sets whose event is waited for"""
    watches: int = 1000
    """watches that fire at once"""
    clients: int = 50
    """clients whose memory is measured"""


FULL: Final = Sizes()
TINY: Final = Sizes(alone=20, each=2, notices=3, watches=10, clients=2)

Figures = dict[str, float]
UNITS: Final = {
    "get, one caller": "/s",
    "set, one caller": "/s",
    "get, 100 callers": "/s",
    "set, 100 callers": "/s",
    "CPU of a get, one caller": "µs",
    "CPU of a get, 100 callers": "µs",
    "set to event": "µs",
    "1,000 watches fire": "events/s",
    "memory of a client": "KiB",
}
"""every figure, in the order of the table"""


def watched(count: int) -> list[str]:
    return [f"{ROOT}/{number}" for number in range(count)]


class Library(ABC):
    """What is measured, in one library's terms. Each method returns when all of it is done."""

    async def alone(self, operation: str, count: int) -> bool:
        """So many calls ("get" or "set"), one after the other. False: it has no such way to call."""
        return False

    @abstractmethod
    async def together(self, operation: str, each: int) -> None:
        """`CALLERS` callers at the same time, each with so many calls one after the other."""

    async def notice(self) -> float | None:
        """Seconds from the call of a set to its event at whoever waits for that."""
        return None

    async def storm(self, paths: list[str]) -> float | None:
        """Seconds from the call of a transaction that sets all these znodes to the last of their events."""
        return None

    @asynccontextmanager
    async def more_clients(self, count: int) -> AsyncIterator[bool]:
        """So many more clients, connected in the block. False: it would be the same as another row's."""
        yield False


# -- the measuring ------------------------------------------------------------------------------------


async def measured(library: Library, sizes: Sizes) -> Figures:
    """All figures that the library has. Its server is to have the znodes: `ROOT`, and the `watched`."""
    figures: Figures = {}
    before = _resident_bytes()  # first of all: later there is memory that is free, and not given back
    async with library.more_clients(sizes.clients) as valid:
        if valid:
            figures["memory of a client"] = (_resident_bytes() - before) / sizes.clients / 1024
    for operation, part in (("get", 1), ("set", 4)):
        count, each = sizes.alone // part, max(1, sizes.each // part)
        await library.alone(operation, count // 10)
        with _clocked(figures, f"{operation}, one caller", count) as clock:
            clock.valid = await library.alone(operation, count)
        await library.together(operation, 1)
        with _clocked(figures, f"{operation}, 100 callers", each * CALLERS):
            await library.together(operation, each)
    notices = [seconds for _ in range(sizes.notices) if (seconds := await library.notice()) is not None]
    if notices:
        figures["set to event"] = statistics.median(notices) * 1e6
    seconds = await library.storm(watched(sizes.watches))
    if seconds is not None:
        figures["1,000 watches fire"] = sizes.watches / seconds
    return figures


@dataclass
class _Clock:
    valid: bool = True


@contextmanager
def _clocked(figures: Figures, name: str, count: int) -> Iterator[_Clock]:
    clock = _Clock()
    cpu, began = time.process_time(), time.perf_counter()
    yield clock
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if clock.valid:
        figures[name] = count / seconds
        if f"CPU of a {name}" in UNITS:
            figures[f"CPU of a {name}"] = cpu / count * 1e6


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
