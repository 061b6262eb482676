"""An exclusive lock whose holder is stopped when the lock can no longer be guaranteed.

Owns the lock as seen by its user. Rules that hold here:

- `Lock` is a description, reusable and shareable by tasks; each entry yields a fresh `Grant`. The same task
  entering twice is a RuntimeError, as with `trio.Lock`: waiting for oneself would last forever.
- The body is cancelled when the guarantee lapses, and `LockLost` raised in its place; what the body started
  in an *outer* nursery, in threads or in shielded scopes is not stopped. For those there is `Grant.token`.
- The order is the order of arrival.
- A lock asked for while contenders of another layout are in line is refused with `LayoutConflict`: their
  names and ours do not exclude each other.

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
from contextlib import asynccontextmanager
from typing import Literal

import trio

from coord import ACL, Client, Loss, States
from recipes.acquirable import Acquirable, who_waits
from recipes.errors import GrantLost, LockLost
from recipes.grant import Grant, holding
from recipes.line import KAZOO, Kind, Layout
from recipes.standing import Contender, Line

OnLoss = Literal["raise", "move_on"]


class Lock(Acquirable[Grant]):
    """An exclusive lock at `path`, shared with every client whose contenders write names of the same
    `layout`.

    `data` is what `contenders` (and kazoo's) show of us. Contenders of another known layout raise
    `LayoutConflict`; those of an unknown one are waited for, which protects us from them but not them from
    us, unless `strict` refuses them, too.
    """

    _loss: type[GrantLost] = LockLost
    _what = "lock"
    _kind = Kind.EXCLUSIVE

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
        super().__init__()
        self._zk = zk
        self.path = path
        self.data = data
        self._policy = policy
        self._line = Line(zk, path, layout, self._kind, strict=strict, acl=acl)
        self._inside: dict[object, Lock] = {}

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
        `wait` False raises `trio.WouldBlock` if that would take waiting for anybody. `on_loss` "move_on"
        leaves the block without an error when the lock is lost; `Grant.lost` then says so. Raises
        `LayoutConflict`.
        """
        waiting = who_waits()
        if waiting in self._inside:
            raise RuntimeError(self._refusal(self._inside[waiting]))
        self._inside[waiting] = self
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
            del self._inside[waiting]

    def _refusal(self, held: Lock) -> str:
        """Why a task that is inside `held` must not wait for this one."""
        return f"this task holds, or waits for, {held!r} already"

    async def contenders(self) -> list[Contender]:
        """Everybody in line: the holder first, then those who wait, in order."""
        return await self._line.contenders()

    def watch_holders(self) -> States[tuple[Contender, ...]]:
        """Who holds, as a channel of states: the present one first, then each that differs from the last.

        To be used as ``async with lock.watch_holders() as holders:``. A slow reader misses states in between,
        never the last one.
        """
        return States(self._zk.watch(), self._line.holders, lambda holders: holders)

    async def request_release(self) -> int:
        """Ask whoever holds now to let go (`Grant.wait_revoked`); returns how many were asked.

        They need not consent. The request replaces the data of their znodes, as Curator's Revoker does.
        """
        return await self._line.request_release()
