"""The client protocol, byte by byte, against a real server process.

What is asserted here was first measured on Apache ZooKeeper 3.8: run with ``COORD_TEST_ZOOKEEPER=1`` the same
tests pass there. Where coord answers otherwise on purpose, `DIFFERENCES` names the case and says why, and the
test asks `either` for the value that fits the server it runs against.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import pytest

from coord.errors import ErrorCode
from coord.wire.frames import pack_frame
from coord.wire.jute import pack_bool, pack_buffer, pack_int, pack_long, pack_ustring
from coord.wire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    ConnectReply,
    ConnectRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    EphemeralsReply,
    EventType,
    GetEphemeralsRequest,
    Id,
    Op,
    PathReply,
    PathRequest,
    PathStatReply,
    PathWatchRequest,
    Record,
    SetACLRequest,
    SetDataRequest,
    SetWatches2Request,
    SetWatchesRequest,
    Stat,
    StatReply,
    WatcherType,
    WhoAmIReply,
    Xid,
    decode_multi_reply,
    encode_multi,
)
from tests.rawclient import ANYONE, OPEN, Closed, RawClient, four_letters, wait_until
from tests.servers import (
    Flavour,
    ServerProcess,
    chosen_flavour,
    serves,
    skip_without_its_server,
)

T = TypeVar("T")
TICK_MS = 500
DIGEST = "lead:k33iHWT1fOcY8WnnmdfOcLPEz3U="

DIFFERENCES = {
    "internal operations": (
        "ZooKeeper obeys a client's createSession, chokes on its deleteContainer and never answers its check "
        "outside a multi; coord refuses all three as it does an unknown opcode"
    ),
    "reconfig": "ZooKeeper says that it is disabled; coord does not have it",
    "sasl": "ZooKeeper without SASL set up answers with an empty token; coord does not have it",
    "the empty path": "ZooKeeper reads it as the root; coord has no such znode",
    "zxid of an event": "-1 in ZooKeeper up to 3.8; coord tells which change it was, as 3.9 does",
    "exists without READ": "ZooKeeper 3.8 answers anybody; coord asks for READ, as newer ones do",
    "a client that leaves at once": (
        "ZooKeeper may throw away requests that it had received, but not read, when the client closed"
    ),
    "strings that are not UTF-8": "ZooKeeper reads replacement characters; coord refuses the request",
}


def either(name: str, *, coord: T, zookeeper: T) -> T:
    """The value that fits the server under test, for a difference that has a name in `DIFFERENCES`."""
    assert name in DIFFERENCES
    return coord if chosen_flavour() is Flavour.COORD else zookeeper


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    skip_without_its_server()
    config = {"tickTime": str(TICK_MS)}
    properties = {"extendedTypesEnabled": "true"}
    with ServerProcess(tmp_path_factory.mktemp("server"), config, properties=properties) as process:
        yield process


@pytest.fixture
def zk(server: ServerProcess) -> Iterator[RawClient]:
    with RawClient.open(server.port) as client:
        yield client
        end_quietly(client)


@pytest.fixture
def other(server: ServerProcess) -> Iterator[RawClient]:
    with RawClient.open(server.port) as client:
        yield client
        end_quietly(client)


@pytest.fixture
def root(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    """A znode of the test's own."""
    path = "/" + re.sub(r"\W+", "-", request.node.name)[:60].strip("-")
    with RawClient.open(server.port) as client:
        assert client.create(path).err == 0
        client.end_session()
    return path


def end_quietly(client: RawClient) -> None:
    try:
        client.send(99, Op.CLOSE_SESSION)
        client.expect_end()
    except OSError:
        pass


def stat_of(reply: Any) -> Stat:
    assert reply.err == 0
    return StatReply.from_bytes(reply.body).stat


def assert_refused(client: RawClient, request: ConnectRequest) -> None:
    """The answer to a session that is not: no timeout, no id, sixteen zero bytes, and the end."""
    client.send_frame(request.encode())
    assert client.receive_frame() == pack_int(0) + pack_int(0) + pack_long(0) + pack_buffer(bytes(16)) + b"\0"
    assert client.expect_end() == b""


# -- the handshake ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read_only", "length"), [(b"", 36), (b"\0", 37), (b"\1", 37)])
def test_the_reply_has_a_read_only_byte_only_if_the_request_had(
    server: ServerProcess, read_only: bytes, length: int
) -> None:
    with RawClient(server.port) as zk:
        zk.send_frame(struct.pack(">iqiqi16s", 0, 0, 4000, 0, 16, bytes(16)) + read_only)
        frame = zk.receive_frame()
        assert len(frame) == length
        version, timeout, session_id, size = struct.unpack_from(">iiqi", frame)
        assert (version, timeout, size) == (0, 4000, 16)
        assert session_id != 0
        assert frame[36:] == b"\0"[: length - 36]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (1, 2 * TICK_MS),
        (2 * TICK_MS - 1, 2 * TICK_MS),
        (3333, 3333),
        (20 * TICK_MS + 1, 20 * TICK_MS),
        (2**31 - 1, 20 * TICK_MS),
        (0, 2 * TICK_MS),
        (-5, 2 * TICK_MS),
    ],
)
def test_the_timeout_is_clamped_to_2_to_20_ticks(server: ServerProcess, asked: int, given: int) -> None:
    with RawClient.open(server.port, asked) as zk:
        assert zk.session.timeout_ms == given
        end_quietly(zk)


@pytest.mark.parametrize("password", [b"", b"short", bytes(16), b"x" * 40, None])
def test_a_new_session_takes_any_password(server: ServerProcess, password: bytes | None) -> None:
    with RawClient(server.port) as zk:
        zk.send_frame(ConnectRequest(0, 0, 4000, 0, password, False).encode())
        reply = ConnectReply.from_bytes(zk.receive_frame())
        assert reply.timeout_ms == 4000
        assert reply.password is not None
        assert len(reply.password) == 16
        end_quietly(zk)


@pytest.mark.parametrize("version", [1, -1, 77])
def test_the_protocol_version_is_not_looked_at(server: ServerProcess, version: int) -> None:
    with RawClient(server.port) as zk:
        zk.send_frame(ConnectRequest(version, 0, 4000, 0, bytes(16), False).encode())
        assert ConnectReply.from_bytes(zk.receive_frame()).protocol_version == 0
        end_quietly(zk)


def test_sessions_have_different_ids_and_passwords(zk: RawClient, other: RawClient) -> None:
    assert zk.session.session_id != other.session.session_id
    assert zk.session.password != other.session.password


def test_a_session_resumes_on_a_new_connection_which_closes_the_old_one(
    server: ServerProcess, zk: RawClient, root: str
) -> None:
    assert zk.create(f"{root}/mine", flags=1).err == 0
    with RawClient.open(server.port, 3000, session=zk.session, last_zxid=zk.last_zxid) as again:
        assert again.session.session_id == zk.session.session_id
        assert again.session.password == zk.session.password
        assert again.session.timeout_ms == 3000
        assert zk.expect_end() == b""
        assert stat_of(again.exists(f"{root}/mine")).ephemeral_owner == again.session.session_id
        end_quietly(again)


def test_a_session_outlives_its_connection(server: ServerProcess, root: str) -> None:
    with RawClient.open(server.port) as first:
        assert first.create(f"{root}/mine", flags=1).err == 0
    with RawClient.open(server.port, session=first.session) as again:
        assert again.session.session_id == first.session.session_id
        assert again.exists(f"{root}/mine").err == 0
        end_quietly(again)


def test_a_wrong_password_is_refused_and_ends_the_sessions_connection_but_not_the_session(
    server: ServerProcess, zk: RawClient
) -> None:
    with RawClient(server.port) as thief:
        assert_refused(thief, ConnectRequest(0, 0, 4000, zk.session.session_id, b"sixteen bytes!!!", False))
    assert zk.expect_end() == b""
    with RawClient.open(server.port, session=zk.session) as again:
        assert again.session.session_id == zk.session.session_id
        end_quietly(again)


