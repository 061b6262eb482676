"""The reads: answered by one member from its own state, without the log. Watches are registered here.

Owns the order of a read's checks: the znode (NO_NODE), then READ (NO_AUTH). Changes nothing but `Watches`.

A failed read registers no watch, except exists on a znode that is not there: waiting for it is the point.

Synopsis::

    read = READS[op]
    reply_body = read(machine, watches, connection, request_body)  # raises Refused, and nothing else
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from coord.errors import ErrorCode, ProtocolError
from coord.limits import MULTI_READ_REPLY_BYTES_MAX
from coord.state.machine import Machine
from coord.state.refused import Refused
from coord.state.tree import Node, Tree
from coord.state.watches import Watcher, Watches
from coord.wire.jute import pack_buffer, pack_int, pack_ustring, pack_vector
from coord.wire.quick import unpack_path_watch
from coord.wire.records import (
    MULTI_READ_OPS,
    AddWatchMode,
    AddWatchRequest,
    CheckWatchesRequest,
    ErrorReply,
    EventType,
    GetACLReply,
    GetEphemeralsRequest,
    Id,
    NumberReply,
    Op,
    PathRequest,
    Perms,
    SetWatches2Request,
    WatcherType,
    WhoAmIReply,
    decode_multi,
    encode_multi_reply,
)

__all__ = ["READS", "Caller", "Refused", "set_watches"]

_READ = int(Perms.READ)


class Caller(Watcher, Protocol):
    """Who asks: a connection, which is also the watcher."""

    @property
    def session_id(self) -> int: ...


Read = Callable[[Machine, Watches[Any], Caller, bytes], bytes]


def _readable(tree: Tree, caller: Caller, path: str) -> Node:
    """The node at `path`, which the caller may read."""
    node = tree.nodes.get(path)
    if node is None:
        raise Refused(ErrorCode.NO_NODE)
    if not node.acl.anyone & _READ and not node.acl.allows(_READ, caller.identities):
        raise Refused(ErrorCode.NO_AUTH)
    return node


# -- reads that may leave a watch -----------------------------------------------------------------------


def _exists(machine: Machine, watches: Watches[Any], caller: Caller, path: str, watch: bool) -> bytes:
    if "\0" in path:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    try:
        node = _readable(machine.tree, caller, path)
    except Refused as refused:
        if watch and refused.code is ErrorCode.NO_NODE:
            watches.add_exists(path, caller)
        raise
    if watch:
        watches.add_exists(path, caller)
    return node.pack_stat()


def _get_data(machine: Machine, watches: Watches[Any], caller: Caller, path: str, watch: bool) -> bytes:
    node = _readable(machine.tree, caller, path)
    if watch:
        watches.add_data(path, caller)
    return pack_buffer(node.data) + node.pack_stat()


def _get_children(machine: Machine, watches: Watches[Any], caller: Caller, path: str, watch: bool) -> bytes:
    _readable(machine.tree, caller, path)
    if watch:
        watches.add_child(path, caller)
    return pack_vector(map(pack_ustring, machine.tree.children_of(path)))


def _get_children2(machine: Machine, watches: Watches[Any], caller: Caller, path: str, watch: bool) -> bytes:
    node = _readable(machine.tree, caller, path)
    return _get_children(machine, watches, caller, path, watch) + node.pack_stat()


def _watching(
    op: Op,
    answer: Callable[[Machine, Watches[Any], Caller, str, bool], bytes],
) -> Read:
    """What needs nothing of its caller is remembered, see `answers`."""
    head = pack_int(op)

    def read(machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
        try:
            path, watch = unpack_path_watch(body)
        except ProtocolError:
            raise Refused(ErrorCode.MARSHALLING_ERROR) from None
        reply = answer(machine, watches, caller, path, watch)
        node = machine.tree.nodes[path]
        if not watch and node.acl.anyone & _READ:
            machine.tree.answers.remember(node, head + body, reply)
        return reply

    return read


# -- other reads ----------------------------------------------------------------------------------------


def _get_acl(machine: Machine, _watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    """READ or ADMIN will do; without ADMIN the hashes of digest ids are hidden."""
    node = machine.tree.nodes.get(PathRequest.from_bytes(body).path)
    if node is None:
        raise Refused(ErrorCode.NO_NODE)
    if not node.acl.allows(Perms.READ | Perms.ADMIN, caller.identities):
        raise Refused(ErrorCode.NO_AUTH)
    acl = node.acl
    entries = list(acl.entries) if acl.allows(Perms.ADMIN, caller.identities) else acl.redacted()
    return GetACLReply(entries, node.stat()).encode()


def _count_descendants(machine: Machine, _watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    path = PathRequest.from_bytes(body).path
    _readable(machine.tree, caller, path)
    return NumberReply(machine.tree.count_descendants(path)).encode()


def _get_ephemerals(machine: Machine, _watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    """The session's own; the prefix is one of characters, not of components."""
    prefix = (GetEphemeralsRequest.from_bytes(body).prefix or "").strip()
    own = machine.tree.ephemerals.get(caller.session_id, {})
    return pack_vector(pack_ustring(path) for path in own if path.startswith(prefix))


