"""The command line run: what a command found is printed, what went wrong is one line and an exit code.

Owns the end of a command line. The grammar is `grammar`'s, what a command does is `commands`' business, what
an error means is `failures`'.

Rule that holds here: whatever goes wrong is one line on standard error, ``coord: …``, and an exit code that a
script can act on; a traceback would be a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click

from coord.cli import (
    grammar_bench,
    grammar_holding,
    grammar_moving,
    grammar_servers,
    grammar_shell,
    grammar_transactions,
    grammar_views,
    grammar_znodes,
)
from coord.cli.failures import INTERRUPTED, SIGNALLED, USAGE, failure, one_line
from coord.cli.grammar import cli
from coord.cli.one_command import Interrupted
from coord.cli.printing import OutputFailed

GRAMMAR: Final = (
    grammar_znodes,
    grammar_transactions,
    grammar_moving,
    grammar_holding,
    grammar_views,
    grammar_servers,
    grammar_bench,
    grammar_shell,
)
"""The modules whose commands there are."""


def main(arguments: Sequence[str]) -> int:
    """Runs `coord ARGUMENTS` and returns the exit code. Without any it shows the help, and fails."""
    try:
        code = _read(arguments)()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Interrupted as end:
        if hasattr(end, "__notes__"):
            _complain(one_line(end))
        return SIGNALLED + end.number
    except Exception as error:
        failed = failure(error)
        if failed is None:
            raise
        if failed.message:
            _complain(failed.message)
        return failed.exit_code
    return code if arguments else USAGE


def _read(arguments: Sequence[str]) -> Callable[[], int]:
    """What the arguments ask for; their help and the like are printed here. Raises `OutputFailed`."""
    try:
        found = cli.main(list(arguments) or ["--help"], prog_name="coord", standalone_mode=False)
    except OSError as error:
        raise OutputFailed(f"the output cannot be written: {error.strerror}") from None
    return found if callable(found) else lambda: int(found)


def _complain(message: str) -> None:
    click.echo(f"coord: {message}", err=True)
