"""The bridge as tasks of asyncio see it: awaitable calls, `async with` blocks, asynchronous iterators.

Owns what a task does while trio works for it, and the cancellations of either side. Must not know: recipes.
Any number of event loops use one portal.

Rules that hold here:

- A cancelled task cancels its trio task, and goes on only when that has ended.
- When a block's right is lost, its task is cancelled, as `asyncio.timeout` does it: the cancellation is
  taken back at the block's end, and the loss raised in its place. One from outside passes, whatever else
  happened.
- A coroutine that is thrown away (its loop was closed while it ran) gives up what it waits for and what it
  holds, without waiting for that. So nothing here keeps a task alive.
- A user's `async def` that trio would await runs as a task of the caller's loop, with the caller's context;
  it is cancelled when trio cancels it, and waited for.

Synopsis::

    async with Held(portal, lambda: Lock(zk, "/jobs")) as grant:  # any context manager for trio
        ...
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

import trio

from coord import Client
from coord.bridge.block import Block, ContextManager
from coord.bridge.facade import Facade, Side
from coord.bridge.outcome import Outcome
from coord.bridge.portal import Asked, Portal, Running, Single

T = TypeVar("T")

END: Final = object()


class _Mailbox:
    """Calls on their way to an event loop: it is woken once for as many as there are."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._calls: deque[Callable[[], object]] = deque()
        self._rung = False

    def put(self, fn: Callable[[], object]) -> bool:
        """From any thread; False if the loop is closed."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            return False
        self._calls.append(fn)
        if not self._rung:
            self._rung = True
            try:
                loop.call_soon_threadsafe(self._open)
            except RuntimeError:  # it was closed this very moment
                return False
        return True

    def _open(self) -> None:
        self._rung = False
        while self._calls:
            self._calls.popleft()()


_mailboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = WeakKeyDictionary()


def _mailbox() -> _Mailbox:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    found = _mailboxes.get(loop)
    if found is None:
        found = _mailboxes[loop] = _Mailbox(loop)
    return found


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("coord.aio is to be used in a task of asyncio")
    return task


# -- calls --------------------------------------------------------------------------------------------


async def end_of(
    future: Outcome[Any], cancel: Callable[[], object], is_over: Callable[[], bool] = lambda: False
) -> None:
    """Wait until `future` is done. A cancellation is passed on to `cancel`, and raised once it is, unless it
    `is_over`: asked for, and taken back, before it came."""
    mailbox, cancelled = _mailbox(), None
    while not future.done():
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_waker(mailbox, waiter))
        try:
            await waiter
        except asyncio.CancelledError as error:
            if not is_over():
                cancelled = error
                cancel()
        except GeneratorExit:
            cancel()
            raise
    if cancelled is not None:
        raise cancelled


def _waker(mailbox: _Mailbox, waiter: asyncio.Future[None]) -> Callable[[object], object]:
    weak = ref(waiter)

    def wake() -> None:
        alive = weak()
        if alive is not None and not alive.done():
            alive.set_result(None)

    return lambda _: mailbox.put(wake)


async def call(portal: Portal, fn: Callable[[], Awaitable[T]], what: str = "call") -> T:
    """``await fn()`` in the trio thread."""
    portal.check_elsewhere(what)
    running = portal.submit(fn)
    await end_of(running, running.cancel)
    return running.result()


async def _ask(portal: Portal, single: Single, what: str) -> Any:
    """Its result: without a task in the trio thread, and so at less than half the cost."""
    portal.check_elsewhere(what)
    asked = Asked(portal, single)
    portal.ask(asked)
    await end_of(asked, asked.cancel)
    asked.result()
    return single.result()


# -- blocks -------------------------------------------------------------------------------------------


class Held(Generic[T]):
    """The block of a context manager for trio; `open_manager` makes it, in the trio thread."""

    def __init__(self, portal: Portal, open_manager: Callable[[], ContextManager[T]]) -> None:
        self._portal = portal
        task = _this_task()
        self._task = ref(task)
        self._mailbox = _mailbox()
        self._block: Block[T] = Block(portal, open_manager, caller=self._task, on_lost=self._tell)
        self._before = task.cancelling()
        """how often somebody has asked for the task's end that is not our business"""
        self._inside = False
        self._lost = False
        self._cancelled = False
        """did we cancel the task?"""

    # -- the loss -------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """In the trio thread."""
        if not self._mailbox.put(self._lose):
            self._block.leave(asyncio.CancelledError())  # the loop is closed: there is no body any more

    def _lose(self) -> None:
        self._lost = True
        self._cancel_body()

    def _cancel_body(self) -> None:
        if self._inside and self._lost and not self._cancelled:
            self._cancelled = True
            task = self._task()
            if task is not None:
                task.cancel("what the block held was lost")

    def _begin_body(self) -> None:
        self._inside = True
        self._cancel_body()  # it was lost at once

    def _end_body(self, error: BaseException | None) -> BaseException | None:
        """What the body itself has ended with: a cancellation of ours is taken back."""
        self._inside = False
        task = self._task()
        if not self._cancelled or task is None or task.uncancel() > self._before:
            return error
        return None if isinstance(error, asyncio.CancelledError) else error

    def _cancellation_is_over(self) -> bool:
        task = self._task()
        return self._cancelled and task is not None and task.cancelling() <= self._before

    # -- with a wait ----------------------------------------------------------------------------------

    async def __aenter__(self) -> T:
        self._portal.check_elsewhere("entering a block")
        entering = self._block.enter()
        try:
            await end_of(entering, entering.cancel)
        except GeneratorExit:
            raise
        except BaseException:
            entering.cancel()
            await end_of(self._block.task, entering.cancel, lambda: True)
            raise
        value = entering.result()
        self._begin_body()
        return value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        own = self._end_body(error)
        if self._portal.foreign:
            return False  # in a child: the block is its parent's
        running = self._block.leave(own)
        if _loop() is None:
            return False  # the coroutine is thrown away
        await end_of(running, running.cancel, self._cancellation_is_over)
        return _handled(running, error)

    # -- without one ----------------------------------------------------------------------------------

    def __enter__(self) -> T:
        """For managers that are entered and left without waiting for anything."""
        value = self._block.enter().result()
        self._begin_body()
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        own = self._end_body(error)
        return not self._portal.foreign and _handled(self._block.leave(own), error)


