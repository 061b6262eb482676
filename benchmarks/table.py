"""The figures as people read them: one table, and above it where and how it was made.

Owns the presentation: with rich if that is installed, in plain columns if not. Knows no server.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from benchmarks.sample import middle


@dataclass(frozen=True)
class Measured:
    """One library's side of a row: a value of each round (none if it never came to an end)."""

    values: tuple[float, ...]
    cpu_each: float | None
    requests_each: float | None
    events_each: float | None

    @property
    def median(self) -> float | None:
        return middle(self.values)

    def as_json(self) -> dict[str, object]:
        return {
            "median": self.median,
            "rounds": list(self.values),
            "cpu_seconds_each": self.cpu_each,
            "requests_each": self.requests_each,
            "events_each": self.events_each,
        }


@dataclass(frozen=True)
class Row:
    """One figure of one scenario. Counts stand in the first row of a scenario only."""

    scenario: str
    figure: str
    unit: str
    sessions: int
    coord: Measured
    kazoo: Measured

    def as_json(self) -> dict[str, object]:
        return {
            "scenario": self.scenario,
            "figure": self.figure,
            "unit": self.unit,
            "sessions": self.sessions,
            "coord": self.coord.as_json(),
            "kazoo": self.kazoo.as_json(),
        }


def surroundings(command: str, server: str, rounds: int, load: float) -> dict[str, str]:
    """All that figures depend on and do not say. `load` is how many processes wanted a core beforehand."""
    return {
        "command": command,
        "server": server,
        "versions": versions("coord", "kazoo", "trio"),
        "machine": machine(),
        "load": f"{load:.1f} before the first round",
        "rounds": f"the median of {rounds}, the libraries taking turns",
    }


def versions(*packages: str) -> str:
    """Theirs, and Python's."""
    return " ".join(f"{name} {version(name)}" for name in packages) + f" Python {platform.python_version()}"


def machine() -> str:
    """What it runs on, in a line."""
    release = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores, {_cpu_model()}, {platform.system()} {release}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


COLUMNS: Final = (
    *(("", "scenario"), ("", "sessions"), ("", ""), ("", "coord"), ("", "kazoo")),
    *(("CPU ms", "coord"), ("each", "kazoo")),
    *(("requests", "coord"), ("each", "kazoo"), ("events", "coord"), ("each", "kazoo")),
)
"""Two lines of headings."""
WIDTH_MAX: Final = 200
LEFT: Final = {0, 2}
"""The columns of words."""

EXPLANATION: Final = """\
CPU each: what one operation costs the clients' process, which other processes hardly change.
requests each: what one operation asks of the server; events each: how many watches it makes fire.
sessions: connections of each library, shared evenly by those who contend (tasks in coord, threads in kazoo).
"""


def show(rows: Sequence[Row], facts: dict[str, str]) -> None:
    """Print it all."""
    for name, fact in facts.items():
        print(f"{name + ':':10}{fact}")
    print()
    (_show_rich if find_spec("rich") else _show_plain)([_cells(row) for row in rows])
    print(EXPLANATION, end="")


def _cells(row: Row) -> list[str]:
    return [
        f"{row.scenario} {row.figure}".strip(),
        str(row.sessions),
        row.unit,
        _number(row.coord.median, otherwise="stuck"),
        _number(row.kazoo.median, otherwise="stuck"),
        _number(_milli(row.coord.cpu_each)),
        _number(_milli(row.kazoo.cpu_each)),
        _number(row.coord.requests_each),
        _number(row.kazoo.requests_each),
        _number(row.coord.events_each),
        _number(row.kazoo.events_each),
    ]


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _number(value: float | None, otherwise: str = "") -> str:
    """Three digits that count, or all before the point."""
    if value is None:
        return otherwise
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _show_rich(lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, headings in enumerate(COLUMNS):
        justify: Literal["left", "right"] = "left" if number in LEFT else "right"
        table.add_column("\n".join(headings), justify=justify, no_wrap=True)
    for line in lines:
        table.add_row(*line)
    # A file or a pipe has no width that rich could know: what is printed there is printed in full.
    Console(width=None if sys.stdout.isatty() else WIDTH_MAX).print(table)


def _show_plain(lines: Sequence[Sequence[str]]) -> None:
    every = [*([heading[line] for heading in COLUMNS] for line in (0, 1)), *lines]
    widths = [max(len(line[number]) for line in every) for number in range(len(COLUMNS))]
    for line in every:
        cells = [
            cell.ljust(width) if number in LEFT else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print()
