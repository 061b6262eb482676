"""Who holds and who waits, as the names of a path's children tell it. Pure.

Owns the recognising: a lock, a read/write lock, an election or a queue for permits is a line of sequential
znodes; a semaphore has its permits beside its line, kazoo's way or Curator's. Must not know data, sessions or
servers. What the names mean is `recipes.line`'s and `recipes.permits`' business.

Rule that holds here: what has no number is in no line, and left out; what has a number and a name that nobody
knows is shown as `unknown`, since contenders wait for it.

Synopsis::

    seen = arrangement("/jobs", ["c04…__lock__0000000007", "91f…__lock__0000000009"])
    seen.line  # "/jobs", where those in line are
    placed(["c04…__lock__0000000007", "91f…__lock__0000000009"])  # [(place, True), (place, False)]
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from coord import Stat
from coord.cli.results import data_json
from coord.cli.texts import age, moment
from recipes.line import CURATOR, KAZOO, Place, at_front, in_order, places
from recipes.permits import places_of

_PERMIT: Final = re.compile(r"[0-9a-f]{32}\Z")
"""What kazoo calls a permit: a guid, and no number."""


@dataclass(frozen=True)
class Arrangement:
    """Where to look: `line` has those who stand in it, `permits`, if there are any, those who hold one."""

    line: str
    permits: str | None = None
    mixed: bool = False
    """are there others beside the permits?"""

    def is_permit(self, name: str) -> bool:
        """Of the children of `permits`."""
        return not self.mixed or bool(_PERMIT.match(name))


def arrangement(path: str, names: Collection[str]) -> Arrangement:
    """What stands at `path`, by the names of its children."""
    if "leases" in names and not places(names):
        found = places_of(CURATOR, path)
        return Arrangement(found.queue, found.leases)
    if any(map(_PERMIT.match, names)) and path.rstrip("/"):
        found = places_of(KAZOO, path)
        return Arrangement(found.queue, found.leases, mixed=True)
    return Arrangement(path)


def placed(names: Iterable[str]) -> list[tuple[Place, bool]]:
    """The line from its head on; with each, whether it waits for nobody."""
    line = places(names)
    first = {place.name for place in at_front(line)}
    return [(place, place.name in first) for place in in_order(line)]


@dataclass(frozen=True)
class Standing:
    """One of those who hold or wait."""

    holds: bool
    kind: str
    path: str
    data: bytes
    stat: Stat

    @property
    def who(self) -> str:
        """What it says of itself, on one line; its znode's name if it says nothing."""
        said = self.data.decode("utf-8", "backslashreplace")
        shown = "".join(one if one.isprintable() else "\N{MIDDLE DOT}" for one in said)
        return shown or self.path.rpartition("/")[2]

    def json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "holds": self.holds,
            "kind": self.kind,
            **data_json(self.data),
            "session": f"0x{self.stat.ephemeral_owner & 0xFFFFFFFFFFFFFFFF:x}",
            "token": self.stat.czxid,
            "since_ms": self.stat.ctime,
        }

    def line(self, now_ms: int, words: tuple[str, str]) -> str:
        """`words`: what it does if it holds, and if it waits."""
        stat = self.stat
        return (
            f"{words[not self.holds]:6}  {self.kind:9}  {moment(stat.ctime)}  {age(now_ms - stat.ctime):>7}  "
            f"session 0x{stat.ephemeral_owner & 0xFFFFFFFFFFFFFFFF:x}  {self.who}"
        )


@dataclass(frozen=True)
class Standings:
    """All of them, the holders first, at one time (milliseconds since 1970)."""

    path: str
    everybody: tuple[Standing, ...]
    now_ms: int
    nobody: str = "nobody holds"
    words: tuple[str, str] = ("holds", "waits")
    live: bool = False
    """one of several, so with its time"""

    @property
    def holders(self) -> list[Standing]:
        return [one for one in self.everybody if one.holds]

    def text(self) -> str:
        head = [f"-- {moment(self.now_ms)}"] if self.live else []
        head += [] if self.holders else [f"{self.nobody} {self.path}"]
        return "\n".join([*head, *(one.line(self.now_ms, self.words) for one in self.everybody)])

    def json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "time_ms": self.now_ms,
            "holders": [one.json() for one in self.everybody if one.holds],
            "waiting": [one.json() for one in self.everybody if not one.holds],
        }
