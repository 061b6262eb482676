"""Many clients that wait: idle sessions, watches on one znode, and a line in front of one lock.

Owns what they cost the server: a share of a core (100 % is one core), memory, and the time until the last of
them knows. The sessions of the first two are connections of a `Crowd`; those who stand in line use coord's
client and recipe, with a session each, in this process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final

import trio

import coord
from benchmarks.crowd import Crowd
from benchmarks.figures import Figure
from benchmarks.scale_servers import Flavour, ServerProcess, servers
from benchmarks.wire import CREATE, EXISTS, SET, Wire, create, read, set_data
from recipes import Lock

TIMEOUTS_MS: Final = (30_000, 6_000)
ROUNDS: Final = 3
LINE_TIMEOUT_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.05


def idle_sessions(flavour: Flavour, directory: Path, sessions: int, seconds: float) -> Iterator[Figure]:
    for timeout_ms in TIMEOUTS_MS:
        with servers(flavour, 1, directory / str(timeout_ms)) as (server,):
            server.wait()
            empty, began = server.memory_bytes(), time.monotonic()
            with Crowd(server.address, sessions, timeout_ms=timeout_ms) as crowd:
                opened = time.monotonic() - began
                crowd.keep_alive(min(timeout_ms / 3000, seconds))  # once round, before it counts
                cpu, began = server.cpu_seconds(), time.monotonic()
                crowd.keep_alive(seconds)
                share = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
                timeout = f"timeout {timeout_ms // 1000} s"
                yield Figure(f"CPU of the server, {timeout}", "% of a core", share * 100)
                if timeout_ms == TIMEOUTS_MS[0]:
                    yield Figure("memory", "kB/session", (server.memory_bytes() - empty) / sessions / 1000)
                    yield Figure("sessions opened", "/s", sessions / opened)


def watches(flavour: Flavour, directory: Path, count: int) -> Iterator[Figure]:
    with servers(flavour, 1, directory) as (server,):
        server.wait()
        with Wire(server.address) as writer, Crowd(server.address, count, timeout_ms=30_000) as crowd:
            writer.ask(CREATE, create("/watched", b""))
            times, cpu = [], []
            for number in range(ROUNDS):
                crowd.ask_each(EXISTS, read("/watched", watch=True))
                before, began = server.cpu_seconds(), time.monotonic()
                writer.ask(SET, set_data("/watched", str(number).encode()))
                crowd.receive(count)
                times.append(time.monotonic() - began)
                cpu.append(server.cpu_seconds() - before)
    yield Figure("write until the last event", "ms", median(times) * 1000)
    yield Figure("CPU of the server", "us/event", median(cpu) / count * 1e6)


def line(flavour: Flavour, directory: Path, waiters: int) -> Iterator[Figure]:
    with servers(flavour, 1, directory) as (server,):
        server.wait()
        joining, passing, cpu = trio.run(_stand_in_line, server, waiters)
    yield Figure("all join", "s", joining)
    yield Figure("the whole line passes", "s", passing)
    yield Figure("hand-overs", "/s", waiters / passing)
    yield Figure("CPU of the server", "us/hand-over", cpu / waiters * 1e6)


async def _stand_in_line(server: ServerProcess, waiters: int) -> tuple[float, float, float]:
    """Seconds until all stand in line, and until the last has had the lock; CPU of the server for the
    latter."""
    hosts = f"{server.address[0]}:{server.address[1]}"
    async with AsyncExitStack() as stack:

        async def connect() -> coord.Client:
            return await stack.enter_async_context(coord.connect(hosts, timeout=LINE_TIMEOUT_SECONDS))

        clients = [await connect() for _ in range(waiters)]
        first = await connect()
        passed: list[int] = []

        async def wait_for_it(zk: coord.Client, number: int) -> None:
            async with Lock(zk, "/line"):
                passed.append(number)

        async with trio.open_nursery() as nursery, Lock(first, "/line"):
            began = time.monotonic()
            for number, zk in enumerate(clients):
                nursery.start_soon(wait_for_it, zk, number)
            while len(await first.children("/line")) <= waiters:  # noqa: ASYNC110 - the server is asked
                await trio.sleep(POLL_SECONDS)
            joined = time.monotonic()
            cpu = server.cpu_seconds()
        assert len(passed) == waiters
        return joined - began, time.monotonic() - joined, server.cpu_seconds() - cpu
