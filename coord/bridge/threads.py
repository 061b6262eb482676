"""The bridge as threads see it: calls that wait, `with` blocks, plain iterators, timeouts.

Owns what a thread does while trio works for it. Must not know: recipes.

Rules that hold here:

- A thread cannot be cancelled: when a block's right is lost, `lost` is true and `ensure()` raises, and the
  loss is raised at the block's end. Ctrl-C ends whatever waits, at once. One moment is Python's own: when it
  raises KeyboardInterrupt before the first step of `__exit__`, no code of any class runs, and the block is
  left with its client.
- `fail_after` bounds the calls of its own thread, as trio's does those of its task; the code between them
  runs on. Timeouts of single calls (`timeout=`) raise the same error, which is a `TimeoutError`.
- A user's function that trio would await runs in a thread of its own, which is waited for. When it is to end
  (its leadership is lost, its caller has given up), it is told once: `lost` is true, or, if it has not asked,
  the call that waits then, or the next one, is cancelled.

Synopsis::

    with hold(portal, embedded_server) as server:  # any context manager for trio
        ...
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from math import inf
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

import trio

from coord import Client
from coord.bridge.block import Block, ContextManager, Entering
from coord.bridge.deadlines import Cancelled, Timeout, is_bounded, strictest
from coord.bridge.facade import Facade, Side
from coord.bridge.outcome import Outcome
from coord.bridge.portal import Asked, Portal, Running, Single, TooSlowError

T = TypeVar("T")

END: Final = object()


class _Local(threading.local):
    def __init__(self) -> None:
        self.work: _Work | None = None
        """the function that this thread is for"""


_local = _Local()


# -- calls and blocks -----------------------------------------------------------------------------------


def call(
    portal: Portal,
    fn: Callable[[], Awaitable[T]],
    what: str = "call",
    timeout: float = inf,
    *,
    told_by_result: bool = False,
) -> T:
    """``await fn()`` in the trio thread, within this thread's deadlines. Raises `TooSlowError` after
    `timeout` seconds. `told_by_result`: is it what tells a function that it is to end?"""
    portal.check_elsewhere(what)
    deadline, by = strictest(portal)
    running = Running(portal, fn, deadline, timeout)
    try:
        portal.begin(running)
        if not told_by_result:
            _attend(portal, running)
        return running.result()
    except CancelledError:
        if running.timed_out:
            raise TooSlowError from None
        _pass_on(running, by)
        raise
    except BaseException:
        if not portal.foreign:
            running.end()
        raise


def _only_ctrl_c_interrupts() -> bool:
    """Has this thread no deadline, and is it not one that is told to end by a call's end?"""
    return _local.work is None and not is_bounded()


def _ask(portal: Portal, single: Single, what: str) -> Any:
    """Its result: without a task, and so at less than half the cost."""
    portal.check_elsewhere(what)
    asked = Asked(portal, single)
    try:
        portal.ask(asked)
        asked.result()
    except BaseException:
        if not portal.foreign:
            asked.end()
        raise
    return single.result()


def _attend(portal: Portal, waited: Running[Any] | Entering[Any]) -> None:
    """In a function's thread: what it waits for is cancelled when it is to end."""
    if _local.work is not None:
        portal.post(_local.work.attend, waited)


def _pass_on(waited: Outcome[Any], by: Timeout | None) -> None:
    """It was cancelled: raises `Cancelled`, if that was for a function that is to end, or for a deadline."""
    if _local.work is not None and _local.work.cancelled is waited:
        _local.work.told = True
        raise Cancelled(_local.work) from None
    if by is not None:
        raise Cancelled(by) from None


def enter(block: Block[T], portal: Portal) -> T:
    """Enter it; interrupted, it is left again."""
    portal.check_elsewhere("entering a block")
    by: Timeout | None = None
    try:
        deadline, by = strictest(portal)
        _attend(portal, block.enter(deadline))
        return block.entered.result()
    except CancelledError:
        _pass_on(block.entered, by)
        raise
    except BaseException:
        block.entered.end()
        raise


def leave(block: Block[Any], portal: Portal, error: BaseException | None) -> bool:
    """Was `error` dealt with? Raises what leaving raises."""
    if _is_elsewhere(portal):
        return False
    by: Timeout | None = None
    try:
        deadline, by = strictest(portal)
        return block.leave(error, deadline).result() and error is not None
    except CancelledError:
        if by is not None:
            raise Cancelled(by) from error
        raise
    except BaseException as other:
        if other is error:
            return False
        if not block.task.done():  # interrupted before anybody was told
            block.leave(error)
            block.task.end()
        raise


