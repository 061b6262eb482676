"""A snapshot's contents: the state as CBOR chunks, and back.

Owns the layout. Equal states give equal bytes, whatever way they came about: everything is sorted, and
access lists are numbered in the order of the znodes that use them.

- first chunk: ``[format, zxid, secret, TTL enabled, [[session id, timeout in ms], …],
  [[[perms, scheme, id], …], …]]``, the last being the table of access lists
- then chunks of up to `_NODES_PER_CHUNK` znodes, or `SNAPSHOT_CHUNK_BYTES` of data, sorted by path, so that a
  parent comes before its children:
  ``[[path, data, access list, czxid, mzxid, ctime, mtime, version, aversion, owner, creates, pzxid,
  lifetime or null], …]``
- last chunk: ``[number of znodes, digest]``. `load` computes the digest anew and compares.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

import cbor2

from coord.errors import ProtocolError
from coord.limits import SNAPSHOT_CHUNK_BYTES
from coord.state.acl import AccessList
from coord.state.paths import ROOT
from coord.state.sessions import Sessions
from coord.state.tree import Node, Tree
from coord.wire.records import ACL, Id

FORMAT: Final = 1
_NODES_PER_CHUNK = 1000

_DAMAGE = (
    *(cbor2.CBORError, EOFError, struct.error, ValueError, TypeError, LookupError, AttributeError),
    *(OverflowError, RecursionError, MemoryError),
)
"""What may be raised over bytes that were not written by `dump`; whoever reads them off the disk has
checked them against a checksum, so this is the second line of defence."""

State = tuple[Tree, Sessions, bytes, int]
"""the tree, the sessions, the secret, the zxid"""


def dump(tree: Tree, sessions: Sessions, secret: bytes, zxid: int) -> Iterator[bytes]:
    paths = sorted(tree.nodes)
    numbers: dict[AccessList, int] = {}
    for path in paths:
        acl = tree.nodes[path].acl
        if acl not in numbers:
            numbers[acl] = len(numbers)
    table = [[[perms, who.scheme, who.id] for perms, who in acl.entries] for acl in numbers]
    yield cbor2.dumps(
        [FORMAT, zxid, secret, tree.ttl_enabled, [list(item) for item in sorted(sessions.items())], table]
    )
    rows: list[list[Any]] = []
    size = 0
    for path in paths:
        rows.append(_row(tree, path, numbers))
        size += len(tree.nodes[path].data or b"")
        if len(rows) == _NODES_PER_CHUNK or size >= SNAPSHOT_CHUNK_BYTES:
            yield cbor2.dumps(rows)
            rows, size = [], 0
    if rows:
        yield cbor2.dumps(rows)
    yield cbor2.dumps([len(paths), tree.digest])


def _row(tree: Tree, path: str, numbers: dict[AccessList, int]) -> list[Any]:
    node = tree.nodes[path]
    return [
        path,
        node.data,
        numbers[node.acl],
        node.czxid,
        node.mzxid,
        node.ctime,
        node.mtime,
        node.version,
        node.aversion,
        node.owner,
        node.creates,
        node.pzxid,
        tree.lifetimes.get(path),
    ]


def load(chunks: Iterable[bytes]) -> State:
    """Raises `ProtocolError` for anything that `dump` has not written just so."""
    try:
        return _load(chunks)
    except _DAMAGE as error:
        raise ProtocolError(f"not a snapshot's contents: {error}") from None


def _load(chunks: Iterable[bytes]) -> State:
    tree, sessions = Tree(), Sessions()
    decoded = map(cbor2.loads, chunks)
    head: list[Any] = next(decoded, [None])
    if head[0] != FORMAT:
        raise ProtocolError(f"snapshot format {head[0]!r} is not {FORMAT}")
    _, zxid, secret, tree.ttl_enabled, session_items, table = head
    if not (isinstance(zxid, int) and isinstance(secret, bytes)):
        raise ProtocolError("the snapshot's head is garbled")
    for session_id, timeout_ms in session_items:
        sessions.add(session_id, timeout_ms)
    acls = [
        tree.acls.intern(tuple(ACL(perms, Id(scheme, who)) for perms, scheme, who in row)) for row in table
    ]
    shared: dict[int, int] = {}  # equal zxids and times become one object, as they were
    end: list[int] | None = None
    for rows in decoded:
        if end is not None:
            raise ProtocolError("the snapshot goes on behind its end")
        if rows and isinstance(rows[0], int):
            end = rows
            continue
        for row in rows:
            _plant(tree, row, acls, shared)
    if end != [len(tree.nodes), tree.digest]:
        raise ProtocolError(f"the snapshot's end says {end}, its znodes {[len(tree.nodes), tree.digest]}")
    return tree, sessions, secret, zxid


def _plant(tree: Tree, row: list[Any], acls: list[AccessList], shared: dict[int, int]) -> None:
    path, data, acl, czxid, mzxid, ctime, mtime, version, aversion, owner, creates, pzxid, lifetime = row
    share = shared.setdefault
    node = Node(data, acls[acl], share(czxid, czxid), share(ctime, ctime), owner)
    node.mzxid, node.pzxid, node.mtime = share(mzxid, mzxid), share(pzxid, pzxid), share(mtime, mtime)
    node.version, node.aversion, node.creates = version, aversion, creates
    if path in tree.nodes or (path == ROOT) != (not tree.nodes):
        raise ProtocolError(f"the snapshot has {path} out of order")
    tree.load(path, node, lifetime)
