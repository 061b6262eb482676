"""Where a semaphore keeps what, and how its limit is written: kazoo's way and Curator's.

Owns the paths and the encodings. Pure: it sees paths and bytes, never a server. Rules that hold here:

- kazoo: leases below the semaphore's own path, the queue *beside* it, the limit as text in the path's data.
- Curator: queue and leases each in a folder of their own; the limit is agreed upon outside of ZooKeeper, or
  is a SharedCount's (a big-endian 32-bit number) at a path of its own.

Synopsis::

    places = places_of(KAZOO, "/licences")
    places.queue  # "/licences-__lock__"
    places.limit  # "/licences"
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recipes.line import KAZOO, Kind, Layout

_INT32: Final = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one semaphore; `limit` is None where the limit is not stored."""

    queue: str
    leases: str
    limit: str | None
    encode: Callable[[int], bytes]
    """raises ValueError for what cannot be stored"""
    decode: Callable[[bytes], int]
    """raises ValueError for what is no limit"""


def places_of(layout: Layout, path: str, shared_count: str | None = None) -> Places:
    """Raises ValueError if the layout has no semaphores (or none there), or cannot have a `shared_count`."""
    layout.marker(Kind.PERMIT)
    path = path.rstrip("/")
    if layout is not KAZOO:
        return Places(f"{path}/locks", f"{path}/leases", shared_count, _encode_count, _decode_count)
    if shared_count is not None:
        raise ValueError(f"the layout kazoo keeps its limit at {path}, and not in a shared count")
    if not path:
        raise ValueError(
            "the layout kazoo keeps a queue beside the semaphore's path, and none can be beside /"
        )
    return Places(f"{path}-__lock__", path, path, _encode_text, _decode_text)


def _encode_text(limit: int) -> bytes:
    return str(limit).encode("ascii")


def _decode_text(data: bytes) -> int:
    return int(data.decode("utf-8"))


def _encode_count(limit: int) -> bytes:
    if limit >= 2**31:
        raise ValueError(f"a shared count has 32 bits, too few for {limit}")
    return _INT32.pack(limit)


def _decode_count(data: bytes) -> int:
    if len(data) != _INT32.size:
        raise ValueError(f"not a shared count: {data!r}")
    (limit,) = _INT32.unpack(data)
    assert isinstance(limit, int)
    return limit
