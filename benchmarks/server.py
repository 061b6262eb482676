"""``python -m benchmarks.server``: coord beside Apache ZooKeeper, under the same load with the same bytes.

Owns the command, the rows and the rounds. Where ZooKeeper is not installed, coord is measured alone. The load
is made by a program in C (``load.c`` beside this file), which is compiled when the benchmark starts.

Rules that hold here:

- The two take turns and never run at once, so that a machine whose speed drifts treats them alike.
- Each round begins with new processes and empty disks, and with a load that is not counted.
- A figure is the median of the rounds. An error of any request ends the benchmark.

Synopsis::

    python -m benchmarks.server --members 3 --rounds 5 --json three.json
    python -m benchmarks.server --members 1 --only writes
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.ensembles import APACHE, COORD, JAVA_OPTIONS, Ensemble
from benchmarks.failover import failovers
from benchmarks.java import missing_zookeeper
from benchmarks.sample import Counters
from benchmarks.table import machine, versions

SOURCE: Final = Path(__file__).with_name("load.c")
LOAD_SECONDS: Final = 300.0
ROUNDS: Final = 5
KILLS: Final = 10
QUICK: Final = 10
"""A quick benchmark has so many times fewer operations."""


@dataclass(frozen=True)
class Row:
    """So many connections with so many requests under way on each, until `operations` are answered."""

    name: str
    operation: str
    connections: int
    outstanding: int
    operations: int

    @property
    def title(self) -> str:
        return f"{self.name} {self.connections}x{self.outstanding}"


ROWS: Final = (
    Row("reads", "get", 1, 1, 4_000),
    Row("reads", "get", 50, 1, 60_000),
    Row("reads", "get", 50, 20, 300_000),
    Row("writes", "set", 1, 1, 1_000),
    Row("writes", "set", 50, 1, 20_000),
    Row("writes", "set", 50, 20, 100_000),
    Row("creates", "create", 50, 20, 60_000),
    Row("90 % reads", "mixed", 50, 20, 200_000),
)
WARM_UP: Final = (Row("", "get", 50, 5, 20_000), Row("", "set", 50, 5, 20_000))


@dataclass
class Side:
    """What was measured of one kind: a value of each round."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """operations a second, by the title of the row"""
    p50_us: dict[str, list[float]] = field(default_factory=dict)
    p99_us: dict[str, list[float]] = field(default_factory=dict)
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    """of all members together, for one operation"""
    memory_bytes: list[int] = field(default_factory=list)
    """of the largest member, after the load"""
    start_seconds: list[float] = field(default_factory=list)
    """until every member serves"""
    failover_seconds: list[float] = field(default_factory=list)
    """of each kill, not of each round"""


class Generator:
    """The compiled load generator."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError` if there is no compiler, or if it fails."""
        self._program = directory / "load"
        if (compiler := shutil.which("cc")) is None:
            raise OSError(
                "the load generator is in C: it needs a compiler, cc (apt-get install gcc libc6-dev)"
            )
        command = [compiler, "-std=c11", "-O2", "-o", str(self._program), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(command)} failed:\n{done.stderr}")

    def run(self, row: Row, hosts: str) -> dict[str, float]:
        """What it printed. Raises `OSError` if it failed."""
        words = [row.operation, str(row.connections), str(row.outstanding), str(row.operations), hosts]
        done = subprocess.run(
            [str(self._program), *words], capture_output=True, text=True, timeout=LOAD_SECONDS, check=False
        )
        if done.returncode:
            raise OSError(f"{row.title}: {done.stderr.strip()}")
        found: dict[str, float] = json.loads(done.stdout)
        return found


def play_round(side: Side, ensemble: Ensemble, generator: Generator, rows: Sequence[Row]) -> None:
    """All rows once; what is measured goes to `side`."""
    side.start_seconds.append(ensemble.started_in)
    for row in WARM_UP if rows else ():
        generator.run(row, ensemble.hosts)
    for row in rows:
        before = ensemble.cpu_seconds()
        found = generator.run(row, ensemble.hosts)
        cpu = ensemble.cpu_seconds() - before
        side.rates.setdefault(row.title, []).append(found["operations"] / found["seconds"])
        side.p50_us.setdefault(row.title, []).append(found["p50_us"])
        side.p99_us.setdefault(row.title, []).append(found["p99_us"])
        side.cpu_us.setdefault(row.title, []).append(1e6 * cpu / found["operations"])
    side.memory_bytes.append(ensemble.memory_bytes())


