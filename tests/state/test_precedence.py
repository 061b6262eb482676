"""Which error an operation answers when several would fit: every row of ZooKeeper's order of checks.

Each operation has its faults in the order in which they are looked at. Every request below has one fault,
and as many later ones as can be had at the same time; the earliest must win.
"""

from __future__ import annotations

import pytest

from coord.errors import ErrorCode
from coord.limits import SEQUENCE_MAX, TTL_MS_MAX
from coord.wire.records import (
    ACL,
    CheckVersionRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    EmptyRequest,
    Id,
    Op,
    PathRequest,
    PathWatchRequest,
    Perms,
    Record,
    SetACLRequest,
    SetDataRequest,
)
from tests.state.applier import OPEN, SESSION, Applier, only

E = ErrorCode
BAD_ACL: list[ACL] = []
GONE = 0x9999
"""a session that does not exist"""


@pytest.fixture
def log() -> Applier:
    """/open, /closed (no permissions at all), /eph (ephemeral), each but the last with a child /x of
    version 1; /closed/x and /open/shut have no permissions either; /read only lets read."""
    log = Applier()
    for path in ("/open", "/open/x", "/open/x/y", "/closed", "/closed/x", "/open/shut", "/read"):
        log.create(path)
    log.create("/eph", flags=1)
    for path in ("/open/x", "/closed/x", "/open/shut"):
        log.ok(Op.SET_DATA, SetDataRequest(path, b"1", -1))
    for path in ("/closed/x", "/closed", "/open/shut"):
        log.ok(Op.SET_ACL, SetACLRequest(path, only(0), -1))
    log.ok(Op.SET_ACL, SetACLRequest("/read", only(Perms.READ), -1))
    return log


CREATES = [
    # the session comes before everything; ZooKeeper looks at the flags first, but nobody is left to notice
    (GONE, "a", BAD_ACL, 99, E.SESSION_EXPIRED),
    (SESSION, "a", BAD_ACL, 99, E.BAD_ARGUMENTS),
    (SESSION, "a", BAD_ACL, -1, E.BAD_ARGUMENTS),
    (SESSION, "a", BAD_ACL, 5, E.BAD_ARGUMENTS),  # a TTL without its opcode
    (SESSION, "a", BAD_ACL, 6, E.BAD_ARGUMENTS),
    (SESSION, "a", BAD_ACL, 0, E.BAD_ARGUMENTS),  # no slash
    (SESSION, "", BAD_ACL, 0, E.BAD_ARGUMENTS),
    (SESSION, "/none/a\0", BAD_ACL, 0, E.BAD_ARGUMENTS),
    (SESSION, "/none/.", BAD_ACL, 0, E.INVALID_ACL),
    (SESSION, "/closed/x", [ACL(31, Id("auth", ""))], 0, E.INVALID_ACL),
    (SESSION, "/none/.", OPEN, 0, E.NO_NODE),
    (SESSION, "/open//x", OPEN, 0, E.NO_NODE),
    (SESSION, "none/x", OPEN, 0, E.NO_NODE),
    (SESSION, "/closed/.", OPEN, 0, E.NO_AUTH),
    (SESSION, "/closed/x", OPEN, 0, E.NO_AUTH),
    (SESSION, "/read/new", OPEN, 0, E.NO_AUTH),
    (SESSION, "/open/.", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "/open/", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "/open/a\x01", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "//", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "//open", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "//a", OPEN, 2, E.BAD_ARGUMENTS),
    (SESSION, "/eph/.", OPEN, 0, E.BAD_ARGUMENTS),
    (SESSION, "/", OPEN, 0, E.NODE_EXISTS),
    (SESSION, "/open/x", OPEN, 1, E.NODE_EXISTS),
    (SESSION, "/eph/x", OPEN, 0, E.NO_CHILDREN_FOR_EPHEMERALS),
    (SESSION, "/eph/x", OPEN, 3, E.NO_CHILDREN_FOR_EPHEMERALS),
    (SESSION, "/open/", OPEN, 2, E.OK),  # the sequence number is part of the name
    (SESSION, "/open/.", OPEN, 2, E.OK),
    (SESSION, "/open/new", OPEN, 4, E.OK),
]


@pytest.mark.parametrize("op", [Op.CREATE, Op.CREATE2])
@pytest.mark.parametrize(("session_id", "path", "acl", "flags", "expected"), CREATES)
def test_create(
    log: Applier, op: Op, session_id: int, path: str, acl: list[ACL], flags: int, expected: ErrorCode
) -> None:
    before = log.image()
    assert E(log.err(op, CreateRequest(path, b"", acl, flags), session_id)) is expected
    if expected is not E.OK:
        log.machine.zxid -= 1
        assert log.image() == before
        same = CreateRequest(path, b"", acl, flags)
        if session_id == SESSION:
            assert [r.err for _, _, r in log.multi((op, same))] == [expected]


