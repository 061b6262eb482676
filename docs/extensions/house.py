"""Who imports whom, as a graph: drawn from the table that `tests/test_tidy.py` checks.

Owns the order of the rows: each part stands right above what it imports. Pure, but for the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from docs.extensions.graph import Arrow, Graph

TITLES: Final = {"coord": "coord (public names)"}


def house(table: Mapping[str, tuple[str, ...]]) -> Graph:
    """`table` names for each part the parts that it may import; a name inside of a part means that part."""
    below = {
        part: {_part(one, table) for one in imports} - {part, ""}
        for part, imports in table.items()
        if part != "coord.__main__"
    }
    below = {part: {one for one in parts if one in below} for part, parts in below.items()}
    direct = {part: parts - _beyond(parts, below) for part, parts in below.items()}
    depth = _depths(direct)
    steps, bends = _in_steps(direct, depth)
    texts = {part: TITLES.get(part, part.removeprefix("coord.")) for part in direct}
    arrows = [Arrow(part, one) for part, parts in sorted(steps.items()) for one in sorted(parts)]
    return Graph(_rows(steps, depth), texts, arrows, bends)


def _part(name: str, table: Mapping[str, tuple[str, ...]]) -> str:
    fitting = [one for one in table if name == one or (name.startswith(one + ".") and one != "coord")]
    return max(fitting, key=len, default="")


def _beyond(parts: set[str], below: Mapping[str, set[str]]) -> set[str]:
    """What is reached through others: an arrow to it would tell nothing new."""
    found: set[str] = set()
    waiting = [one for part in parts for one in below[part]]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(below[one])
    return found


def _depths(direct: Mapping[str, set[str]]) -> dict[str, int]:
    """The row of each part, 0 the topmost; each as near to those above it as it can be."""
    above = {part: {one for one, parts in direct.items() if part in parts} for part in direct}
    depth: dict[str, int] = {}

    def find(part: str) -> int:
        if part not in depth:
            depth[part] = 1 + max((find(one) for one in above[part]), default=-1)
        return depth[part]

    for part in direct:
        find(part)
    for part in direct:  # what nobody stands on goes right above what it stands on
        if not above[part] and direct[part]:
            depth[part] = min(depth[one] for one in direct[part]) - 1
    return depth


def _in_steps(direct: Mapping[str, set[str]], depth: dict[str, int]) -> tuple[dict[str, set[str]], set[str]]:
    """The same arrows, each from one row to the next by way of bends, whose depths are added."""
    steps: dict[str, set[str]] = {part: set() for part in direct}
    bends = set()
    for part, parts in direct.items():
        for one in parts:
            last = part
            for row in range(depth[part] + 1, depth[one]):
                bend = f"{part}>{one}>{row}"
                depth[bend] = row
                bends.add(bend)
                steps[last].add(bend)
                steps[bend] = set()
                last = bend
            steps[last].add(one)
    return steps, bends


def _rows(steps: Mapping[str, set[str]], depth: Mapping[str, int]) -> list[list[str]]:
    above = {part: {one for one, parts in steps.items() if part in parts} for part in steps}
    numbers = range(min(depth.values()), max(depth.values()) + 1)
    rows = [sorted(part for part in steps if depth[part] == number) for number in numbers]
    for _ in range(8):
        for upper, lower in pairwise(rows):
            _sort(lower, upper, above)
        for lower, upper in pairwise(rows[::-1]):
            _sort(upper, lower, steps)
    return rows


def _sort(row: list[str], other: list[str], neighbours: Mapping[str, set[str]]) -> None:
    """Each near the middle of its neighbours in the other row."""

    def middle(part: str) -> float:
        places = [other.index(one) / len(other) for one in neighbours[part] if one in other]
        return sum(places) / len(places) if places else 0.5

    row.sort(key=middle)
