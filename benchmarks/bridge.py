"""``python -m benchmarks.bridge``: a get by way of the bridge, beside the client for trio and beside kazoo.

Owns the command and what is measured: how many reads of one small znode a second one caller gets that waits
for each, and a hundred callers at once. The server is a process of its own.

Rules that hold here:

- The clients take turns, each in a process of its own; the figure is the median of the rounds.

Synopsis::

    python -m benchmarks.bridge
    python -m benchmarks.bridge --server 127.0.0.1:2181 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Final

import trio
from kazoo.client import KazooClient

import coord
from benchmarks.servers import coord_server
from coord import aio, blocking

CALLERS: Final = 100
READS: Final = 50
"""of each of the callers"""
ALONE: Final = 2000
PATH: Final = "/bench-bridge"

Rates = tuple[float, float]
"""reads a second: one caller, a hundred callers"""


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge", description="Reads over the bridge.")
    parser.add_argument("--server", metavar="HOST:PORT", help="one that runs (and that nobody else uses)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args(argv)
    print("command:  " + " ".join(["python -m benchmarks.bridge", *argv]))
    print(f"versions: Python {platform.python_version()}, trio {trio.__version__}, kazoo {version('kazoo')}")
    print(f"machine:  {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first round")
    print(f"rounds:   the median of {options.rounds}, the clients taking turns", end="\n\n")
    trio.run(_measure, options.server, options.rounds)
    return 0


async def _measure(hosts: str | None, rounds: int) -> None:
    if hosts is not None:
        await trio.to_thread.run_sync(_show, hosts, rounds)
        return
    async with coord_server() as own:
        await trio.to_thread.run_sync(_show, own, rounds)


def _show(hosts: str, rounds: int) -> None:
    found: dict[str, list[Rates]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        for name, rates in found.items():
            rates.append(_in_process(name, hosts))
    print(f"{'reads a second':24}{'one caller':>12}{'100 callers':>14}")
    for name, rates in found.items():
        alone, together = (statistics.median(one) for one in zip(*rates, strict=True))
        print(f"{name:24}{alone:12,.0f}{together:14,.0f}")


def _in_process(name: str, hosts: str) -> Rates:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(CLIENTS[name], (hosts,))


# -- clients ------------------------------------------------------------------------------------------


def _trio(hosts: str) -> Rates:
    async def run() -> Rates:
        async with coord.connect(hosts, timeout=30) as zk:

            async def work(reads: int) -> None:
                for _ in range(reads):
                    await zk.get(PATH)

            async def together() -> None:
                async with trio.open_nursery() as nursery:
                    for _ in range(CALLERS):
                        nursery.start_soon(work, READS)

            await zk.ensure_path(PATH)
            return await _rates(lambda: work(ALONE), together)

    return trio.run(run)


def _aio(hosts: str) -> Rates:
    async def run() -> Rates:
        async with aio.connect(hosts, timeout=30) as zk:

            async def work(reads: int) -> None:
                for _ in range(reads):
                    await zk.get(PATH)

            async def together() -> None:
                await asyncio.gather(*(work(READS) for _ in range(CALLERS)))

            await zk.ensure_path(PATH)
            return await _rates(lambda: work(ALONE), together)

    return asyncio.run(run())


async def _rates(alone: Callable[[], Awaitable[None]], together: Callable[[], Awaitable[None]]) -> Rates:
    begin = time.perf_counter()
    await alone()
    middle = time.perf_counter()
    await together()
    return ALONE / (middle - begin), CALLERS * READS / (time.perf_counter() - middle)


def _blocking(hosts: str) -> Rates:
    with blocking.connect(hosts, timeout=30) as zk:
        zk.ensure_path(PATH)
        return _rates_of_threads(lambda: zk.get(PATH))


def _kazoo(hosts: str) -> Rates:
    zk = KazooClient(hosts, timeout=30)
    zk.start()
    zk.ensure_path(PATH)
    rates = _rates_of_threads(lambda: zk.get(PATH))
    zk.stop()
    zk.close()
    return rates


def _rates_of_threads(read: Callable[[], object]) -> Rates:
    def work(reads: int) -> None:
        for _ in range(reads):
            read()

    begin = time.perf_counter()
    work(ALONE)
    middle = time.perf_counter()
    threads = [threading.Thread(target=work, args=(READS,)) for _ in range(CALLERS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return ALONE / (middle - begin), CALLERS * READS / (time.perf_counter() - middle)


CLIENTS: Final[dict[str, Callable[[str], Rates]]] = {
    "coord, trio": _trio,
    "coord.aio, asyncio": _aio,
    "coord.blocking, threads": _blocking,
    "kazoo, threads": _kazoo,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
