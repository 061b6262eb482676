"""``python -m benchmarks.charts``: the pictures of the benchmark's figures, drawn from the stored data.

Owns which figures are in which picture, and how they are written. The data are what ``python -m
benchmarks.server --json`` wrote: ``benchmarks/data/server-3.json`` and ``server-1.json``. The tables of the
same figures in the documents are written by the same command; what stands in them is `documents`' business.

Rules that hold here:

- Nothing is measured and nothing rounded but for display; equal data gives equal pictures and tables.
- The machine, the versions and the date stand in each picture, as they stand in the data.

Synopsis::

    python -m benchmarks.charts  # writes docs/images/bench-*.svg, and the tables of `DOCUMENTS`
    python -m benchmarks.charts --data DIR --into DIR --documents FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.documents import NAMES, Data, source, with_figures
from benchmarks.drawing import Chart, Group, Panel, draw

HERE: Final = Path(__file__).parent
DATA: Final = HERE / "data"
IMAGES: Final = HERE.parent / "docs" / "images"
FILES: Final = {"Three members": "server-3.json", "One server": "server-1.json"}
DOCUMENTS: Final = (HERE.parent / "README.md", HERE.parent / "docs" / "explanation" / "speed.md")
"""Those with a place for the tables."""


def charts(runs: Mapping[str, Data]) -> dict[str, str]:
    """The pictures by their names; `runs` by the headings of their panels."""
    return {
        "bench-throughput.svg": draw(
            _by_row(runs, "rates", "Operations a second", "Longer bars are better", _rate)
        ),
        "bench-latency.svg": draw(
            _by_row(runs, "p99_us", "Latency, 99th percentile", "Shorter bars are better", _time)
        ),
        "bench-footprint.svg": draw(_footprint(runs)),
    }


def _by_row(
    runs: Mapping[str, Data], figure: str, title: str, which: str, write: Callable[[float], str]
) -> Chart:
    panels = []
    for heading, data in runs.items():
        sides = list(data["sides"].values())
        groups = [
            _group(title_of_row, [median(side[figure][title_of_row]) for side in sides], write)
            for title_of_row in sides[0][figure]
        ]
        panels.append(Panel(heading, groups, _ratio(data)))
    how = "50x20: 50 connections with 20 requests under way on each"
    return Chart(
        title, f"{which}; each pair has a scale of its own. {how}.", _series(runs), panels, source(runs)
    )


def _footprint(runs: Mapping[str, Data]) -> Chart:
    panels = []
    for heading, data in runs.items():
        sides = list(data["sides"].values())
        groups = [
            _group("start to serving", [median(side["start_seconds"]) for side in sides], _seconds),
            _group("largest memory", [median(side["memory_bytes"]) for side in sides], _megabytes),
        ]
        kills = len(sides[0]["failover_seconds"])
        if kills:
            waits = [side["failover_seconds"] for side in sides]
            groups.append(_group("failover, median", [median(one) for one in waits], _seconds))
            groups.append(_group(f"failover, worst of {kills}", [max(one) for one in waits], _seconds))
        panels.append(Panel(heading, groups, _ratio(data)))
    subtitle = (
        "Shorter bars are better; each pair has a scale of its own. "
        "Failover: from the leader's kill -9 to a client's next acknowledged write."
    )
    return Chart("Start, memory, failover", subtitle, _series(runs), panels, source(runs))


def _group(label: str, values: Sequence[float], write: Callable[[float], str]) -> Group:
    ratio = f"×{_digits(values[0] / values[1], 2)}" if len(values) > 1 and values[1] else ""
    return Group(label, values, [write(value) for value in values], ratio)


def _ratio(data: Data) -> str:
    return "coord : ZooKeeper" if len(data["sides"]) > 1 else ""


def _series(runs: Mapping[str, Data]) -> list[str]:
    return [NAMES[kind] for kind in next(iter(runs.values()))["sides"]]


# -- how figures are written ----------------------------------------------------------------------------


def _digits(value: float, count: int) -> str:
    """So many digits that count, or all before the point."""
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:,.{max(0, count - whole)}f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _time(microseconds: float) -> str:
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    return f"{_digits(microseconds / 1000, 3)} ms"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def main(argv: Sequence[str]) -> int:
    """Draw, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.charts", description="Draw the stored figures."
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--into", type=Path, default=IMAGES, metavar="DIR")
    parser.add_argument("--documents", type=Path, nargs="*", default=DOCUMENTS, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        runs = {
            heading: json.loads((options.data / name).read_text("utf-8")) for heading, name in FILES.items()
        }
    except OSError as error:
        print(f"benchmarks: {error}: python -m benchmarks.server --json writes it", file=sys.stderr)
        return 1
    for name, picture in charts(runs).items():
        (options.into / name).write_text(picture, encoding="utf-8")
        print(options.into / name)
    for document in options.documents:
        document.write_text(with_figures(document.read_text("utf-8"), runs), encoding="utf-8")
        print(document)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
