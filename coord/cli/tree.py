"""`coord tree`: a subtree drawn, with what is in it: bytes, znodes, owners of ephemerals, watches.

Owns the sums and the drawing. Must not know how much is asked at a time (see `walk`).

Rules that hold here: sums are of the whole subtree, also where the drawing ends at a depth; watches are
counted at all servers of the connect string, and not told at all if one of them does not tell them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from coord import Client, CoordError, NoNode
from coord.cli.jobs import Output
from coord.cli.members import count_watches
from coord.cli.walk import Walk, for_each

DRAWN_MAX: Final = 2000
"""More branches are printed plainly, on a terminal, too: rich would take minutes."""


@dataclass
class Branch:
    """A znode and the sums of what is below it, itself included."""

    path: str
    depth: int
    own_bytes: int
    owner: int
    bytes: int = 0
    znodes: int = 1
    watches: int | None = None
    children: list[Branch] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2] if self.depth else self.path

    def facts(self) -> str:
        """``12 B; below: 3 znodes, 40 B; ephemeral of 0x…; 2 watches``"""
        facts = [_size(self.own_bytes)]
        if self.znodes > 1:
            below = self.znodes - 1
            facts.append(f"below: {below} znode{'s'[: below > 1]}, {_size(self.bytes - self.own_bytes)}")
        if self.owner:
            facts.append(f"ephemeral of {hex(self.owner)}")
        if self.watches:
            facts.append(f"{self.watches} watch{'es'[: 2 * (self.watches > 1)]}")
        return "; ".join(facts)

    def json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "data_bytes": self.own_bytes,
            "subtree_bytes": self.bytes,
            "subtree_znodes": self.znodes,
            "ephemeral_owner": self.owner or None,
            "watches": self.watches,
        }


@dataclass(frozen=True)
class Tree:
    """Drawn down to `depth` (None: all of it)."""

    root: Branch
    depth: int | None = None

    def _shown(self, branch: Branch) -> Sequence[Branch]:
        return branch.children if self.depth is None or branch.depth < self.depth else ()

    def text(self) -> str:
        lines = [f"{self.root.name}  ({self.root.facts()})"]
        waiting = [("", [*reversed(self._shown(self.root))])]
        while waiting:
            indent, branches = waiting[-1]
            if not branches:
                waiting.pop()
                continue
            branch = branches.pop()
            last = not branches
            lines.append(f"{indent}{'└── ' if last else '├── '}{branch.name}  ({branch.facts()})")
            waiting.append((indent + ("    " if last else "│   "), [*reversed(self._shown(branch))]))
        return "\n".join(lines)

    def drawing(self) -> Any:
        """rich's Tree; None if that would take it too long."""
        if sum(1 for _ in islice(self._all(), DRAWN_MAX + 1)) > DRAWN_MAX:
            return None
        from rich.text import Text
        from rich.tree import Tree as RichTree

        def label(branch: Branch) -> Text:
            style = "yellow" if branch.owner else "bold" if branch.children else ""
            return Text.assemble((branch.name, style), ("  " + branch.facts(), "dim"))

        drawn = RichTree(label(self.root), guide_style="dim")
        waiting = [(drawn, self.root)]
        while waiting:
            parent, branch = waiting.pop()
            waiting += [(parent.add(label(child)), child) for child in self._shown(branch)]
        return drawn

    def json(self) -> dict[str, Any]:
        return {"path": self.root.path, "znodes": [branch.json() for branch in self._all()]}

    def _all(self) -> Iterator[Branch]:
        waiting = [self.root]
        while waiting:
            branch = waiting.pop()
            yield branch
            waiting.extend(reversed(self._shown(branch)))


async def tree(zk: Client, out: Output, path: str, *, depth: int | None = None) -> None:
    """Raises `NoNode`, `NoAuth`."""
    branches: dict[str, Branch] = {}
    walk = Walk(zk, path, "tree")
    with out.progress("reading") as advance:
        while paths := await walk.next():
            for each, stat in zip(paths, await for_each(paths, zk.exists), strict=True):
                if isinstance(stat, CoordError):
                    raise type(stat)(path=each, operation="tree")
                if stat is not None:
                    _add(branches, each, path, stat.data_length, stat.ephemeral_owner)
            advance(len(paths))
    if path not in branches:
        raise NoNode(path=path, operation="tree")
    _sum(branches)
    if (watches := await count_watches(zk.hosts)) is not None:
        for branch in branches.values():
            branch.watches = watches.get(zk.chroot + branch.path, 0)
    out(Tree(branches[path], depth))


def _add(branches: dict[str, Branch], path: str, root: str, size: int, owner: int) -> None:
    """Parents come first; what has lost its parent meanwhile has gone with it."""
    parent = None if path == root else branches.get(path.rpartition("/")[0] or "/")
    if parent is None and path != root:
        return
    branches[path] = Branch(path, parent.depth + 1 if parent else 0, size, owner, size)
    if parent is not None:
        parent.children.append(branches[path])


def _sum(branches: dict[str, Branch]) -> None:
    """Children come after their parents."""
    for branch in reversed(branches.values()):
        for child in branch.children:
            branch.bytes += child.bytes
            branch.znodes += child.znodes


def _size(number: int) -> str:
    if number < 1024:
        return f"{number} B"
    return f"{number / 1024:.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:.1f} MiB"
