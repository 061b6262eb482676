"""Deadlines of threads: `fail_after` and `move_on_after`, as trio has them for tasks.

Owns which deadlines hold for a thread, in the time of each portal. Must not know: what is called.

Synopsis::

    with fail_after(5):
        deadline, by = strictest(portal)  # of a call; if it passes, `Cancelled(by)` is raised
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from math import inf
from types import TracebackType
from typing import Self

import trio

from coord.bridge.portal import Portal, TooSlowError
from coord.bridge.process import default_portal


class Cancelled(BaseException):
    """Passes through a thread from the call that took too long to the block that set the deadline, or to the
    beginning of a function that is to end."""

    def __init__(self, by: object) -> None:
        super().__init__("the deadline of a block has passed, or a function is to end")
        self.by = by


class Timeout:
    """The block of `fail_after` or `move_on_after`; for one thread."""

    def __init__(self, seconds: float, *, fails: bool) -> None:
        if not seconds >= 0:
            raise ValueError(f"a timeout is 0 seconds or more, not {seconds}")
        self.cancelled_caught = False
        """Has the deadline ended the block?"""
        self._seconds = seconds
        self._fails = fails
        self._begin = time.monotonic()
        self._deadlines: dict[Portal, float] = {}

    def deadline(self, portal: Portal) -> float:
        """In the portal's time."""
        if portal not in self._deadlines:
            left = self._seconds
            for other, deadline in self._deadlines.items():
                if other.foreign:  # its time is the parent's; that of all processes is good enough
                    left -= time.monotonic() - self._begin
                else:
                    left = deadline - other.call_sync(trio.current_time)
                break
            self._deadlines[portal] = portal.call_sync(trio.current_time) + left
        return self._deadlines[portal]

    def __enter__(self) -> Self:
        self.deadline(default_portal())
        _timeouts().append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        _timeouts().remove(self)
        self.cancelled_caught = isinstance(error, Cancelled) and error.by is self
        if self.cancelled_caught and self._fails:
            raise TooSlowError from error
        return self.cancelled_caught


class _Local(threading.local):
    def __init__(self) -> None:
        self.timeouts: list[Timeout] = []


_local = _Local()


def _timeouts() -> list[Timeout]:
    return _local.timeouts


def fail_after(seconds: float) -> AbstractContextManager[Timeout]:
    """Bound the calls in the block: when `seconds` have passed, the one that waits, or the next one, ends the
    block, and `TooSlowError` (a `TimeoutError`) is raised in its place::

        with fail_after(5):
            data, stat = zk.get("/config")

    It bounds the calls of this thread alone, and nothing else that the block does.
    """
    return Timeout(seconds, fails=True)


def move_on_after(seconds: float) -> Timeout:
    """As `fail_after`, but the block ends without an error; `cancelled_caught` of its value tells."""
    return Timeout(seconds, fails=False)


def is_bounded() -> bool:
    """Has this thread any deadline?"""
    return bool(_timeouts())


def strictest(portal: Portal) -> tuple[float, Timeout | None]:
    """The earliest deadline of this thread; of equal ones the outermost."""
    found: tuple[float, Timeout | None] = (inf, None)
    for timeout in _timeouts():
        deadline = timeout.deadline(portal)
        if deadline < found[0]:
            found = (deadline, timeout)
    return found
