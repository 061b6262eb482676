"""A queue whose items are consumed when their block is through, and given back when it fails.

Owns putting, and the taking of the next item. Names and framing are `entries`', the end of an item is
`consumption`'s, the block that holds one `grant`'s.

Rules that hold here:

- An item is held by one consumer at a time: its mark in `taken` is an ephemeral znode, made in one
  transaction with a check of the entry, so that no mark is made for an entry that is gone. The body is
  cancelled, and `ItemLost` raised, when the session cannot be relied upon any more.
- At least once: an item leaves the queue when its body is through, or with `Item.consume`. Whatever else ends
  the body leaves the item at its place. What `Item.consume` writes happens exactly once.
- The names are listed anew for every attempt: an item of a higher rank is never overtaken by one that was
  seen earlier. Who was beaten to the first one chooses at random among more and more of the same rank.
- A mark's name is the entry's, and will be others' too: ours bears a mark of its own, and is believed, and
  deleted, only as long as it does.
- Waiting consumers watch both lists, and look again whenever one changes, the queue vanishes or a session
  expires. Each look lists all names, as everybody's does: keep a queue to some thousand items.

Synopsis::

    queue = Queue(zk, "/tasks")
    await queue.put(b"resize 17.png", priority=50)

    async with queue.take() as item:
        await handle(item.data)  # cancelled when the item can no longer be guaranteed
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from uuid import uuid4

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
    Stat,
    Watch,
)
from recipes.consumption import Consumption
from recipes.entries import Entries, below, entries_of, first_of, free
from recipes.errors import ItemLost, OutcomeUnknown
from recipes.fence import FencedTransaction
from recipes.grant import Grant, Standing, holding, let_go
from recipes.line import KAZOO, Layout

CHOICE_MAX: Final = 64
"""Among how many items of one rank consumers choose at most, when they get into each other's way."""


class _Claim(NamedTuple):
    name: str
    raw: bytes
    held: Standing


class Item:
    """An item that is ours until its block ends. `token` rises each time that an item is taken."""

    def __init__(self, zk: Client, entries: Entries, claim: _Claim, grant: Grant) -> None:
        self.name: Final = claim.name
        self.raw: Final = claim.raw
        """the entry's bytes; where its layout wraps the data, with the wrapping"""
        self.token: Final = grant.token
        self._zk = zk
        self._entries = entries
        self._grant = grant
        self._held = claim.held
        self._consumptions: list[Consumption] = []

    def __repr__(self) -> str:
        return f"<Item {self.name} token={self.token:#x}{' lost' if self.lost else ''}>"

    @property
    def data(self) -> bytes:
        """What was put. Raises `BadEntry` (a ValueError) if another library put something else than exactly
        one message there."""
        messages = self.messages
        if len(messages) != 1:
            raise ValueError(f"{self.name} holds {len(messages)} messages: see `Item.messages`")
        return messages[0]

    @property
    def messages(self) -> tuple[bytes, ...]:
        """All that was put into this entry: Curator's `putMulti` puts several, which make one item."""
        return self._entries.unpack(self.raw)

    @property
    def consumed(self) -> bool:
        """Whether the item is out of the queue for good."""
        return any(one.done for one in self._consumptions)

    @property
    def lost(self) -> bool:
        """Whether the guarantee lapsed before the block was through."""
        return self._grant.lost

    def ensure(self) -> None:
        """Raise `ItemLost` if it is lost. No checkpoint: to be called right before a side effect."""
        self._grant.ensure()

    async def verify(self) -> None:
        """Ask the server whether the item is still ours; raise `ItemLost` if not."""
        await self._grant.verify()

    def transaction(self) -> FencedTransaction:
        """A transaction that the server refuses once the item is not ours any more. The item stays ours."""
        return self._grant.transaction()

    def consume(self) -> Consumption:
        """A transaction that takes the item out of the queue as well: to be the last thing in its block.

        All or nothing, so that the writes happen once, however often the item is taken::

            async with item.consume() as writes:
                writes.set("/totals", new_total, version=old.version)

        If a write fails, the item is still held, and the block's end consumes it without the writes, unless
        the error leaves the block. Raises RuntimeError if it was consumed already.
        """
        if self.consumed:
            raise RuntimeError(f"{self.name} was consumed already")
        entry = below(self._entries.entries, self.name)
        consumption = Consumption(self._zk, entry, self._held, self._grant.loss)
        self._consumptions.append(consumption)
        return consumption

    @property
    def _marked(self) -> bool:
        return all(one.leaves_mark for one in self._consumptions)


