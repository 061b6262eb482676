"""``python -m benchmarks.recipes``: coord's recipes beside kazoo's, on one server.

Owns the command. What is measured is `scenarios`', how it is shown `table`'s. With `--server` or
`--zookeeper` both libraries are measured at Apache ZooKeeper, too: what is the server's share then shows.

Rules that hold here:

- The libraries take turns, in an order that changes with the rounds, so that whatever slows the machine down
  for a while slows both down.
- A scenario that does not come to an end within `PATIENCE_SECONDS` is given up, and the table says "stuck".

Synopsis::

    python -m benchmarks.recipes --quick
    python -m benchmarks.recipes --zookeeper --json figures.json
    python -m benchmarks.recipes --server 127.0.0.1:2181 --only lock
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from benchmarks import with_coord, with_kazoo
from benchmarks.sample import Sample, middle
from benchmarks.scenarios import FULL, QUICK, SESSIONS, Scenario, Sizes, scenarios
from benchmarks.servers import coord_server, zookeeper_server
from benchmarks.table import Measured, Row, show, surroundings

PATIENCE_SECONDS: Final = 60.0
SESSION_SECONDS: Final = 120.0
"""So long that hardly anybody has to keep a session alive while requests are counted."""
ROUNDS: Final = 5
ROUNDS_QUICK: Final = 3

Play = Callable[[], Awaitable[Sample]]


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    options = _parser().parse_args(argv)
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    load = os.getloadavg()[0]
    try:
        server, rows = trio.run(_measure, options, rounds)
    except OSError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    command = " ".join(["python -m benchmarks.recipes", *argv])
    facts = surroundings(command, server, rounds, load)
    show(rows, facts)
    if options.json:
        text = json.dumps({**facts, "rows": [row.as_json() for row in rows]}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes", description="coord's recipes beside kazoo's, on one server."
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--server", metavar="HOST:PORT", help="one that runs (and that nobody else uses)")
    place.add_argument("--zookeeper", action="store_true", help="start Apache ZooKeeper (Debian's)")
    parser.add_argument("--quick", action="store_true", help="less of everything: half a minute")
    parser.add_argument("--only", metavar="WORD", default="", help="the scenarios with this in their names")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"{ROUNDS}, or {ROUNDS_QUICK} if quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    return parser


async def _measure(options: argparse.Namespace, rounds: int) -> tuple[str, list[Row]]:
    """What the server calls itself, and the rows."""
    async with _server(options) as hosts:
        return await measure(hosts, QUICK if options.quick else FULL, rounds, options.only)


@asynccontextmanager
async def _server(options: argparse.Namespace) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if options.server:
            yield options.server
        elif options.zookeeper:
            yield stack.enter_context(zookeeper_server())
        else:
            yield await stack.enter_async_context(coord_server())


async def measure(hosts: str, sizes: Sizes, rounds: int, only: str = "") -> tuple[str, list[Row]]:
    """Play all scenarios that have `only` in their names; returns what the server calls itself, and the rows
    of the table."""
    async with with_coord.sessions(hosts, SESSIONS, SESSION_SECONDS) as ours:
        with with_kazoo.sessions(hosts, SESSIONS, SESSION_SECONDS) as theirs:
            rows: list[Row] = []
            for scenario in scenarios(sizes):
                if only in scenario.name:
                    rows += await _rows(scenario, ours, theirs, rounds)
                    print(".", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            return await trio.to_thread.run_sync(ours.counters.server), rows


async def _rows(
    scenario: Scenario, ours: with_coord.Sessions, theirs: with_kazoo.Sessions, rounds: int
) -> list[Row]:
    samples: dict[str, list[Sample | None]] = {"coord": [], "kazoo": []}
    turns: list[tuple[list[Sample | None], Play]] = [
        (samples["coord"], partial(scenario.ours, ours)),
        (samples["kazoo"], partial(_in_thread, scenario, theirs)),
    ]
    for _, play in turns:
        await sample_of(play)  # once without being counted: imports, caches, the parents of all paths
    for _ in range(rounds):
        for results, play in turns:
            if None not in results:
                results.append(await sample_of(play, scenario.repeat))
        turns.reverse()
    return [
        Row(
            scenario.name,
            figure.name,
            figure.unit,
            scenario.sessions,
            *(measured(results, figure.of, counted=not number) for results in samples.values()),
        )
        for number, figure in enumerate(scenario.figures)
    ]


async def _in_thread(scenario: Scenario, theirs: with_kazoo.Sessions) -> Sample:
    return await trio.to_thread.run_sync(scenario.theirs, theirs, abandon_on_cancel=True)


async def sample_of(play: Play, repeat: int = 1) -> Sample | None:
    """One sample; None if it did not come to an end."""
    with trio.move_on_after(PATIENCE_SECONDS):
        return Sample.sum([await play() for _ in range(repeat)])
    return None


def measured(
    results: Sequence[Sample | None], value: Callable[[Sample], float], *, counted: bool = True
) -> Measured:
    """One library's side of a row, from its samples."""
    samples = [sample for sample in results if sample is not None]
    if len(samples) < len(results):
        return Measured((), None, None, None)
    return Measured(
        tuple(map(value, samples)),
        middle([sample.cpu_each for sample in samples]) if counted else None,
        middle([sample.requests_each for sample in samples]) if counted else None,
        middle([sample.events_each for sample in samples]) if counted else None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
