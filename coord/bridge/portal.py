"""A thread with a trio run of its own, and the way into it from any other thread.

Owns that thread, and one trio task for each call; what is one request and one reply needs none (`Asked`).
Must not know: what is called, or how the other side waits (a thread, an event loop).

Rules that hold here:

- The trio thread waits for nobody: a busy or stopped caller delays no heartbeat.
- A call that was cancelled is *done* only when its task has ended: what was cancelled goes on nowhere.
- A portal belongs to the process that started it. After a fork, the child is told so (`ForkedClient`).

Synopsis::

    with Portal() as portal:
        portal.call(trio.sleep, 1)  # waits; Ctrl-C cancels the task, and waits for its end
        running = portal.submit(trio.sleep, 1)  # an `Outcome`, as a future
        running.cancel()
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import trio

from coord.bridge.outcome import Outcome
from coord.errors import ClientClosed, ForkedClient

T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0
"""How long a portal takes at most to end."""


class TooSlowError(trio.TooSlowError, TimeoutError):
    """It took longer than the caller wanted to wait: trio's error, and Python's own `TimeoutError`."""


class Single(Protocol):
    """An operation of a client that is one request and one reply, as the portal knows it."""

    def begin(self, wake: Callable[[], object]) -> None:
        """In the trio thread; `wake` is called there, when it is done."""

    def abandon(self) -> None:
        """In the trio thread."""

    def result(self) -> Any:
        """What it came to, once it is done."""


class Waited(Outcome[T], ABC):
    """What a caller outside of the trio thread waits for, and can give up."""

    _portal: Portal

    @abstractmethod
    def give_up(self) -> None:
        """In the trio thread: nobody wants it any more. It is done once nothing goes on."""

    def cancel(self) -> bool:
        """Have it given up; returns False if it is done. Does not wait for its end."""
        return not self.done() and self._portal.post(self.give_up)

    def result(self) -> T:
        """Wait for the result. What interrupts the waiting (Ctrl-C) cancels it, and is raised at its end."""
        try:
            return super().result()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Cancel it, and wait until it has ended, however."""
        if self.cancel():
            self.wait()

    def fail(self, error: BaseException) -> None:
        """It has come to nothing; those who wait at the process's end are not told."""
        if self._portal.silent or self.done():
            return
        if type(error) is trio.TooSlowError:
            error = TooSlowError(*error.args).with_traceback(error.__traceback__)
        self.set_error(error)


class Asked(Waited[None]):
    """A `Single` under way, without a task; when it is done, the single has its result."""

    def __init__(self, portal: Portal, single: Single) -> None:
        super().__init__()
        self._portal = portal
        self._single = single

    def begin(self) -> None:
        """In the trio thread."""
        try:
            self._single.begin(self._conclude)
        except BaseException as error:
            self._portal.forget(self)
            self.fail(error)

    def _conclude(self) -> None:
        self._portal.forget(self)
        if not (self._portal.silent or self.done()):
            self.set_result(None)

    def give_up(self) -> None:
        self._portal.forget(self)
        if not self.done():
            self._single.abandon()
            self.set_cancelled()


class Running(Waited[T], Generic[T]):
    """A call under way. `cancel` cancels its trio task; it is done when that has ended."""

    def __init__(
        self,
        portal: Portal,
        fn: Callable[[], Awaitable[T]],
        deadline: float = inf,
        timeout: float = inf,
    ) -> None:
        super().__init__()
        self.scope: Final = trio.CancelScope(deadline=deadline)
        """around the task; to be used in the trio thread only"""
        self.timed_out = False
        """was it cancelled because its own timeout had passed?"""
        self._portal = portal
        self._fn = fn
        self._timeout = timeout

    def give_up(self) -> None:
        self._portal.cancel(self)

    async def run(self) -> None:
        """The task, in the trio thread."""
        try:
            deadline = trio.current_time() + self._timeout
            own = deadline < self.scope.deadline
            self.scope.deadline = min(deadline, self.scope.deadline)
            with self.scope:
                result = await self._fn()
        except BaseException as error:
            self._portal.forget(self)
            if self._portal.closing:
                self.fail(ClientClosed())
                raise
            self.fail(error)
            return
        self._portal.forget(self)
        if self.scope.cancelled_caught:
            self.timed_out = own
            self.set_cancelled()
        else:
            self.set_result(result)


class Abandonable(Protocol):
    """A block, as the portal knows it."""

    ended: trio.Event

    def abandon(self) -> None: ...


