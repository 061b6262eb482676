"""Who watches what: the client's half of ZooKeeper's watches, by path and kind. Pure bookkeeping.

Owns the tables of armed watches of one session: what an event means for them, what must be armed again on a
new connection, and which of them end with the session. Paths are the
server's (with the chroot). Must not know: bytes, time, tasks.

Rules that hold:

- A one-shot watcher is forgotten with the event that concerns it; a persistent one stays until removed.
- One event tells a watcher once, however many of its watches it concerns.
- `rearming` lists every path that still matters to somebody, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple, Protocol

from coord import limits
from coord.wire.records import EventType, SetWatches2Request, SetWatchesRequest, WatcherType


class Kind(Enum):
    """What a watch waits for; the order is that of the vectors in setWatches2."""

    DATA = "data"
    """armed by a read of an existing znode (getData, exists)"""
    EXISTS = "exist"
    """armed by exists on a missing znode"""
    CHILDREN = "child"
    PERSISTENT = "persistent"
    RECURSIVE = "persistent_recursive"


ONE_SHOT: Final = (Kind.DATA, Kind.EXISTS, Kind.CHILDREN)
LASTING: Final = (Kind.PERSISTENT, Kind.RECURSIVE)

_FIRED_BY: Final[dict[int, tuple[Kind, ...]]] = {
    EventType.CREATED: (Kind.DATA, Kind.EXISTS),
    EventType.DATA_CHANGED: (Kind.DATA, Kind.EXISTS),
    EventType.DELETED: (Kind.DATA, Kind.EXISTS, Kind.CHILDREN),
    EventType.CHILDREN_CHANGED: (Kind.CHILDREN,),
    EventType.DATA_WATCH_REMOVED: (Kind.DATA, Kind.EXISTS),
    EventType.CHILD_WATCH_REMOVED: (Kind.CHILDREN,),
}
"""Which one-shot watches an event takes with it (`ZKWatchManager.materialize`)."""


class WatchEvent(NamedTuple):
    """Something happened to the znode at `path`; `zxid` is that of the change, or -1 where the server does
    not tell (Apache ZooKeeper before 3.9)."""

    type: EventType
    path: str
    zxid: int = -1


class Watcher(Protocol):
    """Whoever watches, and what it is told. None of it may wait, nor call back into the session."""

    def fired(self, event: WatchEvent) -> None: ...

    def session_ended(self) -> None:
        """One-shot watches only: they end with the session (or the client)."""

    def resynced(self) -> None:
        """Persistent watches only: armed again on a new connection; events may have been missed."""

    def __hash__(self) -> int: ...


class Watches:
    """The tables: kind -> path -> watchers, and the same by watcher."""

    def __init__(self) -> None:
        self._tables: dict[Kind, dict[str, set[Watcher]]] = {kind: {} for kind in Kind}
        self._of: dict[Watcher, set[tuple[Kind, str]]] = {}

    def add(self, kind: Kind, path: str, watcher: Watcher) -> None:
        self._tables[kind].setdefault(path, set()).add(watcher)
        self._of.setdefault(watcher, set()).add((kind, path))

    def drop(self, watcher: Watcher) -> list[tuple[Kind, str]]:
        """Forgets all watches of `watcher`; returns those that nobody else has."""
        mine = self._of.pop(watcher, set())
        for kind, path in mine:
            self._tables[kind][path].discard(watcher)
        unwatched = [(kind, path) for kind, path in mine if not self._tables[kind][path]]
        for kind, path in unwatched:
            del self._tables[kind][path]
        return unwatched

    def disarming(self, watcher: Watcher) -> list[tuple[str, WatcherType]]:
        """Forgets all watches of `watcher`; returns those of the server that can go: nobody else has them,
        and removing them takes no other watch along."""
        unwatched = [(path, *_TABLES[kind]) for kind, path in self.drop(watcher)]
        return [(path, table) for path, table, spared in unwatched if spared.issuperset(self.kinds(path))]

    def kinds(self, path: str) -> list[Kind]:
        """The kinds of watches somebody has on exactly this path."""
        return [kind for kind in Kind if path in self._tables[kind]]

    def armed(self) -> Iterator[tuple[Kind, str]]:
        for kind, table in self._tables.items():
            for path in table:
                yield kind, path

    def fire(self, event: WatchEvent) -> set[Watcher]:
        """Everybody whom `event` concerns; its one-shot watches are used up."""
        told: set[Watcher] = set()
        for kind in _FIRED_BY.get(event.type, ()):
            told |= self._take(kind, event.path)
        told |= self._tables[Kind.PERSISTENT].get(event.path, set())
        if event.type != EventType.CHILDREN_CHANGED and self._tables[Kind.RECURSIVE]:
            for path in _self_and_ancestors(event.path):
                told |= self._tables[Kind.RECURSIVE].get(path, set())
        return told

    def end_session(self) -> set[Watcher]:
        """Forgets the one-shot watches, which end with the session; returns who had any."""
        ended: set[Watcher] = set()
        for kind in ONE_SHOT:
            for path in list(self._tables[kind]):
                ended |= self._take(kind, path)
        return ended

    def lasting(self) -> set[Watcher]:
        """Everybody with a persistent watch: they outlive connection and session, but miss events then."""
        return {w for kind in LASTING for watchers in self._tables[kind].values() for w in watchers}

    def _take(self, kind: Kind, path: str) -> set[Watcher]:
        watchers = self._tables[kind].pop(path, set())
        for watcher in watchers:
            mine = self._of[watcher]
            mine.discard((kind, path))
            if not mine:
                del self._of[watcher]
        return watchers

    def rearming(self, relative_zxid: int) -> Iterator[SetWatchesRequest | SetWatches2Request]:
        """The requests that arm everything again on a new connection, none longer than a server takes.

        The older setWatches is used where it can say it all, for servers that know no other.
        """
        chunk: list[tuple[Kind, str]] = []
        size = 0
        for kind, path in self.armed():
            cost = len(path.encode()) + 4
            if chunk and size + cost > limits.SET_WATCHES_CHUNK_BYTES:
                yield _set_watches(relative_zxid, chunk)
                chunk, size = [], 0
            chunk.append((kind, path))
            size += cost
        if chunk:
            yield _set_watches(relative_zxid, chunk)


_TABLES: Final[dict[Kind, tuple[WatcherType, frozenset[Kind]]]] = {
    Kind.DATA: (WatcherType.DATA, frozenset({Kind.CHILDREN})),
    Kind.EXISTS: (WatcherType.DATA, frozenset({Kind.CHILDREN})),
    Kind.CHILDREN: (WatcherType.CHILDREN, frozenset({Kind.DATA, Kind.EXISTS})),
    Kind.PERSISTENT: (WatcherType.ANY, frozenset()),
    Kind.RECURSIVE: (WatcherType.ANY, frozenset()),
}
"""What removeWatches is to name for a kind, and which other kinds on the path that spares. The server keeps
data and exists in one table, and Apache ZooKeeper before 3.9 has none of its own for persistent watches."""


def _set_watches(zxid: int, chunk: list[tuple[Kind, str]]) -> SetWatchesRequest | SetWatches2Request:
    paths = [[path for kind, path in chunk if kind is wanted] for wanted in Kind]
    if paths[3] or paths[4]:
        return SetWatches2Request(zxid, *paths)
    return SetWatchesRequest(zxid, *paths[:3])


def _self_and_ancestors(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield path