@pytest.mark.parametrize(
    ("path", "flags", "ttl_ms", "expected"),
    [
        ("a", 0, 1000, E.BAD_ARGUMENTS),
        ("/open/x", 4, 1000, E.BAD_ARGUMENTS),
        ("/open/x", 5, 0, E.BAD_ARGUMENTS),
        ("/open/x", 5, -1, E.BAD_ARGUMENTS),
        ("/open/x", 6, TTL_MS_MAX + 1, E.BAD_ARGUMENTS),
        ("/open/x", 5, TTL_MS_MAX, E.NODE_EXISTS),
        ("/open/x", 6, TTL_MS_MAX, E.OK),
    ],
)
def test_create_ttl(log: Applier, path: str, flags: int, ttl_ms: int, expected: ErrorCode) -> None:
    assert E(log.err(Op.CREATE_TTL, CreateTTLRequest(path, b"", OPEN, flags, ttl_ms))) is expected


@pytest.mark.parametrize(
    ("path", "flags", "ttl_ms", "expected"),
    [("a", 0, 0, E.BAD_ARGUMENTS), ("a", 5, 0, E.UNIMPLEMENTED), ("/open/new", 6, 1000, E.UNIMPLEMENTED)],
)
def test_create_ttl_when_it_is_not_enabled(
    log: Applier, path: str, flags: int, ttl_ms: int, expected: ErrorCode
) -> None:
    assert log.apply(Op.ENABLE_TTL, b"\0", 0)[0] == 0
    request = CreateTTLRequest(path, b"", OPEN, flags, ttl_ms)
    assert E(log.err(Op.CREATE_TTL, request)) is expected
    assert [reply.err for _, _, reply in log.multi((Op.CREATE_TTL, request))] == [expected]


def test_a_sequence_that_is_used_up_is_refused_after_the_permission(log: Applier) -> None:
    for path in ("/open", "/closed"):
        log.machine.tree.nodes[path].creates = SEQUENCE_MAX
    assert log.create("/open/s", flags=2) == "/open/s2147483647"
    assert E(log.err(Op.CREATE, CreateRequest("/open/\x01", b"", OPEN, 2))) is E.BAD_ARGUMENTS
    assert E(log.err(Op.CREATE, CreateRequest("/open/s", b"", OPEN, 2))) is E.BAD_ARGUMENTS
    log.machine.tree.nodes["/closed"].creates = SEQUENCE_MAX + 1
    assert E(log.err(Op.CREATE, CreateRequest("/closed/s", b"", OPEN, 2))) is E.NO_AUTH
    assert log.create("/open/plain") == "/open/plain"


