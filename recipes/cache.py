"""A live copy of a tree of znodes, which answers without asking, and tells what changes in it.

Owns the reading that keeps the copy as the server has it, and the events for those who follow it. What a
read changes is `tree`'s business.

Rules that hold here:

- One persistent, recursive watch covers the whole tree. An event says *that* something happened to a znode,
  not what: the znode is read afterwards, once for all the events that came meanwhile.
- After each reconnect the server may have kept events to itself: everything is read again, and `stale` is
  true until that is done. Events of a change and its opposite that happened meanwhile are never seen.
- Every event leads from one state of the copy to the next. What waits to be received is bounded: beyond that
  it is dropped, and `Resynced` says that the difference to what this reader received last follows.
- Reads are made in rounds, parents before children, and a round only after the one before: what was read is
  never replaced by something older.

Synopsis::

    async with Cache(zk, "/services") as services:  # entered, everything was read
        print(services["/services/a"].data, services.children("/services"))
        await services.until(lambda services: len(services.children("/services")) >= 3)
        async for event in services.events():
            match event:
                case Added(path, node) | Updated(path, node):
                    ...
                case Removed(path):
                    ...
                case Resynced():
                    ...  # what follows sums up: changes in between may be missing
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import islice
from typing import Final, NamedTuple
from weakref import WeakSet

import trio

from coord import (
    BadArguments,
    Client,
    CoordError,
    GetChildren,
    GetData,
    NoAuth,
    Node,
    NoNode,
    ProtocolError,
    Resynced,
    SessionExpired,
    SessionState,
    Stat,
    WatchEvent,
)
from coord import Events as WatchEvents
from recipes.acquirable import Enterable
from recipes.beside import beside
from recipes.tree import Change, Tree, child, difference, play

logger = logging.getLogger("recipes.cache")

EVENTS_MAX: Final = 10_000
"""Events kept for one reader of `CachedTree.events`, beside the difference it may have been given."""

ZNODES_PER_REQUEST: Final = 15
"""Read with one request: so many of the largest (1 MiB) are an answer that every server gives."""

REQUESTS_PER_ROUND: Final = 16
"""Under way at a time."""

_CONNECTED: Final = (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)

Event = Change | Resynced


class CacheEvents(trio.abc.ReceiveChannel[Event]):
    """What happens to a `CachedTree`, from the moment of `events()` on. Ends with the cache's block."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._seen = dict(tree.nodes)
        self._waiting: deque[Event] = deque()
        self._limit = EVENTS_MAX
        self._behind = False
        self._ended = False
        self._closed = False
        self._changed = trio.Event()

    @property
    def snapshot(self) -> dict[str, Node]:
        """A copy of the tree as it was after the event that was received last."""
        return dict(self._seen)

    async def receive(self) -> Event:
        """The next event. Raises `trio.EndOfChannel` after the last one, `trio.ClosedResourceError` when this
        channel was closed."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                if self._changed.is_set():  # else others wait for it, too
                    self._changed = trio.Event()
                await self._changed.wait()

    def receive_nowait(self) -> Event:
        """As `receive`, but raises `trio.WouldBlock` where that would wait."""
        if self._closed:
            raise trio.ClosedResourceError
        if self._behind:
            self._behind = False
            self._waiting.extend([Resynced(), *difference(self._seen, self._tree.nodes)])
            self._limit = EVENTS_MAX + len(self._waiting)
        if self._waiting:
            event = self._waiting.popleft()
            if not isinstance(event, Resynced):
                play([event], self._seen)
            return event
        raise trio.EndOfChannel if self._ended else trio.WouldBlock

    async def aclose(self) -> None:
        self._closed = True
        self._waiting.clear()
        self._changed.set()
        await trio.lowlevel.checkpoint()

    # -- for the cache ------------------------------------------------------------------------------

    def tell(self, events: list[Change] | list[Resynced]) -> None:
        if self._closed:
            return
        self._changed.set()
        if self._behind or len(self._waiting) + len(events) > self._limit:
            # The tree itself is the better memory: the difference is never longer than both trees.
            self._waiting.clear()
            self._behind = True
            return
        if self._waiting and isinstance(self._waiting[-1], Resynced) and isinstance(events[0], Resynced):
            return
        self._waiting.extend(events)

    def end(self) -> None:
        self._ended = True
        self._changed.set()


class CachedTree(Mapping[str, Node]):
    """The copy, as a mapping from path to `Node` (data and Stat); a znode that does not exist is not in it.

    Of a Stat, what changes without the data (cversion, aversion, num_children, pzxid) is as it was when this
    data was first read.
    """

    def __init__(self, zk: Client, path: str, depth: int | None) -> None:
        self.path: Final = path
        self._state = zk.session.state
        self._tree = Tree(path, depth)
        self._behind = True
        self._ended = False
        self._changed = trio.Event()
        self._readers: WeakSet[CacheEvents] = WeakSet()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}: {len(self)} znodes{', stale' if self.stale else ''}>"

    def __getitem__(self, path: str) -> Node:
        return self._tree.nodes[path]

    def __iter__(self) -> Iterator[str]:
        """The paths as they are now, parents before their children."""
        return iter(sorted(self._tree.nodes))

    def __len__(self) -> int:
        return len(self._tree.nodes)

    def children(self, path: str) -> list[str]:
        """The names of a znode's children, sorted. Raises KeyError if it is not in the cache."""
        return self._tree.children(path)

    @property
    def stale(self) -> bool:
        """May more be out of date than what is on its way? So it is without a connection, and after each
        reconnect until everything was read again; with a server without a quorum, always."""
        return self._ended or self._behind or self._state.value is not SessionState.CONNECTED

    def snapshot(self) -> dict[str, Node]:
        """A copy that does not change any more."""
        return dict(self._tree.nodes)

    def events(self) -> CacheEvents:
        """A channel of every change from now on: applied to the `snapshot` of now, they give each later
        one."""
        reader = CacheEvents(self._tree)
        self._readers.add(reader)
        if self._ended:
            reader.end()
        return reader

    async def until(self, holds: Callable[[CachedTree], object]) -> None:
        """Return once ``holds(self)`` is true; it is asked again after each change (of `stale`, too).

        Raises `trio.ClosedResourceError` when the cache's block has ended.
        """
        await trio.lowlevel.checkpoint()
        while not holds(self):
            if self._ended:
                raise trio.ClosedResourceError("the cache's block has ended")
            await self._changed.wait()

    # -- for the upkeep -----------------------------------------------------------------------------

    def publish(self, events: list[Change] | list[Resynced]) -> None:
        if events:
            for reader in list(self._readers):
                reader.tell(events)
            self._notify()

    def set_behind(self, behind: bool) -> None:
        if behind != self._behind:
            self._behind = behind
            self._notify()

    def end(self) -> None:
        self._ended = True
        for reader in list(self._readers):
            reader.end()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Cache(Enterable[CachedTree]):
    """A description of what is to be copied: `depth` None is the whole tree below `path`, 0 the znode alone,
    1 the znode and its children. Each ``async with`` makes a copy of its own, a `CachedTree`.

    A znode at `path` need not exist. Raises `NoAuth` if it may not be read; one below it that may not is left
    out, and logged. One client watches one path either so or with ``add_watch(recursive=False)``.
    """

    def __init__(self, zk: Client, path: str, *, depth: int | None = None) -> None:
        if depth is not None and depth < 0:
            raise ValueError(f"the depth of a cache of {path} is {depth}: it must be at least 0, or None")
        super().__init__()
        self._zk = zk
        self.path = path
        self.depth = depth

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @asynccontextmanager
    async def _entry(self) -> AsyncIterator[CachedTree]:
        copy = CachedTree(self._zk, self.path, self.depth)
        upkeep = _Upkeep(self._zk, copy)
        try:
            async with beside(upkeep.run), beside(upkeep.follow_session):
                await upkeep.complete.wait()
                yield copy
        finally:
            copy.end()


