"""`async with lock:` for everything that tasks share, each with its own block: what is acquired, and more.

Owns which block belongs to whom, and who waits for it: a task, or whoever it works for. What the block is
given is whatever its context manager yields; nothing of it is kept here once the block has ended.

Synopsis::

    class Lock(Acquirable[Grant]):
        @asynccontextmanager
        async def acquire(self, ...) -> AsyncIterator[Grant]: ...

    async with Lock(zk, "/jobs") as grant:  # as `async with Lock(zk, "/jobs").acquire() as grant:`
        ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

_principal: ContextVar[tuple[trio.lowlevel.Task, object] | None] = ContextVar("principal", default=None)


@contextmanager
def in_the_name_of(principal: object) -> Iterator[None]:
    """What this task enters, `principal` waits for (a thread, say); None: the task itself."""
    before = _principal.set(None if principal is None else (trio.lowlevel.current_task(), principal))
    try:
        yield
    finally:
        _principal.reset(before)


def who_waits() -> object:
    """Who would wait for himself if he waited for what he holds. (Tasks inherit nothing of this.)"""
    task = trio.lowlevel.current_task()
    by_proxy = _principal.get()
    return by_proxy[1] if by_proxy is not None and by_proxy[0] is task else task


class Enterable(ABC, Generic[T]):
    """Entered by any number of tasks at once, and by each of them in nested blocks."""

    def __init__(self) -> None:
        self._entries: dict[trio.lowlevel.Task, list[AbstractAsyncContextManager[T]]] = {}

    @abstractmethod
    def _entry(self) -> AbstractAsyncContextManager[T]:
        """One more block, with nothing said about how."""

    async def __aenter__(self) -> T:
        entry = self._entry()
        granted = await entry.__aenter__()
        self._entries.setdefault(trio.lowlevel.current_task(), []).append(entry)
        return granted

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        task = trio.lowlevel.current_task()
        entry = self._entries[task].pop()
        if not self._entries[task]:
            del self._entries[task]
        return await entry.__aexit__(kind, error, trace)


class Acquirable(Enterable[T]):
    """Whose block is the one that `acquire` gives."""

    @abstractmethod
    def acquire(self) -> AbstractAsyncContextManager[T]:
        """The block, with nothing said about how."""

    def _entry(self) -> AbstractAsyncContextManager[T]:
        return self.acquire()