WRITES: list[tuple[int, Record, int, ErrorCode]] = [
    # delete
    (Op.DELETE, DeleteRequest("/", 7), GONE, E.SESSION_EXPIRED),
    (Op.DELETE, DeleteRequest("/", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("/zookeeper", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("/zookeeper/quota", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("/zookeeper/config", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("a", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("/none/a\0", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.DELETE, DeleteRequest("/none/x", 7), SESSION, E.NO_NODE),
    (Op.DELETE, DeleteRequest("/closed/none", 7), SESSION, E.NO_AUTH),
    (Op.DELETE, DeleteRequest("/open/none", 7), SESSION, E.NO_NODE),
    (Op.DELETE, DeleteRequest("/open/", 7), SESSION, E.NO_NODE),
    (Op.DELETE, DeleteRequest("/open/x", 7), SESSION, E.BAD_VERSION),
    (Op.DELETE, DeleteRequest("/open/x", 1), SESSION, E.NOT_EMPTY),
    (Op.DELETE, DeleteRequest("/open/shut", 1), SESSION, E.OK),  # only the parent's ACL counts
    # setData
    (Op.SET_DATA, SetDataRequest("a", b"", 7), GONE, E.SESSION_EXPIRED),
    (Op.SET_DATA, SetDataRequest("/none/", b"", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.SET_DATA, SetDataRequest("", b"", 7), SESSION, E.BAD_ARGUMENTS),
    (Op.SET_DATA, SetDataRequest("/none", b"", 7), SESSION, E.NO_NODE),
    (Op.SET_DATA, SetDataRequest("/read", b"", 7), SESSION, E.NO_AUTH),
    (Op.SET_DATA, SetDataRequest("/open/x", b"", 7), SESSION, E.BAD_VERSION),
    (Op.SET_DATA, SetDataRequest("/open/x", b"", -2), SESSION, E.BAD_VERSION),
    (Op.SET_DATA, SetDataRequest("/open/x", b"", 1), SESSION, E.OK),
    (Op.SET_DATA, SetDataRequest("/zookeeper/config", b"", -1), SESSION, E.NO_AUTH),
    (Op.SET_DATA, SetDataRequest("/zookeeper/quota", b"", -1), SESSION, E.OK),
    # setACL
    (Op.SET_ACL, SetACLRequest("a", BAD_ACL, 7), GONE, E.SESSION_EXPIRED),
    (Op.SET_ACL, SetACLRequest("/none/", BAD_ACL, 7), SESSION, E.BAD_ARGUMENTS),
    (Op.SET_ACL, SetACLRequest("/none", BAD_ACL, 7), SESSION, E.INVALID_ACL),
    (Op.SET_ACL, SetACLRequest("/none", OPEN, 7), SESSION, E.NO_NODE),
    (Op.SET_ACL, SetACLRequest("/read", OPEN, 7), SESSION, E.NO_AUTH),
    (Op.SET_ACL, SetACLRequest("/open/x", OPEN, 1), SESSION, E.BAD_VERSION),  # that is the data's version
    (Op.SET_ACL, SetACLRequest("/open/x", OPEN, 0), SESSION, E.OK),
    # operations that are no write of a client
    (Op.CLOSE_SESSION, EmptyRequest(), GONE, E.SESSION_EXPIRED),
    (Op.CHECK, CheckVersionRequest("/open", -1), SESSION, E.UNIMPLEMENTED),
    (999, EmptyRequest(), SESSION, E.UNIMPLEMENTED),
]


@pytest.mark.parametrize(("op", "request_", "session_id", "expected"), WRITES)
def test_write(log: Applier, op: int, request_: Record, session_id: int, expected: ErrorCode) -> None:
    before = log.image()
    assert E(log.err(op, request_, session_id)) is expected
    if expected is not E.OK:
        log.machine.zxid -= 1
        assert log.image() == before
        assert log.changes == []


@pytest.mark.parametrize(
    ("path", "version", "expected"),
    [
        ("/none/", 7, E.BAD_ARGUMENTS),
        ("/none", 7, E.NO_NODE),
        ("/closed", 7, E.NO_AUTH),
        ("/open/x", 7, E.BAD_VERSION),
        ("/open/x", 1, E.OK),
        ("/read", -1, E.OK),
    ],
)
def test_check(log: Applier, path: str, version: int, expected: ErrorCode) -> None:
    (result,) = log.multi((Op.CHECK, CheckVersionRequest(path, version)))
    assert getattr(result[2], "err", 0) == expected


READS_OF_A_PATH = [Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.EXISTS]


@pytest.mark.parametrize("op", READS_OF_A_PATH)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/none", E.NO_NODE),
        ("no path", E.NO_NODE),
        ("/closed/none", E.NO_NODE),
        ("/closed", E.NO_AUTH),
        ("/read", E.OK),
    ],
)
def test_read(log: Applier, op: Op, path: str, expected: ErrorCode) -> None:
    assert E(log.read_err(op, PathWatchRequest(path, False))) is expected


def test_exists_refuses_a_nul(log: Applier) -> None:
    assert E(log.read_err(Op.EXISTS, PathWatchRequest("/a\0", False))) is E.BAD_ARGUMENTS
    assert E(log.read_err(Op.GET_DATA, PathWatchRequest("/a\0", False))) is E.NO_NODE


@pytest.mark.parametrize("op", [Op.GET_ACL, Op.GET_ALL_CHILDREN_NUMBER])
@pytest.mark.parametrize(
    ("path", "expected"), [("/none", E.NO_NODE), ("/closed", E.NO_AUTH), ("/read", E.OK)]
)
def test_other_read(log: Applier, op: Op, path: str, expected: ErrorCode) -> None:
    assert E(log.read_err(op, PathRequest(path))) is expected


def test_super_may_do_everything(log: Applier) -> None:
    log.identities = (Id("super", ""),)
    log.create("/closed/new")
    log.ok(Op.SET_DATA, SetDataRequest("/zookeeper/config", b"x", -1))
    log.ok(Op.SET_ACL, SetACLRequest("/closed", OPEN, -1))
    assert log.read_err(Op.GET_DATA, PathWatchRequest("/open/shut", False)) == 0
