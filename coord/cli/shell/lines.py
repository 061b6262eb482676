"""A line of the shell, taken apart: commands, words, comments, and what must not be remembered.

Owns the line's syntax, which is that of a POSIX shell: quotes, backslashes, ``#`` before a comment. Pure.

Rules that hold here: a command ends with its line at the latest; a quote that is not closed is an error of
that line; ``;`` separates commands only where the caller says so, since data may well contain it.

Synopsis::

    split(
        "create /a 'two words'  # and why"
    )  # [Command("create /a 'two words'", ["create", "/a", "two words"])]
    split("create /a; ls /", semicolons=True)  # two of them
"""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple


class Command(NamedTuple):
    text: str
    """as typed, without the comment"""
    words: list[str]


class Unclosed(ValueError):
    """A quote without its end; the message says which, and where."""


class Cursor(NamedTuple):
    """What is before the cursor: the words that are complete, the one that is not, and how it was typed."""

    words: list[str]
    incomplete: str
    typed: str


_PARTS: Final = r"""
    (?P<blank>[ \t\r]+)
  | (?P<comment>\#[^\n]*)
  | (?P<end>[\n{end}])
  | (?P<word>(?:[^\s'"\\{end}] | \\[^\n] | '[^'\n]*' | "(?:[^"\\\n] | \\[^\n])*" )+)
  | (?P<open>.)
"""
_PLAIN: Final = re.compile(_PARTS.format(end=""), re.VERBOSE)
_WITH_SEMICOLONS: Final = re.compile(_PARTS.format(end=";"), re.VERBOSE)
_QUOTING: Final = re.compile(r"[\\'\"]")
_SECRET: Final = re.compile(r"(?:^|[\s;])(?:addauth|--auth)\b|\bdigest\s+\S+:", re.IGNORECASE)


def split(text: str, *, semicolons: bool = False) -> list[Command]:
    """The commands of a line, or of several. Raises `Unclosed`."""
    commands: list[Command] = []
    begin, end, words = 0, 0, list[str]()
    for part in (_WITH_SEMICOLONS if semicolons else _PLAIN).finditer(text + "\n"):
        if part.lastgroup == "word":
            begin = begin if words else part.start()
            words.append(shlex.split(part[0])[0])
            end = part.end()
        elif part.lastgroup == "end" and words:
            commands.append(Command(text[begin:end], words))
            words = []
        elif part.lastgroup == "open":
            raise Unclosed(_explain(part[0], text, part.start()))
    return commands


def _explain(character: str, text: str, position: int) -> str:
    column = position - text.rfind("\n", 0, position)
    if character == "\\":
        return f"nothing follows the backslash in column {column}"
    return f"the quote {character} in column {column} is not closed"


def before_cursor(text: str) -> Cursor:
    """Takes an unfinished line apart, for its completion; quotes may still be open."""
    line = text.rpartition("\n")[2]
    words: list[str] = []
    for part in _PLAIN.finditer(line):
        if part.lastgroup in ("open", "comment"):
            typed = line[part.start() :]
            return Cursor(words, typed[1:], typed)
        if part.lastgroup == "word":
            words.append(shlex.split(part[0])[0])
            typed = part[0]
    if not words or line[-1].isspace():
        return Cursor(words, "", "")
    return Cursor(words[:-1], words[-1], typed)


def is_secret(text: str) -> bool:
    """Does it carry credentials, closed quotes or not, even if the command's name is misspelt?"""
    return bool(_SECRET.search(_QUOTING.sub("", text)))
