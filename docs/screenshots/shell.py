"""Draws docs/images/shell.svg: a session of `coord shell`, against a server of its own.

Owns what is typed. Must not know how a screen is drawn (`picture`).

Synopsis::

    python -m docs.screenshots.shell
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from coord import Client
from docs.screenshots.picture import draw
from tests.cli.running import Running
from tests.cli.terminal import ENTER, TAB, Terminal

IMAGE: Final = Path(__file__).parent.parent / "images" / "shell.svg"
MASKS: Final = {r"127\.0\.0\.1:\d+": "127.0.0.1:2181"}
LINES: Final = (
    ("create /config/db host=a", "/config/db"),
    ("create -e /brokers/ids/7 host7:9092", "/brokers/ids/7"),
    ("get -w /config/db", "host=a"),
)


async def _prepare(zk: Client) -> None:
    for path in ("/brokers/ids/4", "/brokers/topics/orders", "/config"):
        await zk.create(path, b"", make_parents=True)


def type_session(terminal: Terminal, server: Running) -> None:
    """Up to the moment that is drawn: a line half typed, an event above it, live paths below."""
    terminal.wait_for("(CONNECTED) 0]")
    for number, (line, shows) in enumerate(LINES, start=1):
        terminal.type(line + ENTER)
        terminal.wait_for(f"\n{shows}\n")
        terminal.wait_for(re.compile(rf" {number}\]$", re.MULTILINE))
    terminal.type("multi" + ENTER)
    terminal.wait_for("multi 1>")
    terminal.type("check -v 0 /config/db" + ENTER)
    terminal.wait_for("multi 2>")
    terminal.type("set /config/db host=b" + ENTER)
    terminal.wait_for("multi 3>")
    terminal.type("commit" + ENTER)
    terminal.wait_for("NodeDataChanged")
    terminal.wait_for(re.compile(r" 7\]$", re.MULTILINE))
    terminal.type("ls /brokers/")
    terminal.wait_for(re.compile(r"^ +/brokers/ids +$|^ +/brokers/ids$", re.MULTILINE))
    terminal.type(TAB)
    terminal.wait_for("ls /brokers/ids")


def main() -> None:
    with tempfile.TemporaryDirectory() as state, Running() as server:
        server.do(_prepare)
        command = [sys.executable, "-m", "coord", "--server", server.address, "shell"]
        environment = {"XDG_STATE_HOME": state}
        with Terminal(command, columns=88, lines=24, environment=environment) as terminal:
            type_session(terminal, server)
            draw(terminal, IMAGE, title="coord shell", masks=MASKS)


if __name__ == "__main__":
    main()