@pytest.mark.parametrize("session_id", [1, -1, 0x123456789ABCDEF])
def test_an_unknown_session_is_refused(server: ServerProcess, session_id: int) -> None:
    with RawClient(server.port) as zk:
        assert_refused(zk, ConnectRequest(0, 0, 4000, session_id, bytes(16), False))


def test_a_closed_session_is_refused(server: ServerProcess, zk: RawClient) -> None:
    session = zk.session
    assert zk.end_session().err == 0
    with RawClient(server.port) as again:
        assert_refused(again, ConnectRequest(0, 0, 4000, session.session_id, session.password, False))


def test_a_session_expires_with_its_ephemerals_and_is_then_refused(
    server: ServerProcess, zk: RawClient, root: str
) -> None:
    with RawClient.open(server.port, 1) as short:
        assert short.create(f"{root}/mine", flags=1).err == 0
        assert zk.exists(f"{root}/mine", watch=True).err == 0
        _, event = zk.receive_event()
        assert (event.type, event.path) == (EventType.DELETED, f"{root}/mine")
        assert short.expect_end() == b""
    with RawClient(server.port) as again:
        request = ConnectRequest(0, 0, 4000, short.session.session_id, short.session.password, False)
        assert_refused(again, request)


def test_pings_keep_a_session_alive(server: ServerProcess, zk: RawClient, root: str) -> None:
    with RawClient.open(server.port, 1) as pinging, RawClient.open(server.port, 1) as silent:
        assert pinging.create(f"{root}/pinging", flags=1).err == 0
        assert silent.create(f"{root}/silent", flags=1).err == 0

        def the_silent_one_is_gone() -> bool:
            assert pinging.ask(Op.PING, xid=Xid.PING).err == 0
            return zk.exists(f"{root}/silent").err == ErrorCode.NO_NODE

        wait_until(the_silent_one_is_gone)
        assert zk.exists(f"{root}/pinging").err == 0


def test_a_client_that_saw_more_than_the_server_is_closed_without_a_reply(server: ServerProcess) -> None:
    with RawClient(server.port) as zk:
        zk.send_frame(ConnectRequest(0, 1 << 60, 4000, 0, bytes(16), False).encode())
        assert zk.expect_end() == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
        pytest.param(b"\xff" * 64, id="negative-length"),
        pytest.param(pack_int(2_000_000), id="too-large"),
        pytest.param(pack_frame(b"\0" * 7), id="short-connect-request"),
        pytest.param(pack_frame(pack_int(0) * 6 + pack_int(1000)), id="password-longer-than-the-frame"),
        pytest.param(pack_frame(b""), id="empty-frame"),
    ],
)
def test_garbage_instead_of_a_handshake_closes(server: ServerProcess, data: bytes) -> None:
    with RawClient(server.port) as zk:
        zk.send_bytes(data)
        assert zk.expect_end() == b""


def test_a_handshake_may_come_byte_by_byte(server: ServerProcess) -> None:
    with RawClient(server.port) as zk:
        for byte in pack_frame(ConnectRequest(0, 0, 4000, 0, bytes(16), False).encode()):
            zk.send_bytes(bytes([byte]))
        assert ConnectReply.from_bytes(zk.receive_frame()).timeout_ms == 4000
        end_quietly(zk)


def test_requests_may_follow_the_handshake_in_one_segment(server: ServerProcess) -> None:
    with RawClient(server.port) as zk:
        hello = pack_frame(ConnectRequest(0, 0, 4000, 0, bytes(16), False).encode())
        zk.send_bytes(hello + pack_frame(pack_int(1) + pack_int(Op.EXISTS) + pack_ustring("/") + b"\0"))
        assert ConnectReply.from_bytes(zk.receive_frame()).timeout_ms == 4000
        assert zk.receive().err == 0
        end_quietly(zk)


# -- every opcode -------------------------------------------------------------------------------------


def test_create_answers_the_path(zk: RawClient, root: str) -> None:
    reply = zk.create(f"{root}/a", b"x")
    assert reply.body == pack_ustring(f"{root}/a")
    assert reply.zxid == stat_of(zk.exists(f"{root}/a")).czxid


@pytest.mark.parametrize("op", [Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL])
def test_the_other_creates_answer_path_and_stat(zk: RawClient, root: str, op: Op) -> None:
    flags = {Op.CREATE2: 0, Op.CREATE_CONTAINER: 4, Op.CREATE_TTL: 5}[op]
    reply = zk.create(f"{root}/a", b"abc", flags, op=op, ttl_ms=60_000)
    assert reply.err == 0
    made = PathStatReply.from_bytes(reply.body)
    assert made.path == f"{root}/a"
    assert made.stat == stat_of(zk.exists(f"{root}/a"))
    assert made.stat.ephemeral_owner == 0
    assert made.stat.data_length == 3
    assert made.stat.czxid == made.stat.mzxid == made.stat.pzxid == reply.zxid


def test_a_new_znode_and_what_its_parent_notes(zk: RawClient, root: str) -> None:
    before = stat_of(zk.exists(root))
    created = zk.create(f"{root}/a")
    after = stat_of(zk.exists(root))
    assert after == before._replace(cversion=1, num_children=1, pzxid=created.zxid)
    deleted = zk.delete(f"{root}/a")
    assert deleted.err == 0
    assert deleted.body == b""
    assert stat_of(zk.exists(root)) == before._replace(cversion=2, num_children=0, pzxid=deleted.zxid)


def test_set_data_answers_the_new_stat(zk: RawClient, root: str) -> None:
    reply = zk.set(root, b"hello", 0)
    stat = stat_of(reply)
    assert (stat.version, stat.data_length, stat.mzxid) == (1, 5, reply.zxid)
    assert stat == stat_of(zk.exists(root))


def test_get_data_answers_data_and_stat(zk: RawClient, root: str) -> None:
    stat = stat_of(zk.set(root, b"hello"))
    reply = zk.get(root)
    assert reply.body == pack_buffer(b"hello") + stat.encode()


@pytest.mark.parametrize("data", [None, b""])
def test_null_and_empty_data_are_told_apart(zk: RawClient, root: str, data: bytes | None) -> None:
    assert zk.create(f"{root}/a", data).err == 0
    stat = stat_of(zk.exists(f"{root}/a"))
    assert zk.get(f"{root}/a").body == pack_buffer(data) + stat.encode()
    assert stat.data_length == 0
    assert zk.set(f"{root}/a", b"x").err == 0
    assert zk.set(f"{root}/a", data).err == 0
    assert zk.get(f"{root}/a").body[:4] == (b"\xff" * 4 if data is None else b"\0" * 4)


def test_children_with_and_without_stat(zk: RawClient, root: str) -> None:
    assert zk.children(root).body == pack_int(0)
    for name in "abc":
        assert zk.create(f"{root}/{name}").err == 0
    plain: Any = zk.children(root).decode(Op.GET_CHILDREN)
    assert sorted(plain.children) == ["a", "b", "c"]
    reply: Any = zk.ask(Op.GET_CHILDREN2, PathWatchRequest(root, False).encode()).decode(Op.GET_CHILDREN2)
    assert sorted(reply.children) == ["a", "b", "c"]
    assert reply.stat == stat_of(zk.exists(root))


def test_acls(zk: RawClient, root: str) -> None:
    stat = stat_of(zk.exists(root))
    assert zk.path(Op.GET_ACL, root).body == pack_int(1) + OPEN[0].encode() + stat.encode()
    acl = [ACL(31, ANYONE), ACL(1, Id("digest", DIGEST)), ACL(1, Id("ip", "10.0.0.0/8"))]
    reply = zk.ask(Op.SET_ACL, SetACLRequest(root, acl, 0).encode())
    assert stat_of(reply) == stat._replace(aversion=1)
    got: Any = zk.path(Op.GET_ACL, root).decode(Op.GET_ACL)
    assert got.acl == acl
    assert zk.ask(Op.SET_ACL, SetACLRequest(root, acl, 0).encode()).err == ErrorCode.BAD_VERSION