class Portal:
    """A trio run in a daemon thread, begun at `start`. `clock` is trio's, for tests."""

    def __init__(self, *, clock: trio.abc.Clock | None = None) -> None:
        self.closing = False
        self.silent = False
        """is the process about to end? Then nobody is told of anything any more"""
        self.pid: Final = os.getpid()
        self.blocks: Final[dict[Abandonable, None]] = {}
        """in the order in which they were entered; for the trio thread"""
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="coord portal", daemon=True)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._running: dict[Waited[Any], None] = {}
        self._inbox: deque[Callable[[], object]] = deque()
        self._rung = False
        """is the trio thread about to look into the inbox?"""

    def __repr__(self) -> str:
        state = "closed" if self.closing else "running" if self._thread.is_alive() else "not started"
        return f"<Portal of process {self.pid}, {state}>"

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the thread; returns when it takes calls."""
        try:
            self._thread.start()
            self._ready.wait()
        except BaseException:  # Ctrl-C: whoever called does not have the portal, and so cannot close it
            self.closing = True
            if self._token is not None and self._nursery is not None:
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
            raise
        return self

    def close(self) -> None:
        """End the blocks, newest first, cancel whatever runs, whose callers get `ClientClosed`, and end the
        thread."""
        if not self.foreign and self._thread.is_alive():
            self.check_elsewhere("close")
            self.post(self._begin_close)
            self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        crash: BaseException = ClientClosed()
        try:
            trio.run(self._serve, clock=self._clock, strict_exception_groups=True)
        except BaseException as error:
            crash = error
        finally:
            self.closing = True
            self._ready.set()
            self._open_inbox()  # of those who came when nobody looked any more
            for running in list(self._running):
                running.fail(crash)

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery, self._token = nursery, trio.lowlevel.current_trio_token()
            self._ready.set()
            if not self.closing:
                await trio.sleep_forever()

    def _begin_close(self) -> None:
        if not self.closing and self._nursery is not None:
            self.closing = True
            self._nursery.start_soon(self._end_all)

    async def _end_all(self) -> None:
        """Blocks first, the newest before those that it may rely upon (locks before their client)."""
        assert self._nursery is not None
        with trio.move_on_after(CLOSE_SECONDS):
            for block in reversed(list(self.blocks)):
                block.abandon()
                await block.ended.wait()
        self._nursery.cancel_scope.cancel(reason="the portal is closed")

    # -- calls ----------------------------------------------------------------------------------------

    @property
    def here(self) -> bool:
        """Is this the portal's own thread?"""
        return threading.current_thread() is self._thread

    @property
    def usable(self) -> bool:
        """Does it take calls, from this process?"""
        return not self.foreign and self._thread.is_alive() and not self.closing

    @property
    def foreign(self) -> bool:
        """Is this process forked from the portal's?"""
        return self.pid != os.getpid()

    @property
    def over(self) -> bool:
        """Has it ended with its process? What the interpreter throws away later has nothing to wait for."""
        return self.silent and not self._thread.is_alive()

    def submit(
        self, fn: Callable[..., Awaitable[T]], *args: Any, deadline: float = inf, timeout: float = inf
    ) -> Running[T]:
        """Have ``await fn(*args)`` done in a trio task, cancelled at `deadline` (trio time), or after
        `timeout` seconds."""
        running = Running(self, partial(fn, *args), deadline, timeout)
        self.begin(running)
        return running

    def begin(self, running: Running[Any]) -> None:
        """Start its task. Raises `ClientClosed` if the portal is closed."""
        if not self.post(self._begin, running):
            raise ClientClosed

    def ask(self, asked: Asked) -> None:
        """Have it asked. Raises `ClientClosed` if the portal is closed."""
        if not self.post(self._begin_asking, asked):
            raise ClientClosed

    def call(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `submit`, and wait for the result."""
        self.check_elsewhere(getattr(fn, "__name__", "call"))
        return self.submit(fn, *args).result()

    def call_sync(self, fn: Callable[..., T], *args: Any) -> T:
        """``fn(*args)`` in the trio thread, which it must not hold up."""
        if self.here:
            return fn(*args)
        outcome: Outcome[T] = Outcome()

        def work() -> None:
            try:
                result = fn(*args)
            except BaseException as error:
                outcome.set_error(error)
            else:
                outcome.set_result(result)

        if not self.post(work):
            raise ClientClosed
        return outcome.result()

    def post(self, fn: Callable[..., object], *args: Any) -> bool:
        """Have ``fn(*args)`` called in the trio thread, soon; False if that has ended."""
        if self.foreign:
            raise ForkedClient
        assert self._token is not None, "the portal was not started"
        self._inbox.append(partial(fn, *args))
        if self._rung and not self.closing:
            return True
        try:
            self._rung = True
            self._token.run_sync_soon(self._open_inbox)
        except trio.RunFinishedError:
            self._rung = False
            return False
        except BaseException:  # Ctrl-C, of all moments now: the next one is to ring
            self._rung = False
            raise
        return True

    def check_elsewhere(self, what: str) -> None:
        """Raises RuntimeError in the portal's own thread, which would wait for itself."""
        if self.here:
            raise RuntimeError(
                f"{what} waits, and so cannot be called in a function that coord calls in the trio thread"
            )

    # -- in the trio thread ---------------------------------------------------------------------------

    def _open_inbox(self) -> None:
        self._rung = False
        while self._inbox:
            self._inbox.popleft()()

    def _begin(self, running: Running[Any]) -> None:
        assert self._nursery is not None
        if self.closing:
            running.fail(ClientClosed())
        else:
            self._running[running] = None
            self._nursery.start_soon(running.run)

    def _begin_asking(self, asked: Asked) -> None:
        if self.closing:
            asked.fail(ClientClosed())
        else:
            self._running[asked] = None
            asked.begin()

    def cancel(self, running: Running[Any]) -> None:
        """Cancel its task, if there is one yet."""
        running.scope.cancel(reason="the caller has given up")
        if running not in self._running and not running.done():
            running.set_cancelled()

    def forget(self, running: Waited[Any]) -> None:
        """It has ended."""
        self._running.pop(running, None)
