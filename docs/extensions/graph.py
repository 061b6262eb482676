"""Boxes and arrows, drawn from text: states, znodes in a line, who imports whom.

Owns the text form, and where things stand. Pure: text in, SVG out. A line it cannot read is a ValueError
that names it.

The text form: rows of boxes from top to bottom (`.` leaves a place empty), then arrows; a box may have more
lines of text than its name::

    first | second
    . | third
    second = second\\nwith a second line
    first -> second: a label
    second --> third
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import hypot
from typing import Final

from docs.extensions.svg import LINE, box, line, picture, width_of, words

MARGIN: Final = 14.0
ROW_GAP: Final = 62.0
COLUMN_GAP: Final = 46.0
BEND: Final = (8.0, 0.0)
"""pixels that a bend takes, across and down"""
APART: Final = 11.0
"""pixels between an arrow and the one that goes back"""

_ARROW = re.compile(r"(?P<source>.+?) (?P<arrow>->|-->) (?P<target>[^:]+?)(?:: (?P<text>.+))?")
_BOX = re.compile(r"(?P<name>[^=]+?) = (?P<text>.+)")


@dataclass(frozen=True)
class Arrow:
    source: str
    target: str
    text: str = ""
    dashed: bool = False


@dataclass
class Graph:
    rows: list[list[str]]
    texts: dict[str, str] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    bends: set[str] = field(default_factory=set)
    """names in rows that are no boxes: an arrow to one goes on from there"""

    def lines(self, name: str) -> list[str]:
        return self.texts.get(name, name).split("\\n")


@dataclass(frozen=True)
class Place:
    """A box: its middle and its size."""

    x: float
    y: float
    width: float
    height: float


def read(text: str) -> Graph:
    """Raises ValueError."""
    graph = Graph([])
    for one in map(str.strip, text.strip().splitlines()):
        if match := _ARROW.fullmatch(one):
            graph.arrows.append(
                Arrow(match["source"], match["target"], match["text"] or "", match["arrow"] == "-->")
            )
        elif match := _BOX.fullmatch(one):
            graph.texts[match["name"]] = match["text"]
        elif one:
            graph.rows.append([cell.strip() for cell in one.split("|")])
    known = {name for row in graph.rows for name in row}
    for arrow in graph.arrows:
        for name in (arrow.source, arrow.target):
            if name not in known:
                raise ValueError(f"{arrow.source} -> {arrow.target}: {name!r} is in no row")
    return graph


def draw(graph: Graph, title: str, number: int = 0) -> str:
    places, width, height = _places(graph)
    parts = [_arrow(graph, arrow, places) for arrow in graph.arrows]
    for name, place in places.items():
        if name in graph.bends:
            continue
        parts.append(
            box(place.x - place.width / 2, place.y - place.height / 2, place.width, place.height, "who")
        )
        lines = graph.lines(name)
        top = place.y - (len(lines) - 1) * LINE / 2
        parts += [
            words(text, place.x, top + index * LINE, "" if index else "strong")
            for index, text in enumerate(lines)
        ]
    parts += [_label(graph, arrow, places) for arrow in graph.arrows if arrow.text]
    return picture(parts, width, height, title, number)


def _places(graph: Graph) -> tuple[dict[str, Place], float, float]:
    """Rows with as many cells as the longest stand on its columns; shorter ones are centred."""
    names = [name for row in graph.rows for name in row if name != "."]
    sizes = {
        name: BEND
        if name in graph.bends
        else (max(map(width_of, graph.lines(name))) + 26, len(graph.lines(name)) * LINE + 14)
        for name in names
    }
    columns = max(map(len, graph.rows))
    wide = [
        max([sizes[row[c]][0] for row in graph.rows if len(row) == columns and row[c] != "."] or [60.0])
        for c in range(columns)
    ]
    gaps = _gaps(graph, columns)
    lefts = [MARGIN]
    for column, gap in zip(wide, [*gaps, 0.0], strict=True):
        lefts.append(lefts[-1] + column + gap)
    width = lefts[-1] + MARGIN
    row_widths = [
        sum(sizes[name][0] for name in row if name != ".") + COLUMN_GAP * (len(row) - 1) for row in graph.rows
    ]
    width = max(width, *(one + 2 * MARGIN for one in row_widths))
    places: dict[str, Place] = {}
    y = MARGIN
    for row, row_width in zip(graph.rows, row_widths, strict=True):
        height = max([sizes[name][1] for name in row if name != "."] or [0.0])
        left = (width - row_width) / 2
        for column, name in enumerate(row):
            if name == ".":
                continue
            x = lefts[column] + wide[column] / 2 if len(row) == columns else left + sizes[name][0] / 2
            left += sizes[name][0] + COLUMN_GAP
            places[name] = Place(x, y + height / 2, *sizes[name])
        y += height + ROW_GAP
    return places, width, y - ROW_GAP + MARGIN


def _gaps(graph: Graph, columns: int) -> list[float]:
    """Between columns, with room for the labels of arrows between neighbours."""
    gaps = [COLUMN_GAP] * (columns - 1)
    for row in graph.rows:
        if len(row) != columns:
            continue
        for arrow in graph.arrows:
            if arrow.source in row and arrow.target in row and arrow.text:
                low, high = sorted((row.index(arrow.source), row.index(arrow.target)))
                longest = max(map(width_of, arrow.text.split("\\n")))
                if high == low + 1:
                    gaps[low] = max(gaps[low], longest + 34)
    return gaps


def _ends(graph: Graph, arrow: Arrow, places: dict[str, Place]) -> tuple[float, float, float, float]:
    """From border to border on the line between the middles, moved aside if another arrow goes back."""
    a, b = places[arrow.source], places[arrow.target]
    length = hypot(b.x - a.x, b.y - a.y) or 1.0
    dx, dy = (b.x - a.x) / length, (b.y - a.y) / length
    back = any(one.source == arrow.target and one.target == arrow.source for one in graph.arrows)
    aside = APART if back else 0.0

    def reach(place: Place) -> float:
        if place.height == 0:
            return 0.0
        across = (place.width / 2) / abs(dx) if abs(dx) > 1e-6 else float("inf")
        down = (place.height / 2) / abs(dy) if abs(dy) > 1e-6 else float("inf")
        return min(across, down)

    ox, oy = -dy * aside, dx * aside
    start, stop = reach(a), length - reach(b) - (0 if arrow.target in graph.bends else 2)
    return a.x + dx * start + ox, a.y + dy * start + oy, a.x + dx * stop + ox, a.y + dy * stop + oy


def _arrow(graph: Graph, arrow: Arrow, places: dict[str, Place]) -> str:
    kind = "answer" if arrow.dashed else "message"
    return line(*_ends(graph, arrow, places), kind, arrow=arrow.target not in graph.bends)


def _label(graph: Graph, arrow: Arrow, places: dict[str, Place]) -> str:
    """In the middle of its arrow; beside it where that goes up or down and another one comes back."""
    x1, y1, x2, y2 = _ends(graph, arrow, places)
    lines = arrow.text.split("\\n")
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    width = max(map(width_of, lines))
    back = any(one.source == arrow.target and one.target == arrow.source for one in graph.arrows)
    if abs(y2 - y1) < 2:
        above = 1 if back and x2 > x1 else -1
        y += above * (LINE / 2 + 2 + (len(lines) - 1) * LINE / 2)
    elif back and abs(x2 - x1) < 2:
        x += (width / 2 + 8) * (1 if y2 < y1 else -1)
    top = y - (len(lines) - 1) * LINE / 2
    ground = box(x - width / 2 - 3, top - LINE / 2, width + 6, len(lines) * LINE, "blank", 0)
    return ground + "".join(words(text, x, top + index * LINE, "label") for index, text in enumerate(lines))
