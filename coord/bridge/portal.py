"""A thread with a trio run of its own, and the way into it from any other thread.

Owns that thread, and one trio task for each call. Must not know: what is called, or how the other side waits
(a thread, an event loop).

Rules that hold here:

- The trio thread waits for nobody: a busy or stopped caller delays no heartbeat.
- A call that was cancelled is *done* only when its task has ended: what was cancelled goes on nowhere.
- A portal belongs to the process that started it. After a fork, the child is told so (`ForkedClient`).

Synopsis::

    with Portal() as portal:
        portal.call(trio.sleep, 1)  # waits; Ctrl-C cancels the task, and waits for its end
        running = portal.submit(trio.sleep, 1)  # a concurrent.futures.Future
        running.cancel()
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from math import inf
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import trio

from coord.errors import ClientClosed, ForkedClient

T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0
"""How long a portal takes at most to end, real time."""


class Running(Future[T], Generic[T]):
    """A call under way. `cancel` cancels its trio task; it is done when that has ended."""

    def __init__(self, portal: Portal, fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.scope: Final = trio.CancelScope()
        """around the task; to be used in the trio thread only"""
        self._portal = portal
        self._fn = fn
        self._args = args

    def cancel(self) -> bool:
        """Have the task cancelled; returns False if it has ended. Does not wait for its end."""
        return not self.done() and self._portal.post(self.scope.cancel)

    def wait(self) -> T:
        """The result. What interrupts the waiting (Ctrl-C) cancels the task, and is raised at its end."""
        try:
            return self.result()
        except CancelledError:
            raise
        except BaseException:
            if not self.done():
                self.cancel()
                self.wait_end()
            raise

    def wait_end(self) -> None:
        """Wait until the task has ended, however."""
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        ended.wait()

    async def run(self) -> None:
        """The task, in the trio thread."""
        try:
            with self.scope:
                result = await self._fn(*self._args)
        except BaseException as error:
            self._portal.ended(self)
            if self._portal.closing:
                self.fail(ClientClosed())
                raise
            self.fail(error)
            return
        self._portal.ended(self)
        if self.scope.cancelled_caught:
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """It has come to nothing; those who wait at the process's end are not told."""
        if not self._portal.silent and not self.done():
            self.set_exception(error)


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
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="coord portal", daemon=True)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._running: dict[Running[Any], None] = {}
        self.blocks: dict[Abandonable, None] = {}
        """in the order in which they were entered"""
        self._crash: BaseException | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closing else "running" if self._thread.is_alive() else "not running"
        return f"<Portal of process {self.pid}, {state}>"

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the thread; returns when it takes calls."""
        self._thread.start()
        self._ready.wait()
        return self

    def close(self) -> None:
        """Cancel whatever runs, whose callers get `ClientClosed`, and end the thread."""
        if self.pid != os.getpid() or not self._thread.is_alive():
            return
        self._check_elsewhere("close")
        self.post(self._begin_close)
        self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            trio.run(self._serve, clock=self._clock, strict_exception_groups=True)
        except BaseException as error:
            self._crash = error
        finally:
            self.closing = True
            self._ready.set()
            for running in list(self._running):
                running.fail(self._crash or ClientClosed())

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery, self._token = nursery, trio.lowlevel.current_trio_token()
            self._ready.set()
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

    def submit(self, fn: Callable[..., Awaitable[T]], *args: Any, deadline: float = inf) -> Running[T]:
        """Have ``await fn(*args)`` done in a trio task, cancelled at `deadline` (trio time)."""
        running = Running(self, fn, args)
        running.scope.deadline = deadline
        if not self.post(self._begin, running):
            raise ClientClosed()
        return running

    def call(self, fn: Callable[..., Awaitable[T]], *args: Any, deadline: float = inf) -> T:
        """As `submit`, and wait for the result. Raises `concurrent.futures.CancelledError` if it was
        cancelled."""
        self._check_elsewhere(getattr(fn, "__name__", "call"))
        return self.submit(fn, *args, deadline=deadline).wait()

    def call_sync(self, fn: Callable[..., T], *args: Any) -> T:
        """``fn(*args)`` in the trio thread, which it must not hold up."""
        if self.here:
            return fn(*args)
        outcome: Future[T] = Future()

        def work() -> None:
            try:
                outcome.set_result(fn(*args))
            except BaseException as error:
                outcome.set_exception(error)

        if not self.post(work):
            raise ClientClosed()
        return outcome.result()

    def post(self, fn: Callable[..., object], *args: Any) -> bool:
        """Have ``fn(*args)`` called in the trio thread, soon; False if that has ended."""
        if self.pid != os.getpid():
            raise ForkedClient
        assert self._token is not None, "the portal was not started"
        try:
            self._token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            return False
        return True

    def _begin(self, running: Running[Any]) -> None:
        self._running[running] = None
        assert self._nursery is not None
        if self.closing:
            self.ended(running)
            running.fail(ClientClosed())
        else:
            self._nursery.start_soon(running.run)

    def ended(self, running: Running[Any]) -> None:
        """It needs no end any more."""
        self._running.pop(running, None)

    def _check_elsewhere(self, what: str) -> None:
        if self.here:
            raise RuntimeError(
                f"{what}: the trio thread cannot wait for itself (a function that was passed "
                "to coord, and is called there, must not wait)"
            )
