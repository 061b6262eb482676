"""Draws docs/images/demo.svg: the final picture of `coord demo`, what it has seen proven.

Owns nothing but the scene. It takes as long as the demo (40 s), and fails if that does.

Synopsis::

    python -m docs.screenshots.demo
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docs.screenshots.picture import draw
from tests.cli.terminal import Terminal

PICTURE = Path(__file__).parent.parent / "images" / "demo.svg"
TITLE = "proven by watching the znodes"
SECONDS = 180.0


def main() -> None:
    with Terminal([sys.executable, "-m", "coord", "demo"], columns=110, lines=48) as terminal:
        terminal.wait_for(TITLE, seconds=SECONDS)
        terminal.wait_for(re.compile("^└", re.MULTILINE), seconds=SECONDS)
        if code := terminal.wait_end():
            sys.exit(code)
        # What was told on the way is above it.
        above = next(n for n, row in enumerate(terminal.rows) if row.startswith(TITLE))
        terminal.screen.resize(terminal.screen.lines - above, terminal.screen.columns)
        draw(terminal, PICTURE, title="coord demo")


if __name__ == "__main__":
    main()
