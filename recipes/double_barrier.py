"""A double barrier: nobody starts before all have come, nobody goes on before all have finished.

Owns the znodes below one path: an ephemeral one for each member, and `ready`, in the layout of kazoo's
DoubleBarrier and Curator's DistributedDoubleBarrier (all ephemeral children but `ready` are members).

Rules that hold here:

- Who counts `count` members makes `ready`, in one transaction with a check that these members are still
  there: it never comes too early.
- A member whose znode is older than `ready`'s last change (czxid < mzxid) is *in the round*, whatever it has
  noticed of it so far. There is no other definition: who enters goes by it, and so does who leaves.
- Who comes later, while somebody of the round is there, joins the round by changing `ready`. If nobody is,
  `ready` is a leftover of members that died: it is removed, in a transaction that fails if anything has
  changed meanwhile, and not believed.
- Having seen `ready` decides, whatever becomes of it afterwards.
- Who leaves waits for those who are in the round at that moment, and for nobody who came afterwards. The last
  one deletes `ready` together with its own znode. Where several leave at the same instant none may be the
  last: then one of them removes `ready` right afterwards, as above.
- Who dies, fails or gives up has left. A body that raises does not wait for the others.
- An attempt that ends early, for whatever reason, has its znode deleted by the client's janitor.

With kazoo's members on the same path less is possible. They take `ready` away when the first of them leaves:
an entrant of ours that has no connection just then never learns of it, and waits for the next round. They
count `ready` as a member, so they may start one member too early where they come while it is there; they wait
for newcomers when they leave; and one that finds `ready` there when it comes, with too few members, waits
forever. Curator's members believe any `ready`, and go on when all but one have left.

Synopsis::

    async with DoubleBarrier(zk, "/phases/1", count=3) as place:  # starts when three are there
        await work()  # cancelled, and BarrierLost raised, when our membership can no longer be guaranteed
    # goes on when all of them are through
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import trio

from coord import (
    ACL,
    BadVersion,
    Client,
    ConnectionLost,
    CoordError,
    GetChildren,
    GetData,
    Loss,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Stat,
    WatchEvent,
)
from recipes.acquirable import Enterable
from recipes.errors import BarrierLost
from recipes.grant import Grant, Standing, holding

READY: Final = "ready"

# Ours sort behind kazoo's, the first of which (by name) stays until all others have gone. We do not.
_PREFIX: Final = "member-"
_KAZOO: Final = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class _Round:
    """One look at a barrier that has a `ready`, at a single moment."""

    ready: Stat
    members: frozenset[str]
    """the names of those in the round"""
    data: bytes
    """of the path itself"""
    version: int


class DoubleBarrier(Enterable[Grant]):
    """A double barrier at `path`, for `count` members.

    `count` is a threshold: more may enter once as many have. `data` is what others see of us in our znode.
    The object is a description, to be used again and by any number of tasks, each of them a member of its
    own; a task cannot enter it twice at a time.
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        count: int,
        data: bytes = b"",
        *,
        policy: Loss = Loss.DEADLINE,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        """Raises ValueError if `count` is less than 1."""
        if count < 1:
            raise ValueError(f"the double barrier at {path} needs a count of at least 1, not {count}")
        super().__init__()
        self._zk = zk
        self.path = path.rstrip("/") or "/"
        self.count = count
        self.data = data
        self._policy = policy
        self._acl = acl
        self._below = path.rstrip("/") + "/"
        self._ready = self._below + READY
        self._inside: set[trio.lowlevel.Task] = set()

    def __repr__(self) -> str:
        return f"<DoubleBarrier {self.path} count={self.count}>"

    @asynccontextmanager
    async def enter(self, *, timeout: float = math.inf, data: bytes | None = None) -> AsyncIterator[Grant]:
        """Wait until `count` members are there, be one of them for the block, and leave with the others.

        `timeout` (seconds) bounds the wait for the others to come, and nothing else; it raises
        `trio.TooSlowError`. The block is cancelled, and `BarrierLost` raised in its place, when the
        membership can no longer be guaranteed: the others then go on without us. A block that raises, or is
        cancelled, leaves at once. Raises RuntimeError if this task is in the barrier already.
        """
        task = trio.lowlevel.current_task()
        if task in self._inside:
            raise RuntimeError(f"this task is in {self!r} already")
        self._inside.add(task)
        try:
            with trio.fail_after(timeout):
                mine, horizon = await self._enter(self.data if data is None else data)
            what = f"place in the double barrier {self.path}"
            async with holding(self._zk, mine, error=BarrierLost, what=what, policy=self._policy) as place:
                yield place
                horizon = await self._finish(mine, horizon)
            await self._outlast(horizon)
        finally:
            self._inside.discard(task)

    def _entry(self) -> AbstractAsyncContextManager[Grant]:
        return self.enter()

    # -- entering -----------------------------------------------------------------------------------

    async def _enter(self, data: bytes) -> tuple[Standing, int]:
        """Our znode, and the zxid before which those were created who are in the round with us."""
        while True:
            path = f"{self._below}{_PREFIX}{uuid4().hex}"
            try:
                mine = await self._appear(path, data)
                horizon = await self._admitted(mine)
                if mine.session_id == self._zk.session.id:
                    return mine, horizon
            except SessionExpired:
                continue  # and our znode with it
            except BaseException:
                self._zk.janitor.delete(path)
                raise
            self._zk.janitor.delete(path)

    async def _appear(self, path: str, data: bytes) -> Standing:
        while True:
            try:
                _, stat = await self._zk.create_with_stat(path, data, acl=self._acl, ephemeral=True)
            except NoNode:
                await self._zk.ensure_path(self.path)
                continue
            except RequestTooLarge:
                raise  # it would be as large the next time
            except (ConnectionLost, NodeExists):
                found = await self._zk.exists(path, linearizable=True)
                if found is None:
                    continue
                stat = found
            return Standing(path, stat.czxid, stat.ephemeral_owner)

    async def _admitted(self, mine: Standing) -> int:
        """Wait until we are in a round; the zxid before which everybody in it was created."""
        created: WatchEvent | None = None
        while True:
            with self._zk.watch() as watch:
                ready = await self._zk.exists(self._ready, watch=watch)
                if ready is None and created is not None:
                    # It was there, after us; and is gone, as it goes when kazoo's members leave.
                    return created.zxid if created.zxid > 0 else self._zk.session.last_zxid
                if ready is not None:
                    if mine.czxid < ready.mzxid:
                        return ready.mzxid
                    await self._join_or_clear()
                    continue
                horizon = await self._complete(mine)
                if horizon is not None:
                    return horizon
                created = await watch.wait()  # it was not there, so this can be nothing else

    async def _complete(self, mine: Standing) -> int | None:
        """If enough are there, say so: make `ready` and return its zxid. None: somebody else will."""
        while True:
            names = await self._members()
            if len(names) >= self.count:
                names = await self._ephemeral(names)
            if mine.name not in names or len(names) < self.count:
                return None
            others = [name for name in names if name != mine.name]
            transaction = self._zk.transaction()
            for name in [mine.name, *others[: self.count - 1]]:
                transaction.check(self._below + name)
            transaction.create(self._ready, acl=self._acl)
            transaction.set(self._ready, b"")  # its reply carries a Stat
            try:
                stat = (await transaction.commit())[-1]
            except NodeExists:
                return None  # our watch knows
            except RequestTooLarge:
                raise
            except (NoNode, ConnectionLost):
                continue
            assert isinstance(stat, Stat)
            return stat.mzxid

    async def _join_or_clear(self) -> None:
        """There is a `ready` that is older than our znode: join its round, or remove what is left of it."""
        now = await self._look()
        if now is None:
            return
        if not now.members:
            await self._clear(now)
            return
        try:
            await self._zk.set(self._ready, b"")
        except (NoNode, ConnectionLost):
            pass  # whoever looks again sees

    # -- leaving ------------------------------------------------------------------------------------

    async def _finish(self, mine: Standing, horizon: int) -> int:
        """Right before our znode goes: whom to wait for. The last one takes `ready` along."""
        while True:
            try:
                await self._zk.sync(self.path)  # else who has joined by now may not be seen
                now = await self._look()
                if now is None:
                    return horizon
                horizon = max(horizon, now.ready.mzxid)
                # kazoo's have no use for it any more: one that leaves waits until it is gone.
                if mine.name not in now.members or any(
                    name != mine.name and not _KAZOO.match(name) for name in now.members
                ):
                    return horizon
                await self._take_away(now, mine.path)
                return horizon
            except (BadVersion, NoNode, ConnectionLost):
                continue  # somebody has joined or left, or the reply was lost
            except SessionExpired:
                return horizon

    async def _outlast(self, horizon: int) -> None:
        """Wait until nobody is there any more whose znode is older than `horizon`, and leave no `ready`
        behind."""
        newcomers: set[str] = set()
        while True:
            try:
                while await self._waited(horizon, newcomers):
                    pass
                now = await self._look()
                if now is None or now.members:
                    return
                await self._clear(now)
            except SessionExpired:
                continue

    async def _waited(self, horizon: int, newcomers: set[str]) -> bool:
        """Wait for a change at one of those to be waited for; False, at once, if there is none."""
        for name in await self._members():
            if name in newcomers:
                continue
            with self._zk.watch() as watch:
                try:
                    _, stat = await self._zk.get(self._below + name, watch=watch)
                except NoNode:
                    continue
                if stat.ephemeral_owner and stat.czxid < horizon:
                    await watch.wait()
                    return True
                newcomers.add(name)
        return False

    # -- looking ------------------------------------------------------------------------------------

    async def _members(self) -> list[str]:
        """The names of all that may be members' znodes, in order."""
        try:
            return sorted(set(await self._zk.children(self.path)) - {READY})
        except NoNode:
            return []

    async def _ephemeral(self, names: list[str]) -> list[str]:
        """Those of them that are members: no folder that lies there, nor one that has gone since."""
        read = await self._zk.multi_read([GetData(self._below + name) for name in names])
        nodes = [(name, node) for name, node in zip(names, read, strict=True) if not isinstance(node, NoNode)]
        return [name for name, node in nodes if _stat_of(node).ephemeral_owner]

    async def _look(self) -> _Round | None:
        """Who is in the round; None if there is no `ready`."""
        while True:
            try:
                found, names, path = await self._zk.multi_read(
                    [GetData(self._ready), GetChildren(self.path), GetData(self.path)]
                )
                ready, (data, stat) = _stat_of(found), _node(path)
            except NoNode:
                return None
            assert isinstance(names, list)
            members = sorted(set(names) - {READY})
            read = await self._zk.multi_read([GetData(self._below + name) for name in members])
            try:
                in_round = [
                    name
                    for name, node in zip(members, map(_stat_of, read), strict=True)
                    if node.ephemeral_owner and node.czxid < ready.mzxid
                ]
            except NoNode:
                continue  # somebody has left since: look again, to see one moment and not two
            return _Round(ready, frozenset(in_round), data, stat.version)

    async def _clear(self, leftover: _Round) -> None:
        """Remove a `ready` that nobody is in the round of; changes nothing if that has changed meanwhile."""
        try:
            await self._take_away(leftover)
        except (BadVersion, NoNode, ConnectionLost):
            pass  # whoever looks again sees

    async def _take_away(self, now: _Round, *others: str) -> None:
        """Delete the `ready` that was looked at, and `others` with it.

        Its version alone does not tell: it changes when somebody joins, but the next `ready` begins anew.
        So whoever takes one away changes the version of the path, too.
        """
        async with self._zk.transaction() as transaction:
            transaction.set(self.path, now.data, version=now.version)
            transaction.delete(self._ready, version=now.ready.version)
            for path in others:
                transaction.delete(path)


def _node(result: object) -> tuple[bytes, Stat]:
    if isinstance(result, CoordError):
        raise result
    assert isinstance(result, tuple)
    return result


def _stat_of(result: object) -> Stat:
    return _node(result)[1]