class Queue:
    """The queue at `path`: kazoo's LockingQueue or, with `layout` CURATOR, a DistributedQueue (puts without
    priority) or DistributedPriorityQueue (puts with one), whose consumers all have the same `lock_path`.

    A Curator queue without a `lock_path` can only be put into.
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        layout: Layout = KAZOO,
        lock_path: str | None = None,
        policy: Loss = Loss.DEADLINE,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        """Raises ValueError for a layout that queues do not have, or a `lock_path` where there is no use for
        one."""
        self._zk = zk
        self.path = path
        self._entries = entries_of(layout, path, lock_path)
        self._policy = policy
        self._acl = acl

    def __repr__(self) -> str:
        return f"<Queue {self.path}>"

    # -- putting ------------------------------------------------------------------------------------

    async def put(self, data: bytes, priority: int | None = None, *, at_least_once: bool = False) -> str:
        """Put one item; returns its name. A lower `priority` is taken first: 0 to 999, 100 if None; in
        Curator's layout any 32-bit number, and none if None.

        A reply that was lost raises `OutcomeUnknown`: the item may be in the queue, once (as after a
        cancellation). With `at_least_once` it is put again instead. Raises ValueError for a priority out of
        bounds.
        """
        (name,) = await self.put_all([data], priority, at_least_once=at_least_once)
        return name

    async def put_all(
        self, items: Sequence[bytes], priority: int | None = None, *, at_least_once: bool = False
    ) -> list[str]:
        """As `put`, for several items: all of them or none, in this order."""
        prefix = below(self._entries.entries, self._entries.prefix(priority))
        while items:
            try:
                names = await self._put(prefix, items)
                if names is not None:
                    return names
            except SessionExpired:
                continue  # the server's word, in place of what was asked: nothing was done
            except RequestTooLarge:
                raise
            except ConnectionLost as error:
                if not at_least_once:
                    raise OutcomeUnknown(path=self.path, operation="put") from error
        return []

    async def _put(self, prefix: str, items: Sequence[bytes]) -> list[str] | None:
        """The names of what was put; None if there was no place for it yet."""
        transaction = self._zk.transaction()
        for data in items:
            transaction.create(prefix, self._entries.pack(data), acl=self._acl, sequential=True)
        try:
            return [str(path).rpartition("/")[2] for path in await transaction.commit()]
        except NoNode:
            # Here and not before: an empty container may be deleted at any time.
            await self._make_parents()
            return None

    async def _make_parents(self) -> None:
        for path in (self._entries.entries, self._entries.taken):
            if path is not None:
                await self._zk.ensure_path(path, acl=self._acl)

    async def size(self) -> int:
        """How many items there are, those that are taken included."""
        while True:
            try:
                return len(free(await self._zk.children(self._entries.entries), ()))
            except NoNode:
                return 0
            except SessionExpired:
                continue  # the next session can tell, too

    # -- taking -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def take(self, *, wait: bool = True, timeout: float = math.inf) -> AsyncIterator[Item]:
        """Hold the next item for the block, which consumes it if it ends without an exception.

        `timeout` (seconds) bounds the waiting and not the block, and raises `trio.TooSlowError`; `wait` False
        raises `trio.WouldBlock` if there is nothing to take. Raises `ItemLost` in place of the body when the
        item can no longer be guaranteed: then somebody else gets it, unless it was consumed by the last word.
        """
        with trio.fail_after(timeout):
            claim = await self._next(wait=wait)
        item: Item | None = None

        async def release() -> None:
            if item is None or item._marked:
                await let_go(self._zk, claim.held)

        async with holding(
            self._zk,
            claim.held,
            error=ItemLost,
            what=f"item {claim.name} of {self.path}",
            policy=self._policy,
            release=release,
        ) as grant:
            item = Item(self._zk, self._entries, claim, grant)
            yield item
            if not item.consumed:
                await item.consume().commit()

    async def _next(self, *, wait: bool) -> _Claim:
        """Take an item. Connections and sessions that come and go are lived through."""
        taken = self._entries.taken
        if taken is None:
            raise ValueError(f"to take from the queue {self.path} its consumers' lock_path is needed")
        beaten = 0
        while True:
            try:
                # Who was beaten has looked at a list too old: what the leader knows helps.
                waiting = await self._free(taken, linearizable=beaten > 0)
                if not waiting and wait:
                    with self._zk.watch() as watch:
                        waiting = await self._free(taken, watch)
                        if not waiting:
                            await watch.wait()
                elif not waiting:
                    waiting = await self._free(taken, linearizable=True)
                    if not waiting:
                        raise trio.WouldBlock
                if not waiting:
                    beaten = 0
                    continue
                choice = first_of(waiting, min(2 ** min(beaten, 9), CHOICE_MAX))
                claim = await self._claim(random.choice(choice), taken)
                if claim is not None:
                    return claim
                beaten += 1
            except SessionExpired:
                continue

    async def _free(self, taken: str, watch: Watch | None = None, *, linearizable: bool = False) -> list[str]:
        """The entries that nobody has taken; `watch` then tells when there may be others."""
        try:
            names = await self._zk.children(self._entries.entries, watch=watch, linearizable=linearizable)
            return free(names, await self._zk.children(taken, watch=watch))
        except NoNode:
            await self._make_parents()
            return await self._free(taken, watch, linearizable=linearizable)

    async def _claim(self, name: str, taken: str) -> _Claim | None:
        """Take this entry; None if somebody else was faster."""
        try:
            raw, stat = await self._zk.get(below(self._entries.entries, name))
        except NoNode:
            return None
        mark, path = uuid4().hex.encode(), below(taken, name)
        try:
            held = await self._mark(below(self._entries.entries, name), stat, path, mark)
        except BaseException:
            self._zk.janitor.delete(path, mark=mark)
            raise
        return None if held is None else _Claim(name, raw, held)

    async def _mark(self, entry: str, seen: Stat, path: str, mark: bytes) -> Standing | None:
        transaction = self._zk.transaction()
        transaction.check(entry, seen.version)
        # Empty, then filled: so the reply carries a Stat, and with it the token.
        transaction.create(path, b"", acl=self._acl, ephemeral=True)
        transaction.set(path, mark, version=0)
        try:
            _, _, stat = await transaction.commit()
            assert isinstance(stat, Stat)
            return Standing(path, stat.czxid, stat.ephemeral_owner, mark)
        except (NodeExists, NoNode, BadVersion):
            return None
        except ConnectionLost:
            return await self._find(path, mark)

    async def _find(self, path: str, mark: bytes) -> Standing | None:
        """Look for the mark of a transaction whose reply was lost."""
        try:
            data, stat = await self._zk.get(path, linearizable=True)
        except NoNode:
            return None
        if data != mark or stat.ephemeral_owner != self._zk.session.id:
            return None  # another's, or that of a session which is over
        return Standing(path, stat.czxid, stat.ephemeral_owner, mark)
