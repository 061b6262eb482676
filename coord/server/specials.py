"""Requests that are neither reads nor writes: ping, sync, setWatches, auth.

Owns what they do to their connection and what is answered. Knows nothing of the order of requests: the
connection does, and asks here when it is their turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.errors import ErrorCode, ProtocolError
from coord.limits import IDENTITIES_BYTES_MAX
from coord.state.acl import digest_id
from coord.state.reads import Refused, set_watches
from coord.wire.frames import pack_frame
from coord.wire.records import (
    AuthPacket,
    EventType,
    Id,
    KeeperState,
    Op,
    PathReply,
    PathRequest,
    SetWatches2Request,
    WatcherEvent,
    Xid,
    pack_reply_header,
)

if TYPE_CHECKING:
    from coord.server.connection import Connection


NOT_OFFERED = frozenset({Op.RECONFIG, Op.SASL})
"""Known operations that coord answers with UNIMPLEMENTED, keeping the connection."""


def pack_event(type_: EventType, path: str, zxid: int) -> bytes:
    """A watch event as a frame. Its zxid is that of the change, as since ZooKeeper 3.9 (ZOOKEEPER-4655)."""
    event = WatcherEvent(type_, KeeperState.SYNC_CONNECTED, path)
    return pack_frame(pack_reply_header(Xid.NOTIFICATION, zxid, 0), event.encode())


def answer_special(connection: Connection, xid: int, op: int, body: bytes, received_at: int) -> None:
    """Does what is asked for, and replies. An opcode that is not for clients ends the connection."""
    err, reply = 0, b""
    try:
        reply = _answer(connection, op, body)
    except Refused as refused:
        err = refused.code
    except ProtocolError:
        err = ErrorCode.MARSHALLING_ERROR
    zxid = connection.replica.machine.zxid
    if err == ErrorCode.UNIMPLEMENTED and op not in NOT_OFFERED:
        connection.reply(xid, op, -1, err, reply, received_at)
        connection.close(f"opcode {op} is not for clients")
    elif op == Op.AUTH:
        connection.reply(Xid.AUTH, op, 0, err, reply, received_at)
        if err == ErrorCode.AUTH_FAILED:
            connection.close("the client could not authenticate")
    else:
        connection.reply(Xid.PING if op == Op.PING else xid, op, zxid, err, reply, received_at)


def _answer(connection: Connection, op: int, body: bytes) -> bytes:
    """The body of the reply; raises `Refused` and `ProtocolError`."""
    if op == Op.PING:
        return b""
    if connection.read_only and connection.replica.read_only.answers(connection, op):
        return b""
    if op == Op.SYNC:
        return PathReply(PathRequest.from_bytes(body).path).encode()
    if op in (Op.SET_WATCHES, Op.SET_WATCHES2):
        return _set_watches(connection, op, body)
    if op == Op.AUTH:
        packet = AuthPacket.from_bytes(body)
        if packet.scheme != "ip" and (packet.scheme != "digest" or packet.auth is None):
            raise Refused(ErrorCode.AUTH_FAILED)
        return b""
    raise Refused(ErrorCode.UNIMPLEMENTED)


def _set_watches(connection: Connection, op: int, body: bytes) -> bytes:
    request, replica = SetWatches2Request.from_either(op, body), connection.replica
    for type_, path in set_watches(replica.machine, replica.watches, connection, request):
        connection.event(pack_event(type_, path, replica.machine.zxid))
    return b""


def authenticate(connection: Connection, body: bytes) -> bool:
    """Takes effect for requests behind it; its reply keeps its place in line (`answer_special`). False if
    the connection is more than it may be."""
    try:
        packet = AuthPacket.from_bytes(body)
    except ProtocolError:
        return True
    if packet.scheme != "digest" or packet.auth is None:
        return True
    user, _, password = packet.auth.decode("utf-8", "replace").partition(":")
    new = [Id("digest", digest_id(user, password))]
    if connection.replica.lobby.is_super(new[0]):
        new.append(Id("super", ""))
    connection.identities += tuple(identity for identity in new if identity not in connection.identities)
    # Each batch carries them: without a bound one client could make a record the log does not take.
    return sum(len(who.encode()) for who in connection.identities) <= IDENTITIES_BYTES_MAX
