"""Sharing a set of items out among the members of a group: each item is worked on by one member at a time.

Owns membership, the allocation, and one task for each item that is ours. That nobody else works on it is the
business of the item's `Lock`.

Rules that hold here:

- The znodes and the allocation are those of kazoo's SetPartitioner, which may share a path with us:
  ``PATH/party/H-IDENTIFIER`` for each member, ``PATH/locks/ITEM/H__lock__N``. Members with the same
  identifier are told apart by the names of their znodes (kazoo's are not, and leave items to nobody).
- A worker runs only while the item's lock is held, and the lock is released after the worker has ended.
- When members come or go, only the items that move are let go of, once the list of members has been the same
  for `settle` seconds.
- When the session is lost, every worker is cancelled, and we join anew in the next one.

Synopsis::

    async def work(item, grant):
        async for job in jobs_of(item):
            await store.put(job.result, fence=grant.token)


    await Partitioner(zk, "/work", items={"a", "b", "c"}).run(work)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, NoReturn
from uuid import uuid4

import trio

from coord import (
    Client,
    ConnectionLost,
    Loss,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    SessionState,
    States,
)
from recipes.beside import unwrapped
from recipes.errors import LockLost
from recipes.grant import Grant, Standing, let_go
from recipes.lock import Lock

Worker = Callable[[str, Grant], Awaitable[object]]

SETTLE_SECONDS: Final = 5.0


def share_of(member: str, members: Iterable[str], items: Iterable[str]) -> frozenset[str]:
    """The items of one of `members` (names of znodes, ``H-IDENTIFIER``), which is to be among them.

    Sorted, the items are dealt out in turn to the members, sorted by identifier and then by name.
    """
    line = sorted(members, key=lambda name: (name.partition("-")[2], name))
    return frozenset(sorted(items)[line.index(member) :: len(line)])


class Partitioner:
    """A share in `items`, which are to be the same for all members at `path`: names of znodes to be.

    `identifier` decides over the order of members (host and process id if None); `settle`, in seconds, is how
    long the list of members must have been the same before shares change.
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        items: Collection[str],
        identifier: str | None = None,
        *,
        settle: float = SETTLE_SECONDS,
        policy: Loss = Loss.DEADLINE,
    ) -> None:
        if isinstance(items, str):
            raise ValueError(f"the items of partitioner {path} are one string, {items!r}, not a collection")
        for name in items:
            if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
                raise ValueError(f"{name!r} of partitioner {path} cannot be the name of a znode")
        if identifier is not None and (not identifier or "/" in identifier):
            raise ValueError(f"{identifier!r} of partitioner {path} cannot be part of a znode's name")
        if not settle >= 0:
            raise ValueError(f"partitioner {path} cannot settle in {settle} seconds")
        self._zk = zk
        self.path = path.rstrip("/")
        self.items = frozenset(items)
        self.identifier = identifier or f"{socket.gethostname()}-{os.getpid()}"
        self._settle = settle
        self._policy = policy

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {self.identifier}>"

    @property
    def _party(self) -> str:
        return f"{self.path}/party"

    async def run(self, worker: Worker) -> NoReturn:
        """Call ``worker(item, grant)``, a task each, for the items that are ours; does not return.

        A worker is cancelled when its item moves to another member, or when its lock cannot be guaranteed any
        more; who has the item next calls its worker anew. One that returns is through with the item for as
        long as it is ours: nobody works on it until it moves. What a worker raises ends all of them and
        leaves `run`, bare if it is the only exception; the loss of its own lock (`LockLost`) does not.
        """
        session, final = self._zk.session, (SessionState.CLOSED, SessionState.AUTH_FAILED)
        while True:
            state = await session.state.wait_value(lambda one: one in (SessionState.CONNECTED, *final))
            if state in final:
                await self._zk.exists(self._party)  # raises what there is to say
            with session.guard(Loss.EXPIRED) as guard:
                try:
                    await self._take_part(worker)
                except SessionExpired:
                    if not guard.lost:
                        raise

    async def _take_part(self, worker: Worker) -> None:
        """Be a member for as long as this session lasts."""
        try:
            async with trio.open_nursery() as nursery:
                await self._follow(_Share(self._lock_of, worker, nursery))
        except BaseExceptionGroup as group:
            failure = unwrapped(group)
        raise failure  # here and not above, so that its own cause stays

    def _lock_of(self, item: str) -> Lock:
        return Lock(self._zk, f"{self.path}/locks/{item}", self.identifier.encode(), policy=self._policy)

    async def _follow(self, share: _Share) -> None:
        """Have the share that each list of members gives us, if the list lasts."""
        me = await self._join()
        try:
            while True:
                async with self._zk.watch_children(self._party) as lists:
                    await self._follow_lists(me.name, lists, share)
                me = await self._join()
        finally:
            await let_go(self._zk, me)

    async def _follow_lists(self, me: str, lists: States[tuple[str, ...] | None], share: _Share) -> None:
        """Return once we are not listed any more: somebody has deleted our znode."""
        members = await lists.receive()
        while members is not None and me in members:
            due = share_of(me, members, self.items)
            with trio.move_on_after(self._settle):
                members = await lists.receive()
                continue
            share.adopt(due)
            members = await lists.receive()

    async def _join(self) -> Standing:
        """Create the znode that makes us a member, under a name that nobody has had before."""
        path = f"{self._party}/{uuid4().hex}-{self.identifier}"
        try:
            while True:
                try:
                    _, stat = await self._zk.create_with_stat(path, self.identifier.encode(), ephemeral=True)
                    return Standing(path, stat.czxid, stat.ephemeral_owner)
                except NoNode:
                    await self._zk.ensure_path(self._party)
                except RequestTooLarge:
                    raise  # it would be as large the next time
                except ConnectionLost:
                    pass  # trying again tells
                except NodeExists:
                    found = await self._zk.exists(path)
                    if found is not None:
                        return Standing(path, found.czxid, found.ephemeral_owner)
        except BaseException:
            self._zk.janitor.delete(path)
            raise


class _Share:
    """The items that are ours at present, with a task for each that is, or was until a moment ago."""

    def __init__(self, lock_of: Callable[[str], Lock], worker: Worker, nursery: trio.Nursery) -> None:
        self._lock_of = lock_of
        self._worker = worker
        self._nursery = nursery
        self._items: frozenset[str] = frozenset()
        self._scopes: dict[str, trio.CancelScope] = {}

    def adopt(self, items: frozenset[str]) -> None:
        self._items = items
        for item, scope in self._scopes.items():
            if item not in items:
                scope.cancel(reason=f"{item} has moved to another member")
        for item in sorted(items.difference(self._scopes)):
            self._start(item)

    def _start(self, item: str) -> None:
        self._scopes[item] = trio.CancelScope()
        self._nursery.start_soon(self._keep, item, self._scopes[item])

    async def _keep(self, item: str, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await self._hold(item)
        del self._scopes[item]
        if item in self._items:  # it came back before we were through with letting it go
            self._start(item)

    async def _hold(self, item: str) -> None:
        """Have the item worked on; return when its lock was lost."""
        grant: Grant | None = None
        try:
            async with self._lock_of(item) as grant:
                await self._worker(item, grant)
                await trio.sleep_forever()
        except LockLost as error:
            if grant is None or error.path != grant.path:
                raise  # of a lock of the worker's own
        except SessionExpired:
            if grant is not None and not grant.lost:
                raise
