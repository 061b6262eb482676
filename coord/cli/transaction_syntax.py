"""The text of a transaction, split into operations and their words.

Owns quoting, comments and what ends an operation. Pure; knows no operations.

An operation ends at a semicolon or at the end of its line. Words are separated by blanks and quoted as a
shell does it: nothing means anything within ``'…'``; within ``"…"`` a backslash quotes itself and the quote;
elsewhere it quotes any character, and at the end of a line it joins the next one. What follows a ``#`` at the
beginning of a word is a comment, up to the end of the line.

Synopsis::

    split("create /a 'two words'; delete /b")
    # [Statement(("create", "/a", "two words"), 1), Statement(("delete", "/b"), 1)]
"""

from __future__ import annotations

from dataclasses import dataclass


class SyntaxFault(ValueError):
    """The text cannot be read; the message says where."""


class Unfinished(SyntaxFault):
    """The text ends within quotes, or with a backslash: more of it may follow."""


@dataclass(frozen=True)
class Statement:
    """One operation; `line` is where it begins, from 1 on."""

    words: tuple[str, ...]
    line: int


def split(text: str) -> list[Statement]:
    """Raises `SyntaxFault`."""
    return _Splitter(text).split()


class _Splitter:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._word: str | None = None
        self._words: list[str] = []
        self._begin = 1
        self._statements: list[Statement] = []

    def split(self) -> list[Statement]:
        while (char := self._next()) is not None:
            if char in ";\n":
                self._end_statement()
            elif char in " \t\r":
                self._end_word()
            elif char == "#" and self._word is None:
                self._skip_comment()
            elif char in "'\"":
                self._quoted(char)
            elif char == "\\":
                self._escaped()
            else:
                self._add(char)
        self._end_statement()
        return self._statements

    def _next(self) -> str | None:
        if self._at == len(self._text):
            return None
        char = self._text[self._at]
        self._at += 1
        if char == "\n":
            self._line += 1
        return char

    def _add(self, text: str) -> None:
        if not self._words and self._word is None:
            self._begin = self._line
        self._word = (self._word or "") + text

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append(self._word)
            self._word = None

    def _end_statement(self) -> None:
        self._end_word()
        if self._words:
            self._statements.append(Statement(tuple(self._words), self._begin))
            self._words = []

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _quoted(self, quote: str) -> None:
        line, column = self._line, self._at - (self._text.rfind("\n", 0, self._at) + 1)
        self._add("")
        while (char := self._next()) != quote:
            if char is None:
                raise Unfinished(f"line {line}, column {column}: the quote is not closed")
            if char == "\\" and quote == '"' and self._text[self._at : self._at + 1] in ('"', "\\"):
                char = self._next() or ""
            self._add(char)

    def _escaped(self) -> None:
        char = self._next()
        if char is None:
            raise Unfinished(f"line {self._line}: nothing follows the backslash")
        if char != "\n":
            self._add(char)
