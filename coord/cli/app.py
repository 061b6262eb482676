"""The command line run: what a command found is printed, what went wrong is one line and an exit code.

Owns how an error becomes an exit code. The grammar is `grammar`'s, what a command does
is `commands`' business.

Rule that holds here: whatever goes wrong is one line on standard error, ``coord: …``, and an exit code that a
script can act on; a traceback would be a bug.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

import click

from coord.cli import grammar_servers, grammar_znodes
from coord.cli.grammar import cli
from coord.cli.one_command import Interrupted, OutputFailed
from coord.errors import (
    AuthFailed,
    BadArguments,
    ConfigError,
    ConnectionLost,
    CoordError,
    NoAuth,
    ProtocolError,
    SessionExpired,
)

GRAMMAR: Final = (grammar_znodes, grammar_servers)
"""The modules whose commands there are."""

OK, FAILED, USAGE, NO_CONNECTION, NO_PERMISSION = range(5)
SIGNALLED: Final = 128
INTERRUPTED: Final = SIGNALLED + signal.SIGINT
EXIT_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (AuthFailed, NO_PERMISSION),
    (NoAuth, NO_PERMISSION),
    (OutputFailed, FAILED),
    (ConnectionLost, NO_CONNECTION),
    (SessionExpired, NO_CONNECTION),
    (ProtocolError, NO_CONNECTION),
    (OSError, NO_CONNECTION),
    (ConfigError, USAGE),
    (BadArguments, USAGE),
    (ValueError, USAGE),
    (CoordError, FAILED),
)
"""The first class that fits decides."""


def main(arguments: Sequence[str]) -> int:
    """Runs `coord ARGUMENTS` and returns the exit code. Without any it shows the help, and fails."""
    try:
        code = cli.main(list(arguments) or ["--help"], prog_name="coord", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see {context.command_path} --help)" if context else ""
        _complain(f"{error.format_message()}{hint}", error)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Interrupted as end:
        if _notes(end):
            _complain(str(end), end)
        return SIGNALLED + end.number
    except Exception as error:
        code = next((code for cls, code in EXIT_CODES if isinstance(error, cls)), None)
        if code is None:
            raise
        _complain(str(error) or type(error).__name__, error)
        return code
    return code if arguments else USAGE


def _complain(message: str, error: BaseException) -> None:
    """One line, with how far the work came."""
    click.echo(" ".join(f"coord: {'; '.join([message, *_notes(error)])}".split()), err=True)


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])
