"""The create operations: create, create2, createContainer, createTTL.

Owns the order of their checks, which is ZooKeeper's: flags, TTL, the rough shape of the path, the ACL, the
parent, CREATE on the parent, the whole path, whether the znode exists, whether the parent is ephemeral.
That the session exists has been checked before.

The opcode decides what is made, not the flags: create with the flag of a container makes a persistent znode
(clients make their chroot so), and only createContainer and createTTL make what their names say.

Sequence numbers are ten digits counting all creates below the parent. After `SEQUENCE_MAX` of them a
sequential create is refused with BAD_ARGUMENTS: ZooKeeper's next name would have a minus sign, which breaks
the order that every recipe relies on, and no later attempt below this parent can do better.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from coord.errors import ErrorCode
from coord.limits import SEQUENCE_MAX, TTL_MS_MAX
from coord.state.acl import AccessList
from coord.state.paths import ROOT, is_valid_name
from coord.state.refused import Refused
from coord.state.tree import CONTAINER, Node, Tree
from coord.state.txn import Txn
from coord.wire.jute import pack_ustring
from coord.wire.quick import unpack_create
from coord.wire.records import CreateMode, CreateRequest, CreateTTLRequest, EventType, Op, Perms

_CREATE = int(Perms.CREATE)
_CREATED, _CHILDREN_CHANGED = EventType.CREATED, EventType.CHILDREN_CHANGED


class Kind(NamedTuple):
    """What the opcode and the flags ask for."""

    ephemeral: bool = False
    sequential: bool = False


_PLAIN: dict[int, Kind] = {
    CreateMode.PERSISTENT: Kind(),
    CreateMode.EPHEMERAL: Kind(ephemeral=True),
    CreateMode.PERSISTENT_SEQUENTIAL: Kind(sequential=True),
    CreateMode.EPHEMERAL_SEQUENTIAL: Kind(ephemeral=True, sequential=True),
    CreateMode.CONTAINER: Kind(),
}
_CONTAINER: dict[int, Kind] = {flags: Kind(sequential=kind.sequential) for flags, kind in _PLAIN.items()}
_TTL: dict[int, Kind] = {
    CreateMode.PERSISTENT_WITH_TTL: Kind(),
    CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL: Kind(sequential=True),
}
_KINDS: Final[dict[int, dict[int, Kind]]] = {
    Op.CREATE: _PLAIN,
    Op.CREATE2: _PLAIN,
    Op.CREATE_CONTAINER: _CONTAINER,
    Op.CREATE_TTL: _TTL,
}


def create(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, _ = _create_from_wire(tree, txn, _PLAIN, body, None)
    return pack_ustring(path) if txn.want_reply else b""


def create2(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, node = _create_from_wire(tree, txn, _PLAIN, body, None)
    return pack_ustring(path) + node.pack_stat() if txn.want_reply else b""


def create_container(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, node = _create_from_wire(tree, txn, _CONTAINER, body, CONTAINER)
    return pack_ustring(path) + node.pack_stat() if txn.want_reply else b""


def create_ttl(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, node = create_requested(tree, txn, Op.CREATE_TTL, CreateTTLRequest.from_bytes(body))
    return pack_ustring(path) + node.pack_stat() if txn.want_reply else b""


def create_requested(
    tree: Tree, txn: Txn, op: int, request: CreateRequest | CreateTTLRequest
) -> tuple[str, Node]:
    """One create of a multi, or one whose speed does not matter; returns its path and its node."""
    kind = _kind_of(_KINDS[op], request.flags)
    lifetime = CONTAINER if op == Op.CREATE_CONTAINER else None
    if isinstance(request, CreateTTLRequest):
        if not tree.ttl_enabled:
            raise Refused(ErrorCode.UNIMPLEMENTED)
        lifetime = request.ttl_ms
        if not 0 < lifetime <= TTL_MS_MAX:
            raise Refused(ErrorCode.BAD_ARGUMENTS)
    cut = _last_slash(request.path)
    acl = tree.acls.fix(request.acl, txn.identities)
    return _plant(tree, txn, request.path, cut, request.data, acl, kind, lifetime)


def _create_from_wire(
    tree: Tree, txn: Txn, kinds: dict[int, Kind], body: bytes, lifetime: int | None
) -> tuple[str, Node]:
    path, data, raw_acl, flags = unpack_create(body)
    kind = _kind_of(kinds, flags)
    cut = _last_slash(path)
    acl = tree.acls.from_wire(raw_acl, txn.identities)
    return _plant(tree, txn, path, cut, data, acl, kind, lifetime)


def _kind_of(kinds: dict[int, Kind], flags: int) -> Kind:
    kind = kinds.get(flags)
    if kind is None:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    return kind


def _last_slash(path: str) -> int:
    """Where the parent's path ends; without a slash, or with a NUL, nothing else of the path is looked at."""
    cut = path.rfind("/")
    if cut == -1 or "\0" in path:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    return cut


def _plant(
    tree: Tree,
    txn: Txn,
    path: str,
    cut: int,
    data: bytes | None,
    acl: AccessList,
    kind: Kind,
    lifetime: int | None,
) -> tuple[str, Node]:
    """The checks that need the tree, then the znode."""
    parent_path = path[:cut] or ROOT
    parent = tree.nodes.get(parent_path)
    if parent is None:
        raise Refused(ErrorCode.NO_NODE)
    if not parent.acl.anyone & _CREATE and not parent.acl.allows(_CREATE, txn.identities):
        raise Refused(ErrorCode.NO_AUTH)
    if kind.sequential:
        if parent.creates > SEQUENCE_MAX:
            raise Refused(ErrorCode.BAD_ARGUMENTS)
        path = f"{path}{parent.creates:010d}"
    if path in tree.nodes:  # then it is valid: this check may come first
        raise Refused(ErrorCode.NODE_EXISTS)
    # The parent exists, so all before the name is valid; but "//name" seems to have the root as its parent.
    if cut == 1 or not is_valid_name(path[cut + 1 :]):
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    if parent.owner:
        raise Refused(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
    node = Node(data, acl, txn.zxid, txn.time_ms, txn.session_id if kind.ephemeral else 0)
    tree.add(path, node, parent, lifetime)
    txn.changes += (
        (_CREATED, path, acl),
        (_CHILDREN_CHANGED, parent_path, parent.acl),
    )
    return path, node
