"""Standing in line: how the names of sequential znodes make an order, read the same way by everybody.

Owns the names that contenders of a lock or an election give their znodes, and who stands before whom.
Pure: it sees lists of names, never a server. `standing` does the walking and waiting.

Rules that hold here:

- We *write* the names of one `Layout` (kazoo's or Curator's), and *read* every name that ends in a sequence
  number: an unknown neighbour counts as a contender, which at worst makes us wait too long.
- Names come in families. Two of different families do not exclude each other, since a library sorts by its
  own marker what it takes for a contender, and ignores or misplaces the others: kazoo's and Curator's, or
  Curator's mutex and Curator's read/write lock.
- A name without a sequence number is nobody's place and is ignored, not an error.
- Sequence numbers are 32-bit and wrap; they are compared as serial numbers (RFC 1982), never as text.
- Who waits for whom depends only on the two places, so that all contenders agree.

Synopsis::

    mine, line = place_of(name), places(children)
    for other in ahead_of(mine, line):  # the nearest first: the one to watch
        ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from typing import Final, NamedTuple
from uuid import UUID


class Kind(Enum):
    """What a contender asks for, as far as its name says."""

    EXCLUSIVE = "exclusive"
    READ = "read"
    WRITE = "write"
    PERMIT = "permit"
    """not in line: it has been given what it asked for"""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Layout:
    """How we name our znodes: `head`, guid (with or without dashes), a marker, sequence number.

    There is a marker for each kind of contender that the layout knows. (Where it is empty, there is no
    sequence number either.)
    """

    name: str
    head: str
    dashes: bool
    markers: Mapping[Kind, str] = field(hash=False)

    def guid(self, guid: UUID) -> str:
        return str(guid) if self.dashes else guid.hex

    def marker(self, kind: Kind) -> str:
        """What tells a contender of `kind`; raises ValueError if the layout has none such."""
        if kind not in self.markers:
            raise ValueError(f"the layout {self.name} has no {kind.value} names")
        return self.markers[kind]

    def prefix(self, guid: UUID, kind: Kind = Kind.EXCLUSIVE) -> str:
        """The name to create, without the sequence number the server appends."""
        return f"{self.head}{self.guid(guid)}{self.marker(kind)}"

    def family(self, kind: Kind) -> str:
        """Whom a contender of `kind` can share a line with: those of the same family."""
        return _FAMILIES[self.marker(kind)][0]


KAZOO: Final = Layout(
    "kazoo",
    "",
    False,
    {Kind.EXCLUSIVE: "__lock__", Kind.READ: "__rlock__", Kind.WRITE: "__lock__", Kind.PERMIT: ""},
)
"""kazoo's Lock, ReadLock, WriteLock, Semaphore and Election; go-zookeeper reads its locks too."""

KAZOO_SHALLOW: Final = Layout("kazoo-shallow", "", False, {})
"""kazoo's ShallowParty, whose members bear their data in their names; nothing stands in line so."""

CURATOR: Final = Layout(
    "curator",
    "_c_",
    True,
    {Kind.EXCLUSIVE: "-lock-", Kind.READ: "-__READ__", Kind.WRITE: "-__WRIT__", Kind.PERMIT: "-lease-"},
)
"""Curator's InterProcessMutex, InterProcessReadWriteLock, InterProcessSemaphoreV2 and LeaderSelector, and
go-zookeeper's Lock."""

CURATOR_LATCH: Final = Layout("curator-latch", "_c_", True, {Kind.EXCLUSIVE: "-latch-"})
"""Curator's LeaderLatch."""

# Whoever sorts by one of Curator's markers misreads the names that have another one.
_FAMILIES: Final[dict[str, tuple[str, Kind]]] = {
    "__lock__": ("kazoo", Kind.EXCLUSIVE),
    "__rlock__": ("kazoo", Kind.READ),
    "-lock-": ("curator mutex", Kind.EXCLUSIVE),
    "-latch-": ("curator latch", Kind.EXCLUSIVE),
    "-__READ__": ("curator read/write lock", Kind.READ),
    "-__WRIT__": ("curator read/write lock", Kind.WRITE),
}
UNKNOWN: Final = "unknown"
"""the family of names that no layout writes"""

