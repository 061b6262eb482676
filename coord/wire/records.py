"""Every record of ZooKeeper's client protocol: requests, replies, headers, and the table of opcodes.

Owns which fields a message has and in what order (`zookeeper.jute`). Knows nothing of what they mean.

A record is a slots dataclass whose annotations are its fields in wire order; each annotation names a codec
(`Int`, `Long`, `Bool`, `Buffer`, `String`, …), so that the class reads like the protocol's own table, and
`encode`/`decode` follow from it. Frames and their lengths are `frames`' business.

Synopsis::

    CreateRequest("/a", b"x", [ACL(31, Id("world", "anyone"))], 0).encode()
    GetDataReply.decode(Reader(frame, 16))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    Self,
    get_type_hints,
)

from coord.errors import ErrorCode, ProtocolError
from coord.wire.jute import (
    Reader,
    pack_bool,
    pack_buffer,
    pack_int,
    pack_long,
    pack_ustring,
    pack_vector,
)

# -- the codecs ---------------------------------------------------------------------------------------


class Codec(NamedTuple):
    read: Callable[[Reader], Any]
    pack: Callable[[Any], bytes]


class Id(NamedTuple):
    """Who: an authentication scheme and an identity in it, e.g. ``Id("world", "anyone")``."""

    scheme: str
    id: str

    def encode(self) -> bytes:
        return pack_ustring(self.scheme) + pack_ustring(self.id)

    @classmethod
    def read(cls, reader: Reader) -> Id:
        # ZooKeeper treats null like empty here; neither names anybody.
        return cls(reader.read_ustring() or "", reader.read_ustring() or "")


class ACL(NamedTuple):
    """One entry of an access control list: permission bits (see `Perms`) for one identity."""

    perms: int
    id: Id

    def encode(self) -> bytes:
        return pack_int(self.perms) + self.id.encode()

    @classmethod
    def read(cls, reader: Reader) -> ACL:
        return cls(reader.read_int(), Id.read(reader))


_STAT = Struct(">qqqqiiiqiiq")
STAT_BYTES: Final = _STAT.size
assert STAT_BYTES == 68
unpack_stat: Callable[[bytes, int], tuple[int, ...]] = _STAT.unpack_from
"""Bytes, and where a `Stat` begins in them -> its fields; raises `struct.error` where they end before it."""
pack_stat: Callable[..., bytes] = _STAT.pack
"""The fields of a `Stat`, in order -> its bytes, for where making the `Stat` first would cost too much."""


class Stat(NamedTuple):
    """What the server knows about a znode beside its data; times in ms since 1970, ids are zxids."""

    czxid: int
    """zxid of the creating transaction: rises with every create anywhere, never repeats."""
    mzxid: int
    """zxid of the last change of the data."""
    ctime: int
    mtime: int
    version: int
    """changes of the data"""
    cversion: int
    """creates and deletes of children"""
    aversion: int
    """changes of the ACL"""
    ephemeral_owner: int
    """session id, or 0 for a znode that is not ephemeral"""
    data_length: int
    num_children: int
    pzxid: int
    """zxid of the last create or delete of a child"""

    def encode(self) -> bytes:
        return _STAT.pack(*self)

    @classmethod
    def read(cls, reader: Reader) -> Stat:
        end = reader.position + STAT_BYTES
        if end > len(reader.data):
            raise ProtocolError(f"the frame ends inside a Stat at byte {reader.position}")
        stat = cls._make(_STAT.unpack_from(reader.data, reader.position))
        reader.position = end
        return stat


def _read_acls(reader: Reader) -> list[ACL]:
    return reader.read_vector(lambda: ACL.read(reader))


def _pack_acls(acls: list[ACL]) -> bytes:
    return pack_vector(acl.encode() for acl in acls)


Int = Annotated[int, Codec(Reader.read_int, pack_int)]
Long = Annotated[int, Codec(Reader.read_long, pack_long)]
Bool = Annotated[bool, Codec(Reader.read_bool, pack_bool)]
Buffer = Annotated[bytes | None, Codec(Reader.read_buffer, pack_buffer)]
String = Annotated[str, Codec(Reader.read_string, pack_ustring)]
NullableString = Annotated[str | None, Codec(Reader.read_ustring, pack_ustring)]
Strings = Annotated[
    list[str],
    Codec(lambda reader: reader.read_vector(reader.read_string), lambda v: pack_vector(map(pack_ustring, v))),
]
Acls = Annotated[list[ACL], Codec(_read_acls, _pack_acls)]
Ids = Annotated[
    list[Id],
    Codec(
        lambda reader: reader.read_vector(lambda: Id.read(reader)),
        lambda v: pack_vector(i.encode() for i in v),
    ),
]
ZnodeStat = Annotated[Stat, Codec(Stat.read, Stat.encode)]


@dataclass(slots=True)
class Record:
    """Base of every record: finds the codecs in the annotations of its subclass."""

    CODECS: ClassVar[tuple[Codec, ...]] = ()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls.FIELDS = tuple(cls.__annotations__)
        cls.CODECS = tuple(hints[name].__metadata__[0] for name in cls.FIELDS)

    def encode(self) -> bytes:
        return b"".join(
            codec.pack(getattr(self, name)) for codec, name in zip(self.CODECS, self.FIELDS, strict=True)
        )

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Reads the record off `reader`; raises `ProtocolError` if the bytes do not fit."""
        return cls(*[codec.read(reader) for codec in cls.CODECS])

    @classmethod
    def from_bytes(cls, data: bytes, position: int = 0) -> Self:
        """Decodes `data` from `position` on. What follows the last field is ignored, as ZooKeeper does: a
        newer peer may send fields that this one does not know (as readOnly once was)."""
        return cls.decode(Reader(data, position))


