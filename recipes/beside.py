"""A task beside a block, without a nursery's manners: whatever the block raises leaves as it is.

Owns the one place where a recipe runs a task next to its user's code. When the task fails, the block is
cancelled and the task's error raised in its place; when the block ends, the task is cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def beside(work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run `work` while the block runs."""
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                yield
            except BaseException as failure:
                # A cancellation has to pass through the scope it belongs to, which may be the nursery's.
                if _has_cancelled(failure):
                    raise
                error = failure
            nursery.cancel_scope.cancel(reason="the block beside has ended")
    except BaseExceptionGroup as group:
        # The nursery's own wrapping is one layer. What the block itself raised wins.
        if error is None and len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        if error is None:
            raise
    if error is not None:
        raise error


def _has_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[0] is not None
    return isinstance(error, trio.Cancelled)
