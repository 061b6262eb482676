"""The znodes of a queue: what entries are called, what is in them, whose turn it is.

Owns the layouts of kazoo's LockingQueue and of Curator's DistributedQueue and DistributedPriorityQueue. Pure:
it sees names and bytes, never a server. `queue` does the taking.

Rules that hold here:

- An entry's name is its rank and the ten digits that the server appends. Other names are nobody's entry.
- The order is that of the names as text, which is how kazoo and Curator read it, too: by rank first, then by
  arrival. (No server hands out a number beyond 2147483647, so numbers of ten digits sort as they count.)

Synopsis::

    layout = entries_of(KAZOO, "/tasks", None)
    name = layout.prefix(priority=100)  # "entry-100-", of a znode in layout.entries
    waiting = layout.free(children_of_entries, children_of_taken)
    raw = layout.pack(b"data")
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from recipes.line import CURATOR, KAZOO, Layout

SEQUENCE_DIGITS: Final = 10

KAZOO_PRIORITY: Final = 100
KAZOO_PRIORITY_MAX: Final = 999
INT32_MAX: Final = 0x7FFF_FFFF

# Only what is known: the entries of Curator's delay queue, for one, must not be taken before their time.
_ENTRY: Final = re.compile(r"(?:entry-[0-9]{3}-|queue-(?:[01][0-9A-F]{8})?)(?:[0-9]{10}|-[0-9]{9,10})\Z")

_VERSION: Final = 0x0001_0001
_MESSAGE: Final = 0x01
_END: Final = 0x02
_HEADER: Final = struct.Struct(">I")
_SIZE: Final = struct.Struct(">i")


class BadEntry(ValueError):
    """An entry's bytes are not what its layout says; the message says how."""


class Entries(Protocol):
    """Where a queue's znodes are, and how they are named and filled."""

    @property
    def entries(self) -> str:
        """The parent of the entries."""

    @property
    def taken(self) -> str | None:
        """The parent of the marks of those that are taken; None where entries cannot be marked."""

    def prefix(self, priority: int | None) -> str:
        """The name of a new entry, less its number. Raises ValueError for a priority out of bounds."""

    def pack(self, data: bytes) -> bytes:
        """An entry's bytes."""

    def unpack(self, raw: bytes) -> tuple[bytes, ...]:
        """The messages in an entry. Raises `BadEntry`."""


@dataclass(frozen=True, slots=True)
class KazooEntries:
    """kazoo's LockingQueue: ``PATH/entries/entry-PPP-N``, marked by ``PATH/taken/entry-PPP-N``."""

    entries: str
    taken: str

    def prefix(self, priority: int | None) -> str:
        chosen = KAZOO_PRIORITY if priority is None else priority
        if not 0 <= chosen <= KAZOO_PRIORITY_MAX:
            raise ValueError(f"a priority is from 0 (first) to {KAZOO_PRIORITY_MAX}, not {chosen}")
        return f"entry-{chosen:03d}-"

    def pack(self, data: bytes) -> bytes:
        return data

    def unpack(self, raw: bytes) -> tuple[bytes, ...]:
        return (raw,)


@dataclass(frozen=True, slots=True)
class CuratorEntries:
    """Curator's queues: ``PATH/queue-N``, or with a priority ``PATH/queue-SXXXXXXXXN``; marked by a znode of
    the same name in the lock path that all consumers have to be given."""

    entries: str
    taken: str | None

    def prefix(self, priority: int | None) -> str:
        if priority is None:
            return "queue-"
        if not -INT32_MAX - 1 <= priority <= INT32_MAX:
            raise ValueError(f"a priority is a 32-bit number, not {priority}")
        # The sign's digit makes negative numbers, written as two's complement, sort before the others.
        return f"queue-{int(priority >= 0)}{priority & 0xFFFF_FFFF:08X}"

    def pack(self, data: bytes) -> bytes:
        return _HEADER.pack(_VERSION) + bytes([_MESSAGE]) + _SIZE.pack(len(data)) + data + bytes([_END])

    def unpack(self, raw: bytes) -> tuple[bytes, ...]:
        if raw[: _HEADER.size] != _HEADER.pack(_VERSION):
            raise BadEntry(f"it begins with {raw[:4].hex()!r}, not with Curator's {_VERSION:08x}")
        messages, at = [], _HEADER.size
        while raw[at : at + 1] == bytes([_MESSAGE]):
            start = at + 1 + _SIZE.size
            if len(raw) < start:
                raise BadEntry("it ends within a message's size")
            (size,) = _SIZE.unpack_from(raw, at + 1)
            at = start + size
            if size < 0 or len(raw) < at:
                raise BadEntry(f"a message of {size} bytes is not all there")
            messages.append(raw[start:at])
        if raw[at : at + 1] != bytes([_END]):
            raise BadEntry(f"at byte {at} there is neither a message nor the end")
        return tuple(messages)


def entries_of(layout: Layout, path: str, lock_path: str | None) -> Entries:
    """The znodes of the queue at `path`. Raises ValueError for a layout that no queue has."""
    path = path.rstrip("/")
    if layout == KAZOO:
        if lock_path is not None:
            raise ValueError(f"a lock path belongs to Curator's layout; kazoo's locks are in {path}/taken")
        return KazooEntries(f"{path}/entries", f"{path}/taken")
    if layout == CURATOR:
        return CuratorEntries(path or "/", None if lock_path is None else lock_path.rstrip("/") or "/")
    raise ValueError(f"a queue is of layout KAZOO or CURATOR, not {layout}")


def below(parent: str, name: str) -> str:
    """A child's path."""
    return f"{parent.rstrip('/')}/{name}"


def free(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """The entries that nobody has taken, in their order."""
    marked = frozenset(taken)
    return sorted(name for name in names if name not in marked and _ENTRY.match(name))


def first_of(waiting: Sequence[str], count: int) -> list[str]:
    """The first entry, and those of the same rank behind it: `count` in all, at most.

    Consumers that get into each other's way choose among these: none of a lower rank is taken before one of
    a higher.
    """
    front = waiting[:count]
    return [name for name in front if name[:-SEQUENCE_DIGITS] == front[0][:-SEQUENCE_DIGITS]]