def _is_elsewhere(portal: Portal) -> bool:
    """Are its blocks another process's, or have they ended with this one?"""
    return portal.foreign or portal.over


@contextmanager
def hold(portal: Portal, open_manager: Callable[[], ContextManager[T]]) -> Iterator[T]:
    """The block of a context manager for trio; `open_manager` makes it, in the trio thread."""
    block = Block(portal, open_manager, caller=threading.current_thread())
    value = enter(block, portal)
    try:
        yield value
    except BaseException as error:
        if not leave(block, portal, error):
            raise
    else:
        leave(block, portal, None)


# -- the side -----------------------------------------------------------------------------------------


class Threads(Side):
    name = "coord.blocking"
    manager = "AbstractContextManager"
    renamed: ClassVar[dict[str, str]] = {"aclose": "close"}

    def told(self, text: str) -> str:
        return re.sub(r"\b(async (?=with|for|def)|await )", "", super().told(text))

    def annotation(self, annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        return re.sub(
            r"Awaitable\[(\w+)\]", r"\1", re.sub(r"\b(Abstract)?Async(?=Iter|Context)", r"\1", annotation)
        )

    def method(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)
        bounded = "timeout" in signature.parameters
        single = Client.SINGLES.get(original)

        def method(self: Facade, *args: Any, **kwargs: Any) -> Any:
            self._check()
            timeout = None if bounded else kwargs.pop("timeout", None)
            real_args, real_kwargs = self._facades.arguments(self._portal, original, args, kwargs)
            if single and timeout is None and "linearizable" not in kwargs and _only_ctrl_c_interrupts():
                return _ask(self._portal, single(self._real, *real_args, **real_kwargs), name)
            fn = functools.partial(getattr(self._real, name), *real_args, **real_kwargs)
            result = call(self._portal, fn, name, inf if timeout is None else timeout)
            return self._facades.wrap(self._portal, result)

        method.__signature__ = signature if bounded else _with_timeout(signature)  # type: ignore[attr-defined]  # for help()
        return method

    def block_members(self, *, is_async: bool) -> dict[str, Callable[..., Any]]:
        return {"__enter__": _enter, "__exit__": _exit}

    def iterator_members(self) -> dict[str, Callable[..., Any]]:
        return {"__iter__": _iter, "__next__": _next}

    def adapted(self, fn: Callable[..., Any], portal: Portal) -> Callable[..., Awaitable[Any]]:
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"{fn!r} is asynchronous; {self.name} calls plain functions")

        @functools.wraps(fn)
        async def adapted(*args: Any) -> Any:
            work = _Work(portal, fn, [self.facades.wrap(portal, one) for one in args])
            return self.facades.given_back(portal, await work.run())

        return adapted


def _with_timeout(signature: inspect.Signature) -> inspect.Signature:
    timeout = inspect.Parameter(
        "timeout", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="float | None"
    )
    parameters = list(signature.parameters.values())
    at = len(parameters) - (parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[*parameters[:at], timeout, *parameters[at:]])


def _enter(self: Facade) -> Any:
    thread = threading.current_thread()
    block: Block[Any] = Block(self._portal, lambda: self._real, caller=thread)
    entry = (thread, block)
    try:
        value = enter(block, self._portal)
        granted = self if value is self._real else self._facades.wrap(self._portal, value)
        self._blocks.append(entry)
        self._entered = True
    except BaseException:  # Ctrl-C may come between any two steps
        block.entered.end()
        if entry in self._blocks:
            self._blocks.remove(entry)
        raise
    return granted