def _handled(running: Running[bool], error: BaseException | None) -> bool:
    try:
        return running.result() and error is not None
    except BaseException as other:
        if other is error:
            return False
        raise


# -- the side -----------------------------------------------------------------------------------------


class Loops(Side):
    name = "coord.aio"
    manager = "AbstractAsyncContextManager"

    def method(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        single = Client.SINGLES.get(original)

        async def method(self: Facade, *args: Any, **kwargs: Any) -> Any:
            self._check()
            real_args, real_kwargs = self._facades.arguments(self._portal, original, args, kwargs)
            if single and "linearizable" not in kwargs:
                return await _ask(self._portal, single(self._real, *real_args, **real_kwargs), name)
            fn = functools.partial(getattr(self._real, name), *real_args, **real_kwargs)
            return self._facades.wrap(self._portal, await call(self._portal, fn, name))

        return method

    def block_members(self, *, is_async: bool) -> dict[str, Callable[..., Any]]:
        if is_async:
            return {"__aenter__": _aenter, "__aexit__": _aexit}
        return {"__enter__": _enter, "__exit__": _exit}

    def iterator_members(self) -> dict[str, Callable[..., Any]]:
        return {"__aiter__": _aiter, "__anext__": _anext}

    def adapted(self, fn: Callable[..., Any], portal: Portal) -> Callable[..., Awaitable[Any]]:
        mailbox, context = _mailbox(), contextvars.copy_context()

        @functools.wraps(fn)
        async def adapted(*args: Any) -> Any:
            work = _Work(fn, [self.facades.wrap(portal, one) for one in args], mailbox, context)
            return self.facades.given_back(portal, await work.run())

        return adapted


async def _aenter(self: Facade) -> Any:
    held: Held[Any] = Held(self._portal, lambda: self._real)
    return _entered(self, held, await held.__aenter__())


async def _aexit(
    self: Facade, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> bool:
    return await _mine(self).__aexit__(kind, error, trace)


def _enter(self: Facade) -> Any:
    held: Held[Any] = Held(self._portal, lambda: self._real)
    return _entered(self, held, held.__enter__())


def _exit(
    self: Facade, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> bool:
    return _mine(self).__exit__(kind, error, trace)


def _entered(self: Facade, held: Held[Any], value: Any) -> Any:
    self._blocks.append((ref(_this_task()), held))
    self._entered = True
    return self if value is self._real else self._facades.wrap(self._portal, value)


def _mine(self: Facade) -> Held[Any]:
    """The block of this facade that this task has entered last; where none runs, one that is no more. A
    generator may be ended by another task than has begun it."""
    task = None if _loop() is None else _this_task()
    mine = [entry for entry in self._blocks if _whose(entry) is task] or self._blocks
    if not mine:
        raise RuntimeError(f"{self!r} was not entered")
    entry = mine[-1]
    self._blocks.remove(entry)
    held: Held[Any] = entry[1]
    return held


def _whose(entry: tuple[Any, Any]) -> object:
    return entry[0]()


def _aiter(self: Facade) -> Facade:
    return self


async def _anext(self: Facade) -> Any:
    async def one() -> Any:
        try:
            return await self._real.__anext__()
        except StopAsyncIteration:
            return END

    value = await call(self._portal, one, "anext()")
    if value is END:
        raise StopAsyncIteration
    return self._facades.wrap(self._portal, value)


class EnteredClient(Facade):
    """A client that can be used once it was entered."""

    __slots__ = ()

    def _check(self) -> None:
        if not self._entered:
            raise RuntimeError("the client is not connected yet: `async with connect(…) as zk:`")


class _Work:
    """A user's `async def`, as a task of its loop, for trio to wait for."""

    def __init__(
        self, fn: Callable[..., Any], args: list[Any], mailbox: _Mailbox, context: contextvars.Context
    ) -> None:
        self._fn = fn
        self._args = args
        self._mailbox = mailbox
        self._context = context
        self._task: asyncio.Task[Any] | None = None
        self._ended = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def run(self) -> Any:
        """In trio."""
        if not self._mailbox.put(self._start):
            raise RuntimeError(f"{self._fn!r} cannot run: its event loop is closed")
        cancelled: trio.Cancelled | None = None
        try:
            await self._ended.wait()
        except trio.Cancelled as error:
            cancelled = error
            if not self._mailbox.put(self._cancel):
                raise  # its loop is closed: it runs no more
            with trio.CancelScope(shield=True):
                await self._ended.wait()
        assert self._task is not None
        if cancelled is not None and self._task.cancelled():
            raise cancelled
        return self._task.result()

    # -- in the loop ----------------------------------------------------------------------------------

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._await_it(), context=self._context)
        self._task.add_done_callback(self._end)

    async def _await_it(self) -> Any:
        return await self._fn(*self._args)

    def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel("trio has cancelled it")

    def _end(self, task: asyncio.Task[Any]) -> None:
        try:
            self._token.run_sync_soon(self._ended.set)
        except trio.RunFinishedError:
            pass