def _who_am_i(_machine: Machine, _watches: Watches[Any], caller: Caller, _body: bytes) -> bytes:
    """Scheme and user of each identity; the hash of a digest id stays here."""
    return WhoAmIReply(
        [Id(s, name.partition(":")[0] if s == "digest" else name) for s, name in caller.identities]
    ).encode()


def _multi_read(machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    """getData and getChildren in one state; each succeeds or fails by itself. Their watch flag is ignored.

    All of it is BAD_ARGUMENTS if the answer would be beyond every bound (ZooKeeper runs out of memory).
    """
    results: list[tuple[int, int, bytes]] = []
    size = 0
    for op, request in decode_multi(body, MULTI_READ_OPS):
        answer = _get_data if op == Op.GET_DATA else _get_children
        try:
            results.append((op, 0, answer(machine, watches, caller, request.path, False)))
        except Refused as refused:
            results.append((Op.ERROR, refused.code, pack_int(refused.code)))
        size += len(results[-1][2])
        if size > MULTI_READ_REPLY_BYTES_MAX:
            raise Refused(ErrorCode.BAD_ARGUMENTS)
    return encode_multi_reply(results)


def _check_watches(_machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    path, type_ = _path_and_watcher_type(body)
    if not watches.has(path, type_, caller):
        raise Refused(ErrorCode.NO_WATCHER)
    return b""


def _remove_watches(_machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    path, type_ = _path_and_watcher_type(body)
    if not watches.remove(path, type_, caller):
        raise Refused(ErrorCode.NO_WATCHER)
    return b""


def _path_and_watcher_type(body: bytes) -> tuple[str, WatcherType]:
    request = CheckWatchesRequest.from_bytes(body)
    try:
        return request.path, WatcherType(request.type)
    except ValueError:  # ZooKeeper fails in reading it, and says so
        raise Refused(ErrorCode.MARSHALLING_ERROR) from None


def _add_watch(_machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
    """Asks neither for the znode nor for permission; what the watch tells is filtered by READ."""
    request = AddWatchRequest.from_bytes(body)
    try:
        mode = AddWatchMode(request.mode)
    except ValueError:
        raise Refused(ErrorCode.MARSHALLING_ERROR) from None
    watches.add_persistent(request.path, caller, recursive=mode is AddWatchMode.PERSISTENT_RECURSIVE)
    return ErrorReply(0).encode()


def _decoding(answer: Read) -> Read:
    def read(machine: Machine, watches: Watches[Any], caller: Caller, body: bytes) -> bytes:
        try:
            return answer(machine, watches, caller, body)
        except ProtocolError:
            raise Refused(ErrorCode.MARSHALLING_ERROR) from None

    return read


READS: Final[dict[int, Read]] = {
    Op.EXISTS: _watching(Op.EXISTS, _exists),
    Op.GET_DATA: _watching(Op.GET_DATA, _get_data),
    Op.GET_CHILDREN: _watching(Op.GET_CHILDREN, _get_children),
    Op.GET_CHILDREN2: _watching(Op.GET_CHILDREN2, _get_children2),
    Op.GET_ACL: _decoding(_get_acl),
    Op.GET_ALL_CHILDREN_NUMBER: _decoding(_count_descendants),
    Op.GET_EPHEMERALS: _decoding(_get_ephemerals),
    Op.WHO_AM_I: _decoding(_who_am_i),
    Op.MULTI_READ: _decoding(_multi_read),
    Op.CHECK_WATCHES: _decoding(_check_watches),
    Op.REMOVE_WATCHES: _decoding(_remove_watches),
    Op.ADD_WATCH: _decoding(_add_watch),
}


# -- a client comes back ----------------------------------------------------------------------------------


def set_watches(
    machine: Machine, watches: Watches[Any], caller: Caller, request: SetWatches2Request
) -> list[tuple[EventType, str]]:
    """Arms again what a client watched on its last connection; returns what it has missed, to be sent now.

    What changed after `relative_zxid` is an event, everything else a watch. Persistent watches are armed
    and catch up on nothing. An event the caller may not read is left out, and its watch is used up, just
    as if it had fired. Of a znode that is gone nobody knows the ACL any more; anybody may learn that from
    exists as well.
    """
    nodes, since = machine.tree.nodes, request.relative_zxid
    missed: dict[tuple[EventType, str], Node | None] = {}
    for path in request.data:
        node = nodes.get(path)
        if node is None:
            missed[EventType.DELETED, path] = None
        elif node.mzxid > since:
            missed[EventType.DATA_CHANGED, path] = node
        else:
            watches.add_data(path, caller)
    for path in request.exist:
        node = nodes.get(path)
        if node is None:
            watches.add_exists(path, caller)
        else:
            missed[EventType.CREATED, path] = node
    for path in request.child:
        node = nodes.get(path)
        if node is None:
            missed[EventType.DELETED, path] = None
        elif node.pzxid > since:
            missed[EventType.CHILDREN_CHANGED, path] = node
        else:
            watches.add_child(path, caller)
    for path in request.persistent:
        watches.add_persistent(path, caller, recursive=False)
    for path in request.persistent_recursive:
        watches.add_persistent(path, caller, recursive=True)
    return [
        event for event, node in missed.items() if node is None or node.acl.allows(_READ, caller.identities)
    ]