def _exit(
    self: Facade, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> bool:
    if not self._blocks:
        return False  # of a client that was closed inside of its block
    entry = None
    try:
        entry = _newest(self)
        return leave(entry[1], self._portal, error)
    finally:
        entry = entry or _newest(self)
        self._blocks.remove(entry)  # first of all: Ctrl-C may come in here, after everything else was done
        if not (entry[1].task.done() or _is_elsewhere(self._portal)):  # before anybody was told
            entry[1].leave(error)
            entry[1].task.end()


def _newest(self: Facade) -> tuple[object, Any]:
    """The block that this thread has entered last, or (of a client, say) another one has."""
    thread = threading.current_thread()
    return ([one for one in self._blocks if one[0] is thread] or self._blocks)[-1]


def _iter(self: Facade) -> Facade:
    return self


def _next(self: Facade) -> Any:
    async def one() -> Any:
        try:
            return await self._real.__anext__()
        except StopAsyncIteration:
            return END

    value = call(self._portal, one, "next()")
    if value is END:
        raise StopIteration
    return self._facades.wrap(self._portal, value)


class StoppableGrant(Facade):
    """A grant that tells the thread of a user's function to come to an end, also without a loss."""

    __slots__ = ()

    @property
    def lost(self) -> bool:
        """Whether the guarantee lapsed before the block was through; and, in a function that coord has called
        (`Election.run`), whether it is to end for another reason."""
        return self._heard(self._stopped or bool(self._facades.here(self._portal, lambda: self._real.lost)))

    def ensure(self) -> None:
        """Raise the grant's error if `lost`, or if its block has ended: to be called right before a side
        effect."""
        if self._heard(self._stopped):
            raise self._facades.here(self._portal, self._real.loss, "its function is to end")
        self._facades.here(self._portal, self._real.ensure)

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is `lost`: True; or until its block has ended in order, or `timeout` seconds have
        passed: False."""

        async def wait() -> bool:
            lost = False
            async with trio.open_nursery() as nursery:
                if self._stop is not None:
                    nursery.start_soon(_then_cancel, self._stop.given_up, nursery.cancel_scope)
                lost = await self._real.wait_lost()
                nursery.cancel_scope.cancel()
            return self._heard(lost or self._stopped)

        try:
            return call(
                self._portal, wait, "wait_lost", inf if timeout is None else timeout, told_by_result=True
            )
        except TooSlowError:
            return self.lost

    @property
    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.given_up.is_set()

    def _heard(self, stopped: bool) -> bool:
        if stopped and self._stop is not None:
            self._stop.told = True
        return stopped


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class StartableClient(Facade):
    """A client whose life need not be a block."""

    __slots__ = ()

    def start(self) -> Self:
        """Connect, for programs whose client is no block's; returns the client. It has to be closed with
        `close`, which is done at the end of the process, too."""
        entered: Self = _enter(self)  # a client's value is itself
        return entered

    def close(self) -> None:
        """Close the session, which deletes its ephemeral znodes; takes a second at most. May be repeated."""
        if self._blocks:
            _exit(self, None, None, None)

    def _check(self) -> None:
        if not self._entered:
            raise RuntimeError("the client is not connected yet: `with connect(…) as zk:`, or zk.start()")


class _Work:
    """A user's function, in a thread of its own, for trio to wait for."""

    def __init__(self, portal: Portal, fn: Callable[..., Any], args: list[Any]) -> None:
        self.given_up = trio.Event()
        """is it to come to an end, since nobody wants its result any more?"""
        self.told = False
        """does it know that?"""
        self.cancelled: Outcome[Any] | None = None
        """what is to tell it, if it has not asked"""
        self._portal = portal
        self._fn = fn
        self._args = args
        self._waited: Running[Any] | Entering[Any] | None = None
        self._ended = trio.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        for one in args:
            if isinstance(one, Facade):
                one._stop = self

    # -- in the trio thread ---------------------------------------------------------------------------

    async def run(self) -> Any:
        token = trio.lowlevel.current_trio_token()
        name = getattr(self._fn, "__name__", "work")
        threading.Thread(target=self._work, args=(token,), name=f"coord {name}", daemon=True).start()
        cancelled: trio.Cancelled | None = None
        try:
            await self._ended.wait()
        except trio.Cancelled as error:
            cancelled = error
            self.given_up.set()
            self._tell()
            # At the end of the process nobody is told, and nobody waited for.
            with trio.CancelScope(shield=not self._portal.silent):
                await self._ended.wait()
        if cancelled is not None and (self._error is None or isinstance(self._error, Cancelled)):
            raise cancelled
        if self._error is not None:
            raise self._error
        return self._result

    def attend(self, waited: Running[Any] | Entering[Any]) -> None:
        """The function waits for it now."""
        self._waited = waited
        if self.given_up.is_set():
            self._tell()

    def _tell(self) -> None:
        if self._waited is not None and not (self.told or self._waited.done()):
            self.cancelled = self._waited
            self._waited.cancel()  # which may come too late: then the next one is

    # -- in its own -----------------------------------------------------------------------------------

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        _local.work = self
        try:
            self._result = self._fn(*self._args)
        except BaseException as error:
            self._error = error
        try:
            token.run_sync_soon(self._ended.set)
        except trio.RunFinishedError:
            pass
