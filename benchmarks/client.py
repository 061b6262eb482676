"""``python -m benchmarks.client``: coord's clients beside kazoo and aiozk, on the same server.

Owns the command, the rounds and the table. What is measured, and how each library does it, is
`client_libraries`'. The server is coord's, a process of its own; with `--zookeeper` it is Apache ZooKeeper,
with `--server` one that runs already.

Rules that hold here:

- The libraries take turns, in an order that changes with the rounds, each time in a process of its own; the
  figure is the median of the rounds.

Synopsis::

    python -m benchmarks.client
    python -m benchmarks.client --zookeeper --rounds 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final

import trio

from benchmarks.client_calls import FULL, UNITS, Figures, Sizes
from benchmarks.client_libraries import figures_of, libraries, prepare
from benchmarks.sample import Counters, middle
from benchmarks.servers import coord_server, zookeeper_server
from benchmarks.table import surroundings

Table = dict[str, list[Figures]]
"""library -> its figures in each of the rounds"""

EXPLANATION: Final = """\
100 callers: threads of coord.blocking and kazoo, else tasks; kazoo's async API has one thread that issues a
hundred requests and then waits for their results. Data is 100 bytes. CPU: of the clients' process.
set to event: from the call of a set to the event, in the same client, median of 100.
1,000 watches fire: in one client, by one transaction; from its call to the last event.
memory of a client: by how much the process grows with each of 50 further ones.
"""


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    options = _parser().parse_args(argv)
    load = os.getloadavg()[0]
    try:
        server, table = trio.run(_measure, options)
    except OSError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    command = " ".join(["python -m benchmarks.client", *argv])
    facts = surroundings(command, server, options.rounds, load)
    if "aiozk" in table:
        facts["versions"] += f" aiozk {version('aiozk')}"
    show(table, facts)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.client", description="coord's clients beside others, on one server."
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--server", metavar="HOST:PORT", help="one that runs (and that nobody else uses)")
    place.add_argument("--zookeeper", action="store_true", help="start Apache ZooKeeper (Debian's)")
    parser.add_argument("--only", metavar="WORD", default="", help="the libraries with this in their names")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    return parser


async def _measure(options: argparse.Namespace) -> tuple[str, Table]:
    async with _server(options) as hosts:
        return await measure(hosts, FULL, options.rounds, options.only)


@asynccontextmanager
async def _server(options: argparse.Namespace) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if options.server:
            yield options.server
        elif options.zookeeper:
            yield stack.enter_context(zookeeper_server())
        else:
            yield await stack.enter_async_context(coord_server())


async def measure(hosts: str, sizes: Sizes, rounds: int, only: str = "") -> tuple[str, Table]:
    """What the server calls itself, and the figures of the libraries with `only` in their names."""
    await prepare(hosts, sizes)
    table: Table = {name: [] for name in libraries() if only in name}
    turns = list(table)
    await trio.to_thread.run_sync(_in_process, turns[0], hosts, sizes)  # to warm the server up: not counted
    for _ in range(rounds):
        for name in turns:
            table[name].append(await trio.to_thread.run_sync(_in_process, name, hosts, sizes))
            print(".", end="", file=sys.stderr, flush=True)
        turns.reverse()
    print(file=sys.stderr)
    return await trio.to_thread.run_sync(Counters(hosts).server), table


def _in_process(name: str, hosts: str, sizes: Sizes) -> Figures:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(figures_of, (name, hosts, sizes))


def show(table: Table, facts: Mapping[str, str]) -> None:
    """Print it all: a line for each figure, a column for each library."""
    for name, fact in facts.items():
        print(f"{name + ':':10}{fact}")
    print(f"\n{'':37}" + "".join(f"{name:>18}" for name in table))
    for figure, unit in UNITS.items():
        cells = (_median(figures, figure) for figures in table.values())
        print(f"{figure:27}{unit:10}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"\n{EXPLANATION}", end="")


def _median(rounds: Sequence[Figures], figure: str) -> str:
    value = middle([figures.get(figure) for figures in rounds])
    return "" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
