"""A value kept in a znode, parsed, and always the latest good one.

Owns what becomes of a znode's data on its way to a value that a program relies on.

Rules that hold here:

- `LiveConfig.value` could always be parsed: data that cannot are logged and shown as `error`, and the value
  stays.
- With a `default` that is the value while the znode does not exist. Without one, entering waits for the
  znode to be created, and the last value stays when it is deleted.
- Who enters without a `default` and finds data that cannot be parsed gets the parser's exception: a program
  that starts has no good value to fall back to.
- Reconnects and new sessions are not noticed, but for the latest value; of values in between some may be
  missed.

Synopsis::

    async with watch_config(zk, "/config/app", default={"enabled": False}) as config:
        print(config.value)
        await config.wait_value(lambda value: value["enabled"])
        async for value in config.eventual_values():
            ...
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

import trio
from trio_util import AsyncValue

from coord import Client, Node, NoNode, Stat
from recipes.beside import beside

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger("recipes.config")

_MISSING: Final[Any] = object()


def _any(value: object) -> bool:
    return True


def _any_change(value: object, old: object) -> bool:
    return True


class LiveConfig(Generic[T]):
    """The latest good value; the ways to wait for another are those of trio_util's `AsyncValue`."""

    def __init__(self, path: str, value: T) -> None:
        self.path: Final = path
        self.error: Exception | None = None
        """Why the value is not what the znode says now: what the parser raised, or `NoNode` if the znode was
        deleted and there is no default. None while the value is up to date."""
        self.stat: Stat | None = None
        """of the znode when it held the value; None for a default"""
        self._values: AsyncValue[T] = AsyncValue(value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}: {self.value!r}>"

    @property
    def value(self) -> T:
        return self._values.value

    async def wait_value(self, holds: Callable[[T], bool], *, held_for: float = 0.0) -> T:
        """Return the first value, from now on, for which ``holds(value)`` (and goes on to, for `held_for`
        seconds)."""
        asked = _Asked(holds)
        return asked.answer(await self._values.wait_value(asked, held_for=held_for))

    async def wait_transition(self, holds: Callable[[T, T], bool] = _any_change) -> tuple[T, T]:
        """Return (value, old value) at the next change for which ``holds(value, old)``."""
        return await _next_transition(self._values, holds)

    def eventual_values(self, holds: Callable[[T], bool] = _any) -> AsyncIterator[T]:
        """The present value and each later one, but for those that a slow reader misses: never the last."""
        return _Values(self._values, holds)

    def transitions(self, holds: Callable[[T, T], bool] = _any_change) -> AsyncIterator[tuple[T, T]]:
        """(value, old value) of each change that comes while the loop waits for one."""
        return _Transitions(self._values, holds)

    # -- for the task that reads --------------------------------------------------------------------

    def accept(self, value: T, stat: Stat | None) -> None:
        self.error, self.stat = None, stat
        self._values.value = value

    def refuse(self, error: Exception) -> None:
        self.error = error
        logger.warning("%s keeps its last good value: %r", self.path, error)


class _Asked:
    """A caller's condition. It is asked by the task that reads the znode: what it raises is the caller's."""

    def __init__(self, holds: Callable[..., bool]) -> None:
        self._holds = holds
        self._error: Exception | None = None

    def __call__(self, *values: object) -> bool:
        try:
            return self._holds(*values)
        except Exception as error:
            self._error = error
            return True

    def answer(self, found: R) -> R:
        if self._error is not None:
            raise self._error
        return found


async def _next_transition(values: AsyncValue[T], holds: Callable[[T, T], bool]) -> tuple[T, T]:
    asked = _Asked(holds)
    return asked.answer(await values.wait_transition(asked))


class _Values(AsyncIterator[T]):
    """No generator: whoever leaves the loop early has nothing to close."""

    def __init__(self, values: AsyncValue[T], holds: Callable[[T], bool]) -> None:
        self._values = values
        self._holds = holds
        self._last: T = _MISSING

    async def __anext__(self) -> T:
        asked = _Asked(self._wanted)
        self._last = asked.answer(await self._values.wait_value(asked))
        return self._last

    def _wanted(self, value: T) -> bool:
        # (Not a number is not even equal to itself.)
        return value is not self._last and value != self._last and self._holds(value)


class _Transitions(AsyncIterator[tuple[T, T]]):
    def __init__(self, values: AsyncValue[T], holds: Callable[[T, T], bool]) -> None:
        self._values = values
        self._holds = holds

    async def __anext__(self) -> tuple[T, T]:
        return await _next_transition(self._values, self._holds)


@asynccontextmanager
async def watch_config(
    zk: Client, path: str, parse: Callable[[bytes], T] = json.loads, *, default: T = _MISSING
) -> AsyncIterator[LiveConfig[T]]:
    """Follow the value at `path` for the block.

    `parse` makes the value from the data; any `Exception` it raises means that they are no good. See the
    module's text for what a missing znode means. Raises what reading raises: `NoAuth`, `BadArguments`.
    """
    config: LiveConfig[T] = LiveConfig(path, default)
    ready = trio.Event()

    def take(node: Node | None) -> None:
        if node is None and default is _MISSING:
            if ready.is_set():
                config.refuse(NoNode(path=path, operation="watch_config"))
            return
        try:
            value, stat = (default, None) if node is None else (parse(node.data), node.stat)
        except Exception as error:
            if default is _MISSING and not ready.is_set():
                raise
            config.refuse(error)
        else:
            config.accept(value, stat)
        ready.set()

    async def follow() -> None:
        async with zk.watch_data(path) as nodes:
            async for node in nodes:
                take(node)

    async with beside(follow):
        await ready.wait()
        yield config