# -- numbers of the protocol --------------------------------------------------------------------------


class Op(IntEnum):
    """Opcodes (`ZooDefs.OpCode`)."""

    NOTIFICATION = 0
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10
    CLOSE_SESSION = -11
    SET_SECRET = -20
    """only in coord's log: the ensemble's secret, drawn once by its first leader (body: 32 bytes)"""
    ENABLE_TTL = -21
    """in coord's log only: may TTL znodes be created (a boolean)"""
    NOTHING = -22
    """in coord's log only: an entry for its zxid's sake"""
    ERROR = -1
    """in a multi's reply: this operation failed; in coord's log: a request refused before it was logged"""


class Xid(IntEnum):
    """Transaction ids with a meaning of their own; the client's requests count up from 1."""

    NOTIFICATION = -1
    PING = -2
    AUTH = -4
    SET_WATCHES = -8


GOODBYE_ERROR: Final = ErrorCode.CONNECTION_LOSS
"""In the reply to a ping that nobody sent: the server is about to end. What it has not answered by then it
has not taken, and never will. (Clients that do not know this do not look at the error of a ping's reply.)"""


class Perms(IntEnum):
    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class CreateMode(IntEnum):
    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_WITH_TTL = 5
    PERSISTENT_SEQUENTIAL_WITH_TTL = 6


class EventType(IntEnum):
    NONE = -1
    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7


class KeeperState(IntEnum):
    """What a `WatcherEvent` says of the connection; on the wire always SYNC_CONNECTED."""

    DISCONNECTED = 0
    SYNC_CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    SASL_AUTHENTICATED = 6
    CLOSED = 7
    EXPIRED = -112