# The server prints the number with %010d: ten digits, or a sign and at least nine (after 2**31 - 1).
_KNOWN: Final = re.compile(
    rf"(?P<marker>{'|'.join(map(re.escape, _FAMILIES))})(?P<sequence>-[0-9]{{9,10}}|[0-9]{{10}})\Z"
)
# Without a known marker a dash before ten digits may be a sign or a separator. It is a sign only where
# another separator stands before it: `n_-2000000000` is negative, `x-4711-2000000000` is not.
_ANY: Final = re.compile(r"(?:(?:(?<![0-9A-Za-z])|\A)-[0-9]{10}|-[0-9]{9}|[0-9]{10})\Z")


class Place(NamedTuple):
    """One contender's znode: its name, and what the name says."""

    name: str
    sequence: int
    kind: Kind
    family: str


def place_of(name: str) -> Place | None:
    """Read one child's name; None if it does not end in a sequence number, and so stands in no line."""
    known = _KNOWN.search(name)
    if known is not None:
        family, kind = _FAMILIES[known["marker"]]
        return Place(name, int(known["sequence"]), kind, family)
    unknown = _ANY.search(name)
    return None if unknown is None else Place(name, int(unknown[0]), Kind.UNKNOWN, UNKNOWN)


def places(names: Iterable[str]) -> list[Place]:
    """The contenders among the children of a path, in no order."""
    return [place for place in map(place_of, names) if place is not None]


def serial_distance(a: int, b: int) -> int:
    """How far number `b` comes after `a` (negative: before it), if less than 2**31 apart."""
    return ((b - a + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


def blocks(other: Kind, mine: Kind) -> bool:
    """Whether `other`, standing before me, keeps me waiting: only readers let each other pass."""
    return not (other is Kind.READ and mine is Kind.READ)


def ahead_of(mine: Place, line: Iterable[Place]) -> list[Place]:
    """Whom `mine` has to wait for, the nearest first.

    A place with *my own* number (possible after an overflow, or where Curator's reader took its writer's
    number) comes first in the list: names cannot tell who is older, so the caller compares the czxids.
    """
    distances = [
        (serial_distance(other.sequence, mine.sequence), other)
        for other in line
        if other.name != mine.name and blocks(other.kind, mine.kind)
    ]
    before = [(distance, other) for distance, other in distances if distance >= 0]
    return [other for _, other in sorted(before, key=lambda pair: (pair[0], pair[1].name))]


def in_order(line: Iterable[Place]) -> list[Place]:
    """The line from its head to its tail. (Numbers on both sides of the overflow count from the oldest.)"""
    waiting = list(line)
    if not waiting:
        return []
    anchor = waiting[0].sequence
    return sorted(waiting, key=lambda place: (serial_distance(anchor, place.sequence), place.name))


def at_front(line: Iterable[Place]) -> list[Place]:
    """Those who wait for nobody: the first in line, with the readers behind it if it is one."""
    ordered = in_order(line)
    if ordered and ordered[0].kind is Kind.READ:
        return list(takewhile(lambda place: place.kind is Kind.READ, ordered))
    return ordered[:1]


def foreign_to(family: str, line: Iterable[Place], *, strict: bool = False) -> list[Place]:
    """The places with which a contender of `family` cannot exclude each other, since one side misreads the
    other's name; with `strict` also those of unknown families, who may do as they like."""
    return [place for place in line if place.family != family and (strict or place.family != UNKNOWN)]


def downgraded(layout: Layout, guid: UUID, writer: str) -> str:
    """The name of the reader that takes the place of the writer of this name: with its very number, so that
    nobody who waits behind it can come between."""
    place = place_of(writer)
    assert place is not None
    return f"{layout.prefix(guid, Kind.READ)}{place.sequence:010d}"
