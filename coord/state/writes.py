"""delete, setData, setACL, check and multi: the writes to znodes that are there.

Owns the order of their checks, which is ZooKeeper's (that the session exists has been checked before):

- delete: a built-in znode or a path without a parent, the parent, DELETE on the parent, the znode, the
  version, its children
- setData, check: the path, the znode, WRITE or READ, the version
- setACL: the path, the ACL, the znode, ADMIN, the version (of the ACL)

A multi is all or nothing under one zxid: its operations see each other's changes, and the first refusal
rolls the tree back (see `tree`) and forgets what watchers would have been told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coord.errors import ErrorCode
from coord.state.creates import create_requested
from coord.state.paths import is_valid, parent_of
from coord.state.refused import Refused
from coord.state.tree import BUILT_IN, Node, Tree
from coord.state.txn import Txn
from coord.wire.jute import pack_ustring
from coord.wire.quick import unpack_path_version, unpack_set_data
from coord.wire.records import (
    MULTI_WRITE_OPS,
    CheckVersionRequest,
    CreateMode,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    EventType,
    Op,
    Perms,
    SetACLRequest,
    SetDataRequest,
    decode_multi,
    encode_multi_failure,
    encode_multi_reply,
)

ANY_VERSION = -1

_READ, _WRITE, _DELETE, _ADMIN = int(Perms.READ), int(Perms.WRITE), int(Perms.DELETE), int(Perms.ADMIN)
_DELETED, _DATA_CHANGED = EventType.DELETED, EventType.DATA_CHANGED
_CHILDREN_CHANGED = EventType.CHILDREN_CHANGED


def delete(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, version = unpack_path_version(body)
    _delete(tree, txn, path, version)
    return b""


def set_data(tree: Tree, txn: Txn, body: bytes) -> bytes:
    path, data, version = unpack_set_data(body)
    node = _set_data(tree, txn, path, data, version)
    return node.pack_stat() if txn.want_reply else b""


def set_acl(tree: Tree, txn: Txn, body: bytes) -> bytes:
    request = SetACLRequest.from_bytes(body)
    if not is_valid(request.path):
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    acl = tree.acls.fix(request.acl, txn.identities)
    node = _permitted(tree, txn, request.path, _ADMIN)
    if request.version not in (ANY_VERSION, node.aversion):
        raise Refused(ErrorCode.BAD_VERSION)
    tree.set_acl(request.path, node, acl)
    return node.pack_stat() if txn.want_reply else b""


def remove(tree: Tree, txn: Txn, path: str) -> None:
    """The znode at `path`, which exists and may go, goes; its watchers and its parent's are told."""
    node, parent_path = tree.nodes[path], parent_of(path)
    tree.remove(path, txn.zxid)
    txn.changes += (
        (_DELETED, path, node.acl),
        (_CHILDREN_CHANGED, parent_path, tree.nodes[parent_path].acl),
    )


def _delete(tree: Tree, txn: Txn, path: str, version: int) -> None:
    cut = path.rfind("/")
    if cut == -1 or "\0" in path or path in BUILT_IN:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    parent = tree.nodes.get(parent_of(path))
    if parent is None:
        raise Refused(ErrorCode.NO_NODE)
    if not parent.acl.allows(_DELETE, txn.identities):
        raise Refused(ErrorCode.NO_AUTH)
    node = tree.nodes.get(path)
    if node is None:
        raise Refused(ErrorCode.NO_NODE)
    if version not in (ANY_VERSION, node.version):
        raise Refused(ErrorCode.BAD_VERSION)
    if node.children:
        raise Refused(ErrorCode.NOT_EMPTY)
    remove(tree, txn, path)


def _set_data(tree: Tree, txn: Txn, path: str, data: bytes | None, version: int) -> Node:
    node = _permitted(tree, txn, path, _WRITE)
    if version != ANY_VERSION and version != node.version:
        raise Refused(ErrorCode.BAD_VERSION)
    tree.set_data(path, node, data, txn.zxid, txn.time_ms)
    txn.changes.append((_DATA_CHANGED, path, node.acl))
    return node


def _check(tree: Tree, txn: Txn, path: str, version: int) -> None:
    node = _permitted(tree, txn, path, _READ)
    if version not in (ANY_VERSION, node.version):
        raise Refused(ErrorCode.BAD_VERSION)


def _permitted(tree: Tree, txn: Txn, path: str, perm: int) -> Node:
    """The node at `path`, on which the caller has `perm`."""
    node = tree.nodes.get(path)
    if node is None:  # what is in the tree has a valid path, so only a miss needs the long look
        raise Refused(ErrorCode.NO_NODE if is_valid(path) else ErrorCode.BAD_ARGUMENTS)
    if not node.acl.anyone & perm and not node.acl.allows(perm, txn.identities):
        raise Refused(ErrorCode.NO_AUTH)
    return node


# -- multi --------------------------------------------------------------------------------------------

Result = tuple[int, int, bytes]
"""opcode, err and body of one operation's part of the reply"""


def multi(tree: Tree, txn: Txn, body: bytes) -> bytes:
    """Applies all operations or none. Either way the reply's header says 0: its body tells."""
    operations = decode_multi(body, MULTI_WRITE_OPS)
    results: list[Result] = []
    tree.begin()
    try:
        for op, request in operations:
            results.append(_PART[op](tree, txn, op, request))
    except Refused as refused:
        tree.rollback()
        txn.changes.clear()
        untried = len(operations) - len(results) - 1
        errors = [0] * len(results) + [refused.code] + [ErrorCode.RUNTIME_INCONSISTENCY] * untried
        return encode_multi_failure([int(error) for error in errors])
    tree.commit()
    return encode_multi_reply(results) if txn.want_reply else b""


def _part_create(tree: Tree, txn: Txn, _op: int, request: CreateRequest) -> Result:
    """Here the flags decide what is made, and the reply has a Stat only for a container.

    So does ZooKeeper, which reads create, create2 and createContainer alike inside a multi.
    """
    if request.flags == CreateMode.CONTAINER:
        return _part_with_stat(tree, txn, Op.CREATE_CONTAINER, request)
    path, _ = create_requested(tree, txn, Op.CREATE, request)
    return Op.CREATE, 0, pack_ustring(path)


def _part_with_stat(tree: Tree, txn: Txn, op: int, request: CreateRequest | CreateTTLRequest) -> Result:
    path, node = create_requested(tree, txn, op, request)
    return Op.CREATE2, 0, pack_ustring(path) + node.pack_stat()


def _part_delete(tree: Tree, txn: Txn, op: int, request: DeleteRequest) -> Result:
    _delete(tree, txn, request.path, request.version)
    return op, 0, b""


def _part_set_data(tree: Tree, txn: Txn, op: int, request: SetDataRequest) -> Result:
    return op, 0, _set_data(tree, txn, request.path, request.data, request.version).pack_stat()


def _part_check(tree: Tree, txn: Txn, op: int, request: CheckVersionRequest) -> Result:
    _check(tree, txn, request.path, request.version)
    return op, 0, b""


_PART: dict[int, Callable[[Tree, Txn, int, Any], Result]] = {
    Op.CREATE: _part_create,
    Op.CREATE2: _part_create,
    Op.CREATE_CONTAINER: _part_create,
    Op.CREATE_TTL: _part_with_stat,
    Op.DELETE: _part_delete,
    Op.SET_DATA: _part_set_data,
    Op.CHECK: _part_check,
}
