"""Paths of znodes: which are valid, what is the parent, what is a znode's name.

Pure functions over strings; knows no tree. The rules are ZooKeeper's (`PathUtils.validatePath`): a path
starts with "/", does not end with it, has no empty, "." or ".." component and none of U+0000-001F,
U+007F-009F, U+D800-F8FF, U+FFF0-FFFF. Characters above U+FFFF are refused too: Java sees them as two
surrogates, which fall into the third range.

Synopsis::

    is_valid("/jobs/7")  # True
    parent_of("/jobs/7")  # "/jobs"
    parent_of("/jobs")  # "/"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ROOT = "/"

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]")


def is_valid(path: str) -> bool:
    if path == ROOT:
        return True
    return path[:1] == "/" and all(map(is_valid_name, path[1:].split("/")))


def is_valid_name(name: str) -> bool:
    """Whether `name` may be one component of a path."""
    if not name or name in (".", "..") or "/" in name:
        return False
    # Nearly every name is plain ASCII, and these two are several times as fast as the expression.
    return (name.isascii() and name.isprintable()) or _FORBIDDEN.search(name) is None


def parent_of(path: str) -> str:
    """The path above a valid `path`; of the root, the root itself."""
    return path[: path.rfind("/")] or ROOT


def name_of(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def ancestors_of(path: str) -> Iterator[str]:
    """Every path above `path`, the nearest first, the root last; nothing for the root."""
    while path != ROOT and "/" in path:
        path = parent_of(path)
        yield path