class WatcherType(IntEnum):
    """What checkWatches and removeWatches name."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


class AddWatchMode(IntEnum):
    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


# -- handshake and headers ----------------------------------------------------------------------------


@dataclass(slots=True)
class ConnectRequest(Record):
    """The first frame, without a header. `read_only` may be missing: see `decode_connect_request`."""

    protocol_version: Int
    last_zxid_seen: Long
    timeout_ms: Int
    session_id: Long
    password: Buffer
    read_only: Bool


@dataclass(slots=True)
class ConnectReply(Record):
    protocol_version: Int
    timeout_ms: Int
    session_id: Long
    password: Buffer
    read_only: Bool


def decode_connect_request(frame: bytes) -> tuple[ConnectRequest, bool]:
    """The request, and whether it carried the readOnly byte (only then may the reply carry one:
    clients of the 3.3 era stumble over it, ZOOKEEPER-4814)."""
    reader = Reader(frame)
    fields = [codec.read(reader) for codec in ConnectRequest.CODECS[:-1]]
    sent_read_only = not reader.at_end()
    fields.append(reader.read_bool() if sent_read_only else False)
    return ConnectRequest(*fields), sent_read_only


def decode_connect_reply(frame: bytes) -> ConnectReply:
    """The reply; without the readOnly byte it reads as not read-only."""
    reader = Reader(frame)
    fields = [codec.read(reader) for codec in ConnectReply.CODECS[:-1]]
    fields.append(False if reader.at_end() else reader.read_bool())
    return ConnectReply(*fields)


@dataclass(slots=True)
class RequestHeader(Record):
    xid: Int
    op: Int


@dataclass(slots=True)
class ReplyHeader(Record):
    xid: Int
    zxid: Long
    err: Int


_REPLY_HEADER = Struct(">iqi")
REPLY_HEADER_BYTES: Final = _REPLY_HEADER.size
pack_reply_header: Callable[[int, int, int], bytes] = _REPLY_HEADER.pack
"""xid, zxid, err -> the 16 bytes of a `ReplyHeader`."""


@dataclass(slots=True)
class WatcherEvent(Record):
    type: Int
    state: Int
    path: String


@dataclass(slots=True)
class AuthPacket(Record):
    type: Int
    scheme: NullableString
    auth: Buffer


# -- requests -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class EmptyRequest(Record):
    """ping, closeSession, whoAmI: a header is all there is."""


@dataclass(slots=True)
class CreateRequest(Record):
    """create, create2, createContainer"""

    path: String
    data: Buffer
    acl: Acls
    flags: Int


@dataclass(slots=True)
class CreateTTLRequest(Record):
    path: String
    data: Buffer
    acl: Acls
    flags: Int
    ttl_ms: Long


@dataclass(slots=True)
class DeleteRequest(Record):
    path: String
    version: Int


@dataclass(slots=True)
class PathWatchRequest(Record):
    """exists, getData, getChildren, getChildren2"""

    path: String
    watch: Bool


@dataclass(slots=True)
class SetDataRequest(Record):
    path: String
    data: Buffer
    version: Int


@dataclass(slots=True)
class PathRequest(Record):
    """getACL, sync, getAllChildrenNumber, deleteContainer"""

    path: String


@dataclass(slots=True)
class SetACLRequest(Record):
    path: String
    acl: Acls
    version: Int


@dataclass(slots=True)
class CheckVersionRequest(Record):
    path: String
    version: Int


@dataclass(slots=True)
class CheckWatchesRequest(Record):
    """checkWatches, removeWatches"""

    path: String
    type: Int


@dataclass(slots=True)
class SetWatchesRequest(Record):
    relative_zxid: Long
    data: Strings
    exist: Strings
    child: Strings


@dataclass(slots=True)
class SetWatches2Request(Record):
    relative_zxid: Long
    data: Strings
    exist: Strings
    child: Strings
    persistent: Strings
    persistent_recursive: Strings

    @classmethod
    def from_either(cls, op: int, body: bytes) -> Self:
        """The body of a setWatches2, or of a setWatches, which knows no persistent watches."""
        if op == Op.SET_WATCHES2:
            return cls.from_bytes(body)
        old = SetWatchesRequest.from_bytes(body)
        return cls(old.relative_zxid, old.data, old.exist, old.child, [], [])


@dataclass(slots=True)
class AddWatchRequest(Record):
    path: String
    mode: Int


@dataclass(slots=True)
class GetEphemeralsRequest(Record):
    prefix: NullableString


@dataclass(slots=True)
class CreateSessionRequest(Record):
    """never on a client's wire: how a new session is written into coord's log"""

    timeout_ms: Int


# -- replies ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class EmptyReply(Record):
    pass


@dataclass(slots=True)
class PathReply(Record):
    """create, sync"""

    path: String


@dataclass(slots=True)
class PathStatReply(Record):
    """create2, createContainer, createTTL"""

    path: String
    stat: ZnodeStat


@dataclass(slots=True)
class StatReply(Record):
    """exists, setData, setACL"""

    stat: ZnodeStat


@dataclass(slots=True)
class GetDataReply(Record):
    data: Buffer
    stat: ZnodeStat


@dataclass(slots=True)
class GetACLReply(Record):
    acl: Acls
    stat: ZnodeStat


@dataclass(slots=True)
class ChildrenReply(Record):
    children: Strings


@dataclass(slots=True)
class Children2Reply(Record):
    children: Strings
    stat: ZnodeStat


@dataclass(slots=True)
class ErrorReply(Record):
    """addWatch (err 0); the body of a failed operation in a multi"""

    err: Int


@dataclass(slots=True)
class EphemeralsReply(Record):
    paths: Strings


@dataclass(slots=True)
class NumberReply(Record):
    number: Int


@dataclass(slots=True)
class WhoAmIReply(Record):
    identities: Ids


REQUEST_OF: Final[dict[int, type[Record]]] = {
    Op.CREATE: CreateRequest,
    Op.CREATE2: CreateRequest,
    Op.CREATE_CONTAINER: CreateRequest,
    Op.CREATE_TTL: CreateTTLRequest,
    Op.DELETE: DeleteRequest,
    Op.DELETE_CONTAINER: PathRequest,
    Op.SET_DATA: SetDataRequest,
    Op.SET_ACL: SetACLRequest,
    Op.CHECK: CheckVersionRequest,
    Op.EXISTS: PathWatchRequest,
    Op.GET_DATA: PathWatchRequest,
    Op.GET_CHILDREN: PathWatchRequest,
    Op.GET_CHILDREN2: PathWatchRequest,
    Op.GET_ACL: PathRequest,
    Op.GET_ALL_CHILDREN_NUMBER: PathRequest,
    Op.GET_EPHEMERALS: GetEphemeralsRequest,
    Op.SYNC: PathRequest,
    Op.PING: EmptyRequest,
    Op.CLOSE_SESSION: EmptyRequest,
    Op.WHO_AM_I: EmptyRequest,
    Op.CHECK_WATCHES: CheckWatchesRequest,
    Op.REMOVE_WATCHES: CheckWatchesRequest,
    Op.SET_WATCHES: SetWatchesRequest,
    Op.SET_WATCHES2: SetWatches2Request,
    Op.ADD_WATCH: AddWatchRequest,
    Op.AUTH: AuthPacket,
    Op.CREATE_SESSION: CreateSessionRequest,
}
"""The request record of each opcode; multi and multiRead have their own functions below."""

REPLY_OF: Final[dict[int, type[Record]]] = {
    Op.CREATE: PathReply,
    Op.CREATE2: PathStatReply,
    Op.CREATE_CONTAINER: PathStatReply,
    Op.CREATE_TTL: PathStatReply,
    Op.DELETE: EmptyReply,
    Op.SET_DATA: StatReply,
    Op.SET_ACL: StatReply,
    Op.CHECK: EmptyReply,
    Op.EXISTS: StatReply,
    Op.GET_DATA: GetDataReply,
    Op.GET_CHILDREN: ChildrenReply,
    Op.GET_CHILDREN2: Children2Reply,
    Op.GET_ACL: GetACLReply,
    Op.GET_ALL_CHILDREN_NUMBER: NumberReply,
    Op.GET_EPHEMERALS: EphemeralsReply,
    Op.SYNC: PathReply,
    Op.PING: EmptyReply,
    Op.CLOSE_SESSION: EmptyReply,
    Op.WHO_AM_I: WhoAmIReply,
    Op.CHECK_WATCHES: EmptyReply,
    Op.REMOVE_WATCHES: EmptyReply,
    Op.SET_WATCHES: EmptyReply,
    Op.SET_WATCHES2: EmptyReply,
    Op.ADD_WATCH: ErrorReply,
    Op.AUTH: EmptyReply,
    Op.ERROR: ErrorReply,
}
"""The reply record of each opcode, for replies whose header says err 0."""

# -- multi and multiRead ------------------------------------------------------------------------------

MULTI_WRITE_OPS: Final = frozenset(
    {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.CHECK}
)
MULTI_READ_OPS: Final = frozenset({Op.GET_DATA, Op.GET_CHILDREN})
WRITES: Final = frozenset({*MULTI_WRITE_OPS, Op.SET_ACL, Op.MULTI, Op.CLOSE_SESSION} - {Op.CHECK})
"""What clients ask for that goes through the log."""

_MULTI_HEADER = Struct(">i?i")
_MULTI_END = _MULTI_HEADER.pack(-1, True, -1)


def pack_multi_header(op: int, err: int) -> bytes:
    return _MULTI_HEADER.pack(op, False, err)


def _read_multi_header(reader: Reader) -> tuple[int, bool, int]:
    return reader.read_int(), reader.read_bool(), reader.read_int()


def encode_multi(operations: list[tuple[int, Record]]) -> bytes:
    """The body of a multi or multiRead request from (opcode, request) pairs."""
    parts = [pack_multi_header(op, -1) + request.encode() for op, request in operations]
    return b"".join(parts) + _MULTI_END


def decode_multi(body: bytes, allowed: frozenset[Op]) -> list[tuple[int, Any]]:
    """(opcode, request) pairs of a multi; raises `ProtocolError` at an opcode outside `allowed`."""
    reader = Reader(body)
    operations: list[tuple[int, Any]] = []
    while True:
        op, done, _ = _read_multi_header(reader)
        if done:
            return operations
        if op not in allowed:
            raise ProtocolError(f"operation {op} cannot be part of this multi")
        operations.append((op, REQUEST_OF[op].decode(reader)))


def encode_multi_reply(results: list[tuple[int, int, bytes]]) -> bytes:
    """The body of a reply to multi or multiRead from (opcode, err, encoded reply) of each operation."""
    return b"".join(pack_multi_header(op, err) + reply for op, err, reply in results) + _MULTI_END


def encode_multi_failure(errors: list[int]) -> bytes:
    """The body of a failed multi: one error per operation (0 before the culprit, -2 after it)."""
    return b"".join(pack_multi_header(Op.ERROR, err) + pack_int(err) for err in errors) + _MULTI_END


def decode_multi_reply(body: bytes, position: int = 0) -> list[tuple[int, int, Any]]:
    """(opcode, err, reply) of each operation; for a failed one (-1, err, ErrorReply)."""
    reader = Reader(body, position)
    results: list[tuple[int, int, Any]] = []
    while True:
        op, done, err = _read_multi_header(reader)
        if done:
            return results
        reply = REPLY_OF.get(op)
        if reply is None:
            raise ProtocolError(f"operation {op} in a multi's reply")
        decoded = reply.decode(reader)
        results.append((op, decoded.err if isinstance(decoded, ErrorReply) else err, decoded))
