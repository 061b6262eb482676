"""The syntax of Java's properties files, which zoo.cfg is written in.

Owns how text becomes (line, key, value) triples. Must not know which keys there are, nor touch files.

Rules that hold here: `#` and `!` begin a comment line; a key ends at the first `=`, `:` or blank; a line that
ends in an odd number of backslashes goes on in the next one; a backslash escapes the character after it
(``\\t``, ``\\n``, ``\\r``, ``\\f``, ``\\u0041``, or itself); blanks around keys and values do not count (Java
keeps those after a value, ZooKeeper trims them). ``${NAME}`` is not expanded.

Synopsis::

    for line, key, value in parse("tickTime=2000\\nclientPort: 2181"):
        ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\r|\n")
_SPLIT = re.compile(r"((?:\\.|[^\\=:\s])*)\s*[=:]?\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(NamedTuple):
    """One setting, and the number of the line it begins on (from 1)."""

    line: int
    key: str
    value: str


def parse(text: str) -> Iterator[Property]:
    """The properties in their order; a key may come more than once."""
    for line, logical in _logical_lines(text):
        match = _SPLIT.fullmatch(logical)
        if match:
            yield Property(line, _unescape(match[1]), _unescape(match[2].strip()))
        else:  # a lone backslash at the end of the file
            yield Property(line, logical.rstrip("\\").strip(), "")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined with the ones they go on in, without comments and empty lines."""
    begun, parts = 0, list[str]()
    for number, physical in enumerate(_LINE_END.split(text.removeprefix("\ufeff")), start=1):
        line = physical.lstrip()
        if not parts:
            if not line or line[0] in "#!":
                continue
            begun = number
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        parts.append(line[:-1] if goes_on else line)
        if not goes_on:
            yield begun, "".join(parts).rstrip()
            parts = []
    if parts:
        yield begun, "".join(parts).rstrip()


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        name = match[1]
        return chr(int(name[1:], 16)) if len(name) > 1 else _CONTROL.get(name, name)

    return _ESCAPE.sub(character, text)