def test_duplicate_acl_entries_collapse(zk: RawClient, root: str) -> None:
    assert zk.create(f"{root}/a", acl=[*OPEN, *OPEN]).err == 0
    got: Any = zk.path(Op.GET_ACL, f"{root}/a").decode(Op.GET_ACL)
    assert got.acl == OPEN


@pytest.mark.parametrize("path", ["/", "/no/such/znode"])
def test_sync_answers_the_path_whether_or_not_it_exists(zk: RawClient, path: str) -> None:
    reply = zk.path(Op.SYNC, path)
    assert (reply.err, reply.body) == (0, pack_ustring(path))


def test_ephemerals_of_the_session(zk: RawClient, other: RawClient, root: str) -> None:
    for who, name in ((zk, "a1"), (zk, "a2"), (zk, "b"), (other, "a3")):
        assert who.create(f"{root}/{name}", flags=1).err == 0

    def listed(prefix: str | None) -> list[str]:
        reply = zk.ask(Op.GET_EPHEMERALS, GetEphemeralsRequest(prefix).encode())
        assert reply.err == 0
        return sorted(EphemeralsReply.from_bytes(reply.body).paths)

    mine = [f"{root}/a1", f"{root}/a2", f"{root}/b"]
    assert listed("/") == listed(None) == listed("") == mine
    assert listed(f"{root}/a") == mine[:2]
    assert listed("/elsewhere") == []


def test_number_of_descendants(zk: RawClient, root: str) -> None:
    for name in ("a", "a/b", "a/b/c", "d"):
        assert zk.create(f"{root}/{name}").err == 0
    assert zk.path(Op.GET_ALL_CHILDREN_NUMBER, root).body == pack_int(4)
    assert zk.path(Op.GET_ALL_CHILDREN_NUMBER, f"{root}/a/b/c").body == pack_int(0)


def test_who_am_i(zk: RawClient) -> None:
    assert authenticate(zk, "digest", b"lead:secret") == 0
    reply = zk.ask(Op.WHO_AM_I)
    identities = WhoAmIReply.from_bytes(reply.body).identities
    assert sorted(identities) == [Id("digest", "lead"), Id("ip", "127.0.0.1")]


def test_ping_has_an_empty_answer(zk: RawClient) -> None:
    reply = zk.ask(Op.PING, xid=Xid.PING)
    assert (reply.xid, reply.err, reply.body) == (-2, 0, b"")
    zk.send(77, Op.PING, b"")
    assert zk.receive().xid == Xid.PING, "whatever xid it came with"


@pytest.mark.parametrize("op", [999, 0, -1, 10, 500, 2**31 - 1])
def test_an_unknown_opcode_is_unimplemented_and_closes(server: ServerProcess, op: int) -> None:
    with RawClient.open(server.port) as zk:
        zk.send(5, op, CheckVersionRequest("/", -1).encode())
        reply = zk.receive()
        assert (reply.xid, reply.zxid, reply.err, reply.body) == (5, -1, ErrorCode.UNIMPLEMENTED, b"")
        assert zk.expect_end() == b""


@pytest.mark.parametrize("op", [Op.CHECK, Op.CREATE_SESSION, Op.DELETE_CONTAINER])
def test_what_only_servers_may_ask_for_is_refused(server: ServerProcess, op: Op) -> None:
    if chosen_flavour() is Flavour.ZOOKEEPER:
        assert "internal operations" in DIFFERENCES
        return
    with RawClient.open(server.port) as zk:
        zk.send(5, op, PathRequest("/").encode())
        reply = zk.receive()
        assert (reply.xid, reply.zxid, reply.err, reply.body) == (5, -1, ErrorCode.UNIMPLEMENTED, b"")
        assert zk.expect_end() == b""


def test_a_client_may_not_delete_containers(zk: RawClient, other: RawClient, root: str) -> None:
    assert zk.create(f"{root}/a").err == 0
    zk.send(5, Op.DELETE_CONTAINER, PathRequest(f"{root}/a").encode())
    expected = either("internal operations", coord=ErrorCode.UNIMPLEMENTED, zookeeper=ErrorCode.BAD_ARGUMENTS)
    assert zk.receive().err == expected
    assert other.exists(f"{root}/a").err == 0


def test_reconfig(zk: RawClient) -> None:
    reply = zk.ask(Op.RECONFIG, pack_ustring(None) * 3 + pack_long(-1))
    expected = either("reconfig", coord=ErrorCode.UNIMPLEMENTED, zookeeper=ErrorCode.RECONFIG_DISABLED)
    assert reply.err == expected


def test_sasl(zk: RawClient) -> None:
    reply = zk.ask(Op.SASL, pack_buffer(b"token"))
    assert reply.err == either("sasl", coord=int(ErrorCode.UNIMPLEMENTED), zookeeper=0)


# -- errors -------------------------------------------------------------------------------------------

FAILURES: list[tuple[str, int, Record, int]] = [
    ("create: no parent", Op.CREATE, CreateRequest("R/x/y", b"", OPEN, 0), -101),
    ("create: exists", Op.CREATE, CreateRequest("R", b"", OPEN, 0), -110),
    ("create: root", Op.CREATE, CreateRequest("/", b"", OPEN, 0), -110),
    ("create: below an ephemeral", Op.CREATE, CreateRequest("R/eph/x", b"", OPEN, 0), -108),
    ("create: empty acl", Op.CREATE, CreateRequest("R/x", b"", [], 0), -114),
    ("create: empty acl, no parent", Op.CREATE, CreateRequest("R/x/y", b"", [], 0), -114),
    ("create: unknown scheme", Op.CREATE, CreateRequest("R/x", b"", [ACL(31, Id("nope", "x"))], 0), -114),
    ("create: auth, nobody", Op.CREATE, CreateRequest("R/x", b"", [ACL(31, Id("auth", ""))], 0), -114),
    ("create: digest", Op.CREATE, CreateRequest("R/x", b"", [ACL(31, Id("digest", "a"))], 0), -114),
    ("create: ip", Op.CREATE, CreateRequest("R/x", b"", [ACL(31, Id("ip", "1.2.3.4/99"))], 0), -114),
    ("create: world", Op.CREATE, CreateRequest("R/x", b"", [ACL(31, Id("world", "all"))], 0), -114),
    ("create: flags 5", Op.CREATE, CreateRequest("R/x", b"", OPEN, 5), -8),
    ("create2: flags 6", Op.CREATE2, CreateRequest("R/x", b"", OPEN, 6), -8),
    ("create: flags 7", Op.CREATE, CreateRequest("R/x", b"", OPEN, 7), -8),
    ("create: flags -1", Op.CREATE, CreateRequest("R/x", b"", OPEN, -1), -8),
    ("create: relative path", Op.CREATE, CreateRequest("x", b"", OPEN, 0), -8),
    ("create: empty path", Op.CREATE, CreateRequest("", b"", OPEN, 0), -8),
    ("create: NUL", Op.CREATE, CreateRequest("R/\0", b"", OPEN, 0), -8),
    ("create: control", Op.CREATE, CreateRequest("R/\x01", b"", OPEN, 0), -8),
    ("create: dot", Op.CREATE, CreateRequest("R/.", b"", OPEN, 0), -8),
    ("create: dots", Op.CREATE, CreateRequest("R/..", b"", OPEN, 0), -8),
    ("create: trailing slash", Op.CREATE, CreateRequest("R/", b"", OPEN, 0), -8),
    ("create: double slash", Op.CREATE, CreateRequest("/a//b", b"", OPEN, 0), -101),
    ("create: emoji", Op.CREATE, CreateRequest("R/\U0001f600", b"", OPEN, 0), -8),
    ("create: umlaut", Op.CREATE, CreateRequest("R/\u00e4", b"", OPEN, 0), 0),
    ("create: perms 99", Op.CREATE, CreateRequest("R/x", b"", [ACL(99, ANYONE)], 0), 0),
    ("create: perms 0", Op.CREATE, CreateRequest("R/x", b"", [ACL(0, ANYONE)], 0), 0),
    ("create: private use", Op.CREATE, CreateRequest("R/\ue000", b"", OPEN, 0), -8),
    ("delete: missing", Op.DELETE, DeleteRequest("R/x", -1), -101),
    ("delete: missing parent", Op.DELETE, DeleteRequest("R/x/y", -1), -101),
    ("delete: version", Op.DELETE, DeleteRequest("R/eph", 5), -103),
    ("delete: children", Op.DELETE, DeleteRequest("R", -1), -111),
    ("delete: children and version", Op.DELETE, DeleteRequest("R", 5), -103),
    ("delete: root", Op.DELETE, DeleteRequest("/", -1), -8),
    ("delete: /zookeeper", Op.DELETE, DeleteRequest("/zookeeper", -1), -8),
    ("delete: version -2", Op.DELETE, DeleteRequest("R/eph", -2), -103),
    ("delete: relative", Op.DELETE, DeleteRequest("x", -1), -8),
    ("set: missing", Op.SET_DATA, SetDataRequest("R/x", b"", -1), -101),
    ("set: version", Op.SET_DATA, SetDataRequest("R", b"", 7), -103),
    ("set: relative", Op.SET_DATA, SetDataRequest("x", b"", -1), -8),
    ("setACL: missing", Op.SET_ACL, SetACLRequest("R/x", OPEN, -1), -101),
    ("setACL: missing, empty", Op.SET_ACL, SetACLRequest("R/x", [], -1), -114),
    ("setACL: version", Op.SET_ACL, SetACLRequest("R", OPEN, 9), -103),
    ("exists: missing", Op.EXISTS, PathWatchRequest("R/x", False), -101),
    ("exists: NUL", Op.EXISTS, PathWatchRequest("R/\0", False), -8),
    ("exists: relative", Op.EXISTS, PathWatchRequest("x", False), -101),
    ("getData: missing", Op.GET_DATA, PathWatchRequest("R/x", True), -101),
    ("getData: trailing slash", Op.GET_DATA, PathWatchRequest("R/", False), -101),
    ("getChildren: missing", Op.GET_CHILDREN, PathWatchRequest("R/x", True), -101),
    ("getChildren2: missing", Op.GET_CHILDREN2, PathWatchRequest("R/x", True), -101),
    ("getACL: missing", Op.GET_ACL, PathRequest("R/x"), -101),
    ("getAllChildrenNumber: missing", Op.GET_ALL_CHILDREN_NUMBER, PathRequest("R/x"), -101),
    ("checkWatches: none", Op.CHECK_WATCHES, CheckWatchesRequest("R", 2), -121),
    ("removeWatches: none", Op.REMOVE_WATCHES, CheckWatchesRequest("R", 3), -121),
]


