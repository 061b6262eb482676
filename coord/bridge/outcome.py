"""What a call comes to: decided once, in the trio thread, and waited for in any other one.

Owns the waiting. It is a future, made so that nobody who waits can hold up the trio thread: those of
`concurrent.futures` have a lock that stays locked when Ctrl-C comes at the wrong moment. Must not know: trio.

Synopsis::

    outcome.result()  # waits; raises what became of it, `concurrent.futures.CancelledError` if cancelled
    outcome.add_done_callback(lambda outcome: ...)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Outcome(Generic[T]):
    """Not decided yet, a result, an error, or a cancellation."""

    def __init__(self) -> None:
        self._done = False
        self._result: T
        self._error: BaseException | None = None
        self._callbacks: deque[Callable[[Self], object]] = deque()
        self._latch = threading.Lock()
        self._latch.acquire()

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._done and isinstance(self._error, CancelledError)

    def exception(self) -> BaseException | None:
        """The error, if that is what it came to: once it is done."""
        return self._error

    def wait(self) -> None:
        """Wait until it is done."""
        if not self._done:
            self._latch.acquire()
            self._latch.release()

    def result(self) -> T:
        """Wait for the result. Raises the error, if it is one."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result

    def add_done_callback(self, fn: Callable[[Self], object]) -> None:
        """Have ``fn(self)`` called when it is done: in the trio thread, or here and now."""
        self._callbacks.append(fn)
        if self._done:
            self._call()

    # -- in the trio thread ---------------------------------------------------------------------------

    def set_result(self, result: T) -> None:
        self._result = result
        self._decide()

    def set_error(self, error: BaseException) -> None:
        self._error = error
        self._decide()

    def set_cancelled(self) -> None:
        self.set_error(CancelledError())

    def _decide(self) -> None:
        self._done = True
        self._latch.release()
        self._call()

    def _call(self) -> None:
        while self._callbacks:
            try:
                fn: Callable[[Any], object] = self._callbacks.popleft()
            except IndexError:  # the other thread was faster
                return
            fn(self)