def measure(
    kinds: Sequence[str], members: int, rounds: int, rows: Sequence[Row], kills: int
) -> tuple[dict[str, Side], dict[str, str]]:
    """The sides, and what each server calls itself. Raises `OSError` where something fails."""
    sides, names = {kind: Side() for kind in kinds}, {}
    with tempfile.TemporaryDirectory(prefix="load-") as directory:
        generator = Generator(Path(directory))
        for _ in range(rounds):
            for kind, side in sides.items():
                with Ensemble.temporary(kind, members) as ensemble:
                    names[kind] = Counters(ensemble.hosts).server()
                    play_round(side, ensemble, generator, rows)
                print(".", end="", file=sys.stderr, flush=True)
    if members > 1:
        for kind, side in sides.items():
            with Ensemble.temporary(kind, members) as ensemble:
                side.failover_seconds += failovers(ensemble, kills)
    print(file=sys.stderr)
    return sides, names


# -- the command --------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    options = _parser().parse_args(argv)
    rows = [row for row in ROWS if options.only in row.title]
    if options.quick:
        rows = [Row(r.name, r.operation, r.connections, r.outstanding, r.operations // QUICK) for r in rows]
    kinds = [COORD] if options.alone or missing_zookeeper() else [COORD, APACHE]
    load = os.getloadavg()[0]
    try:
        sides, names = measure(kinds, options.members, options.rounds, rows, options.kills)
    except OSError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    facts = {
        "command": " ".join(["python -m benchmarks.server", *argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions("coord", "trio", "cbor2") + _version_beside(names),
        "machine": machine(),
        "load": f"{load:.1f} before the first round",
        "members": str(options.members),
        "rounds": f"the median of {options.rounds}, the servers taking turns",
    }
    show(sides, facts)
    if not options.alone and (reason := missing_zookeeper()):
        print(f"coord alone: {reason}")
    if options.json:
        sides_as_json = {kind: asdict(side) for kind, side in sides.items()}
        text = json.dumps({**facts, "sides": sides_as_json}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _version_beside(names: Mapping[str, str]) -> str:
    """Apache ZooKeeper's, and how its virtual machine was started; "" if there is none."""
    if APACHE not in names:
        return ""
    return f" ZooKeeper {re.split('[-,]', names[APACHE])[0]} (java {' '.join(JAVA_OPTIONS)})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.server", description="coord beside Apache ZooKeeper, by the same load."
    )
    parser.add_argument("--members", type=int, choices=(1, 3), default=3, help="default: 3")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--only", metavar="WORD", default="", help="the rows with this in their names")
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N", help=f"of leaders; default: {KILLS}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} times fewer operations")
    parser.add_argument("--alone", action="store_true", help="coord only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    return parser


def show(sides: dict[str, Side], facts: dict[str, str]) -> None:
    """Print it all: a line for each row, with the figures of one server beside those of the other."""
    for name, fact in facts.items():
        print(f"{name + ':':10}{fact}")
    figures = ("ops/s", "p50 us", "p99 us", "CPU us")
    ratios = (f"{' : '.join(sides):>26}", f"{'ops/s':>13}{'p99':>13}") if len(sides) > 1 else ("", "")
    print("\n" + " " * 20 + "".join(f"{kind:>40}" for kind in sides) + ratios[0])
    print(" " * 20 + "".join(f"{figure:>10}" for _ in sides for figure in figures) + ratios[1])
    for title in next(iter(sides.values())).rates:
        cells = [
            f"{median(values[title]):10,.0f}"
            for side in sides.values()
            for values in (side.rates, side.p50_us, side.p99_us, side.cpu_us)
        ]
        if len(sides) > 1:
            ours, theirs = sides.values()
            for one, other in ((ours.rates, theirs.rates), (ours.p99_us, theirs.p99_us)):
                cells.append(f"{median(one[title]) / median(other[title]):13.2f}")
        print(f"{title:20}" + "".join(cells))
    print()
    for kind, side in sides.items():
        print(f"{kind}: {_sentence(side)}")


def _sentence(side: Side) -> str:
    parts = [
        f"serves {median(side.start_seconds):.2f} s after its start",
        f"its largest member has {median(side.memory_bytes) / 1e6:.0f} MB after the load",
    ]
    if side.failover_seconds:
        waits = side.failover_seconds
        worst = f"at worst {max(waits):.2f} s, of {len(waits)}"
        parts.append(f"a write waits {median(waits):.2f} s for a new leader ({worst})")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