@pytest.mark.parametrize(
    ("op", "request_", "err"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_refusals(zk: RawClient, root: str, op: int, request_: Record, err: int) -> None:
    assert zk.create(f"{root}/eph", flags=1).err == 0
    path: str = request_.path  # type: ignore[attr-defined]  # every record of the table has one
    fields = {name: getattr(request_, name) for name in request_.FIELDS}
    reply = zk.ask(op, type(request_)(**(fields | {"path": path.replace("R", root)})).encode())
    assert reply.err == err
    assert (reply.body == b"") == (err != 0)
    assert reply.zxid > 0


def test_a_failed_write_consumes_a_zxid(zk: RawClient, root: str) -> None:
    first = zk.delete(f"{root}/no")
    second = zk.multi((Op.DELETE, DeleteRequest(f"{root}/no", -1)))
    third = zk.create(f"{root}/a")
    assert [second.zxid - first.zxid, third.zxid - second.zxid] == [1, 1]
    assert (zk.exists(root).zxid, zk.ask(Op.PING, xid=Xid.PING).zxid) == (third.zxid, third.zxid)
    assert zk.path(Op.SYNC, "/").zxid == third.zxid


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (Op.CREATE, b""),
        (Op.CREATE, pack_ustring("/x") + pack_int(100)),
        (Op.SET_DATA, pack_ustring("/x") + pack_int(-7)),
        (Op.DELETE, pack_int(1000)),
        (Op.MULTI, b"\0\0"),
        (Op.MULTI, encode_multi([(Op.GET_DATA, PathWatchRequest("/", False))])),
        (Op.EXISTS, b"\0\0\0"),
        (Op.GET_DATA, pack_int(-9)),
        (Op.GET_CHILDREN2, pack_int(99) + b"/"),
        (Op.MULTI_READ, b"\0\0"),
        (Op.GET_ACL, b""),
        (Op.CREATE, pack_ustring(None) + CreateRequest("", b"", OPEN, 0).encode()[4:]),
        (Op.GET_DATA, pack_ustring(None) + pack_bool(False)),
        (Op.EXISTS, pack_ustring(None) + pack_bool(False)),
        (Op.DELETE, pack_ustring(None) + pack_int(-1)),
        (Op.SYNC, b""),
        (Op.GET_EPHEMERALS, b""),
        (Op.SET_WATCHES, b""),
        (Op.ADD_WATCH, b""),
        (Op.REMOVE_WATCHES, b""),
        (Op.REMOVE_WATCHES, CheckWatchesRequest("/", 9).encode()),
        (Op.CHECK_WATCHES, CheckWatchesRequest("/", 0).encode()),
        (Op.MULTI, encode_multi([(Op.SET_ACL, SetACLRequest("/", OPEN, -1))])),
        (Op.MULTI, struct.pack(">i?i", Op.MULTI, False, -1)),
    ],
)
def test_a_body_that_cannot_be_read_is_a_marshalling_error_and_the_connection_stays(
    zk: RawClient, op: int, body: bytes
) -> None:
    reply = zk.ask(op, body)
    assert (reply.err, reply.body) == (ErrorCode.MARSHALLING_ERROR, b"")
    assert zk.exists("/").err == 0


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (Op.EXISTS, PathWatchRequest("/", False).encode()),
        (Op.SET_DATA, SetDataRequest("/", b"", -1).encode()),
        (Op.GET_ALL_CHILDREN_NUMBER, PathRequest("/").encode()),
        (Op.CREATE, CreateRequest("/bytes-after", b"", OPEN, 1).encode()),
        (Op.MULTI, encode_multi([])),
    ],
)
def test_bytes_after_the_request(zk: RawClient, op: int, body: bytes) -> None:
    """They may be fields of a later version of the protocol: nobody looks at them."""
    assert zk.ask(op, body + b"later fields").err == 0


def test_bytes_after_the_handshake(server: ServerProcess) -> None:
    with RawClient(server.port) as zk:
        zk.send_frame(ConnectRequest(0, 0, 4000, 0, bytes(16), False).encode() + b"later fields")
        assert ConnectReply.from_bytes(zk.receive_frame()).timeout_ms == 4000
        end_quietly(zk)


def test_the_empty_path(zk: RawClient) -> None:
    expected = either("the empty path", coord=int(ErrorCode.NO_NODE), zookeeper=0)
    assert zk.exists("").err == expected


def test_a_path_that_is_not_utf8(zk: RawClient) -> None:
    reply = zk.ask(Op.EXISTS, pack_buffer(b"/\xff\xfe") + pack_bool(False))
    expected = either(
        "strings that are not UTF-8", coord=ErrorCode.MARSHALLING_ERROR, zookeeper=ErrorCode.NO_NODE
    )
    assert reply.err == expected


def test_a_null_acl_is_an_empty_one(zk: RawClient, root: str) -> None:
    body = pack_ustring(f"{root}/a") + pack_buffer(b"") + pack_int(-1) + pack_int(0)
    assert zk.ask(Op.CREATE, body).err == ErrorCode.INVALID_ACL


