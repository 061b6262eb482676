"""A terminal with a shell in it, typed into as a reader of the documentation would.

Owns the pseudo-terminal, its prompt, and the end of whatever was started in it.

Rules that hold here: a command is typed when the one before it has ended; what it prints is waited for, not
slept for; a command that only looks is typed again until it shows what is expected (a reader types slower).

Synopsis::

    terminal = Terminal(directory, environment)
    terminal.type("coord serve zoo.cfg", pattern)
    terminal.press("c", pattern)
    terminal.end()
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pexpect

PROMPT: Final = "the-prompt> "
PATIENCE: Final = 20.0
LOOKING: Final = ("coord members",)
"""Commands that can be typed again."""


class NotSaid(AssertionError):
    """Something else was printed, or nothing in time: the text is what was."""


class Terminal:
    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._child: pexpect.spawn[str] = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            cwd=str(directory),
            env={**environment, "PS1": PROMPT},
            encoding="utf-8",
            timeout=PATIENCE,
            echo=False,
        )
        self._child.delaybeforesend = None
        self._at_prompt = False

    def type(self, command: str, pattern: str) -> None:
        """Raises `NotSaid`. `pattern` is a regular expression; "" waits for nothing."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if not self._at_prompt:
                self._child.expect_exact(PROMPT)
            self._at_prompt = False
            self._child.sendline(command)
            try:
                self.expect(pattern)
                return
            except NotSaid:
                again = self._at_prompt and command.startswith(LOOKING) and time.monotonic() < deadline
                if not again:
                    raise

    def press(self, key: str, pattern: str) -> None:
        """A key with Ctrl, or Enter (m). Raises `NotSaid`."""
        if key == "m":
            self._child.sendline()
        else:
            self._child.sendcontrol(key)
        self.expect(pattern)

    def expect(self, pattern: str) -> None:
        """Waits for what goes on here to print it. Raises `NotSaid`."""
        if not pattern:
            return
        try:
            found = self._child.expect([pattern, PROMPT])
        except (pexpect.TIMEOUT, pexpect.EOF):
            found = -1
        if found != 0:
            self._at_prompt = found == 1
            raise NotSaid(self._child.before or "")

    def end(self) -> None:
        """And whatever was started in it: all of the terminal's session."""
        session = ["ps", "-o", "pid=", "-s", str(self._child.pid)]
        for pid in subprocess.run(session, capture_output=True, text=True).stdout.split():
            if int(pid) != self._child.pid:
                subprocess.run(["kill", "-9", pid], stderr=subprocess.DEVNULL)
        self._child.close(force=True)
