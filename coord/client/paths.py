"""The paths a caller may name, and the chroot they live under. Pure.

Owns the client's check of a path before anything is sent (the rules are ZooKeeper's), and the translation
between the caller's paths and the server's. Must not know: sessions, requests.

Synopsis::

    chroot = Chroot("/app")
    chroot.inside("/jobs")  # "/app/jobs", to be sent
    chroot.outside("/app/jobs")  # "/jobs", for the caller
"""

from __future__ import annotations

import re
from typing import Final

from coord.errors import BadArguments

# Above U+FFFF too: Java sees such a character as two surrogates, which are refused.
_FORBIDDEN_CHARACTERS: Final = "\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff"
_FORBIDDEN: Final = re.compile(f"[{_FORBIDDEN_CHARACTERS}]")
_PATH: Final = re.compile(f"/|(?:/(?!\\.\\.?(?:/|\\Z))[^/{_FORBIDDEN_CHARACTERS}]+)+")
"""One look for the many paths that are good; `fault` says what is wrong with the others."""


def check_path(path: str, operation: str, *, sequential: bool = False) -> None:
    """Raises `BadArguments` if no znode can have this path; with `sequential`, if none can begin with it."""
    named = path + "0" if sequential else path
    if not _PATH.fullmatch(named):
        raise BadArguments(f"not a path: {fault(named)}", path=path, operation=operation)


def fault(path: str) -> str:
    """What is wrong with `path`; "" if nothing is."""
    if not path.startswith("/"):
        return "it must begin with a slash"
    if path == "/":
        return ""
    found = _FORBIDDEN.search(path)
    if found:
        return f"it has the character U+{ord(found[0]):04X}, which is not allowed"
    for part in path[1:].split("/"):
        if part == "":
            return "it has an empty component (a double or a trailing slash)"
        if part in (".", ".."):
            return f"it has the component {part!r}"
    return ""


def parent_of(path: str) -> str:
    """The path one level up; that of "/" is "/"."""
    return path.rpartition("/")[0] or "/"


def join(parent: str, name: str) -> str:
    return f"/{name}" if parent == "/" else f"{parent}/{name}"


class Chroot:
    """A znode that plays the root for one client; "" or "/" for none."""

    __slots__ = ("path",)

    def __init__(self, path: str = "") -> None:
        """Raises `BadArguments` if `path` is not a path."""
        self.path = "" if path in ("", "/") else path
        if self.path:
            check_path(self.path, "chroot")

    def inside(self, path: str) -> str:
        """The server's name for the caller's `path`."""
        if not self.path:
            return path
        return self.path if path == "/" else self.path + path

    def outside(self, path: str) -> str:
        """The caller's name for the server's `path`; one that is not below the chroot stays as it is."""
        if not self.path or not (path == self.path or path.startswith(self.path + "/")):
            return path
        return path[len(self.path) :] or "/"

    def contains(self, path: str) -> bool:
        return not self.path or path == self.path or path.startswith(self.path + "/")
