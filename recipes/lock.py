"""An exclusive lock whose holder is stopped when the lock can no longer be guaranteed.

Owns the lock as seen by its user. Rules that hold here:

- `Lock` is a description, reusable and shareable by tasks; each entry yields a fresh `Grant`. The same task
  entering twice is a RuntimeError, as with `trio.Lock`: waiting for oneself would last forever.
- The body is cancelled when the guarantee lapses, and `LockLost` raised in its place; what the body started
  in an *outer* nursery, in threads or in shielded scopes is not stopped. For those there is `Grant.token`.
- The order is the order of arrival.

Synopsis::

    async with Lock(zk, "/jobs/nightly", data=b"host7") as grant:
        report = await build()  # cancelled when the lock can no longer be guaranteed
        await store.put("report", report, fence=grant.token)
        async with grant.transaction() as transaction:
            transaction.set("/jobs/last", b"done")
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Literal

import trio

from coord import ACL, Client, Loss
from recipes.errors import GrantLost, LockLost
from recipes.grant import Grant, holding
from recipes.line import KAZOO, Layout
from recipes.standing import Contender, Line

OnLoss = Literal["raise", "move_on"]


class Lock:
    """An exclusive lock at `path`, shared with every client whose contenders write names of the same
    `layout`.

    `data` is what `contenders` (and kazoo's) show of us. With `strict`, finding contenders of another layout
    raises `LayoutConflict`; without it they are waited for, which protects us from them but not them from us.
    """

    _loss: type[GrantLost] = LockLost
    _what = "lock"

    def __init__(
        self,
        zk: Client,
        path: str,
        data: bytes = b"",
        *,
        layout: Layout = KAZOO,
        policy: Loss = Loss.DEADLINE,
        strict: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        self._zk = zk
        self.path = path
        self.data = data
        self._policy = policy
        self._line = Line(zk, path, layout, strict=strict, acl=acl)
        self._entries: dict[trio.lowlevel.Task, AbstractAsyncContextManager[Grant]] = {}
        self._inside: set[trio.lowlevel.Task] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @asynccontextmanager
    async def acquire(
        self,
        *,
        wait: bool = True,
        timeout: float = math.inf,
        data: bytes | None = None,
        on_loss: OnLoss = "raise",
    ) -> AsyncIterator[Grant]:
        """Hold the lock for the block.

        `timeout` (seconds) bounds the whole acquisition and not the block, and raises `trio.TooSlowError`.
        `wait` False raises `trio.WouldBlock` if anybody else is in line. `on_loss` "move_on" leaves the
        block without an error when the lock is lost; `Grant.lost` then says so.
        """
        task = trio.lowlevel.current_task()
        if task in self._inside:
            raise RuntimeError(f"this task holds, or waits for, {self!r} already")
        self._inside.add(task)
        try:
            with trio.fail_after(timeout):
                mine = await self._line.reach_front(self.data if data is None else data, wait=wait)
            async with holding(
                self._zk,
                mine,
                error=self._loss,
                what=f"{self._what} {self.path}",
                policy=self._policy,
                raise_loss=on_loss == "raise",
            ) as grant:
                yield grant
        finally:
            self._inside.discard(task)

    async def __aenter__(self) -> Grant:
        entry = self.acquire()
        grant = await entry.__aenter__()
        self._entries[trio.lowlevel.current_task()] = entry
        return grant

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        entry = self._entries.pop(trio.lowlevel.current_task())
        return await entry.__aexit__(kind, error, trace)

    async def contenders(self) -> list[Contender]:
        """Everybody in line: the holder first, then those who wait, in order."""
        return await self._line.contenders()
