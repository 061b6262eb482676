"""The figures as they stand in README.md and on the site: written from the stored data, between two comments.

Owns the text between the comments: tables, the rows in which coord is not ahead, where it was measured. Pure;
knows no files. `charts` reads the data and writes the documents.

Rules that hold here:

- Nothing is rounded but for display, and what is compared is what is displayed: a ratio of 1.00 is not ahead.
- Where coord is behind, that is said by name, whatever the data are.

Synopsis::

    text = with_figures(text, {"Three members": data, "One server": data})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

Data = Mapping[str, Any]
"""What one run of the benchmark has written."""

NAMES: Final = {"coord": "coord", "zookeeper": "Apache ZooKeeper"}
BEGIN: Final = "<!-- figures: begin; python -m benchmarks.charts writes what follows -->"
END: Final = "<!-- figures: end -->"


def with_figures(text: str, runs: Mapping[str, Data]) -> str:
    """The document with these figures in the place of those that it had; `runs` by their headings.

    Raises `ValueError` if the comments are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise ValueError(f"no place for figures: {BEGIN} … {END}")
    return f"{before}{begin}\n\n{figures(runs)}\n{end}{after}"


def figures(runs: Mapping[str, Data]) -> str:
    """What stands between the comments."""
    parts = [_table(heading, data) for heading, data in runs.items()]
    parts.append(_besides(runs))
    if all(len(data["sides"]) > 1 for data in runs.values()):
        parts.append(_not_ahead(runs))
    return "\n".join([*parts, f"{source(runs)}.\n"])


def source(runs: Mapping[str, Data]) -> str:
    """Where, with what, how often and when it was measured."""
    data = next(iter(runs.values()))
    rounds = len(data["sides"]["coord"]["start_seconds"])
    how = "One round" if rounds == 1 else f"Medians of {rounds} rounds"
    return f"{data['machine']}. {data['versions']}. {how}, {data['date']}"


def _table(heading: str, data: Data) -> str:
    sides = list(data["sides"].values())
    columns = [f"{heading}, operations a second", *(NAMES[kind] for kind in data["sides"])]
    if len(sides) > 1:
        columns += ["ratio", "ratio of the p99 latencies"]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    for title in sides[0]["rates"]:
        cells = [f"{median(side['rates'][title]):,.0f}" for side in sides]
        if len(sides) > 1:
            cells += [f"{_ratio(sides, figure, title):.2f}" for figure in ("rates", "p99_us")]
        lines.append([title, *cells])
    return _lines(lines)


def _ratio(sides: Sequence[Data], figure: str, title: str) -> float:
    ours, theirs = (median(side[figure][title]) for side in sides)
    ratio: float = ours / theirs
    return round(ratio, 2)


def _not_ahead(runs: Mapping[str, Data]) -> str:
    behind = []
    for heading, data in runs.items():
        sides = list(data["sides"].values())
        for title in sides[0]["rates"]:
            rate, p99 = (_ratio(sides, figure, title) for figure in ("rates", "p99_us"))
            what = [f"{rate:.2f} of the operations"] * (rate <= 1) + [f"{p99:.2f} of the p99"] * (p99 >= 1)
            if what:
                behind.append(f"*{title}* ({heading.lower()}: {' and '.join(what)})")
    return f"coord is not ahead in: {', '.join(behind) or 'none of these rows'}.\n"


def _besides(runs: Mapping[str, Data]) -> str:
    """What is no row of the load."""
    kinds = list(next(iter(runs.values()))["sides"])
    lines = [["", *(NAMES[kind] for kind in kinds)], ["---", *["---:"] * len(kinds)]]
    for heading, data in runs.items():
        sides = [data["sides"][kind] for kind in kinds]
        lines += [
            [f"{heading}: start to serving", *(f"{median(one['start_seconds']):.2f} s" for one in sides)],
            [
                f"{heading}: largest memory",
                *(f"{median(one['memory_bytes']) / 1e6:,.0f} MB" for one in sides),
            ],
        ]
        waits = [one["failover_seconds"] for one in sides]
        if all(waits):
            cells = [f"{median(one):.2f} s ({max(one):.2f} s)" for one in waits]
            lines.append([f"{heading}: a write's wait when the leader is killed, median (worst)", *cells])
    return _lines(lines)


def _lines(lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
