"""A party: who is there, now and whenever that changes.

Owns joining, staying a member through sessions, and watching the others. Names and views are `membership`'s.

Rules that hold here:

- A membership is never lost: it is made again in every new session, and when somebody has deleted it. The
  block runs on meanwhile; `Membership.present` tells.
- A znode of ours from an earlier session is deleted and made anew, never believed: it is about to vanish.
  Another's, under a name of Curator's layout, is waited for, as a dead session would take to end; then it is
  somebody alive: `MemberNameTaken`, but only before the block has begun.
- Watching yields states, the present one at once: whoever is slow misses some in between, never the last one.

Synopsis::

    party = Party(zk, "/service/members")
    async with party.join(b"host7") as me, party.watch() as changes:
        async for members in changes:
            print(members.joined, members.left, len(members))
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import trio
from trio_util import AsyncBool

from coord import (
    ACL,
    Client,
    ConnectionLost,
    EventType,
    GetData,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
)
from recipes.beside import beside
from recipes.errors import MemberNameTaken
from recipes.grant import Standing, let_go, let_go_of_name
from recipes.line import CURATOR, KAZOO, Layout
from recipes.membership import PARTY_LAYOUTS, Member, PartyView, could_be_member, member_of, znode_name
from recipes.names import TAKEOVER_TIMEOUTS, until_gone, whose


@dataclass(eq=False)
class Membership:
    """Our own membership; `present` is whether the others see it, as far as we have heard."""

    path: str
    data: bytes
    present: AsyncBool = field(default_factory=AsyncBool)
    czxid: int = 0
    """of the present znode, or the last one: as `Member.czxid`"""
    sessions: set[int] = field(default_factory=set)
    """every session in which it was made, or may have been"""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Party:
    """The party at `path`; `layout` says whose members share it."""

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        layout: Layout = KAZOO,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        """Raises ValueError for a layout that parties do not have."""
        if layout not in PARTY_LAYOUTS:
            raise ValueError(f"{path}: parties are KAZOO, KAZOO_SHALLOW or CURATOR, not {layout.name}")
        self._zk = zk
        self.path = path.rstrip("/") or "/"
        self.layout = layout
        self._acl = acl
        self._below = path.rstrip("/") + "/"

    def __repr__(self) -> str:
        return f"<Party {self.path}>"

    # -- being there --------------------------------------------------------------------------------

    @asynccontextmanager
    async def join(self, data: bytes = b"", *, name: str | None = None) -> AsyncIterator[Membership]:
        """Be a member for the block, in every session again.

        `name` is for Curator's layout alone: the member's id, which nobody else may use. Raises
        `MemberNameTaken` if another session has it for 1.5 session timeouts, and `BadArguments` for a
        name or data that the layout cannot express.
        """
        me = Membership(self._below + znode_name(self.layout, uuid4().hex, data, name), data)
        standing: Standing | None = None

        async def keep() -> None:
            nonlocal standing
            while standing is not None:
                await until_gone(self._zk, standing)
                me.present.value = False
                standing = await self._register(me, insistent=True)

        try:
            standing = await self._register(me)
            async with beside(keep):
                yield me
        finally:
            me.present.value = False
            await self._leave(me)

    async def _leave(self, me: Membership) -> None:
        if self.layout == CURATOR:
            await let_go_of_name(self._zk, me.path)
        else:  # nobody else has the name, so nothing need be known of the znode
            await let_go(self._zk, Standing(me.path, 0, self._zk.session.id))

    async def _register(self, me: Membership, *, insistent: bool = False) -> Standing:
        while True:
            me.sessions.add(self._zk.session.id)
            try:
                standing = await self._create(me)
                if standing is None:
                    standing = await self._whose(me, insistent=insistent)
            except RequestTooLarge:
                raise  # it would be as large the next time
            except (SessionExpired, ConnectionLost):
                continue  # if it was created after all, it will be found to be ours
            if standing is not None and standing.session_id == self._zk.session.id:
                me.czxid = standing.czxid
                me.present.value = True
                return standing

    async def _create(self, me: Membership) -> Standing | None:
        """Create the znode; None if there is one already."""
        while True:
            try:
                _, stat = await self._zk.create_with_stat(me.path, me.data, acl=self._acl, ephemeral=True)
                return Standing(me.path, stat.czxid, stat.ephemeral_owner)
            except NodeExists:
                return None
            except NoNode:
                await self._zk.ensure_path(self.path)

    async def _whose(self, me: Membership, *, insistent: bool) -> Standing | None:
        seconds = math.inf if insistent else TAKEOVER_TIMEOUTS * self._zk.session.timeout
        taken = MemberNameTaken("another session is a member under this name", path=me.path)
        return await whose(self._zk, me.path, me.sessions, seconds=seconds, taken=taken)

    # -- seeing who is there ------------------------------------------------------------------------

    async def members(self) -> frozenset[Member]:
        """Who is a member now."""
        while True:
            try:
                names = await self._zk.children(self.path, linearizable=True)
                candidates = [name for name in names if could_be_member(self.layout, name)]
                found = await self._zk.multi_read([GetData(self._below + name) for name in candidates])
                break
            except NoNode:
                return frozenset()
            except SessionExpired:
                continue  # the next session can tell, too
        nodes = [
            (name, node) for name, node in zip(candidates, found, strict=True) if isinstance(node, tuple)
        ]
        members = [member_of(self.layout, name, data, stat) for name, (data, stat) in nodes]
        return frozenset(one for one in members if one is not None)

    def watch(self) -> PartyChanges:
        """Views of who is a member, the present one first: ``async with party.watch() as changes``."""
        return PartyChanges(self._zk, self.path, self.layout)


class PartyChanges(trio.abc.ReceiveChannel[PartyView]):
    """Views of a party, each once it differs from the last. Reads happen in the receiver's task."""

    def __init__(self, zk: Client, path: str, layout: Layout) -> None:
        self._zk = zk
        self._path = path
        self._below = path.rstrip("/") + "/"
        self._layout = layout
        self._watch = zk.watch()
        self._known: dict[str, Member | None] = {}
        """what was read of each child, and is watched; None for one that is no member"""
        self._listed = False
        self._last: PartyView | None = None
        self._closed = False
        self._receiving = False

    async def receive(self) -> PartyView:
        """The next view. Raises `ClientClosed` when the client was closed, `trio.ClosedResourceError` when
        this channel was, `trio.BusyResourceError` if another task is receiving."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._receiving = True
        try:
            return await self._next()
        finally:
            self._receiving = False

    async def _next(self) -> PartyView:
        while not self._closed:
            try:
                while self._listed or self._watch.ready:
                    await self._heed()
                await self._look()
            except SessionExpired:
                self._forget()
                continue
            view = PartyView(frozenset(one for one in self._known.values() if one is not None))
            if self._last is None or view.members != self._last.members:
                self._last = view.after(self._last or PartyView(frozenset()))
                return self._last
        raise trio.ClosedResourceError

    async def _heed(self) -> None:
        """Wait for something to happen; what it was about has to be read again."""
        event = await self._watch.wait()
        if event.path != self._path and event.type is not EventType.CHILDREN_CHANGED:
            self._known.pop(event.path.removeprefix(self._below), None)
        self._listed = False

    async def _look(self) -> None:
        """Bring `_known` up to date; cancelled or interrupted, it goes on the next time."""
        names = await self._list()
        for name in self._known.keys() - names:
            del self._known[name]
        for name in sorted(names - self._known.keys()):
            try:
                data, stat = await self._zk.get(self._below + name, watch=self._watch)
            except NoNode:
                continue  # gone since
            self._known[name] = member_of(self._layout, name, data, stat)
        self._listed = True

    async def _list(self) -> set[str]:
        while True:
            try:
                names = await self._zk.children(self._path, watch=self._watch)
            except NoNode:
                if await self._zk.exists(self._path, watch=self._watch) is None:
                    return set()
                continue
            return {name for name in names if could_be_member(self._layout, name)}

    def _forget(self) -> None:
        self._watch.clear()
        self._known.clear()
        self._listed = False

    async def aclose(self) -> None:
        self._closed = True
        self._watch.close()
        await trio.lowlevel.checkpoint()
