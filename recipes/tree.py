"""A tree of znodes as last read, and what changed from one reading to the next.

Owns the picture that a cache keeps: which znodes belong to it, how a read changes it, and the changes in an
order that makes sense. Pure: it sees paths, data and Stats, never a server.

Rules that hold here:

- The picture is a tree at every moment: who has no parent in it is not in it.
- Changes lead from picture to picture: parents are added before their children, children removed before
  their parents.
- A znode that was deleted and created again is another one, whatever its data and version: its czxid tells,
  and it is `Removed` and `Added`, not `Updated`.

Synopsis::

    tree = Tree("/services", depth=1)
    changes = tree.found("/services", node) + tree.listed("/services", ["a", "b"])
    assert play(changes, {}) == tree.nodes
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from coord import Node, Stat


@dataclass(frozen=True, slots=True)
class Added:
    """A znode that was not there before."""

    path: str
    node: Node


@dataclass(frozen=True, slots=True)
class Updated:
    """The data was set; `old` is what was known before, not always what was there right before."""

    path: str
    node: Node
    old: Node


@dataclass(frozen=True, slots=True)
class Removed:
    """A znode that is not there any more; `node` is what was last known of it."""

    path: str
    node: Node


Change = Added | Updated | Removed


class Tree:
    """The znodes from `root` down to `depth` levels below it (None: all of them)."""

    def __init__(self, root: str, depth: int | None = None) -> None:
        self.root: Final = root
        self.depth: Final = depth
        self.nodes: Final[dict[str, Node]] = {}
        self._names: dict[str, set[str]] = {}

    def covers(self, path: str) -> bool:
        """Does the znode belong into this picture, if it exists?"""
        level = self._level(path)
        return level is not None and (self.depth is None or level <= self.depth)

    def lists(self, path: str) -> bool:
        """Do its children?"""
        level = self._level(path)
        return level is not None and (self.depth is None or level < self.depth)

    def _level(self, path: str) -> int | None:
        """How many levels below the root; None if it is not below it."""
        if path == self.root:
            return 0
        above = "/" if self.root == "/" else self.root + "/"
        return path.count("/", len(above)) + 1 if path.startswith(above) else None

    def children(self, path: str) -> list[str]:
        """The names of the children that are known, sorted. Raises KeyError if the znode itself is not."""
        if path not in self.nodes:
            raise KeyError(path)
        return sorted(self._names.get(path, ()))

    # -- what a read tells ---------------------------------------------------------------------------

    def found(self, path: str, node: Node) -> list[Change]:
        """The znode was read. One without a parent in the tree changes nothing: it comes again with its
        parent's list of children."""
        if path != self.root and parent(path) not in self.nodes:
            return []
        old = self.nodes.get(path)
        if old is not None and same(old.stat, node.stat):
            return []  # whatever else is new in the Stat, no event tells of it
        if old is not None and old.stat.czxid == node.stat.czxid:
            self.nodes[path] = node
            return [Updated(path, node, old)]
        changes = self.gone(path)
        self.nodes[path] = node
        if path != self.root:
            self._names.setdefault(parent(path), set()).add(path.rpartition("/")[2])
        return [*changes, Added(path, node)]

    def gone(self, path: str) -> list[Change]:
        """There is no such znode, and so nothing below it."""
        if path not in self.nodes:
            return []
        if path != self.root:
            self._names[parent(path)].discard(path.rpartition("/")[2])
        going = [path]
        for one in going:  # grows: everybody comes after its parent
            going += [child(one, name) for name in self._names.pop(one, ())]
        return [Removed(one, self.nodes.pop(one)) for one in reversed(going)]

    def listed(self, path: str, names: Collection[str]) -> list[Change]:
        """These are all its children: others that are known are gone."""
        missing = self._names.get(path, set()).difference(names)
        return [change for name in sorted(missing) for change in self.gone(child(path, name))]


def same(one: Stat, other: Stat) -> bool:
    """Is it the same znode with the same data? (Its version may be the same, and it another one.)"""
    return one.czxid == other.czxid and one.mzxid == other.mzxid


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def child(path: str, name: str) -> str:
    return f"/{name}" if path == "/" else f"{path}/{name}"


def difference(old: Mapping[str, Node], new: Mapping[str, Node]) -> list[Change]:
    """The changes that lead from one picture to another."""
    other: set[str] = set()
    for path in sorted(old):  # a path sorts behind that of its parent
        if path not in new or old[path].stat.czxid != new[path].stat.czxid or parent(path) in other:
            other.add(path)
    changes: list[Change] = [Removed(path, old[path]) for path in sorted(other, reverse=True)]
    for path in sorted(new):
        if path not in old or path in other:
            changes.append(Added(path, new[path]))
        elif not same(old[path].stat, new[path].stat):
            changes.append(Updated(path, new[path], old[path]))
    return changes


def play(changes: Iterable[Change], nodes: dict[str, Node]) -> dict[str, Node]:
    """Apply changes to a picture, in place; returns it."""
    for change in changes:
        if isinstance(change, Removed):
            del nodes[change.path]
        else:
            nodes[change.path] = change.node
    return nodes
