"""Many znodes on one server: memory, loading, snapshots, pauses, and starting again.

Owns the order in which these are measured, since each needs what the one before has left. The znodes are
children of `DIRECTORIES` parents, loaded with multis on one connection.

Rules that hold here:

- memory is resident memory, beyond what the empty server had;
- while loading no snapshot is due, by the default `snapCount`; then the server is started again with a small
  one, so that the probe's own writes make one snapshot after the other due, without a break at full size;
- a start is timed from `kill -9` until a session opens and the last znode is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.probe import WRITE_SECONDS, Probe, Timed, p99, worst
from benchmarks.scale_servers import Flavour, ServerProcess, servers
from benchmarks.wire import CREATE, GET, MULTI, Wire, create, multi_of_creates, read

PER_MULTI: Final = 100
MULTIS_WINDOW: Final = 20
CHILDREN: Final = 1000
"""of each directory"""
DATA: Final = bytes(100)
PROBE_SECONDS_MAX: Final = 120.0
SNAPSHOTS: Final = 2
_MADE: Final = re.compile(r"snapshot made|Snapshot taken in")
"""How the two servers say so."""


def measure(flavour: Flavour, directory: Path, znodes: int, seconds: float) -> Iterator[Figure]:
    """The figures, as they come."""
    with servers(flavour, 1, directory) as (server,):
        server.wait()
        empty = server.memory_bytes()
        began, cpu = time.monotonic(), server.cpu_seconds()
        with Wire(server.address) as wire:
            _load(wire, znodes)
        yield Figure("load, multis of 100", "znodes/s", znodes / (time.monotonic() - began))
        yield Figure("CPU of the load", "us/znode", (server.cpu_seconds() - cpu) / znodes * 1e6)
        yield Figure("memory after the load", "bytes/znode", (server.memory_bytes() - empty) / znodes)
        with Probe(server.address, path_of(0), path_of(1)) as without:
            until = time.monotonic() + seconds
            without.run(until=lambda: time.monotonic() >= until)
        yield from _pauses(server, "load", began)

        server.configure(f"snapCount={max(2, int(seconds / WRITE_SECONDS / 2))}")
        yield from _start_again(server, znodes, empty, "the log")
        yield from _snapshots(server, without)
        yield from _start_again(server, znodes, empty, "snapshot and log")


def _load(wire: Wire, znodes: int) -> None:
    wire.ask(CREATE, create("/scale", b""))
    for number in range(-(-znodes // CHILDREN)):
        wire.ask(CREATE, create(_directory(number), b""))
    multis = (
        (
            MULTI,
            multi_of_creates((path_of(one), DATA) for one in range(first, min(first + PER_MULTI, znodes))),
        )
        for first in range(0, znodes, PER_MULTI)
    )
    for _ in wire.ask_many(multis, MULTIS_WINDOW):
        pass


def _directory(number: int) -> str:
    return f"/scale/{number:04d}"


def path_of(znode: int) -> str:
    """Where the loaded znode of this number is."""
    return f"{_directory(znode // CHILDREN)}/{znode:07d}"


def _start_again(server: ServerProcess, znodes: int, empty: int, of: str) -> Iterator[Figure]:
    server.kill()
    began = time.monotonic()
    server.start()
    server.wait()
    with Wire(server.address) as wire:
        wire.ask(GET, read(path_of(znodes - 1)))
    yield Figure(f"kill -9 until it serves again, from {of}", "s", time.monotonic() - began)
    yield Figure("memory after that", "bytes/znode", (server.memory_bytes() - empty) / znodes)


def _snapshots(server: ServerProcess, without: Probe) -> Iterator[Figure]:
    with Probe(server.address, path_of(0), path_of(1)) as during:
        made, began = _snapshots_made(server), time.monotonic()
        during.run(
            until=_once(lambda: _snapshots_made(server) >= made + SNAPSHOTS, began + PROBE_SECONDS_MAX)
        )
    yield Figure("snapshots one after the other", "s each", (time.monotonic() - began) / SNAPSHOTS)
    yield from _beside((without.reads, without.writes), (during.reads, during.writes))
    yield from _pauses(server, "snapshots", began)


def _beside(without: tuple[list[Timed], ...], during: tuple[list[Timed], ...]) -> Iterator[Figure]:
    for kind, before, meanwhile in zip(("read", "write"), without, during, strict=True):
        yield Figure(f"{kind}, p99, no snapshot", "ms", p99(before) * 1000)
        yield Figure(f"{kind}, p99, while one is made", "ms", p99(meanwhile) * 1000)
        yield Figure(f"{kind}, longest, while one is made", "ms", worst(meanwhile) * 1000)


def _snapshots_made(server: ServerProcess) -> int:
    return len(_MADE.findall(server.log()))


def _once(happened: Callable[[], bool], ends: float) -> Callable[[], bool]:
    """Asks no more than ten times a second. Raises `TimeoutError` at `ends`."""
    next_look = 0.0

    def ask() -> bool:
        nonlocal next_look
        now = time.monotonic()
        if now < next_look:
            return False
        next_look = now + 0.1
        if now > ends:
            raise TimeoutError("no snapshots were made")
        return happened()

    return ask


def _pauses(server: ServerProcess, when: str, since: float) -> Iterator[Figure]:
    if server.flavour == "coord":
        longest = max(server.pauses(since, time.monotonic()), default=0.0)
        yield Figure(f"longest pause of the collector ({when})", "ms", longest * 1000)
