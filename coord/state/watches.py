"""The watches of one member's clients: who wants to hear of what, and who hears of a change.

Not replicated: each member keeps the watches of its own connections. A watcher is a connection; here it is
any hashable object with `identities`. Knows no tree.

Rules that hold (ZooKeeper's):

- A data or exists watch hears of created, deleted and changed data; a child watch of changed children and
  of the deletion of the znode itself. Both are gone once fired.
- A persistent watch hears of all that, and stays. A recursive one hears the same of its znode and of all
  below, except changed children, and stays.
- One change is one event to a watcher, however many of its watches it meets.
- A watcher without READ on the znode (see `Change`) is passed over: its one-shot watch is gone, and it
  hears nothing (CVE-2024-23944).

Costs: a change that nobody watches costs a few lookups, one that is watched as much as has to be told;
ancestors are looked at only while there is a recursive watch; a watcher goes at the cost of its own watches.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Final, Generic, Protocol, TypeVar

from coord.state.paths import ancestors_of
from coord.state.txn import Change
from coord.wire.ensemble import Identities
from coord.wire.records import EventType, Perms, WatcherType


class Watcher(Hashable, Protocol):
    @property
    def identities(self) -> Identities: ...


W = TypeVar("W", bound=Watcher)

_DATA, _CHILD, _PERSISTENT, _RECURSIVE = 1, 2, 4, 8
_KINDS = (_DATA, _CHILD, _PERSISTENT, _RECURSIVE)

_KINDS_OF: Final[dict[int, int]] = {
    WatcherType.CHILDREN: _CHILD,
    WatcherType.DATA: _DATA,
    WatcherType.ANY: _DATA | _CHILD | _PERSISTENT | _RECURSIVE,
    WatcherType.PERSISTENT: _PERSISTENT,
    WatcherType.PERSISTENT_RECURSIVE: _RECURSIVE,
}
_READ = int(Perms.READ)


class Watches(Generic[W]):
    """Synopsis::

    watches.add_data("/a", connection)
    for connection in watches.fire(change):
        connection.send_event(*change[:2])
    watches.drop(connection)
    """

    def __init__(self) -> None:
        self._tables: dict[int, dict[str, dict[W, None]]] = {kind: {} for kind in _KINDS}
        self.watchers: dict[W, dict[str, int]] = {}
        """who watches anything, and what: path -> bits of the tables it is in"""
        self._count = 0

    # -- who watches what -------------------------------------------------------------------------------

    def add_data(self, path: str, watcher: W) -> None:
        self._add(_DATA, path, watcher)

    def add_exists(self, path: str, watcher: W) -> None:
        """A data watch that may have to wait for its znode; it is told the same."""
        self._add(_DATA, path, watcher)

    def add_child(self, path: str, watcher: W) -> None:
        self._add(_CHILD, path, watcher)

    def add_persistent(self, path: str, watcher: W, recursive: bool) -> None:
        self._add(_RECURSIVE if recursive else _PERSISTENT, path, watcher)

    def has(self, path: str, type: int, watcher: W) -> bool:  # noqa: A002 - the protocol's name
        """Whether `watcher` has a watch of this `WatcherType` on `path`; KeyError for no such type."""
        return bool(self.watchers.get(watcher, {}).get(path, 0) & _KINDS_OF[type])

    def remove(self, path: str, type: int, watcher: W) -> bool:  # noqa: A002 - the protocol's name
        """Ends the watches of a `WatcherType`; False if there were none; KeyError for no such type."""
        bits = self.watchers.get(watcher, {}).get(path, 0) & _KINDS_OF[type]
        for kind in _KINDS:
            if bits & kind:
                self._unlist(kind, path, watcher)
                self._forget(kind, path, watcher)
        return bits != 0

    def drop(self, watcher: W) -> None:
        """The watcher is gone, and all its watches with it."""
        for path, bits in self.watchers.pop(watcher, {}).items():
            self._count -= bits.bit_count()
            for kind in _KINDS:
                if bits & kind:
                    self._unlist(kind, path, watcher)

    # -- who hears of a change --------------------------------------------------------------------------

    def fire(self, change: Change) -> Collection[W]:
        """Who is to be told of `change`, each once; their one-shot watches for it are gone."""
        if not self.watchers:
            return ()
        type_, path, acl = change
        told: dict[W, None] = {}
        if type_ is EventType.CHILDREN_CHANGED:
            self._take(_CHILD, path, told)
        else:
            self._take(_DATA, path, told)
            if type_ is EventType.DELETED:
                self._take(_CHILD, path, told)
            if recursive := self._tables[_RECURSIVE]:
                told.update(recursive.get(path, {}))
                for ancestor in ancestors_of(path):
                    told.update(recursive.get(ancestor, {}))
        if persistent := self._tables[_PERSISTENT].get(path):
            told.update(persistent)
        if not told or acl.anyone & _READ:
            return told
        return [watcher for watcher in told if acl.allows(_READ, watcher.identities)]

    # -- for the operator -------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many watches there are, of all kinds."""
        return self._count

    def summary(self) -> tuple[int, int, int]:
        """(watchers, paths, watches) as in `wchs`; without child watches, as ZooKeeper counts."""
        by_watcher = self.by_watcher()
        return len(by_watcher), len(self.by_path()), sum(map(len, by_watcher.values()))

    def by_watcher(self) -> dict[W, list[str]]:
        """The paths each watches, as in `wchc`; without child watches."""
        listing = {
            watcher: [path for path, bits in paths.items() if bits != _CHILD]
            for watcher, paths in self.watchers.items()
        }
        return {watcher: paths for watcher, paths in listing.items() if paths}

    def by_path(self) -> dict[str, list[W]]:
        """Who watches each path, as in `wchp`; without child watches."""
        listing: dict[str, list[W]] = {}
        for watcher, paths in self.by_watcher().items():
            for path in paths:
                listing.setdefault(path, []).append(watcher)
        return listing

    # -- the tables -------------------------------------------------------------------------------------

    def _add(self, kind: int, path: str, watcher: W) -> None:
        self._tables[kind].setdefault(path, {})[watcher] = None
        paths = self.watchers.setdefault(watcher, {})
        bits = paths.get(path, 0)
        if not bits & kind:
            paths[path] = bits | kind
            self._count += 1

    def _take(self, kind: int, path: str, told: dict[W, None]) -> None:
        """Moves the one-shot watches of `path` out of a table, and their watchers into `told`."""
        watchers = self._tables[kind].pop(path, None)
        if watchers:
            for watcher in watchers:
                self._forget(kind, path, watcher)
            told.update(watchers)

    def _unlist(self, kind: int, path: str, watcher: W) -> None:
        watchers = self._tables[kind][path]
        del watchers[watcher]
        if not watchers:
            del self._tables[kind][path]

    def _forget(self, kind: int, path: str, watcher: W) -> None:
        paths = self.watchers[watcher]
        paths[path] &= ~kind
        self._count -= 1
        if not paths[path]:
            del paths[path]
            if not paths:
                del self.watchers[watcher]
