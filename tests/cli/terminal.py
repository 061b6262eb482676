"""A program in a terminal: a real pseudo-terminal, and the screen that a person would see.

Owns the terminal's end of the pseudo-terminal: it answers what terminals are asked, and knows nothing of the
program. No sleeps: whoever waits says for what the screen must show.

Synopsis::

    with Terminal(["coord", "--server", address, "shell"], columns=80, lines=24) as terminal:
        terminal.wait_for("CONNECTED")
        terminal.type("ls /\\r")
        terminal.wait_for("[zookeeper]")
        terminal.text  # the screen as lines of text
"""

from __future__ import annotations

import os
import re
import signal
import termios
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import pexpect
import pyte

WAIT_SECONDS: Final = 20.0
READ_BYTES: Final = 65536
UNWANTED: Final = {"NO_COLOR", "COLORTERM", "COORD_SERVER", "COORD_AUTH"}
"""Variables of this process that a program should not see."""

Shown = str | re.Pattern[str] | Callable[[], bool]
"""What a screen shows: a text, a match, or a condition."""

UP, DOWN, TAB, ENTER = "\x1b[A", "\x1b[B", "\t", "\r"
CTRL_C, CTRL_D, CTRL_R, CTRL_U, CTRL_Z = "\x03", "\x04", "\x12", "\x15", "\x1a"


class _AnsweringScreen(pyte.Screen):
    """Programs ask where the cursor is, and wait for the answer."""

    def __init__(self, columns: int, lines: int, answer: Callable[[str], object]) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Terminal:
    """`command` runs until it ends or the block does; `environment` is added to this process's own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 100,
        lines: int = 30,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = _AnsweringScreen(columns, lines, self.type)
        self._stream = pyte.ByteStream(self.screen)
        inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        full = {**inherited, "TERM": "xterm-256color", **(environment or {})}
        with warnings.catch_warnings():
            # It warns of the fork in a process with threads; the child does nothing but exec.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = pexpect.spawn(
                command[0], list(command[1:]), env=full, dimensions=(lines, columns), timeout=WAIT_SECONDS
            )
        self._child.delaybeforesend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child.isalive():
            self._child.kill(signal.SIGKILL)
            self._child.wait()
        self._child.ptyproc.delayafterclose = 0.0
        self._child.close()

    # -- what is seen ---------------------------------------------------------------------------------

    @property
    def rows(self) -> list[str]:
        """The screen's rows, without the blanks at their ends."""
        return [row.rstrip() for row in self.screen.display]

    @property
    def text(self) -> str:
        """The screen's rows that have anything, as lines."""
        return "\n".join(row for row in self.rows if row)

    @property
    def cooked(self) -> bool:
        """Does the terminal make a signal of Ctrl-C? Not while a line is edited."""
        return bool(termios.tcgetattr(self._child.child_fd)[3] & termios.ISIG)

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    def wait_for(
        self, what: str | re.Pattern[str] | Callable[[], bool], *, seconds: float = WAIT_SECONDS
    ) -> None:
        """Reads until the screen shows the text, matches the pattern, or the condition holds.

        Raises `AssertionError`, with the screen, if that does not come, or the program ends before.
        """
        deadline = time.monotonic() + seconds
        while not self._shows(what):
            left = deadline - time.monotonic()
            assert left > 0, f"the screen does not show {what!r}:\n{self.text}"
            try:
                self._stream.feed(self._child.read_nonblocking(READ_BYTES, timeout=min(left, 0.5)))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert self._shows(what), f"ended, and does not show {what!r}:\n{self.text}"

    def wait_end(self) -> int:
        """Reads until the program has ended; its exit code, or minus the signal that ended it."""
        while True:
            try:
                self._stream.feed(self._child.read_nonblocking(READ_BYTES, timeout=WAIT_SECONDS))
            except pexpect.TIMEOUT:
                raise AssertionError(f"it does not end:\n{self.text}") from None
            except pexpect.EOF:
                break
        self._child.wait()
        code = self._child.exitstatus
        return -int(self._child.signalstatus) if code is None else int(code)

    def _shows(self, what: Shown) -> bool:
        if isinstance(what, str):
            return what in self.text
        return bool(what.search(self.text)) if isinstance(what, re.Pattern) else what()

    # -- what is done ---------------------------------------------------------------------------------

    def type(self, keys: str) -> None:
        """As if typed; ENTER is ``"\\r"``."""
        self._child.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        """As if the window was made smaller or larger; the program gets SIGWINCH."""
        self.screen.resize(lines, columns)
        self._child.setwinsize(lines, columns)

    def hang_up(self) -> None:
        """The window is closed, under the program."""
        self._child.ptyproc.fileobj.close()

    def signal(self, number: int) -> None:
        self._child.kill(number)
