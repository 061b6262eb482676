"""Scripts: a scenario as commands and what comes of them, in one text file.

A file is a row of blocks: ``#`` prose, commands, ``----``, the expected output, an empty line. The first
command of a file is ``voters 1 2 3``, then perhaps ``observers 4`` and ``recent 100`` (bytes of history in
memory). The others:

===================  ================================================================================
start 1 2            members start from their disks
crash 1 [survive 2]  it stops; so many parts of the work under way are on its disk
run [5]              everything happens that can, and so many ticks pass (12 if not said), quietly
talk [5]             the same, and every message is shown as it arrives (pings excepted)
propose 1 a b        the leader proposes
disk 1 hangs         its disk takes work and does nothing, until ``disk 1 works``
cut 1 2              nothing passes between them, until ``mend 1 2``
break 1 2            their link breaks
snapshot 1           its log goes, a snapshot takes its place
hold Ack [2 1]       such messages (from 2 to 1) stay under way, until ``release``
state [1 2]          shows members
===================  ================================================================================

Synopsis::

    pytest tests/zab/test_scripts.py
    python -m tests.zab.script --rewrite tests/zab/scripts/*.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from coord.zab.history import RECENT_BYTES_MAX
from tests.zab.table import Table, state

FOLDER: Final = Path(__file__).parent / "scripts"
LINE: Final = "----"


class Script:
    """One file, played from its first block to its last."""

    def __init__(self) -> None:
        self._voters: list[int] = []
        self._observers: list[int] = []
        self._recent = RECENT_BYTES_MAX
        self._table: Table | None = None
        self._shown: list[str] = []

    def play(self, commands: list[str]) -> list[str]:
        """The output of one block."""
        self._shown = []
        for command in commands:
            word, *words = command.split()
            _COMMANDS[word](self, words)
        return self._shown

    @property
    def table(self) -> Table:
        if self._table is None:
            self._table = Table(self._voters, self._observers, recent_bytes=self._recent)
        return self._table

    def _set_voters(self, words: list[str]) -> None:
        self._voters = _members(words)

    def _set_observers(self, words: list[str]) -> None:
        self._observers = _members(words)

    def _set_recent(self, words: list[str]) -> None:
        self._recent = int(words[0])

    def _start(self, words: list[str]) -> None:
        self.table.start(*_members(words))

    def _crash(self, words: list[str]) -> None:
        survive = 0
        if "survive" in words:
            survive = int(words.pop())
            words.remove("survive")
        self.table.crash(*_members(words), survive=survive)

    def _run(self, words: list[str]) -> None:
        self.table.run(int(words[0]) if words else 12)

    def _talk(self, words: list[str]) -> None:
        self.table.heard.clear()
        self._run(words)
        self._shown += [line for line in self.table.heard if " Ping " not in line and " Pong " not in line]

    def _propose(self, words: list[str]) -> None:
        self.table.propose(int(words[0]), *(word.encode() for word in words[1:]))

    def _disk(self, words: list[str]) -> None:
        self.table.seats[int(words[0])].disk_waits = {"hangs": True, "works": False}[words[1]]

    def _cut(self, words: list[str]) -> None:
        self.table.cut(*_members(words))

    def _mend(self, words: list[str]) -> None:
        self.table.mend(*_members(words))

    def _break(self, words: list[str]) -> None:
        self.table.break_links(*_members(words))

    def _snapshot(self, words: list[str]) -> None:
        self.table.snapshot(int(words[0]))

    def _hold(self, words: list[str]) -> None:
        kind, way = words[0], _members(words[1:])
        self.table.held = lambda sender, to, message: (
            type(message).__name__ == kind and way in ([], [sender, to])
        )

    def _release(self, words: list[str]) -> None:
        self.table.held = lambda sender, to, message: False

    def _state(self, words: list[str]) -> None:
        self._shown += [state(self.table, member) for member in _members(words) or self.table.seats]


_COMMANDS: Final[dict[str, Callable[[Script, list[str]], None]]] = {
    "voters": Script._set_voters,
    "observers": Script._set_observers,
    "recent": Script._set_recent,
    "start": Script._start,
    "crash": Script._crash,
    "run": Script._run,
    "talk": Script._talk,
    "propose": Script._propose,
    "disk": Script._disk,
    "cut": Script._cut,
    "mend": Script._mend,
    "break": Script._break,
    "snapshot": Script._snapshot,
    "hold": Script._hold,
    "release": Script._release,
    "state": Script._state,
}


def _members(words: list[str]) -> list[int]:
    return [int(word) for word in words]


def played(text: str) -> str:
    """The same text, with the output that its commands have now."""
    script, expected = Script(), False
    written: list[str] = []
    commands: list[str] = []
    for line in text.splitlines():
        if expected:
            if line:
                continue  # the old output
            expected = False
        elif line == LINE:
            written += [line, *script.play(commands)]
            commands, expected = [], True
            continue
        elif line and not line.startswith("#"):
            commands.append(line)
        written.append(line)
    assert not commands, f"commands without a {LINE} behind them: {commands}"
    return "\n".join(written) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.zab.script", description=__doc__.split("\n")[0])
    parser.add_argument("--rewrite", action="store_true", help="write the output that there is now")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    changed = 0
    for file in arguments.files:
        text = file.read_text()
        now = played(text)
        changed += now != text
        if arguments.rewrite:
            file.write_text(now)
        else:
            print(now, end="")
    return 0 if arguments.rewrite else min(changed, 1)


if __name__ == "__main__":
    sys.exit(main())