# -- sizes --------------------------------------------------------------------------------------------


def test_large_data_passes(zk: RawClient, root: str) -> None:
    data = bytes(range(256)) * 4000
    assert len(data) == 1_024_000
    assert zk.create(f"{root}/a", data).err == 0
    assert zk.get(f"{root}/a").body.startswith(pack_buffer(data))
    assert stat_of(zk.set(f"{root}/a", data[::-1])).data_length == len(data)
    assert zk.delete(f"{root}/a").err == 0


@pytest.mark.parametrize("length", [2_000_000, 0x100000, -1, -(2**31)])
def test_a_frame_too_large_closes(server: ServerProcess, length: int) -> None:
    with RawClient.open(server.port) as zk:
        zk.send_bytes(pack_int(length) + b"\0" * 8)
        assert zk.expect_end() == b""


# -- sequences, containers, TTLs ----------------------------------------------------------------------


def test_sequence_numbers_are_the_parents_and_count_creates_only(zk: RawClient, root: str) -> None:
    def made(prefix: str, flags: int = 2, op: int = Op.CREATE) -> str:
        reply = zk.create(f"{root}/{prefix}", flags=flags, op=op, ttl_ms=60_000)
        assert reply.err == 0
        reader = PathReply if op == Op.CREATE else PathStatReply
        path: Any = reader.from_bytes(reply.body)
        return str(path.path).removeprefix(f"{root}/")

    assert made("a-") == "a-0000000000"
    assert made("b-", 3) == "b-0000000001"
    assert zk.delete(f"{root}/a-0000000000").err == 0
    assert made("plain", 0) == "plain"
    assert zk.create(f"{root}/plain").err == ErrorCode.NODE_EXISTS
    assert made("c-", 2, Op.CREATE2) == "c-0000000003"
    assert made("", 2) == "0000000004"
    assert made("t-", 6, Op.CREATE_TTL) == "t-0000000005"
    failed = zk.multi_results(
        (Op.CREATE, CreateRequest(f"{root}/m-", b"", OPEN, 2)), (Op.DELETE, DeleteRequest(f"{root}/no", -1))
    )
    assert failed == [(-1, 0), (-1, -101)]
    assert made("d-") == "d-0000000006"


def test_flag_4_of_create_and_create2_makes_a_plain_znode(zk: RawClient, root: str) -> None:
    for op in (Op.CREATE, Op.CREATE2):
        assert zk.create(f"{root}/{op}", flags=4, op=op).err == 0
        assert stat_of(zk.exists(f"{root}/{op}")).ephemeral_owner == 0


@pytest.mark.parametrize(
    ("flags", "ttl", "err"),
    [(5, 0, -8), (5, -1, -8), (5, 1 << 40, -8), (5, 1, 0), (0, 0, -8), (1, 1000, -8)],
)
def test_ttl_arguments(zk: RawClient, root: str, flags: int, ttl: int, err: int) -> None:
    assert zk.create(f"{root}/a", flags=flags, op=Op.CREATE_TTL, ttl_ms=ttl).err == err


def test_create_container_needs_no_flag_4(zk: RawClient, root: str) -> None:
    reply = zk.create(f"{root}/a", flags=4, op=Op.CREATE_CONTAINER)
    assert reply.err == 0
    assert zk.create(f"{root}/a/b", flags=1).err == 0


# -- multi --------------------------------------------------------------------------------------------


def test_a_multi_answers_each_operation(zk: RawClient, root: str) -> None:
    reply = zk.multi(
        (Op.CREATE, CreateRequest(f"{root}/a", b"1", OPEN, 0)),
        (Op.CREATE2, CreateRequest(f"{root}/b", b"22", OPEN, 0)),
        (Op.SET_DATA, SetDataRequest(f"{root}/a", b"333", 0)),
        (Op.CHECK, CheckVersionRequest(f"{root}/a", 1)),
        (Op.DELETE, DeleteRequest(f"{root}/b", 0)),
    )
    stat = stat_of(zk.exists(f"{root}/a"))
    assert (stat.czxid, stat.mzxid, stat.version) == (reply.zxid, reply.zxid, 1)
    header = struct.Struct(">i?i").pack
    results = decode_multi_reply(reply.body)
    second = results[1]
    assert reply.err == 0
    assert reply.body == b"".join(
        [
            header(Op.CREATE, False, 0) + pack_ustring(f"{root}/a"),
            header(second[0], False, 0) + second[2].encode(),
            header(Op.SET_DATA, False, 0) + stat.encode(),
            header(Op.CHECK, False, 0),
            header(Op.DELETE, False, 0),
            header(-1, True, -1),
        ]
    )
    assert (second[0], second[2].path) == (Op.CREATE, f"{root}/b")
    assert stat_of(zk.exists(root)).pzxid == reply.zxid


def test_containers_and_ttls_in_a_multi_answer_as_create2(zk: RawClient, root: str) -> None:
    assert zk.multi_results(
        (Op.CREATE_CONTAINER, CreateRequest(f"{root}/c", b"", OPEN, 4)),
        (Op.CREATE_TTL, CreateTTLRequest(f"{root}/t", b"", OPEN, 5, 60_000)),
    ) == [(Op.CREATE2, 0), (Op.CREATE2, 0)]


def test_an_empty_multi_has_an_empty_answer(zk: RawClient) -> None:
    reply = zk.multi()
    assert (reply.err, reply.body) == (0, struct.pack(">i?i", -1, True, -1))


def test_a_failed_multi_changes_nothing_and_names_the_culprit(zk: RawClient, root: str) -> None:
    before = stat_of(zk.exists(root))
    reply = zk.multi(
        (Op.CREATE, CreateRequest(f"{root}/a", b"", OPEN, 0)),
        (Op.SET_DATA, SetDataRequest(root, b"new", 0)),
        (Op.CHECK, CheckVersionRequest(root, 9)),
        (Op.CREATE, CreateRequest(f"{root}/b", b"", OPEN, 0)),
        (Op.DELETE, DeleteRequest(f"{root}/no", -1)),
    )
    header = struct.Struct(">i?i").pack
    expected = [header(-1, False, err) + pack_int(err) for err in (0, 0, -103, -2, -2)]
    assert (reply.err, reply.body) == (0, b"".join(expected) + header(-1, True, -1))
    assert stat_of(zk.exists(root)) == before
    assert zk.exists(f"{root}/a").err == ErrorCode.NO_NODE


def test_operations_of_a_multi_see_those_before(zk: RawClient, root: str) -> None:
    assert zk.multi_results(
        (Op.CREATE, CreateRequest(f"{root}/a", b"", OPEN, 0)),
        (Op.CREATE, CreateRequest(f"{root}/a/b-", b"", OPEN, 2)),
        (Op.DELETE, DeleteRequest(f"{root}/a/b-0000000000", -1)),
        (Op.DELETE, DeleteRequest(f"{root}/a", -1)),
        (Op.CREATE, CreateRequest(f"{root}/a", b"", OPEN, 1)),
    ) == [(Op.CREATE, 0), (Op.CREATE, 0), (Op.DELETE, 0), (Op.DELETE, 0), (Op.CREATE, 0)]
    assert stat_of(zk.exists(f"{root}/a")).ephemeral_owner == zk.session.session_id


def test_multi_read_answers_each_operation_on_its_own(zk: RawClient, root: str) -> None:
    assert zk.create(f"{root}/a", b"data").err == 0
    stat = stat_of(zk.exists(f"{root}/a"))
    body = encode_multi(
        [
            (Op.GET_DATA, PathWatchRequest(f"{root}/a", False)),
            (Op.GET_DATA, PathWatchRequest(f"{root}/no", False)),
            (Op.GET_CHILDREN, PathWatchRequest(root, False)),
        ]
    )
    reply = zk.ask(Op.MULTI_READ, body)
    header = struct.Struct(">i?i").pack
    assert reply.err == 0
    assert reply.body == b"".join(
        [
            header(Op.GET_DATA, False, 0) + pack_buffer(b"data") + stat.encode(),
            header(-1, False, -101) + pack_int(-101),
            header(Op.GET_CHILDREN, False, 0) + pack_int(1) + pack_ustring("a"),
            header(-1, True, -1),
        ]
    )


