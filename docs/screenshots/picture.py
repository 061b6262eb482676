"""A terminal's screen as an SVG, for documents: small, the same in each run, without fonts from elsewhere.

Owns the look of the pictures. Must not know which program it was.

Synopsis::

    with Terminal(["coord", "top"], columns=90, lines=20) as terminal:
        terminal.wait_for("leader")
        draw(
            terminal,
            "docs/images/top.svg",
            title="coord top",
            masks={r"127\\.0\\.0\\.1:\\d+": "127.0.0.1:2181"},
        )

Rule that holds here: what differs from run to run (ports, times, process ids) is replaced by `masks` before
it is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from pyte.screens import Char
from rich.color import ColorParseError
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.cli.terminal import Terminal

THEME: Final = TerminalTheme(
    (27, 30, 40),
    (214, 219, 230),
    [
        *((60, 66, 82), (236, 95, 103), (137, 202, 120), (229, 192, 107)),
        *((97, 175, 239), (198, 120, 221), (86, 182, 194), (171, 178, 191)),
    ],
    [
        *((92, 99, 112), (255, 123, 130), (165, 224, 150), (245, 213, 140)),
        *((130, 195, 255), (215, 150, 235), (120, 205, 215), (255, 255, 255)),
    ],
)
"""Background, foreground, the eight colours and their bright kin."""

FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

NAMES: Final = {"brown": "yellow", "brightbrown": "brightyellow"}
"""pyte's names for colours, where rich has others."""


def draw(terminal: Terminal, file: str | Path, *, title: str, masks: Mapping[str, str] | None = None) -> None:
    """Writes the present screen to `file`, without empty rows at the end.

    `masks`: pattern -> replacement. What follows keeps its column if there is a blank to give or take.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(svg(terminal, title=title, name=file.stem, masks=masks), encoding="utf-8")


def svg(terminal: Terminal, *, title: str, name: str, masks: Mapping[str, str] | None = None) -> str:
    """The present screen; `name` begins the ids in the SVG, which must differ on one page."""
    columns = terminal.screen.columns
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    rows = [_masked(_cells(terminal, y), masks or {}) for y in range(terminal.screen.lines)]
    while rows and not "".join(cell.data for cell in rows[-1]).strip():
        rows.pop()
    for row in rows:
        line = Text(no_wrap=True, end="\n")
        for style, cells in groupby(row[:columns], _style):
            line.append("".join(cell.data for cell in cells), style)
        console.print(line, soft_wrap=False)
    return console.export_svg(title=title, theme=THEME, code_format=FORMAT, unique_id=name)


def _cells(terminal: Terminal, y: int) -> list[Char]:
    """One a column; the second half of a wide character is empty."""
    return [terminal.screen.buffer[y][x] for x in range(terminal.screen.columns)]


def _masked(row: list[Char], masks: Mapping[str, str]) -> list[Char]:
    for pattern, replacement in masks.items():
        text = "".join(cell.data[:1] or "\0" for cell in row)
        for match in reversed(list(re.finditer(pattern, text))):
            begin, end = match.span()
            new = match.expand(replacement)
            blanks = len(text[end:]) - len(text[end:].lstrip(" "))
            longer = len(new) - (end - begin)
            # One blank stays, so that what follows does not touch it.
            eaten = max(0, min(longer, blanks - 1))
            filled = new + " " * max(0, -longer if blanks else 0)
            row = [*row[:begin], *(row[begin]._replace(data=c) for c in filled), *row[end + eaten :]]
    return row


def _style(cell: Char) -> Style:
    return Style(
        color=_color(cell.fg),
        bgcolor=_color(cell.bg),
        bold=cell.bold,
        italic=cell.italics,
        underline=cell.underscore,
        strike=cell.strikethrough,
        reverse=cell.reverse,
    )


def _color(name: str) -> str | None:
    """pyte says ``default``, ``red``, ``brightred`` or six hexadecimal digits."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    name = NAMES.get(name, name)
    found = f"bright_{name.removeprefix('bright')}" if name.startswith("bright") else name
    try:
        Style(color=found)
    except ColorParseError:
        return None
    return found
