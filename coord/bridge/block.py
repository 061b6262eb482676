"""The trio side of a block whose body runs elsewhere: in a thread, or in a task of asyncio.

Owns the one trio task in which a context manager is entered, waits for the end of the body, and is left. Must
not know: how the other side waits, or what it does when it is told of a loss.

Rules that hold here:

- A manager is entered and left by one task, so its cancel scopes nest as they would around a body for trio.
- When the manager cancels its body (the lock is lost), the other side is told, once. The manager is left only
  after the body has ended: nothing is released while somebody still counts on it.
- The body's exception is passed to the manager, as the object it is: a transaction is not committed then.
- While it is entered, and while it is left, the task can be cancelled, or has a deadline. In between it
  cannot: there the body decides.

Synopsis::

    block = Block(portal, lambda: Lock(zk, "/jobs"), on_lost=lambda: ...)
    grant = block.enter().result()
    handled = block.leave(None).result()  # or the body's exception
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import inf
from typing import Any, Final, Generic, TypeVar

import trio

from coord.bridge.outcome import Outcome
from coord.bridge.portal import Portal, Running
from coord.errors import ClientClosed
from recipes.acquirable import in_the_name_of

T = TypeVar("T")

ContextManager = AbstractAsyncContextManager[T] | AbstractContextManager[T]


class Block(Generic[T]):
    """One entering of the manager that `open_manager` makes in the trio thread.

    `caller` is who must not wait for himself; `on_lost` is called in the trio thread.
    """

    def __init__(
        self,
        portal: Portal,
        open_manager: Callable[[], ContextManager[T]],
        *,
        caller: object = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._portal = portal
        self._open = open_manager
        self._caller = caller
        self._on_lost = on_lost
        self._body_ended = trio.Event()
        self.ended = trio.Event()
        self._error: BaseException | None = None
        self._abandoned = False
        self.task: Final[Running[bool]] = Running(portal, self._live)
        """its result is whether the manager has dealt with the body's exception"""
        self.entered: Final[Entering[T]] = Entering(self)

    # -- for the other side ---------------------------------------------------------------------------

    def enter(self, deadline: float = inf) -> Entering[T]:
        """Begin; what comes of it is the manager's value."""
        self.task.scope.deadline = deadline
        self.task.add_done_callback(self.entered.follow)
        self._portal.begin(self.task)
        return self.entered

    def leave(self, error: BaseException | None, deadline: float = inf) -> Running[bool]:
        """The body has ended, with `error`."""
        self._portal.post(self._end, error, deadline)
        return self.task

    # -- in the trio thread ---------------------------------------------------------------------------

    def abandon(self) -> None:
        """The portal ends, and waits for no body any more."""
        self._abandoned = True
        self._end(ClientClosed(), inf)

    def _end(self, error: BaseException | None, deadline: float) -> None:
        if not self._body_ended.is_set():
            self._error = error
            self.task.scope.deadline = deadline
            self._body_ended.set()

    async def _live(self) -> bool:
        with in_the_name_of(self._caller):
            manager = self._open()
            if isinstance(manager, AbstractAsyncContextManager):
                value = await manager.__aenter__()
            else:
                value = manager.__enter__()
        if self.task.scope.cancel_called:
            self.entered.given_up = True  # too late, although it went through
        self.task.scope.deadline = inf
        self._portal.blocks[self] = None
        try:
            error = await self._body(value)
            handled = await _leave(manager, error)
        finally:
            del self._portal.blocks[self]
            self.ended.set()
        if isinstance(error, trio.Cancelled) and not handled:
            raise error
        if self._abandoned:
            raise ClientClosed
        return handled

    async def _body(self, value: T) -> BaseException | None:
        """What the body has ended with."""
        self.entered.arrive(value)
        try:
            await self._body_ended.wait()
        except trio.Cancelled as cancelled:
            cancellation = cancelled
        else:
            return self._error
        if not self.entered.given_up:
            self._on_lost()
            with trio.CancelScope(shield=True):
                await self._body_ended.wait()
        return self._error or cancellation


async def _leave(manager: ContextManager[Any], error: BaseException | None) -> bool:
    kind, trace = (None, None) if error is None else (type(error), error.__traceback__)
    if isinstance(manager, AbstractAsyncContextManager):
        handled = await manager.__aexit__(kind, error, trace)
    else:
        handled = manager.__exit__(kind, error, trace)
    return bool(handled)


class Entering(Outcome[T], Generic[T]):
    """A manager that is being entered. Cancelled, it is left again: `Block.task` tells when that is done."""

    def __init__(self, block: Block[T]) -> None:
        super().__init__()
        self._block = block
        self.given_up = False
        """will there be no body?"""

    def cancel(self) -> bool:
        """Have it given up, also if it was entered but nobody has heard of it. Does not wait for its end."""
        self.given_up = True
        return self._block.task.cancel()

    def end(self) -> None:
        """Cancel it, and wait until the manager has been left."""
        self.given_up = True
        self._block.task.end()

    def arrive(self, value: T) -> None:
        if not self.given_up:
            self.set_result(value)

    def follow(self, task: Running[bool]) -> None:
        """The task has ended: without a value, if there was none before."""
        if not self.done():
            self.set_error(task.exception() or CancelledError())
