"""One command of the command line, done: its session or its questions, its time, and then its output.

Owns the `trio.run` around a job, and what ends it early: the time-out, Ctrl-C, a reader that has had enough.
What a command does is `commands`' and `members`' business; what becomes of its errors is `app`'s.

Rules that hold here:

- The time-out bounds a job and its connecting; of a patient job only the connecting, and then, while it tells
  of progress, how long it may be without a connection.
- SIGINT and SIGTERM cancel the job, which leaves its session in good order. A second one ends the process.
- Whatever ends a job early, its error says how far the job came.
"""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import dataclass, field
from typing import Final

import trio

import coord
from coord.cli.jobs import Job, Needs
from coord.cli.printing import OutputFailed, OutputUnwanted, Printer

__all__ = ["Interrupted", "OutputFailed", "Target", "perform"]

SESSION_SECONDS: Final = 10.0
GOODBYE_SECONDS: Final = 0.5
"""So long a slow reader may still read after Ctrl-C."""


class Interrupted(Exception):
    """A signal has ended the work."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.number = number


@dataclass(frozen=True)
class Target:
    """Whom a command talks to, and for how long it tries."""

    servers: str
    seconds: float
    auth: tuple[tuple[str, str], ...]


def perform(job: Job, target: Target, *, as_json: bool = False) -> int:
    """Does one job in a session of its own, which ends with it, or without one; returns the exit code."""
    with job.failing():
        return _perform(job, target, as_json=as_json)


def _perform(job: Job, target: Target, *, as_json: bool) -> int:
    out = Printer(as_json=as_json, at_once=job.patient)
    with ClientsWord() as word:
        try:
            try:
                if job.needs is Needs.TARGET:
                    return trio.run(job.do, target, out)
                return trio.run(Performance(job, target, out, word).run)
            finally:
                out.flush(after_failure=sys.exception() is not None)
        except OutputUnwanted:
            return 0
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        except Exception as error:
            if out.came_to:
                error.add_note(out.came_to)
            raise


@dataclass
class Performance:
    """One job while it is done."""

    job: Job
    target: Target
    out: Printer
    word: ClientsWord
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended_by: Exception | None = None

    async def run(self) -> int:
        """Returns the exit code. Raises what the job raises, or what ended it early."""
        code = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(self._end_on_a_signal)
            nursery.start_soon(self._write)
            try:
                with self._scope:
                    async with self.job.prepared():
                        code = await self._do()
            except Exception as error:
                self._ended_by = self._ended_by or error
            if self.job.patient:
                await self._finish_output()
            nursery.cancel_scope.cancel(reason="the job is done")
        if self._ended_by is not None:
            raise self._ended_by
        return code

    async def _do(self) -> int:
        job, target = self.job, self.target
        with trio.move_on_after(target.seconds) as limit:
            if job.needs is not Needs.CLIENT:
                if job.patient:
                    limit.deadline = float("inf")
                return await job.do(target.servers if job.needs is Needs.SERVERS else None, self.out)
            timeout = SESSION_SECONDS if job.session_timeout is None else job.session_timeout
            async with coord.connect(target.servers, timeout=timeout, auth=target.auth) as zk:
                if job.patient:
                    limit.deadline = float("inf")
                return await self._with_client(zk)
        raise self._too_slow()

    async def _with_client(self, zk: coord.Client) -> int:
        if not self.job.patient:
            return await self.job.do(zk, self.out)
        code = 0
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._want_a_connection, zk)
            try:
                code = await self.job.do(zk, self.out)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the job is done")
        if failure is not None:
            raise failure
        return code

    async def _want_a_connection(self, zk: coord.Client) -> None:
        """Ends a job that comes along no more because there is no server."""
        ready = (coord.SessionState.CONNECTED, coord.SessionState.CONNECTED_READ_ONLY)
        while True:
            await zk.session.state.wait_value(lambda state: state not in ready)
            with trio.move_on_after(self.target.seconds):
                await zk.session.state.wait_value(lambda state: state in ready)
                continue
            if self.out.is_at_work:
                self._end(self._too_slow())
                return

    async def _end_on_a_signal(self, task_status: trio.TaskStatus[None]) -> None:
        # A shell's background jobs are started with Ctrl-C ignored: it is not for them.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        wanted = [signal.SIGTERM] if ignored else [signal.SIGINT, signal.SIGTERM]
        with trio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            async for number in signals:
                self._end(Interrupted(number))
                return

    async def _write(self) -> None:
        if not self.job.patient:
            return
        try:
            await self.out.write()
        except (OutputFailed, OutputUnwanted) as error:
            self._end(error)

    async def _finish_output(self) -> None:
        """The session has ended: the reader may take its time, unless it is Ctrl-C that has ended it."""
        if not isinstance(self._ended_by, OutputFailed | OutputUnwanted):
            patience = GOODBYE_SECONDS if isinstance(self._ended_by, Interrupted) else float("inf")
            with trio.move_on_after(patience) as self._scope:
                await self.out.written()
        self.out.discard()

    def _end(self, why: Exception) -> None:
        self._ended_by = self._ended_by or why
        self._scope.cancel(reason=str(why))

    def _too_slow(self) -> TimeoutError:
        target = self.target
        if self.job.needs is not Needs.CLIENT:
            return TimeoutError(f"not done within {target.seconds:g} s")
        why = f": {self.word.text}" if self.word.text else ""
        return TimeoutError(f"no answer from {target.servers} within {target.seconds:g} s{why}")


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
