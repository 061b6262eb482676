"""The line that shows how a load goes, while it goes: on standard error, where that is a terminal.

Owns that line, and what the terminal can show. Must not know what is measured.

Rule that holds here: it costs some microseconds a few times a second. (A bar of rich's, which a thread
of its own draws, would be measured as the server's doing: p99.9 of one client went from 0.10 to 0.17 ms.)

Synopsis::

    with Meter("get") as meter:
        meter.show(done=12_000, share=0.4)
"""

from __future__ import annotations

import codecs
import locale
import os
import sys
from time import monotonic
from types import TracebackType
from typing import Final, Self

from coord.cli.bench.report import EIGHTHS, bar

REFRESH_SECONDS: Final = 0.2
BAR_COLUMNS: Final = 34
"""The line has less than 80: a terminal that echoes ^C behind it does not begin another one."""


def only_ascii() -> bool:
    """Does the locale, or what standard output was told to speak, lack the characters of bars?"""
    return not all(map(_has_bars, (locale.getencoding(), sys.stdout.encoding or "ascii")))


def _has_bars(encoding: str) -> bool:
    try:
        codecs.encode(f"{EIGHTHS}µ", encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Meter:
    """One operation's line, e.g. ``get  ██████▌      40%      31,402 ops/s``."""

    def __init__(self, label: str, *, ascii_only: bool = False) -> None:
        self._label = label
        self._ascii_only = ascii_only
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._at = monotonic()
        self._done = 0

    def show(self, done: int, share: float) -> None:
        """`done` requests so far, which is `share` (from 0 to 1) of all there is to be done."""
        now = monotonic()
        if not self._shown or now - self._at < REFRESH_SECONDS:
            return
        rate = max(0, done - self._done) / (now - self._at)
        self._at, self._done = now, done
        filled = bar(min(share, 1.0), BAR_COLUMNS, ascii_only=self._ascii_only)
        self._write(f"{self._label:18} {filled:{BAR_COLUMNS}} {min(share, 1.0):4.0%} {rate:>11,.0f} ops/s")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._write("")
