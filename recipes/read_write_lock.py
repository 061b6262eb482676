"""A lock that many readers share, or one writer has, in order of arrival.

Owns the two sides of such a lock and the way from the one to the other. Rules that hold here:

- A reader waits for the nearest writer before it and for nobody else, so that readers released together go
  together; a writer waits for its nearest predecessor of either kind. Nobody is overtaken.
- A writer may become a reader without letting anybody in between (`downgrade`): one transaction puts a
  reader's znode with the writer's own number in its place.
- A reader cannot become a writer: two that tried would wait for each other. For one task that is a
  RuntimeError at once, like every way of waiting for oneself.
- kazoo's plain `Lock` does not see readers: beside readers use its `WriteLock`, or our `Lock`, which does.

Synopsis::

    rw = ReadWriteLock(zk, "/config/lock")
    async with rw.read:
        ...
    async with rw.write as grant:
        ...
        async with rw.downgrade(grant) as reading:  # a writer that waits has to wait on
            ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from coord import ACL, Client, ConnectionLost, Loss, NodeExists, NoNode, RequestTooLarge, SessionExpired
from recipes.errors import LockLost
from recipes.grant import Grant, Standing, holding
from recipes.line import KAZOO, Kind, Layout, downgraded
from recipes.lock import Lock, OnLoss
from recipes.standing import Contender


class Reading(Lock):
    """The side of those who share."""

    _what = "read lock"
    _kind = Kind.READ

    def _refusal(self, held: Lock) -> str:
        if held is self:
            return super()._refusal(held)
        return f"this task holds, or waits for, {held!r}: to go on as a reader, use `downgrade`"


class Writing(Lock):
    """The side of those who want to be alone."""

    _what = "write lock"
    _kind = Kind.WRITE

    def _refusal(self, held: Lock) -> str:
        if held is self:
            return super()._refusal(held)
        return f"this task holds, or waits for, {held!r}, and a reader cannot become a writer: leave it first"


class ReadWriteLock:
    """A lock at `path`, shared by many readers or held by one writer.

    `read` and `write` are used like a `Lock`. The layout is kazoo's (ReadLock and WriteLock) or Curator's
    (InterProcessReadWriteLock).
    """

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
        """Raises ValueError for a layout that knows no readers."""
        self._zk = zk
        self.path: Final = path
        self._layout = layout
        self._policy = policy
        self._acl = acl
        self.read: Final = Reading(zk, path, data, layout=layout, policy=policy, strict=strict, acl=acl)
        self.write: Final = Writing(zk, path, data, layout=layout, policy=policy, strict=strict, acl=acl)
        self.read._inside = self.write._inside  # a task is inside of one of them at most

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    async def contenders(self) -> list[Contender]:
        """Everybody in line, of either kind, in order."""
        return await self.write.contenders()

    @asynccontextmanager
    async def downgrade(self, grant: Grant, *, on_loss: OnLoss = "raise") -> AsyncIterator[Grant]:
        """Inside the block of a write lock, with its `grant`: hold the read lock instead for this block.

        The readers that wait may come in, a writer may not. The write lock is over with that: `grant` proves
        nothing any more, and nothing is held between the end of this block and that of the outer one. Nor is
        it if this block cannot be entered, or is cancelled on the way in.

        Raises ValueError for a grant that is not of our write lock, `LockLost`.
        """
        parent, _, name = grant.path.rpartition("/")
        if parent != self.path.rstrip("/") or self._layout.marker(Kind.WRITE) not in name:
            raise ValueError(f"{grant!r} is not a grant of {self.write!r}")
        standing = await self._swap(grant, f"{parent}/{downgraded(self._layout, uuid4(), name)}")
        async with holding(
            self._zk,
            standing,
            error=LockLost,
            what=f"read lock {self.path}",
            policy=self._policy,
            raise_loss=on_loss == "raise",
        ) as reading:
            yield reading

    async def _swap(self, grant: Grant, path: str) -> Standing:
        """Put a reader's znode at `path` in the place of the writer's."""
        refused = False
        grant.ensure()
        grant.give_up("it was given up, to be downgraded")  # from now on nobody knows whether it holds
        try:
            while not grant.lost:
                try:
                    async with self._zk.transaction() as transaction:
                        transaction.create(path, self.read.data, ephemeral=True, acl=self._acl)
                        transaction.delete(grant.path)
                except RequestTooLarge:
                    raise  # it would be as large the next time
                except ConnectionLost:
                    pass  # done or not: the znode tells
                except (NoNode, NodeExists):
                    refused = True  # or done by an attempt before, which we believed lost
                stat = await self._zk.exists(path, linearizable=True)
                if stat is not None and stat.ephemeral_owner == self._zk.session.id == grant.session_id:
                    return Standing(path, stat.czxid, stat.ephemeral_owner)
                if refused:
                    raise grant.loss("its znode is gone")
            raise grant.loss()
        except SessionExpired as error:
            raise grant.loss() from error
        except BaseException:
            self._zk.janitor.delete(path)
            self._zk.janitor.delete(grant.path)
            raise
