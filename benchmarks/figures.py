"""What the benchmarks of scale find: figures of each server, side by side in a table.

Owns the printing, and the lines on top that say what was measured where. Knows no server.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple


class Figure(NamedTuple):
    name: str
    unit: str
    value: float


def print_surroundings(command: str) -> None:
    """All that figures depend on and do not say."""
    print(f"command:  {command}")
    print(f"versions: coord {version('coord')}, trio {version('trio')}, Python {platform.python_version()}")
    print(f"machine:  {os.cpu_count()} cores, {platform.system()} {platform.release()}, load ", end="")
    print(f"{os.getloadavg()[0]:.1f} before the first measurement", end="\n\n")


def print_table(title: str, columns: Mapping[str, Sequence[Figure]]) -> None:
    """A line for each name that occurs, in the order of the first column that has it."""
    names = list(
        dict.fromkeys((figure.name, figure.unit) for column in columns.values() for figure in column)
    )
    width = max([len(title), *(len(name) for name, _ in names)])
    print(f"{title:{width}}  {'':12}" + "".join(f"{column:>14}" for column in columns))
    for name, unit in names:
        cells = [_value_of(name, unit, figures) for figures in columns.values()]
        print(f"{name:{width}}  {unit:12}" + "".join(f"{cell:>14}" for cell in cells))
    print(flush=True)


def _value_of(name: str, unit: str, figures: Sequence[Figure]) -> str:
    return next((shown(one.value) for one in figures if (one.name, one.unit) == (name, unit)), "")


def shown(value: float) -> str:
    """Three digits that count, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
