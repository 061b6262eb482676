"""A command run as a process that ends in time: with its signals, its terminal, and its guardian.

Owns the process, from its start until nobody of it is left. Must not know what is held while it runs.

Rules that hold here:

- The command has a process group of its own, which its `guardian` knows before it becomes the command: there
  is no moment at which it could outlive us unguarded.
- The guardian is told until when the command may run, several times within a grace. Cancelled, we have it
  ended at once, and return only when it has ended. A guardian that does not act (somebody has stopped it) is
  killed, and we act in its place.
- Ended by a signal, or told to end, a command may leave others of its group behind who still clean up: it has
  ended when they have.
- What is sent to us is passed on to the group. Stopped by Ctrl-Z, the command stops us, and goes on with us.

Synopsis::

    moments = lambda: Moments(term_at=..., kill_at=...)  # in trio's time
    with Supervised(["make", "all"], environment, Terminal(), moments) as command:
        ended = await command.run(seconds=0.2)
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import click
import trio

from coord.cli import guardian
from coord.cli.deadline import Moments
from coord.cli.foreground import Terminal
from coord.cli.jobs import ExitWith

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128
"""plus the signal's number"""

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
UNHEARD: Final = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)
"""by the guardian: who sends them to all processes of a service, or of a user, means the command"""

LOOK_SECONDS: Final = 0.05
QUIET_SECONDS: Final = 1.0
"""So long we wait for those left behind before we say so."""

WANTS_TERMINAL: Final = (signal.SIGTTIN, signal.SIGTTOU)


class Ended(NamedTuple):
    status: int
    """the command's own, or 128 and the number of the signal that ended it"""
    in_time: bool
    """did it end by itself, and not by its guardian?"""


def complain(line: str) -> None:
    click.echo(f"coord: {line}", err=True)


def check_program(name: str) -> None:
    """Raises `ExitWith` 127 for a command that is not there, 126 for one that cannot be executed."""
    if shutil.which(name):
        return
    if os.path.dirname(name) and os.path.exists(name):
        raise ExitWith(NOT_EXECUTABLE, f"{name}: it cannot be executed")
    raise ExitWith(NOT_FOUND, f"{name}: there is no such command")


def _hear_nothing() -> None:
    """Before the guardian is what it is, so that there is no moment at which it could hear."""
    for number in UNHEARD:
        signal.signal(number, signal.SIG_IGN)


