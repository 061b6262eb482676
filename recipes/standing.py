"""Standing in a line of sequential znodes until the front is reached: the walk behind locks and elections.

Owns one contender's way from "wants it" to "is first". The order itself is `line`'s, what being first means
is its callers'.

Rules that hold here:

- A contender watches its nearest predecessor and nothing else: one that leaves wakes one. The
  watch is set by reading the predecessor's data: asking whether it exists would leave a watch behind when it
  does not.
- Every znode has a guid of its own. A create whose reply was lost is searched by guid, and believed only if
  the znode is owned by the session we have *now*; a stray of an older one goes to the janitor.
- Being first counts only when one look, no older than its call, shows both: nobody ahead, and our znode
  owned by our session.
- Leaving early, for whatever reason, hands (path, guid) to the client's janitor: a cancelled contender waits
  for nothing and leaves nothing behind.
- A session that expired means a new znode, at the back.
- Whoever finds strangers in line, with whom exclusion cannot work, leaves it with `LayoutConflict`: looked
  for each time we look who is ahead, so before anything is granted.

Synopsis::

    line = Line(client, "/locks/a", KAZOO, Kind.READ)
    standing = await line.reach_front(b"host7")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID, uuid4

import trio

from coord import (
    ACL,
    Client,
    ConnectionLost,
    CoordError,
    GetChildren,
    GetData,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Watch,
)
from recipes.errors import LayoutConflict
from recipes.grant import REVOKE, Standing
from recipes.line import Kind, Layout, Place, ahead_of, at_front, blocks, foreign_to, in_order, places

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those in line. `order` 0 is the first."""

    order: int
    path: str
    data: bytes
    session_id: int
    czxid: int
    mine: bool
    kind: Kind


