"""The order in which a subtree is walked: each znode before those below it, brothers by name.

Owns what of a subtree is known, and what is to be asked next. Pure; knows no connections.

Rules that hold here: what is kept is the paths still to be visited (with their brothers) and the children of
a few of them that were asked ahead of time, never the whole subtree; a
znode that has vanished is passed over.

Synopsis::

    order = Preorder("/a")
    order.wanted(256)  # ["/a"]: whose children to ask for
    order.learn("/a", ["c", "b"])
    order.take(1000)  # ["/a"]; then "/a/b" and "/a/c" are wanted
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

LOOK_AHEAD = 4
"""How many times as many paths as wanted are looked at."""


class Preorder:
    def __init__(self, root: str) -> None:
        self._waiting = [root]
        self._children: dict[str, Sequence[str] | None] = {}

    def wanted(self, count: int) -> list[str]:
        """The next `count` paths (at most) whose children are not known; none at the end, or where `take`
        comes first."""
        nearest = islice(reversed(self._waiting), count * LOOK_AHEAD)
        return list(islice((path for path in nearest if path not in self._children), count))

    def learn(self, path: str, children: Sequence[str] | None) -> None:
        """The names of a wanted path's children; None if there is no such znode any more."""
        self._children[path] = children

    def take(self, count: int) -> list[str]:
        """The next `count` paths (at most) of the walk, as far as known."""
        taken: list[str] = []
        while self._waiting and self._waiting[-1] in self._children and len(taken) < count:
            path = self._waiting.pop()
            children = self._children.pop(path)
            if children is not None:
                taken.append(path)
                prefix = path.rstrip("/")
                self._waiting.extend(f"{prefix}/{name}" for name in sorted(children, reverse=True))
        return taken

    @property
    def ended(self) -> bool:
        return not self._waiting
