"""The order in which a subtree is walked, as zkCli does it: a znode's children by name, then each one's own.

Owns what of a subtree is known, and what is to be asked next. Pure; knows no connections.

Rules that hold here: parents come before their children. What is kept is paths that wait for their turn and
the children of a few of them that were asked ahead of time, never the whole subtree; a znode that has
vanished before its turn has nothing below it.

Synopsis::

    descent = Descent("/a")
    descent.wanted(256)  # ["/a"]: whose children to ask for
    descent.learn("/a", ["c", "b"])
    descent.take(1000)  # ["/a", "/a/b", "/a/c"]; then the children of the last two are wanted
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

LOOK_AHEAD: Final = 4
"""How many times as many paths as wanted are looked at."""


class Descent:
    def __init__(self, root: str) -> None:
        self._root = root
        self._waiting = [root]
        self._children: dict[str, Sequence[str] | None] = {}
        self._found: deque[str] = deque()

    def wanted(self, count: int) -> list[str]:
        """The next `count` paths (at most) whose children are not known; none, and none to take: the end."""
        nearest = islice(reversed(self._waiting), count * LOOK_AHEAD)
        return list(islice((path for path in nearest if path not in self._children), count))

    def learn(self, path: str, children: Sequence[str] | None) -> None:
        """The names of a wanted path's children; None if there is no such znode any more."""
        self._children[path] = children

    def take(self, count: int) -> list[str]:
        """The next `count` paths (at most) of the walk, as far as known."""
        while len(self._found) < count and self._waiting and self._waiting[-1] in self._children:
            path = self._waiting.pop()
            names = self._children.pop(path)
            if names is None:
                continue
            if path == self._root:
                self._found.append(path)
            prefix = path.rstrip("/")
            children = [f"{prefix}/{name}" for name in sorted(names)]
            self._found += children
            self._waiting += reversed(children)
        return [self._found.popleft() for _ in range(min(count, len(self._found)))]
