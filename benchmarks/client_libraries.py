"""The client libraries that are measured, by name, each in a process of its own.

Owns that list, and what they find at the server. How they are measured is `client_calls`'.

Synopsis::

    trio.run(prepare, hosts, TINY)
    figures = figures_of("kazoo", hosts, TINY)  # {"get, one caller": 5901.0, …}
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import trio

import coord
from benchmarks.client_calls import DATA, ROOT, SESSION_SECONDS, Figures, Library, Sizes, measured, watched
from benchmarks.client_tasks import Aiozk, CoordAsyncio, CoordTrio
from benchmarks.client_threads import CoordBlocking, Kazoo, KazooAsync
from coord import aio


@dataclass(frozen=True)
class Kind:
    """A row of the table: how it connects, and the loop that its coroutines are for."""

    connected: Callable[[str], AbstractAsyncContextManager[Library]]
    loop: str = "asyncio"
    needs: str = ""
    """a package that is not there by itself"""


def _of_tasks(make: Callable[[str, AsyncExitStack], Any]) -> Callable[[str], Any]:
    @asynccontextmanager
    async def connected(hosts: str) -> AsyncIterator[Library]:
        async with AsyncExitStack() as stack:
            library = make(hosts, stack)
            await library.start()
            yield library

    return connected


def _of_threads(make: Callable[[str, ExitStack], Library]) -> Callable[[str], Any]:
    @asynccontextmanager
    async def connected(hosts: str) -> AsyncIterator[Library]:
        with ExitStack() as stack:
            yield make(hosts, stack)

    return connected


LIBRARIES: Final[dict[str, Kind]] = {
    "coord": Kind(_of_tasks(lambda *of: CoordTrio(coord.connect, *of)), loop="trio"),
    "coord.aio": Kind(_of_tasks(lambda *of: CoordAsyncio(aio.connect, *of))),
    "coord.blocking": Kind(_of_threads(CoordBlocking)),
    "kazoo": Kind(_of_threads(Kazoo)),
    "kazoo, async API": Kind(_of_threads(KazooAsync)),
    "aiozk": Kind(_of_tasks(Aiozk), needs="aiozk"),
}


def libraries() -> list[str]:
    """Those that are installed here."""
    return [name for name, kind in LIBRARIES.items() if not kind.needs or find_spec(kind.needs)]


async def prepare(hosts: str, sizes: Sizes) -> None:
    """Makes the znodes that are read, set and watched."""
    async with coord.connect(hosts, timeout=SESSION_SECONDS) as zk:
        await zk.ensure_path(ROOT)
        await zk.set(ROOT, DATA)
        for path in watched(sizes.watches):
            await zk.ensure_path(path)


def figures_of(name: str, hosts: str, sizes: Sizes) -> Figures:
    """Measures one of `LIBRARIES`, in this process."""
    kind = LIBRARIES[name]

    async def run() -> Figures:
        async with kind.connected(hosts) as library:
            return await measured(library, sizes)

    return trio.run(run) if kind.loop == "trio" else asyncio.run(run())
