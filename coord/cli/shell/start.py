"""The shell put together: its session, its reader, its signals; and taken apart in good order.

Owns which reader is used. Must not know what any of them does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import trio

from coord.cli.grammar import installed
from coord.cli.one_command import ClientsWord, Target
from coord.cli.shell.completing import Completing
from coord.cli.shell.plain import DumbTerminal, Given, StandardInput
from coord.cli.shell.reader import Reader
from coord.cli.shell.shell import Shell

DUMB: Final = ("", "dumb", "unknown")


async def run(target: Target, lines: Sequence[str] | None, *, as_json: bool, keep_going: bool) -> int:
    """The lines given, else those of standard input; returns the exit code."""
    code, failed = 0, None
    with ClientsWord() as word:
        async with trio.open_nursery() as nursery:
            shell = Shell(target, nursery, word, as_json=as_json, keep_going=keep_going)
            shell.reader = _reader(shell, lines)
            await nursery.start(shell.heed_signals)
            try:
                code = await shell.run()
            except Exception as error:
                failed = error
            await shell.connection.close()
            nursery.cancel_scope.cancel(reason="the shell is over")
    if failed is not None:
        raise failed
    return code


def _reader(shell: Shell, lines: Sequence[str] | None) -> Reader:
    if lines is not None:
        return Given(lines)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return StandardInput()
    if os.environ.get("TERM", "") in DUMB:
        reader: Reader = DumbTerminal(shell.prompt)
    else:
        from coord.cli.shell.terminal import Terminal

        reader = Terminal(
            shell.prompt, Completing(shell.connection, shell.group, lambda: len(shell.done)).complete
        )
    reader.tell(f"{installed()}; `help` lists the commands")
    return reader
