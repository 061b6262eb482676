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
        # What the block itself raised wins.
        error = unwrapped(group) if error is None else error
    if error is not None:
        raise error  # here and not above, so that its own cause stays


def unwrapped(group: BaseExceptionGroup) -> BaseException:
    """What a nursery raised, less the nursery's own wrapping, if one exception is all there is to say.

    Cancellations of tasks beside the one that failed say nothing that its failure does not.
    """
    errors = [one for one in group.exceptions if not isinstance(one, trio.Cancelled)]
    return errors[0] if len(errors) == 1 else group


def _has_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[0] is not None
    return isinstance(error, trio.Cancelled)
