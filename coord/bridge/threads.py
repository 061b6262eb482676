"""The bridge as threads see it: calls that wait, `with` blocks, timeouts.

Owns what a thread does while trio works for it, and the per-thread deadlines. Must not know: recipes.

Synopsis::

    with hold(portal, embedded_server) as server:  # any context manager for trio
        ...
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from coord.bridge.block import Block, ContextManager
from coord.bridge.portal import Portal

T = TypeVar("T")


@contextmanager
def hold(portal: Portal, open_manager: Callable[[], ContextManager[T]]) -> Iterator[T]:
    """The block of a context manager for trio; `open_manager` makes it, in the trio thread."""
    block = Block(portal, open_manager, caller=threading.current_thread())
    value = enter(block)
    try:
        yield value
    except BaseException as error:
        if not leave(block, error):
            raise
    else:
        leave(block, None)


def enter(block: Block[T]) -> T:
    entering = block.enter()
    try:
        return entering.result()
    except BaseException:
        entering.cancel()
        block.task.wait_end()
        raise


def leave(block: Block[T], error: BaseException | None) -> bool:
    """Was `error` dealt with? Raises what leaving raises."""
    return block.leave(error).wait()
