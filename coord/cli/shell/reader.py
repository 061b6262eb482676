"""Where the shell's lines come from, and where it says what no command has asked for.

Owns the interface between `shell` and those who read: `terminal` for a person at a terminal, `plain` for a
script, a pipe, or a terminal that can do nothing but print. Pure; knows neither.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, Protocol


class Tone(Enum):
    """How news of the session are meant."""

    GOOD = auto()
    BAD = auto()
    ECHO = auto()
    """bad, and the command that fails of it says so, too: no news for a script"""


class Prompt(NamedTuple):
    """What the next line is asked for with; it may change while the line is typed."""

    text: str
    state: str
    """as in `connection.Status`, for the colour"""
    toolbar: str


class Reader(Protocol):
    person: bool
    """Does somebody see what happens, and correct it? Else the first failure ends the shell."""
    semicolons: bool
    """Do semicolons separate commands?"""

    takes_input: bool
    """Do they come from standard input?"""

    async def read(self) -> str:
        """The next line, or several that were pasted at once. Raises `EOFError` at the end."""

    def place(self) -> str:
        """Where the line was that was read last, for errors, e.g. ``line 3``; "" where it is in sight."""

    def tell(self, text: str, tone: Tone = Tone.GOOD) -> None:
        """Says a line about the session, above the line that is being typed."""

    def complain(self, text: str) -> None:
        """Says why a command failed."""

    def show(self, found: bytes) -> None:
        """Prints a watch's event, above the line that is being typed."""

    def redraw(self) -> None:
        """The prompt has changed."""
