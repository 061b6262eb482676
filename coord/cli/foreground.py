"""Who has the terminal: `coord`, or the command that it runs in a process group of its own.

Owns giving the terminal to a command and taking it back, as a shell does with its jobs. Must not know what
runs, nor why.

Rules that hold here:

- A command gets the terminal at once if standard input, output and error are all the terminal, and we have
  it: an editor or a shell works as ever, and Ctrl-C and Ctrl-Z are the command's.
- Else we keep it, since we may be one of several in a pipeline, and pass on what comes; a command that asks
  for it (is stopped for wanting to read or to set it) gets it then.
- What a command that was killed has left the terminal in is set right.

Synopsis::

    terminal = Terminal()
    terminal.give(group)
    ...
    terminal.take_back()
"""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminal:
    """The controlling terminal; without one, nothing happens."""

    def __init__(self) -> None:
        self._fd = -1
        self._modes: list[Any] | None = None
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
            self._modes = termios.tcgetattr(self._fd)
        except (OSError, termios.error):
            pass
        self.given = False
        self.at_once = self.ours and all(_is_terminal(fd) for fd in (0, 1, 2))
        """is the command to have it from the start?"""

    @property
    def ours(self) -> bool:
        """Are we in the foreground?"""
        try:
            return self._fd >= 0 and os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def give(self, group: int) -> None:
        """`group` is in the foreground from now on. (Safe between fork and exec.)"""
        self._put(group)
        self.given = True

    def take_back(self, *, repair: bool = False) -> None:
        """We are; `repair` sets modes right that whoever had it did not."""
        if not self.given:
            return
        self.given = False
        self._put(os.getpgrp())
        if repair and self._modes is not None:
            with _undisturbed():
                try:
                    termios.tcsetattr(self._fd, termios.TCSADRAIN, self._modes)
                except termios.error:
                    pass

    def suspend(self) -> None:
        """Stops us, as Ctrl-Z does, with all others of our group; returns when we are continued. Where nobody
        could continue us (nobody controls our jobs) it does nothing."""
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            os.kill(0, signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, before)

    def close(self) -> None:
        self.take_back()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _put(self, group: int) -> None:
        with _undisturbed():
            try:
                os.tcsetpgrp(self._fd, group)
            except OSError:
                pass  # the terminal has hung up, or the group has ended


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever sets a terminal from the background would be stopped."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