class _Read(NamedTuple):
    path: str
    walk: bool
    """Are its children to be read, too, whether they are known or not? If not, those that are not known."""
    listed: bool
    """with the list of its children"""


_Answer = tuple[bytes, Stat] | list[str] | CoordError
"""As `Client.multi_read` gives them."""


class _Upkeep:
    """Keeps a `CachedTree` as the server has it."""

    def __init__(self, zk: Client, copy: CachedTree) -> None:
        self._zk = zk
        self._copy = copy
        self._tree = copy._tree
        self._unread: dict[str, bool] = {}  # path -> is it part of a walk
        self._order: list[tuple[int, str]] = []  # a heap of the same paths, parents first
        self._walking: set[str] = set()  # what walks have still to read, under way or not
        self.complete = trio.Event()

    async def run(self) -> None:
        async with self._zk.add_watch(self._tree.root, recursive=True) as events:
            self._mark(self._tree.root, walk=True)
            while True:
                self._drain(events)
                if not self._walking and self._copy._state.value in _CONNECTED:
                    self._copy.set_behind(False)
                    self.complete.set()
                if self._unread:
                    await self._round()
                else:
                    self._note(await events.receive())

    async def follow_session(self) -> None:
        state = self._copy._state
        while True:
            await state.wait_value(lambda state: state not in _CONNECTED)
            self._copy.set_behind(True)
            await state.wait_value(lambda state: state in _CONNECTED)

    # -- what is to be read -------------------------------------------------------------------------

    def _drain(self, events: WatchEvents) -> None:
        while True:
            try:
                self._note(events.receive_nowait())
            except trio.WouldBlock:
                return

    def _note(self, event: WatchEvent | Resynced) -> None:
        if isinstance(event, WatchEvent):
            self._mark(event.path, walk=False)
            return
        self._copy.set_behind(True)
        self._copy.publish([event])
        self._mark(self._tree.root, walk=True)

    def _mark(self, path: str, *, walk: bool) -> None:
        if not self._tree.covers(path):
            return
        if path not in self._unread:
            heappush(self._order, (path.count("/") if path != "/" else 0, path))
        self._unread[path] = walk or self._unread.get(path, False)
        if walk:
            self._walking.add(path)

    # -- reading ------------------------------------------------------------------------------------

    async def _round(self) -> None:
        """Read as much as may be under way at a time, and bring the tree up to date with it."""
        reads: list[_Read] = []
        while self._order and len(reads) < ZNODES_PER_REQUEST * REQUESTS_PER_ROUND:
            _, path = heappop(self._order)
            walk = self._unread.pop(path)
            listed = self._tree.lists(path) and (walk or path not in self._tree.nodes)
            reads.append(_Read(path, walk, listed))
        answers: dict[str, list[_Answer]] = {}
        left, errors = iter(reads), list[CoordError]()

        async def fetch(some: list[_Read]) -> None:
            try:
                answers.update(await self._ask(some))
            except SessionExpired:
                pass  # to be read in the next one
            except CoordError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            while some := list(islice(left, ZNODES_PER_REQUEST)):
                nursery.start_soon(fetch, some)
        for error in errors:
            raise error  # bare, as from one request
        for read in reads:
            if read.path in answers:
                self._take(read, *answers[read.path])
            else:
                self._mark(read.path, walk=read.walk)

    async def _ask(self, reads: list[_Read]) -> dict[str, list[_Answer]]:
        """For each path what was answered to the read of its data and, if asked for, its children."""
        requests = [self._requests(read) for read in reads]
        flat = [request for some in requests for request in some]
        answers: list[_Answer]
        try:
            answers = list(await self._zk.multi_read(flat))
        except (BadArguments, ProtocolError):
            answers = [await self._ask_alone(request) for request in flat]  # too long for one answer
        rest = iter(answers)
        return {read.path: list(islice(rest, len(some))) for read, some in zip(reads, requests, strict=True)}

    def _requests(self, read: _Read) -> list[GetData | GetChildren]:
        data = GetData(read.path)
        return [data, GetChildren(read.path)] if read.listed else [data]

    async def _ask_alone(self, request: GetData | GetChildren) -> _Answer:
        try:
            if isinstance(request, GetData):
                return await self._zk.get(request.path)
            return await self._zk.children(request.path)
        except (NoNode, NoAuth) as error:
            return error

    def _take(self, read: _Read, data: _Answer, names: _Answer | None = None) -> None:
        """Bring the tree up to date with what was read of one znode."""
        if not self._unread.get(read.path):  # else its parent, read in the same round, has it walked
            self._walking.discard(read.path)
        if isinstance(data, NoAuth) and read.path == self._tree.root:
            raise data
        if isinstance(data, CoordError):
            if not isinstance(data, NoNode):
                logger.warning("left out of the cache of %s: %s", self._tree.root, data)
            self._copy.publish(self._tree.gone(read.path))
            return
        assert isinstance(data, tuple)
        changes = self._tree.found(read.path, Node(*data))
        if isinstance(names, list) and read.path in self._tree.nodes:
            changes += self._tree.listed(read.path, names)
            for path in (child(read.path, name) for name in names):
                if read.walk or path not in self._tree.nodes:
                    self._mark(path, walk=read.walk)
        self._copy.publish(changes)
