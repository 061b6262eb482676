"""Lines without any editing: of a script or pipe, of ``-c``, or of a terminal that can nothing but print.

Owns standard input, read without Python's buffer, so that a command that reads it too finds what is left of a
terminal's. Must not know what lines mean.

Rules that hold here: results and events go to standard output, everything else to standard error; a prompt is
printed only for a person.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

import click
import trio

from coord.cli.content import InputUnreadable
from coord.cli.printing import write_bytes
from coord.cli.shell.reader import Prompt, Tone

READ_BYTES: Final = 65536


class Speaker:
    """Standard output and standard error, one line after the other."""

    person = False

    def place(self) -> str:
        return ""

    def tell(self, text: str, tone: Tone = Tone.GOOD) -> None:
        if tone is Tone.BAD:
            self.complain(text)

    def complain(self, text: str) -> None:
        where = self.place()
        click.echo(f"coord: {where}: {text}" if where else f"coord: {text}", err=True)

    def show(self, found: bytes) -> None:
        write_bytes(found)

    def redraw(self) -> None:
        """A prompt that is printed is printed."""


class Given(Speaker):
    """The lines of ``-c``."""

    semicolons = True
    takes_input = False

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = [part for line in lines for part in line.split("\n")]

    async def read(self) -> str:
        await trio.lowlevel.checkpoint()
        if not self._lines:
            raise EOFError
        return self._lines.pop(0)


class StandardInput(Speaker):
    """A script."""

    semicolons = False
    takes_input = True

    def __init__(self) -> None:
        self._file = sys.stdin.fileno()
        self._read = bytearray()
        self._ended = False
        self._number = 0

    def place(self) -> str:
        return f"line {self._number}"

    async def read(self) -> str:
        while b"\n" not in self._read and not self._ended:
            await self._wait_readable()
            try:
                more = os.read(self._file, READ_BYTES)
            except OSError as error:
                raise InputUnreadable(f"standard input: {error.strerror}") from None
            self._read += more
            self._ended = not more
        if not self._read:
            raise EOFError
        line, _, rest = bytes(self._read).partition(b"\n")
        self._read = bytearray(rest)
        self._number += 1
        return line.decode("utf-8", "surrogateescape")

    async def _wait_readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._file)
        except OSError as error:
            if error.errno != errno.EPERM:  # a file: it is always readable
                raise
            await trio.lowlevel.checkpoint()


class DumbTerminal(StandardInput):
    """A person, with a prompt; what comes in between begins a line of its own, and the prompt comes again."""

    person = True

    def __init__(self, prompt: Callable[[], Prompt]) -> None:
        super().__init__()
        self._prompt = prompt
        self._asking = False

    def place(self) -> str:
        return ""

    async def read(self) -> str:
        self._ask()
        try:
            return await super().read()
        finally:
            self._asking = False

    def tell(self, text: str, tone: Tone = Tone.GOOD) -> None:
        self.show(f"{text}\n".encode())

    def complain(self, text: str) -> None:
        self.tell(text)

    def show(self, found: bytes) -> None:
        if self._asking:
            write_bytes(b"\n" + found)
            self._ask()
        else:
            write_bytes(found)

    def _ask(self) -> None:
        self._asking = True
        write_bytes(self._prompt().text.encode())
