"""One command of the command line, done: its session or its questions, its time, and then its output.

Owns the `trio.run` around a job, and what is printed when. What a command does is `commands`' and `members`'
business; what becomes of its errors is `app`'s.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
import trio

import coord
from coord.cli.jobs import Advance, ExitWith, Job, Needs
from coord.cli.results import Result
from coord.errors import CoordError


class OutputFailed(Exception):
    """Standard output cannot be written to."""


@dataclass(frozen=True)
class Target:
    """Whom a command talks to, and for how long it tries."""

    servers: str
    seconds: float
    auth: tuple[tuple[str, str], ...]


class Printer:
    """Standard output, as text or as lines of JSON. An `Output` for commands.

    What is not patient is printed at the end: a reader that takes its time, as a pager does, must cost
    neither the session nor the time-out.
    """

    def __init__(self, *, as_json: bool, at_once: bool) -> None:
        self._as_json = as_json
        self._at_once = at_once
        self._found: list[Result] = []

    def __call__(self, result: Result) -> None:
        self._found.append(result)
        if self._at_once:
            self.flush()

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda number: None

    def flush(self) -> None:
        """Raises `OutputFailed`."""
        found, self._found = self._found, []
        print_all([json.dumps(one.json()) if self._as_json else one.text() for one in found])


def perform(job: Job, target: Target, *, as_json: bool = False) -> int:
    """Does one job in a session of its own, which ends with it, or without one; returns the exit code."""
    try:
        return _perform(job, target, as_json=as_json)
    except (CoordError, OSError, ValueError) as error:
        if job.failure is None:
            raise
        raise ExitWith(job.failure, str(error) or type(error).__name__) from error


def _perform(job: Job, target: Target, *, as_json: bool) -> int:
    out = Printer(as_json=as_json, at_once=job.patient)

    async def do() -> int:
        with trio.fail_after(target.seconds) as limit:
            if job.needs is not Needs.CLIENT:
                return await job.do(target.servers if job.needs is Needs.SERVERS else None, out)
            async with coord.connect(target.servers, timeout=job.session_timeout, auth=target.auth) as zk:
                if job.patient:
                    limit.deadline = float("inf")
                return await job.do(zk, out)

    with ClientsWord() as word:
        try:
            return trio.run(do)
        except trio.TooSlowError:
            if job.needs is not Needs.CLIENT:
                raise TimeoutError(f"not done within {target.seconds:g} s") from None
            why = f": {word.text}" if word.text else ""
            raise TimeoutError(f"no answer from {target.servers} within {target.seconds:g} s{why}") from None
        finally:
            out.flush()


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