class Supervised:
    """One run of a command; entered, it has been started. Raises `ExitWith` 126 or 127 if it cannot be.

    `moments` tells, whenever it is asked, until when the command may run, in trio's time.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        terminal: Terminal,
        moments: Callable[[], Moments],
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._terminal = terminal
        self._moments = moments
        self._left = trio.Event()
        """the process that we started has ended"""
        self._ended = trio.Event()
        """the command has"""
        self._unguarded = trio.Event()
        self._status = 0
        self._latest = Moments(inf, inf)
        self._wants_terminal = terminal.at_once
        self._told: set[signal.Signals] = set()
        """by us to end; what came from a terminal, its other processes have been told, too"""

    # -- its life -------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        # -I -S: nothing of ours nor of the user's is imported, so it starts in no time.
        program = [sys.executable, "-I", "-S", str(Path(guardian.__file__).resolve())]
        self._guardian = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_hear_nothing,
        )
        assert self._guardian.stdin is not None
        self._pipe = self._guardian.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._until(self._moments())
        self._terminal.given = self._terminal.at_once
        try:
            # What is open for us (a shell's `<(…)`) is for the command; Python's own files are not passed on.
            self._process = subprocess.Popen(
                self._argv, env=self._environment, close_fds=False, preexec_fn=self._set_apart
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._terminal.take_back()
            self._tell("done")
            self._bury_guardian()
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            raise ExitWith(code, f"{self._argv[0]}: it cannot be executed: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """By now it has ended; if not, something went very wrong, and it is killed."""
        if self._guardian.returncode is None:
            self._bury_guardian()
        if self._process.returncode is None:
            self._process.wait()
        self._terminal.take_back(repair=self._status > SIGNALLED)

    def _set_apart(self) -> None:
        """Between fork and exec, with nothing but system calls."""
        os.setpgid(0, 0)
        os.write(self._pipe, b"guard %d\n" % os.getpid())
        if self._terminal.at_once:
            self._terminal.give(os.getpid())

    def _bury_guardian(self) -> int:
        """The end of its input is its order to kill whom it still guards."""
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        return self._guardian.wait()

    async def run(self, *, seconds: float) -> Ended:
        """Returns when the command has ended. The guardian is told the moments every `seconds`.

        Cancelled, it ends the command by the moments that hold then.
        """
        async with trio.open_nursery() as nursery:
            aside = trio.CancelScope(shield=True)
            nursery.start_soon(self._attend, seconds, aside)
            try:
                await self._ended.wait()
            except trio.Cancelled:
                self.end(self._moments())
                await self._insist(self._ended, seconds)
                raise
            finally:
                with trio.CancelScope(shield=True):
                    await self._ended.wait()
                    in_time = await self._leave(seconds)
                aside.cancel(reason="the command has ended")
        return Ended(self._status, in_time)

    def end(self, bounds: Moments) -> None:
        """SIGTERM now, SIGKILL by the moment in `bounds`, whatever is known later."""
        self._latest = Moments(min(trio.current_time(), bounds.term_at), bounds.kill_at)
        self._until(bounds)

    async def _insist(self, event: trio.Event, seconds: float) -> None:
        """Waits for what the guardian brings about; does without it when that is overdue by `seconds`."""
        kill_at = min(self._latest.kill_at, self._moments().kill_at)
        overdue = max(trio.current_time(), kill_at) + seconds
        with trio.CancelScope(deadline=overdue, shield=True):
            await event.wait()
            return
        self._guardian.kill()
        with trio.CancelScope(shield=True):
            await event.wait()

    async def _leave(self, seconds: float) -> bool:
        """The command has ended. If its guardian had begun to end it, that goes on until nobody is left."""
        self._tell("done")
        await self._insist(self._unguarded, seconds)
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        return self._guardian.returncode == guardian.DONE

    async def _attend(self, seconds: float, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, seconds)
                    nursery.start_soon(self._follow)
                    nursery.start_soon(self._outlast)
        finally:  # whatever went wrong: nobody waits for what nobody would tell
            self._ended.set()
            self._unguarded.set()

    # -- its time -------------------------------------------------------------------------------------

    async def _renew(self, seconds: float) -> None:
        while not self._ended.is_set():
            self._until(self._moments())
            await trio.sleep(seconds)

    def _until(self, bounds: Moments) -> None:
        ahead = time.monotonic() - trio.current_time()
        term_at, kill_at = map(min, bounds, self._latest)
        self._tell(f"until {term_at + ahead} {kill_at + ahead}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._pipe, line.encode() + b"\n")

    # -- its signals ------------------------------------------------------------------------------------

    def deliver(self, number: signal.Signals) -> None:
        """Passes on what was sent to us."""
        if number in ENDING:
            self._told.add(number)
        self._signal(number)
        if number == signal.SIGTSTP:
            self._stop_with_it()

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended.is_set():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    async def _follow(self) -> None:
        """Learns of its stops and of its end, and of its guardian's."""
        with trio.open_signal_receiver(signal.SIGCHLD) as changes:
            while True:
                if not self._left.is_set():
                    self._look()
                if self._guardian.poll() is not None:
                    self._unguarded.set()
                    if not self._ended.is_set():  # it was killed, and nobody but us can do its work
                        instead = guardian.Guardian()
                        instead.group = self._process.pid
                        instead.kill()
                await anext(changes)

    async def _outlast(self) -> None:
        """When the process that we started has ended: has the command?"""
        await self._left.wait()
        if self._status > SIGNALLED or self._told:
            say_at = trio.current_time() + QUIET_SECONDS
            while guardian.anybody(self._process.pid):
                if trio.current_time() > say_at:
                    complain("the command has ended, but not what it has left behind: waiting for that")
                    say_at = inf
                await trio.sleep(LOOK_SECONDS)
        code = self._process.returncode
        had_terminal = self._terminal.given
        self._terminal.take_back(repair=code < 0)
        if had_terminal and -code == signal.SIGINT and signal.SIGINT not in self._told:
            self._pass_interrupt_on()
        self._ended.set()

    def _look(self) -> None:
        """Has it been stopped, or has it ended?"""
        pid, status = os.waitpid(self._process.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            self._stopped(os.WSTOPSIG(status))
            self._look()  # there may be more to see
            return
        self._process.returncode = os.waitstatus_to_exitcode(status)
        code = self._process.returncode
        self._status = code if code >= 0 else SIGNALLED - code
        self._left.set()

    def _pass_interrupt_on(self) -> None:
        """Ctrl-C was for everybody in the foreground, and only the command was there."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.kill(0, signal.SIGINT)
        signal.signal(signal.SIGINT, before)

    def _stopped(self, number: int) -> None:
        if self._latest.kill_at < inf:
            return  # its guardian ends it, which may begin with a stop
        if self._terminal.given:
            self._terminal.take_back()
            self._stop_with_it()
        elif number in WANTS_TERMINAL:
            self._wants_terminal = True
            if self._terminal.ours:
                self._go_on()
            else:
                self._stop_with_it()
        # Else somebody has stopped just the command, and will have to continue it.

    def _stop_with_it(self) -> None:
        """Meanwhile nobody renews the command's time: its guardian ends it when that is up."""
        self._terminal.suspend()
        self._go_on()

    def _go_on(self) -> None:
        if self._wants_terminal and self._terminal.ours:
            self._terminal.give(self._process.pid)
        self._signal(signal.SIGCONT)
