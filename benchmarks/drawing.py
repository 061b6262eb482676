"""Charts as SVG: pairs of bars, one chart a text, readable on light and on dark pages.

Owns the look. Knows no benchmark: it is given words and numbers. A page that shows the picture as an image
loads nothing else with it, so there are no fonts, scripts or links in it, and its colours are its own: a card
that is light or dark as the reader's system is.

Rules that hold here:

- Equal data gives equal bytes.
- Each group of bars has a scale of its own: what is compared is who is next to whom. Every bar has its figure
  beside it.
- All that the picture shows is in its description too, for those who hear it.

Synopsis::

    chart = Chart("Operations a second", "longer is better", ("coord", "ZooKeeper"), panels, "2 cores, …")
    Path("rates.svg").write_text(draw(chart))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 880
MARGIN: Final = 24
GAP: Final = 28
"""between panels"""
HEAD: Final = 82
PANEL_HEAD: Final = 26
BAR: Final = 13
BETWEEN: Final = 3
GROUP_GAP: Final = 14
FOOT: Final = 36
LABEL_SHARE: Final = 0.3
"""of a panel's width; after the bars comes room for their figures"""
FIGURE_WIDTH: Final = 58
RATIO_WIDTH: Final = 44

STYLE: Final = """\
svg { color-scheme: light dark; }
text { font-family: -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; font-size: 12px; }
text { fill: #1f2937; }
.card { fill: #ffffff; stroke: #d8dee6; }
.title { font-size: 17px; font-weight: 600; }
.panel { font-size: 13px; font-weight: 600; }
.quiet { fill: #5b6675; }
.first { font-weight: 600; }
.small { font-size: 11px; }
.line { stroke: #d8dee6; }
.bar0 { fill: #2468d6; }
.bar1 { fill: #a9b4c2; }
.bar2 { fill: #d08a2e; }
@media (prefers-color-scheme: dark) {
text { fill: #e6eaf0; }
.card { fill: #11161d; stroke: #2c3541; }
.quiet { fill: #9aa6b5; }
.line { stroke: #2c3541; }
.bar0 { fill: #5b9bff; }
.bar1 { fill: #5d6a7a; }
.bar2 { fill: #e2a650; }
}
"""


@dataclass(frozen=True)
class Group:
    """Bars that are compared: a value of each series (None: not measured), and how it is written."""

    label: str
    values: Sequence[float | None]
    figures: Sequence[str]
    ratio: str = ""
    """how the first compares with the second, in a word"""


@dataclass(frozen=True)
class Panel:
    heading: str
    groups: Sequence[Group]
    ratio: str = ""
    """what the groups' ratios are of"""


@dataclass(frozen=True)
class Chart:
    title: str
    subtitle: str
    series: Sequence[str]
    panels: Sequence[Panel]
    source: str
    """what it was measured on, and when"""


def draw(chart: Chart) -> str:
    """The whole SVG."""
    group_height = len(chart.series) * (BAR + BETWEEN) - BETWEEN + GROUP_GAP
    height = HEAD + PANEL_HEAD + max(len(panel.groups) for panel in chart.panels) * group_height + FOOT
    width = (WIDTH - 2 * MARGIN - GAP * (len(chart.panels) - 1)) / len(chart.panels)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(chart.title)}</title>',
        f'<desc id="desc">{escape(describe(chart))}</desc>',
        f"<style>\n{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(MARGIN, 34, chart.title, "title"),
        _text(MARGIN, 54, chart.subtitle, "quiet"),
        *_legend(chart.series),
    ]
    for number, panel in enumerate(chart.panels):
        parts += _panel(panel, MARGIN + number * (width + GAP), width, group_height)
    parts += [_text(MARGIN, height - 15, chart.source, "quiet small"), "</svg>"]
    return "\n".join(parts) + "\n"


def describe(chart: Chart) -> str:
    """All of it, in sentences."""
    sentences = [f"{chart.subtitle}."]
    for panel in chart.panels:
        for group in panel.groups:
            pairs = ", ".join(
                f"{name} {figure}" for name, figure in zip(chart.series, group.figures, strict=True)
            )
            sentences.append(f"{panel.heading}, {group.label}: {pairs}.")
    return " ".join([*sentences, f"{chart.source}."])


def _legend(series: Sequence[str]) -> Iterator[str]:
    x = float(WIDTH - MARGIN)
    for number, name in reversed(list(enumerate(series))):
        x -= 7.0 * len(name)
        yield _text(x, 34, name)
        yield f'<rect class="bar{number}" x="{_at(x - 19)}" y="24" width="12" height="12" rx="2"/>'
        x -= 38


def _panel(panel: Panel, left: float, width: float, group_height: int) -> Iterator[str]:
    yield _text(left, HEAD + 6, panel.heading, "panel")
    yield _text(left + width, HEAD + 6, panel.ratio, "quiet small", anchor="end")
    yield f'<path class="line" d="M{_at(left)} {HEAD + 14.5}h{_at(width)}"/>'
    for number, group in enumerate(panel.groups):
        yield from _group(group, left, HEAD + PANEL_HEAD + number * group_height, width)


def _group(group: Group, left: float, top: float, width: float) -> Iterator[str]:
    bars = left + width * LABEL_SHARE
    room = width * (1 - LABEL_SHARE) - FIGURE_WIDTH - RATIO_WIDTH
    largest = max((value for value in group.values if value is not None), default=0) or 1
    height = len(group.values) * (BAR + BETWEEN) - BETWEEN
    yield _text(left, top + height / 2 + 4, group.label)
    for number, (value, figure) in enumerate(zip(group.values, group.figures, strict=True)):
        y = top + number * (BAR + BETWEEN)
        length = 0 if value is None else max(1.0, room * value / largest)
        if value is not None:
            yield (
                f'<rect class="bar{number}" x="{_at(bars)}" y="{_at(y)}" width="{_at(length)}" '
                f'height="{BAR}" rx="2"/>'
            )
        yield _text(bars + length + 6, y + BAR - 2.5, figure, "quiet" if number else "first")
    if group.ratio:
        yield _text(left + width, top + height / 2 + 4, group.ratio, "quiet", anchor="end")


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "") -> str:
    more = (f' class="{style}"' if style else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{_at(x)}" y="{_at(y)}"{more}>{escape(text)}</text>'


def _at(place: float) -> str:
    """To a tenth of a pixel."""
    return f"{place:.1f}".removesuffix(".0")