# -- order --------------------------------------------------------------------------------------------


def test_replies_keep_the_order_of_the_requests(zk: RawClient, root: str) -> None:
    expected: list[tuple[int, int]] = []
    for number in range(1, 301, 3):
        zk.send(number, Op.CREATE, CreateRequest(f"{root}/{number}", b"", OPEN, 0).encode())
        zk.send(number + 1, Op.EXISTS, PathWatchRequest(f"{root}/{number}", False).encode())
        zk.send(number + 2, Op.EXISTS, PathWatchRequest(f"{root}/{number + 3}", False).encode())
        expected += [(number, 0), (number + 1, 0), (number + 2, -101)]
    replies = [zk.receive() for _ in expected]
    assert [(reply.xid, reply.err) for reply in replies] == expected
    assert [reply.zxid for reply in replies] == sorted(reply.zxid for reply in replies)


def test_a_ping_waits_for_the_writes_before_it(zk: RawClient, root: str) -> None:
    zk.send(1, Op.CREATE, CreateRequest(f"{root}/a", b"", OPEN, 0).encode())
    zk.send(Xid.PING, Op.PING)
    zk.send(3, Op.SYNC, PathRequest("/").encode())
    assert [zk.receive().xid for _ in range(3)] == [1, -2, 3]


def test_xids_are_the_clients_own_business(zk: RawClient) -> None:
    for xid in (7, 7, 3, 0, -77, 2**31 - 1):
        assert zk.ask(Op.EXISTS, PathWatchRequest("/", False).encode(), xid=xid).err == 0


def test_an_event_precedes_the_reply_of_the_write_that_caused_it(zk: RawClient, root: str) -> None:
    assert zk.get(root, watch=True).err == 0
    assert zk.set(root, b"new").events == [(EventType.DATA_CHANGED, 3, root)]
    assert zk.set(root, b"newer").events == []


def test_an_event_precedes_the_first_read_that_shows_the_change(
    zk: RawClient, other: RawClient, root: str
) -> None:
    assert zk.get(root, watch=True).err == 0
    assert other.set(root, b"new").err == 0
    reply = zk.get(root)
    while not reply.body.startswith(pack_buffer(b"new")):
        assert reply.events == []
        reply = zk.get(root)
    assert reply.events == [(EventType.DATA_CHANGED, 3, root)]


# -- watches ------------------------------------------------------------------------------------------


def test_the_header_of_an_event(zk: RawClient, other: RawClient, root: str) -> None:
    assert zk.exists(f"{root}/a", watch=True).err == ErrorCode.NO_NODE
    created = other.create(f"{root}/a")
    zxid = either("zxid of an event", coord=created.zxid, zookeeper=-1)
    header = pack_int(-1) + pack_long(zxid) + pack_int(0)
    event = pack_int(EventType.CREATED) + pack_int(3) + pack_ustring(f"{root}/a")
    assert zk.receive_frame() == header + event


def test_delete_tells_each_watcher_once(zk: RawClient, root: str) -> None:
    path = f"{root}/a"
    assert zk.create(path).err == 0
    for request in (zk.get, zk.exists, zk.children):
        assert request(path, watch=True).err == 0
    assert zk.children(root, watch=True).err == 0
    assert zk.delete(path).events == [(EventType.DELETED, 3, path), (EventType.CHILDREN_CHANGED, 3, root)]


def test_a_failed_read_registers_no_watch(zk: RawClient, root: str) -> None:
    path = f"{root}/a"
    assert zk.get(path, watch=True).err == zk.children(path, watch=True).err == ErrorCode.NO_NODE
    assert zk.create(path).events == []
    assert zk.set(path, b"").events == []


def test_a_set_acl_fires_nothing(zk: RawClient, root: str) -> None:
    assert zk.get(root, watch=True).err == 0
    assert zk.ask(Op.SET_ACL, SetACLRequest(root, OPEN, -1).encode()).events == []


def test_a_multi_fires_in_the_order_of_its_operations(zk: RawClient, root: str) -> None:
    assert zk.exists(f"{root}/a", watch=True).err == ErrorCode.NO_NODE
    assert zk.children(root, watch=True).err == 0
    assert zk.get(root, watch=True).err == 0
    reply = zk.multi(
        (Op.SET_DATA, SetDataRequest(root, b"x", -1)), (Op.CREATE, CreateRequest(f"{root}/a", b"", OPEN, 0))
    )
    assert reply.events == [(3, 3, root), (1, 3, f"{root}/a"), (4, 3, root)]


def test_persistent_watches_stay(zk: RawClient, root: str) -> None:
    reply = zk.ask(Op.ADD_WATCH, AddWatchRequest(root, 0).encode())
    assert (reply.err, reply.body) == (0, pack_int(0))
    for _ in range(2):
        assert zk.set(root, b"").events == [(EventType.DATA_CHANGED, 3, root)]
    assert zk.create(f"{root}/a").events == [(EventType.CHILDREN_CHANGED, 3, root)]
    assert zk.set(f"{root}/a", b"").events == []


def test_recursive_watches_see_everything_below_but_no_children_changed(zk: RawClient, root: str) -> None:
    assert zk.ask(Op.ADD_WATCH, AddWatchRequest(root, 1).encode()).err == 0
    assert zk.create(f"{root}/a").events == [(1, 3, f"{root}/a")]
    assert zk.create(f"{root}/a/b").events == [(1, 3, f"{root}/a/b")]
    assert zk.set(f"{root}/a/b", b"").events == [(3, 3, f"{root}/a/b")]
    assert zk.delete(f"{root}/a/b").events == [(2, 3, f"{root}/a/b")]
    assert zk.set(root, b"").events == [(3, 3, root)]
    assert zk.get(root, watch=True).err == 0
    assert zk.set(root, b"").events == [(3, 3, root)]


@pytest.mark.parametrize(("mode", "err"), [(2, -5), (-1, -5)])
def test_an_unknown_watch_mode_is_refused(zk: RawClient, root: str, mode: int, err: int) -> None:
    reply = zk.ask(Op.ADD_WATCH, AddWatchRequest(root, mode).encode())
    assert reply.err == err


def test_check_and_remove_watches(zk: RawClient, root: str) -> None:
    def ask(op: int, type_: WatcherType) -> int:
        return zk.ask(op, CheckWatchesRequest(root, type_).encode()).err

    assert zk.get(root, watch=True).err == 0
    assert zk.children(root, watch=True).err == 0
    assert ask(Op.CHECK_WATCHES, WatcherType.DATA) == 0
    assert ask(Op.CHECK_WATCHES, WatcherType.CHILDREN) == 0
    assert ask(Op.REMOVE_WATCHES, WatcherType.DATA) == 0
    assert ask(Op.REMOVE_WATCHES, WatcherType.DATA) == ErrorCode.NO_WATCHER
    assert ask(Op.CHECK_WATCHES, WatcherType.ANY) == 0
    assert ask(Op.REMOVE_WATCHES, WatcherType.ANY) == 0
    assert ask(Op.CHECK_WATCHES, WatcherType.CHILDREN) == ErrorCode.NO_WATCHER
    assert zk.set(root, b"").events == []


