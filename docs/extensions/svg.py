"""Pieces of SVG for the drawings: text whose width is estimated, boxes, lines, and the whole.

Owns escaping, classes and measures. Colours are not here but in `_static/coord.css`, by class, so that one
drawing fits the light and the dark page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

LINE: Final = 18.0
"""pixels from one line of text to the next"""
CHARACTER: Final = 7.1
"""pixels, on average, at the 13 px of `coord.css`"""


def width_of(text: str) -> float:
    return len(text) * CHARACTER


def words(text: str, x: float, y: float, kind: str = "", anchor: str = "middle") -> str:
    """One line, its middle at `y`."""
    return f'<text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 5) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" '
        f'class="{kind}"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str, *, arrow: bool = False) -> str:
    head = ' marker-end="url(#head)"' if arrow else ""
    return f'<path d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}" class="{kind}"{head}/>'


def path(points: str, kind: str, *, arrow: bool = False) -> str:
    head = ' marker-end="url(#head)"' if arrow else ""
    return f'<path d="{points}" class="{kind}"{head}/>'


def picture(parts: Iterable[str], width: float, height: float, title: str, number: int) -> str:
    """All of it; `number` tells the drawings of one page apart."""
    head = f"head-{number}"
    body = "\n".join(parts).replace("url(#head)", f"url(#{head})")
    return (
        f'<div class="drawing"><svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<defs><marker id="{head}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" orient="auto-start-reverse"><path d="M0,1 L9,5 L0,9 z" class="head"/>'
        f"</marker></defs>\n{body}\n</svg></div>\n"
    )
