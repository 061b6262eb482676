"""One command, run: its connection or its questions, its time, and then its output.

Owns the `trio.run` around a command, and what is printed when. What a command does is `commands`' and
`members`' business; what becomes of its errors is `app`'s.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

import click
import trio

import coord
from coord.cli.commands import Out


class OutputFailed(Exception):
    """Standard output cannot be written to."""


@dataclass(frozen=True)
class Target:
    """Whom a command talks to, and for how long it tries."""

    servers: str
    seconds: float
    auth: tuple[tuple[str, str], ...]


Rest = ParamSpec("Rest")
Command = Callable[Concatenate[coord.Client, Out, Rest], Awaitable[None]]


def run(command: Command[Rest], *arguments: Rest.args, **options: Rest.kwargs) -> None:
    """Runs one command in a session of its own, which ends with it; then prints what it found.

    Not before: a reader that takes its time, as a pager does, must cost neither the session nor the timeout.
    """
    target = click.get_current_context().find_object(Target)
    assert target is not None
    found: list[str | bytes] = []

    async def session() -> None:
        with trio.fail_after(target.seconds):
            async with coord.connect(target.servers, auth=target.auth) as zk:
                await command(zk, found.append, *arguments, **options)

    try:
        with ClientsWord() as word:
            trio.run(session)
    except trio.TooSlowError:
        why = f": {word.text}" if word.text else ""
        raise TimeoutError(f"no answer from {target.servers} within {target.seconds:g} s{why}") from None
    finally:
        print_all(found)


def ask_servers(question: Callable[[str, Out], Awaitable[None]]) -> None:
    """Runs a command that needs no session."""
    target = click.get_current_context().find_object(Target)
    assert target is not None
    found: list[str | bytes] = []

    async def ask() -> None:
        with trio.fail_after(target.seconds):
            await question(target.servers, found.append)

    try:
        trio.run(ask)
    except trio.TooSlowError:
        raise TimeoutError(f"not done within {target.seconds:g} s") from None
    finally:
        print_all(found)


def print_all(found: list[str | bytes]) -> None:
    """Raises `OutputFailed`."""
    try:
        for each in found:
            click.echo(each)
    except BrokenPipeError:  # the reader has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputFailed(f"the output cannot be written: {error.strerror}") from None


class ClientsWord(logging.Handler):
    """Keeps what the client has last said of its connection, which may tell why nothing works; shows none."""

    text = ""
    _logger = logging.getLogger("coord.client")

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()

    def __enter__(self) -> ClientsWord:
        self._level = self._logger.level
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