def test_set_watches_tells_what_was_missed_and_arms_the_rest(zk: RawClient, root: str) -> None:
    seen = zk.create(f"{root}/changed").zxid
    for name in ("quiet", "parent"):
        seen = zk.create(f"{root}/{name}").zxid
    zk.set(f"{root}/changed", b"")
    zk.create(f"{root}/parent/child")
    zk.create(f"{root}/appeared")
    request = SetWatchesRequest(
        seen,
        [f"{root}/changed", f"{root}/quiet", f"{root}/gone"],
        [f"{root}/appeared", f"{root}/absent"],
        [f"{root}/parent", f"{root}/quiet", f"{root}/lost"],
    )
    reply = zk.ask(Op.SET_WATCHES, request.encode(), xid=Xid.SET_WATCHES)
    assert (reply.xid, reply.err, reply.body) == (-8, 0, b"")
    assert sorted(reply.events) == sorted(
        [
            (3, 3, f"{root}/changed"),
            (2, 3, f"{root}/gone"),
            (1, 3, f"{root}/appeared"),
            (4, 3, f"{root}/parent"),
            (2, 3, f"{root}/lost"),
        ]
    )
    assert zk.set(f"{root}/quiet", b"").events == [(3, 3, f"{root}/quiet")]
    assert zk.create(f"{root}/quiet/child").events == [(4, 3, f"{root}/quiet")]
    assert zk.create(f"{root}/absent").events == [(1, 3, f"{root}/absent")]


def test_set_watches2_arms_persistent_watches(zk: RawClient, root: str) -> None:
    request = SetWatches2Request(0, [], [], [], [root], [f"{root}/deep"])
    assert zk.ask(Op.SET_WATCHES2, request.encode(), xid=Xid.SET_WATCHES).err == 0
    assert zk.create(f"{root}/deep").events == [(1, 3, f"{root}/deep"), (4, 3, root)]
    assert zk.create(f"{root}/deep/er").events == [(1, 3, f"{root}/deep/er")]


def test_events_are_filtered_by_read_permission(zk: RawClient, other: RawClient, root: str) -> None:
    assert authenticate(other, "digest", b"lead:secret") == 0
    assert zk.exists(f"{root}/a", watch=True).err == ErrorCode.NO_NODE
    assert zk.children(root, watch=True).err == 0
    assert other.create(f"{root}/a", acl=[ACL(31, Id("auth", ""))]).err == 0
    _, event = zk.receive_event()
    assert (event.type, event.path) == (EventType.CHILDREN_CHANGED, root)


# -- authentication -----------------------------------------------------------------------------------


def authenticate(zk: RawClient, scheme: str, credentials: bytes | None) -> int:
    reply = zk.ask(Op.AUTH, AuthPacket(0, scheme, credentials).encode(), xid=Xid.AUTH)
    assert reply.body == b""
    assert reply.zxid == 0
    return reply.err


def test_digest_authentication_opens_and_shuts_a_znode(zk: RawClient, other: RawClient, root: str) -> None:
    path = f"{root}/private"
    assert authenticate(zk, "digest", b"lead:secret") == 0
    assert zk.create(path, b"x", acl=[ACL(31, Id("auth", ""))]).err == 0
    got: Any = zk.path(Op.GET_ACL, path).decode(Op.GET_ACL)
    assert got.acl[0].id.scheme == "digest"
    assert re.fullmatch(r"lead:[A-Za-z0-9+/]{27}=", got.acl[0].id.id)
    assert other.get(path).err == other.set(path, b"").err == other.children(path).err == ErrorCode.NO_AUTH
    assert other.path(Op.GET_ACL, path).err == other.create(f"{path}/a").err == ErrorCode.NO_AUTH
    assert other.multi_results((Op.CHECK, CheckVersionRequest(path, -1))) == [(-1, ErrorCode.NO_AUTH)]
    assert authenticate(other, "digest", b"lead:wrong") == 0
    assert other.get(path).err == ErrorCode.NO_AUTH
    assert authenticate(other, "digest", b"lead:secret") == 0
    assert other.get(path).err == 0


def test_which_znode_is_asked_for_permission(zk: RawClient, other: RawClient, root: str) -> None:
    assert authenticate(zk, "digest", b"lead:secret") == 0
    assert zk.create(f"{root}/a", acl=[ACL(31, Id("auth", ""))]).err == 0
    assert zk.create(f"{root}/a/b").err == 0
    expected = either("exists without READ", coord=int(ErrorCode.NO_AUTH), zookeeper=0)
    assert other.exists(f"{root}/a").err == expected
    assert other.delete(f"{root}/a/b").err == ErrorCode.NO_AUTH
    assert zk.delete(f"{root}/a/b").err == 0
    assert other.delete(f"{root}/a").err == 0


def test_without_admin_a_digest_is_masked(zk: RawClient, other: RawClient, root: str) -> None:
    assert zk.create(f"{root}/a", acl=[ACL(1, ANYONE), ACL(31, Id("digest", DIGEST))]).err == 0
    got: Any = other.path(Op.GET_ACL, f"{root}/a").decode(Op.GET_ACL)
    assert got.acl == [ACL(1, ANYONE), ACL(31, Id("digest", "lead:x"))]


@pytest.mark.parametrize(("scheme", "user"), [("digest", "nocolon"), ("digest", ""), ("ip", None)])
def test_authentications_that_always_succeed(zk: RawClient, scheme: str, user: str | None) -> None:
    assert authenticate(zk, scheme, (user or "").encode()) == 0
    identities = WhoAmIReply.from_bytes(zk.ask(Op.WHO_AM_I).body).identities
    assert sorted(identities) == [*([] if user is None else [Id(scheme, user)]), Id("ip", "127.0.0.1")]


@pytest.mark.parametrize(
    ("scheme", "credentials"),
    [
        ("nope", b"x"),
        ("", b"x"),
        ("world", b"x"),
        ("auth", b""),
        ("super", b"x"),
        ("digest", None),
    ],
)
def test_an_authentication_that_fails_closes(
    server: ServerProcess, scheme: str, credentials: bytes | None
) -> None:
    with RawClient.open(server.port) as zk:
        assert authenticate(zk, scheme, credentials) == ErrorCode.AUTH_FAILED
        assert zk.expect_end() == b""


# -- the end of a session -----------------------------------------------------------------------------


def test_close_session_answers_then_closes_and_the_ephemerals_are_gone(
    server: ServerProcess, zk: RawClient, root: str
) -> None:
    with RawClient.open(server.port) as leaving:
        assert leaving.create(f"{root}/e", flags=1).err == 0
        assert zk.exists(f"{root}/e", watch=True).err == 0
        reply = leaving.end_session()
        assert (reply.err, reply.body) == (0, b"")
        assert leaving.expect_end() == b""
    reply = zk.exists(f"{root}/e")
    assert (reply.err, reply.events) == (ErrorCode.NO_NODE, [(EventType.DELETED, 3, f"{root}/e")])


def test_writes_before_close_session_are_done(server: ServerProcess, zk: RawClient, root: str) -> None:
    if not either("a client that leaves at once", coord=True, zookeeper=False):
        return
    with RawClient.open(server.port) as leaving:
        for number in range(50):
            leaving.send(number, Op.CREATE, CreateRequest(f"{root}/{number}", b"", OPEN, 0).encode())
        leaving.send(50, Op.CLOSE_SESSION)
        leaving.send(51, Op.CREATE, CreateRequest(f"{root}/late", b"", OPEN, 0).encode())
        assert [leaving.receive().err for _ in range(51)] == [0] * 51
    assert stat_of(zk.exists(root)).num_children == 50


def test_a_client_need_not_wait_for_the_answer_to_its_requests(
    server: ServerProcess, zk: RawClient, root: str
) -> None:
    """What it sends together: a close with unread replies is a reset, and loses what the server's system has
    not taken yet."""
    if not either("a client that leaves at once", coord=True, zookeeper=False):
        return
    with RawClient.open(server.port) as leaving:
        creates = [CreateRequest(f"{root}/{number}", b"", OPEN, number % 2).encode() for number in range(50)]
        bodies = [pack_int(number) + pack_int(Op.CREATE) + body for number, body in enumerate(creates)]
        bodies.append(pack_int(50) + pack_int(Op.CLOSE_SESSION))
        leaving.send_bytes(b"".join(map(pack_frame, bodies)))
    wait_until(lambda: zk.exists(f"{root}/48").err == 0)
    wait_until(partial(missing, zk, f"{root}/49"), 1.0)
    assert stat_of(zk.exists(root)).num_children == 25


