"""What an error is to whoever typed the command: one line, and an exit code that a script can act on.

Owns the exit codes. Must not know where the line goes.

Rule that holds here: an error that is not listed is a bug, and no failure of the command.

Synopsis::

    failed = failure(error)  # None: a bug
    failed.message, failed.exit_code
"""

from __future__ import annotations

import signal
from typing import Final, NamedTuple

import click

from coord.cli.jobs import ExitWith
from coord.cli.printing import OutputFailed
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


class Failure(NamedTuple):
    exit_code: int
    message: str
    """one line; "" if there is nothing to say"""


def failure(error: Exception) -> Failure | None:
    """What to say of `error`, and how to end; None for what should not happen."""
    if isinstance(error, ExitWith):
        return Failure(error.code, one_line(error) if str(error) else "")
    if isinstance(error, click.ClickException):
        return Failure(USAGE, one_line(error))
    if isinstance(error, ExitWith):
        return Failure(error.code, one_line(error) if str(error) else "")
    code = next((code for cls, code in EXIT_CODES if isinstance(error, cls)), None)
    return None if code is None else Failure(code, one_line(error))


def one_line(error: Exception) -> str:
    """The message, with how far the work came (the error's notes)."""
    message = str(error) or type(error).__name__
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        message = error.format_message() + (f" (see {context.command_path} --help)" if context else "")
    notes: list[str] = getattr(error, "__notes__", [])
    return " ".join("; ".join([message, *notes]).split())
