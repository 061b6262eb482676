"""A semaphore: so many permits, given out in order of arrival.

Owns the queue for permits, the permits (each is an ephemeral znode, a *lease*), and the stored limit. Rules
that hold here:

- Only the head of the queue looks for free permits, and only it watches the leases: one that is given back
  wakes one.
- The head takes its leases and leaves the queue in one transaction, which also checks that the limit is still
  the one it was read as. So there are never more leases than the limit that was stored at that moment, and
  no lease outside of a queue's turn.
- Several permits are taken all at once or not at all. Who waits for many holds up those behind.
- Whether a transaction whose reply was lost was done is told by the leases themselves: they have guids of
  their own, and are believed only if this session owns them.
- A limit is checked against the stored one at the first use, as kazoo does; from then on the stored one
  counts, so that `set_limit` concerns everybody, waiting or not. Lowering it takes nothing away from holders.
  (kazoo's clients that have looked already keep to the number they were made with.)

Synopsis::

    licences = Semaphore(zk, "/licences", 5, data=b"host7")
    async with licences as lease:
        await use(lease.token)
    async with licences.acquire(permits=2, timeout=10):
        ...
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import trio

from coord import (
    ACL,
    BadVersion,
    Client,
    ConnectionLost,
    Loss,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    States,
    Watch,
)
from recipes.acquirable import Acquirable
from recipes.errors import PermitLost, SemaphoreMismatch
from recipes.grant import Grant, Standing, holding, let_go
from recipes.line import KAZOO, Kind, Layout
from recipes.lock import OnLoss
from recipes.permits import places_of
from recipes.standing import Contender, Line


@dataclass(frozen=True, slots=True)
class _Limit:
    """How many permits there are, and which version of its znode says so (-1: it is not stored)."""

    value: int
    version: int = -1


class Semaphore(Acquirable[Grant]):
    """`limit` permits at `path`; None takes the limit that is stored.

    The layout is kazoo's Semaphore or Curator's InterProcessSemaphoreV2. kazoo stores the limit as the data
    of `path`. Curator's users agree on it, or keep it in a SharedCount: then `shared_count` is its path.
    `data` is what `holders` shows of us.
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        limit: int | None,
        data: bytes = b"",
        *,
        layout: Layout = KAZOO,
        shared_count: str | None = None,
        policy: Loss = Loss.DEADLINE,
        strict: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        """Raises ValueError for a limit below 1 or too large to be stored, and for a layout that has no
        semaphores, or none at the root."""
        super().__init__()
        if limit is not None and limit < 1:
            raise ValueError(f"a semaphore's limit is 1 or more, not {limit}: {path}")
        self._places = places_of(layout, path, shared_count)
        self._layout = layout
        if limit is None and self._places.limit is None:
            raise ValueError(f"no limit is stored by the layout {layout.name}: it has to be given")
        if limit is not None and self._places.limit is not None:
            self._places.encode(limit)
        self._zk = zk
        self.path: Final = path
        self.data = data
        self._limit = limit
        self._agreed = False
        self._policy = policy
        self._acl = acl
        self._queue = Line(zk, self._places.queue, layout, strict=strict, acl=acl)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @asynccontextmanager
    async def acquire(
        self,
        permits: int = 1,
        *,
        wait: bool = True,
        timeout: float = math.inf,
        data: bytes | None = None,
        on_loss: OnLoss = "raise",
    ) -> AsyncIterator[Grant]:
        """Hold so many permits for the block; its grant is that of the first of them.

        `timeout` (seconds) bounds the whole acquisition and not the block, and raises `trio.TooSlowError`.
        `wait` False raises `trio.WouldBlock` instead of waiting. `on_loss` "move_on" leaves the block
        without an error when the permits are lost; `Grant.lost` then says so.

        Raises `SemaphoreMismatch` if another limit is stored than ours, ValueError for more permits than
        there are, `LayoutConflict` for strangers in the queue.
        """
        if permits < 1:
            raise ValueError(f"1 permit or more can be acquired, not {permits}: {self.path}")
        with trio.fail_after(timeout):
            leases = await self._take(permits, self.data if data is None else data, wait=wait)
        others = [lease.path for lease in leases[1:]]
        async with holding(
            self._zk,
            leases[0],
            error=PermitLost,
            what=f"permit of {self.path}",
            policy=self._policy,
            raise_loss=on_loss == "raise",
            release=lambda: let_go(self._zk, leases[0], besides=others),
        ) as grant:
            yield grant

    async def set_limit(self, limit: int) -> None:
        """Store another limit, for everybody; 0 gives out no more permits until it is raised again.

        Raises ValueError where none, or none so large, is stored (Curator's layout: in a `shared_count`).
        """
        if limit < 0:
            raise ValueError(f"a semaphore's limit is 0 or more, not {limit}: {self.path}")
        place = self._places.limit
        if place is None:
            raise ValueError(f"{self!r} stores no limit: Curator does so in a SharedCount (`shared_count`)")
        data = self._places.encode(limit)
        while True:
            try:
                stored = await self._stored(place, limit)
                if stored.value == limit:
                    break
                await self._zk.set(place, data, version=stored.version)
            except (BadVersion, NoNode, ConnectionLost, SessionExpired):
                continue  # read again: it tells whether there is anything left to do
        self._limit, self._agreed = limit, True

    async def holders(self) -> tuple[Contender, ...]:
        """Who holds a permit, the longest first: one for each permit."""
        return await self._holders()

    def watch_holders(self) -> States[tuple[Contender, ...]]:
        """Who holds permits, as a channel of states: the present one first, then each that differs.

        To be used as ``async with semaphore.watch_holders() as holders:``.
        """
        return States(self._zk.watch(), self._holders, lambda holders: holders)

    async def contenders(self) -> list[Contender]:
        """Who waits for permits, in order."""
        return await self._queue.contenders()

    async def _holders(self, watch: Watch | None = None) -> tuple[Contender, ...]:
        found = []
        for name in await self._lease_names(watch):
            path = f"{self._places.leases}/{name}"
            try:
                data, stat = await self._zk.get(path, watch=watch)
            except NoNode:
                continue
            found.append((stat.czxid, path, data, stat.ephemeral_owner))
        mine = self._zk.session.id
        return tuple(
            Contender(order, path, data, owner, czxid, owner == mine, Kind.PERMIT)
            for order, (czxid, path, data, owner) in enumerate(sorted(found))
        )

    async def _lease_names(self, watch: Watch | None = None) -> list[str]:
        path = self._places.leases
        try:
            return await self._zk.children(path, watch=watch)
        except NoNode:
            if watch is None or await self._zk.exists(path, watch=watch) is None:
                return []
            return await self._lease_names(watch)

    # -- the limit ------------------------------------------------------------------------------------

    async def _agree(self, watch: Watch | None = None) -> _Limit:
        """The limit that counts. At the first use it must be the one we were told."""
        if self._places.limit is None:
            assert self._limit is not None
            return _Limit(self._limit)
        stored = await self._stored(self._places.limit, self._limit, watch)
        if not self._agreed and self._limit not in (None, stored.value):
            raise SemaphoreMismatch(f"its limit is {stored.value}, not {self._limit}", path=self.path)
        self._limit, self._agreed = stored.value, True
        return stored

    async def _stored(self, path: str, initial: int | None, watch: Watch | None = None) -> _Limit:
        """The stored limit; where there is none, `initial` is stored first."""
        while True:
            try:
                data, stat = await self._zk.get(path, watch=watch)
                if data:
                    return _Limit(self._places.decode(data), stat.version)
                await self._zk.set(path, self._encoded(initial), version=stat.version)
            except ValueError as error:
                raise SemaphoreMismatch(f"no limit can be read in it ({error})", path=path) from error
            except NoNode:
                await self._create_limit(path, self._encoded(initial))
            except (BadVersion, ConnectionLost):
                continue

    async def _create_limit(self, path: str, data: bytes) -> None:
        """In one go with its data: nobody sees it without (kazoo's may, for a moment, be empty)."""
        try:
            await self._zk.create(path, data, acl=self._acl, make_parents=True)
        except (NodeExists, ConnectionLost):
            pass

    def _encoded(self, limit: int | None) -> bytes:
        if limit is None:
            raise SemaphoreMismatch("no limit is stored", path=self.path)
        return self._places.encode(limit)

    # -- taking permits -------------------------------------------------------------------------------

    async def _take(self, permits: int, data: bytes, *, wait: bool) -> list[Standing]:
        while True:
            try:
                await self._check(permits, wait=wait)
                break
            except SessionExpired:
                continue

        async def serve(place: Standing) -> list[Standing] | None:
            return await self._serve(place, permits, data, wait=wait)

        return await self._queue.serve_at_front(data, serve, wait=wait)

    async def _check(self, permits: int, *, wait: bool) -> None:
        """What can be told without standing in line. (Who waits pays for it the first time only.)"""
        if not wait:
            await self._zk.sync(self._places.leases)  # who has let go has let go
        if not wait or not self._agreed or permits > (self._limit or 0):
            limit = await self._agree()
            if permits > max(limit.value, 1):
                raise ValueError(f"{permits} permits of {limit.value} can never be had: {self.path}")
            if not wait and len(await self._lease_names()) + permits > limit.value:
                raise trio.WouldBlock

    async def _serve(
        self, place: Standing, permits: int, data: bytes, *, wait: bool
    ) -> list[Standing] | None:
        """At the head of the queue: wait until there are enough permits, take them and leave. None if our
        place there was lost."""
        guids = [uuid4() for _ in range(permits)]
        tried = False
        try:
            while True:
                with self._zk.watch() as watch:
                    limit = await self._agree(watch)
                    if len(await self._lease_names(watch)) + permits > limit.value:
                        if not wait:
                            raise trio.WouldBlock
                        await watch.wait()
                        continue
                tried = True
                leases = await self._swap(place, limit, guids, data)
                if len(leases) == permits:
                    return leases
                if await self._zk.exists(place.path, linearizable=True) is None:
                    self._withdraw(guids)
                    return None
        except BaseException:
            if tried:
                self._withdraw(guids)
            raise

    async def _swap(self, place: Standing, limit: _Limit, guids: list[UUID], data: bytes) -> list[Standing]:
        """Exchange our place in the queue for leases with these guids; returns those that we then have."""
        transaction = self._zk.transaction()
        transaction.delete(place.path)
        if limit.version >= 0 and self._places.limit is not None:
            transaction.check(self._places.limit, limit.version)
        for guid in guids:
            path = f"{self._places.leases}/{self._layout.prefix(guid, Kind.PERMIT)}"
            sequential = self._layout.marker(Kind.PERMIT) != ""
            transaction.create(path, data, ephemeral=True, sequential=sequential, acl=self._acl)
        try:
            results = await transaction.commit()
            paths = [path for path in results if isinstance(path, str)]
        except BadVersion:
            return []  # the limit has changed
        except NoNode as error:
            if error.path != place.path:
                await self._zk.ensure_path(self._places.leases)
                return []
            paths = await self._find(guids)  # was an attempt before, believed to be lost, done after all?
        except RequestTooLarge:
            raise  # as many permits with as much data would be as large the next time
        except ConnectionLost:
            paths = await self._find(guids)
        one = await self._zk.exists(paths[0]) if len(paths) == len(guids) else None
        if one is None or one.ephemeral_owner != self._zk.session.id:
            return []
        return [Standing(path, one.czxid, one.ephemeral_owner) for path in paths]

    async def _find(self, guids: list[UUID]) -> list[str]:
        try:
            names = await self._zk.children(self._places.leases, linearizable=True)
        except NoNode:
            return []
        ours = [self._layout.guid(guid) for guid in guids]
        return [f"{self._places.leases}/{name}" for name in names if any(guid in name for guid in ours)]

    def _withdraw(self, guids: list[UUID]) -> None:
        for guid in guids:
            self._zk.janitor.delete_matching(self._places.leases, self._layout.guid(guid))