class Line:
    """The contenders below one path, as seen by one client; those who enter it here are of one `kind`."""

    def __init__(
        self,
        client: Client,
        path: str,
        layout: Layout,
        kind: Kind = Kind.EXCLUSIVE,
        *,
        strict: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> None:
        """Raises ValueError if the layout has no names for such contenders, and for what is no path."""
        if not path.startswith("/"):
            raise ValueError(f"a path begins with a slash, not as {path!r}")
        self._client = client
        self.path = path.rstrip("/")
        self._parent = self.path or "/"
        self._layout = layout
        self._kind = kind
        self._family = layout.family(kind)
        self._strict = strict
        self._acl = acl

    async def reach_front(self, data: bytes, *, wait: bool = True) -> Standing:
        """Take a place and wait until nobody ahead keeps us waiting; with `wait` False raise
        `trio.WouldBlock` instead.

        Raises `LayoutConflict` for strangers in line. Connections that come and go are lived through.
        """

        async def take(standing: Standing) -> Standing:
            return standing

        return await self.serve_at_front(data, take, wait=wait)

    async def serve_at_front(
        self, data: bytes, serve: Callable[[Standing], Awaitable[T | None]], *, wait: bool = True
    ) -> T:
        """As `reach_front`; then await `serve(standing)` there and return its result, after which the place
        is its own concern. With the result None the place was lost, and another one is taken."""
        while True:
            guid, standing, asked = uuid4(), None, False
            try:
                if not wait:
                    await self._would_block()
                asked = True
                standing = await self._enter(guid, data)
                if standing is not None and await self._reached(standing, wait=wait):
                    result = await serve(standing)
                    if result is not None:
                        return result
            except SessionExpired:
                continue  # and our znode with it
            except BaseException:
                if asked:
                    self._withdraw(guid, standing)
                raise
            self._withdraw(guid, standing)

    async def _would_block(self) -> None:
        """Look before anything is created: trying often must cost little."""
        line = await self._places(linearizable=True)
        self._refuse_strangers(line)
        if any(blocks(place.kind, self._kind) for place in line):
            raise trio.WouldBlock

    async def contenders(self) -> list[Contender]:
        """Everybody in line, the first first."""
        found: list[Contender] = []
        for place in in_order(await self._places()):
            contender = await self._look_at(place, len(found))
            if contender is not None:
                found.append(contender)
        return found

    async def holders(self, watch: Watch | None = None) -> tuple[Contender, ...]:
        """Those whom nobody keeps waiting; `watch` then tells when that may have changed.

        A sole holder is watched by its own znode, and nothing else: who joins behind it wakes nobody.
        """
        while True:
            line = at_front(await self._places())
            if watch is not None and (not line or line[0].kind is Kind.READ):
                line = at_front(await self._places(watch))  # a reader may join those that read
            found = [await self._look_at(place, order, watch) for order, place in enumerate(line)]
            if None not in found:
                return tuple(contender for contender in found if contender is not None)

    async def request_release(self) -> int:
        """Ask all who hold now to let go, as Curator's Revoker does; returns how many that are."""
        await self._client.sync(self._parent)  # who held when the server at hand looked last, is not asked
        holders = await self.holders()
        for holder in holders:
            while True:
                try:
                    await self._client.set(holder.path, REVOKE)
                except NoNode:
                    pass  # it has let go
                except (ConnectionLost, SessionExpired):
                    continue  # to ask twice is to ask
                break
        return len(holders)

    async def _look_at(self, place: Place, order: int, watch: Watch | None = None) -> Contender | None:
        path = f"{self.path}/{place.name}"
        try:
            data, stat = await self._client.get(path, watch=watch)
        except NoNode:
            return None
        owner = stat.ephemeral_owner
        mine = owner == self._client.session.id
        return Contender(order, path, data, owner, stat.czxid, mine, place.kind)

    async def _places(self, watch: Watch | None = None, *, linearizable: bool = False) -> list[Place]:
        try:
            names = await self._client.children(self._parent, watch=watch, linearizable=linearizable)
            return places(names)
        except NoNode:
            if watch is None or await self._client.exists(self._parent, watch=watch) is None:
                return []
            return await self._places(watch)

    def _refuse_strangers(self, line: list[Place]) -> None:
        strangers = foreign_to(self._family, line, strict=self._strict)
        if strangers:
            one = strangers[0]
            raise LayoutConflict(
                f"{one.name} ({one.family}) and the {self._family} names of the layout {self._layout.name} "
                "do not exclude each other",
                path=self.path,
            )

    async def _enter(self, guid: UUID, data: bytes) -> Standing | None:
        """Create our znode; None if it is unknown how that ended, and the znode is not to be found."""
        prefix = f"{self.path}/{self._layout.prefix(guid, self._kind)}"
        while True:
            try:
                path, stat = await self._client.create_with_stat(
                    prefix, data, acl=self._acl, ephemeral=True, sequential=True
                )
                return Standing(path, stat.czxid, stat.ephemeral_owner)
            except NoNode:
                # Here and not before the loop: an empty container may be deleted at any time.
                await self._client.ensure_path(self._parent)
            except RequestTooLarge:
                raise  # it would be as large the next time
            except ConnectionLost:
                return await self._find(guid)

    async def _find(self, guid: UUID) -> Standing | None:
        """Look for the znode of a create whose reply was lost."""
        try:
            names = await self._client.children(self._parent, linearizable=True)
        except NoNode:
            return None
        for name in names:
            if self._layout.guid(guid) not in name:
                continue
            path = f"{self.path}/{name}"
            stat = await self._client.exists(path)
            if stat is not None and stat.ephemeral_owner == self._client.session.id:
                return Standing(path, stat.czxid, stat.ephemeral_owner)
        return None  # what was found belongs to a session that is over: the caller withdraws it

    async def _reached(self, standing: Standing, *, wait: bool) -> bool:
        """Wait until nobody is ahead; False if our znode is no longer there, or no longer ours."""
        while True:
            line, owner = await self._look_ahead(standing)
            self._refuse_strangers(line)
            mine = next((place for place in line if place.name == standing.name), None)
            if mine is None:
                return False
            if not await self._waited(standing, mine, line, wait=wait):
                return owner == standing.session_id == self._client.session.id

    async def _look_ahead(self, standing: Standing) -> tuple[list[Place], int]:
        """Who is in line, and who owns our znode (0: nobody), at one moment and as the leader knows it."""
        names, mine = await self._client.multi_read(
            [GetChildren(self.path or "/"), GetData(standing.path)], linearizable=True
        )
        for result in (names, mine):
            if isinstance(result, CoordError) and not isinstance(result, NoNode):
                raise result
        owner = mine[1].ephemeral_owner if isinstance(mine, tuple) else 0
        return places(names) if isinstance(names, list) else [], owner

    async def _waited(self, standing: Standing, mine: Place, line: list[Place], *, wait: bool) -> bool:
        """Wait for a change at the nearest predecessor; False, at once, if there is none."""
        for other in ahead_of(mine, line):
            with self._client.watch() as watch:
                try:
                    _, stat = await self._client.get(f"{self.path}/{other.name}", watch=watch)
                except NoNode:
                    return True  # gone since we listed: list again
                if other.sequence == mine.sequence and stat.czxid > standing.czxid:
                    continue  # bears our number but is younger
                if not wait:
                    raise trio.WouldBlock
                await watch.wait()
                return True
        return False

    def _withdraw(self, guid: UUID, standing: Standing | None) -> None:
        """Have our znode deleted, whether or not we ever learnt its name. Waits for nothing."""
        if standing is not None:
            self._client.janitor.delete(standing.path)
        else:
            self._client.janitor.delete_matching(self._parent, self._layout.guid(guid))