# -- four-letter words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        (b"ruok", r"imok"),
        (b"isro", r"rw"),
        (
            b"srvr",
            (
                r"Zookeeper version: 3\.8\.\d+-[^\n]*, built on [^\n]*\n"
                r"Latency min/avg/max: \d+/\d+(\.\d+)?/\d+\nReceived: \d+\nSent: \d+\nConnections: \d+\n"
                r"Outstanding: \d+\nZxid: 0x[0-9a-f]+\nMode: standalone\nNode count: \d+\n"
            ),
        ),
        (
            b"stat",
            (
                r"Zookeeper version: 3\.8\.\d+-[^\n]*, built on [^\n]*\nClients:\n"
                r"( /127\.0\.0\.1:\d+\[\d+\]\(queued=\d+,recved=\d+,sent=\d+\)\n)*\n"
                r"Latency min/avg/max: \d+/\d+(\.\d+)?/\d+\nReceived: \d+\nSent: \d+\nConnections: \d+\n"
                r"Outstanding: \d+\nZxid: 0x[0-9a-f]+\nMode: standalone\nNode count: \d+\n"
            ),
        ),
        (b"envi", r"Environment:\nzookeeper\.version=3\.8\.\d+[^\n]*\n([^\n=]+=[^\n]*\n)*"),
        (b"srst", r"Server stats reset\.\n"),
        (b"crst", r"Connection stats reset\.\n"),
        (b"wchs", r"\d+ connections watching \d+ paths\nTotal watches:\d+\n*"),
        (b"dirs", r"datadir_size: \d+\nlogdir_size: \d+\n"),
        (b"mntr", r"(zk_[^\t\n]+\t[^\n]*\n)+"),
        (b"conf", r"clientPort=\d+\n([^\n=]+=[^\n]*\n)+"),
        (
            b"cons",
            r"( /127\.0\.0\.1:\d+\[\d+\]\([^\n]*\)\n)*\n",
        ),
        (
            b"dump",
            (
                r"SessionTracker dump:\n(.*\n)*ephemeral nodes dump:\n"
                r"Sessions with Ephemerals \(\d+\):\n(.*\n)*Connections dump:\n(.*\n)*"
            ),
        ),
    ],
)
def test_four_letter_words(server: ServerProcess, zk: RawClient, word: bytes, pattern: str) -> None:
    answer = four_letters(server.port, word).decode()
    assert re.fullmatch(pattern, answer), answer


def test_a_four_letter_word_may_end_in_a_newline(server: ServerProcess) -> None:
    assert four_letters(server.port, b"ruok\n") == b"imok"


def test_watches_are_listed(server: ServerProcess, zk: RawClient, root: str) -> None:
    assert zk.get(root, watch=True).err == 0
    sid = f"0x{zk.session.session_id & (2**64 - 1):x}"
    assert f"{sid}\n\t{root}\n" in four_letters(server.port, b"wchc").decode()
    assert f"{root}\n\t{sid}\n" in four_letters(server.port, b"wchp").decode()


@pytest.mark.parametrize("word", [b"xyzw", b"get "])
def test_an_unknown_word_is_a_frame_length_and_closes(server: ServerProcess, word: bytes) -> None:
    assert four_letters(server.port, word) == b""


def test_words_off_the_whitelist(tmp_path_factory: pytest.TempPathFactory) -> None:
    skip_without_its_server()
    with ServerProcess(
        tmp_path_factory.mktemp("whitelist"), {"4lw.commands.whitelist": "ruok, isro"}
    ) as process:
        assert four_letters(process.port, b"ruok") == b"imok"
        assert four_letters(process.port, b"isro") == b"rw"
        refused = b"mntr is not executed because it is not in the whitelist.\n"
        assert four_letters(process.port, b"mntr") == refused


# -- across a restart ---------------------------------------------------------------------------------


def test_a_session_and_its_ephemerals_survive_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    skip_without_its_server()
    with ServerProcess(tmp_path_factory.mktemp("restart")) as process:
        with RawClient.open(process.port) as zk:
            assert zk.create("/e", b"x", flags=1).err == 0
            before = stat_of(zk.set("/e", b"y"))
        for stop in (process.stop, process.kill):
            stop()
            process.start()
            with RawClient.open(process.port, session=zk.session, last_zxid=before.mzxid) as again:
                assert again.session.session_id == zk.session.session_id
                assert stat_of(again.exists("/e")) == before
                assert again.set("/e", b"y", 9).zxid > before.mzxid


# -- what zoo.cfg changes -----------------------------------------------------------------------------


def configured(
    tmp_path_factory: pytest.TempPathFactory,
    config: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
) -> ServerProcess:
    skip_without_its_server()
    return ServerProcess(tmp_path_factory.mktemp("configured"), config, properties=properties)


def test_ttls_are_off_unless_extended_types_are_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    with configured(tmp_path_factory) as process, RawClient.open(process.port) as zk:
        assert zk.create("/a", flags=5, op=Op.CREATE_TTL, ttl_ms=1000).err == ErrorCode.UNIMPLEMENTED
        assert zk.create("/a", flags=4, op=Op.CREATE_CONTAINER).err == 0


def missing(zk: RawClient, path: str) -> bool:
    return zk.exists(path).err == ErrorCode.NO_NODE


def test_containers_and_ttl_znodes_go_when_they_are_empty(tmp_path_factory: pytest.TempPathFactory) -> None:
    properties = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "100"}
    with configured(tmp_path_factory, None, properties) as process, RawClient.open(process.port) as zk:
        for name in ("used", "unused", "busy"):
            assert zk.create(f"/{name}", flags=4, op=Op.CREATE_CONTAINER).err == 0
        for name in ("short", "parent", "long"):
            ttl = 60_000 if name == "long" else 300
            assert zk.create(f"/{name}", flags=5, op=Op.CREATE_TTL, ttl_ms=ttl).err == 0
        for path in ("/used/child", "/busy/child", "/parent/child"):
            assert zk.create(path).err == 0
        assert zk.delete("/used/child").err == 0
        for path in ("/used", "/short"):
            wait_until(partial(missing, zk, path))
        for path in ("/unused", "/busy", "/parent", "/long"):
            assert zk.exists(path).err == 0
        assert zk.delete("/parent/child").err == 0
        wait_until(partial(missing, zk, "/parent"))


def test_the_super_user_is_asked_for_no_permission(tmp_path_factory: pytest.TempPathFactory) -> None:
    digest = "super:" + base64.b64encode(hashlib.sha1(b"super:secret").digest()).decode()
    properties = {"DigestAuthenticationProvider.superDigest": digest}
    with configured(tmp_path_factory, None, properties) as process, RawClient.open(process.port) as zk:
        assert zk.create("/a", acl=[ACL(31, Id("digest", DIGEST))]).err == 0
        assert zk.get("/a").err == ErrorCode.NO_AUTH
        assert authenticate(zk, "digest", b"super:wrong") == 0
        assert zk.get("/a").err == ErrorCode.NO_AUTH
        assert authenticate(zk, "digest", b"super:secret") == 0
        assert zk.get("/a").err == 0
        assert zk.delete("/a").err == 0


def test_connections_from_one_address_are_limited(tmp_path_factory: pytest.TempPathFactory) -> None:
    with configured(tmp_path_factory, {"maxClientCnxns": "2"}) as process:
        with ExitStack() as connections:

            def one_more() -> bool:
                """The server may still count the connection that saw it start."""
                try:
                    connections.enter_context(RawClient.open(process.port))
                except (Closed, OSError):
                    return False
                return True

            wait_until(one_more)
            wait_until(one_more)
            try:
                with RawClient(process.port) as third:
                    assert third.expect_end() == b""
            except OSError:
                pass  # closed before it was told that it is connected
        wait_until(lambda: serves(process.port))
