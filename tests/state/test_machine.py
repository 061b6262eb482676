"""What each entry does: Stats, sequence numbers, multi, sessions, containers, TTLs, and garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ErrorCode
from coord.limits import CONTAINERS_PER_CHECK_MAX
from coord.state import tree
from coord.state.machine import Machine
from coord.state.tree import Node, next_version
from coord.wire.jute import pack_int
from coord.wire.records import (
    ACL,
    CheckVersionRequest,
    CreateRequest,
    CreateSessionRequest,
    CreateTTLRequest,
    DeleteRequest,
    EventType,
    Id,
    Op,
    PathRequest,
    SetACLRequest,
    SetDataRequest,
    Stat,
    encode_multi,
)
from tests.state.applier import OPEN, OTHER, SESSION, Applier, only

CREATED, DELETED = EventType.CREATED, EventType.DELETED
DATA, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
E = ErrorCode


# -- a new ensemble -------------------------------------------------------------------------------------


def test_a_new_tree_looks_like_zookeepers() -> None:
    tree = Machine().tree
    assert sorted(tree.nodes) == ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]
    assert tree.node_count == 5
    assert tree.nodes["/"].stat() == Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0)
    assert tree.nodes["/zookeeper"].stat() == Stat(0, 0, 0, 0, 0, -2, 0, 0, 0, 2, 0)
    assert tree.nodes["/zookeeper/config"].stat() == Stat(0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0)
    assert tree.nodes["/zookeeper/config"].acl.entries == (ACL(1, Id("world", "anyone")),)


def test_the_first_secret_counts() -> None:
    machine = Machine()
    assert machine.secret == b""
    assert machine.apply(1, 0, 0, Op.SET_SECRET, (), b"short")[0] != 0
    assert machine.apply(2, 0, 0, Op.SET_SECRET, (), b"1" * 32)[0] == 0
    assert machine.apply(3, 0, 0, Op.SET_SECRET, (), b"2" * 32)[0] != 0
    assert machine.secret == b"1" * 32


# -- Stats ----------------------------------------------------------------------------------------------


def test_stats_follow_each_operation() -> None:
    log = Applier()
    log.create("/p", b"abc")
    z1, t1 = log.zxid, log.time_ms
    assert log.stat("/p") == Stat(z1, z1, t1, t1, 0, 0, 0, 0, 3, 0, z1)
    log.create("/p/c", flags=1)
    z2 = log.zxid
    assert log.stat("/p") == Stat(z1, z1, t1, t1, 0, 1, 0, 0, 3, 1, z2)
    assert log.stat("/p/c").ephemeral_owner == SESSION
    log.ok(Op.SET_DATA, SetDataRequest("/p", None, 0))
    z3, t3 = log.zxid, log.time_ms
    assert log.stat("/p") == Stat(z1, z3, t1, t3, 1, 1, 0, 0, 0, 1, z2)
    log.ok(Op.SET_ACL, SetACLRequest("/p", only(31), 0))
    assert log.stat("/p") == Stat(z1, z3, t1, t3, 1, 1, 1, 0, 0, 1, z2)
    log.ok(Op.DELETE, DeleteRequest("/p/c", 0))
    assert log.stat("/p") == Stat(z1, z3, t1, t3, 1, 2, 1, 0, 0, 0, log.zxid)


def test_replies_carry_the_stat_a_read_would_show() -> None:
    log = Applier()
    reply = log.ok(Op.CREATE2, CreateRequest("/a", b"x", OPEN, 0))
    assert (reply.path, reply.stat) == ("/a", log.stat("/a"))
    assert log.ok(Op.SET_DATA, SetDataRequest("/a", b"yy", -1)).stat == log.stat("/a")
    assert log.ok(Op.SET_ACL, SetACLRequest("/a", OPEN, -1)).stat == log.stat("/a")


@pytest.mark.parametrize(
    ("version", "following"), [(0, 1), (2**31 - 1, -(2**31)), (-3, -2), (-2, 0), (-(2**31), -(2**31) + 1)]
)
def test_s37_a_version_wraps_and_is_never_minus_one(version: int, following: int) -> None:
    """-1 would let every write pass (ZOOKEEPER-4743)."""
    assert next_version(version) == following
    log = Applier()
    log.create("/a")
    node = log.machine.tree.nodes["/a"]
    node.version = node.aversion = version
    assert log.ok(Op.SET_DATA, SetDataRequest("/a", b"", version)).stat.version == following
    assert log.ok(Op.SET_ACL, SetACLRequest("/a", OPEN, version)).stat.aversion == following
    assert log.err(Op.SET_DATA, SetDataRequest("/a", b"", version)) == E.BAD_VERSION


def test_cversion_wraps_on_the_wire() -> None:
    node = Node(b"", Machine().tree.nodes["/"].acl, 1, 1, 0)
    node.creates = 2**30
    assert node.stat().cversion == -(2**31)
    node.creates = 2**31
    assert node.stat().cversion == 0


def test_null_data_stays_null() -> None:
    log = Applier()
    log.create("/null", None)
    log.create("/empty", b"")
    assert log.machine.tree.nodes["/null"].data is None
    assert log.machine.tree.nodes["/empty"].data == b""


# -- sequence numbers -------------------------------------------------------------------------------------


def test_sequence_numbers_count_creates_below_the_parent_and_nothing_else() -> None:
    log = Applier()
    log.create("/p")
    assert log.create("/p/a-", flags=2) == "/p/a-0000000000"
    assert log.create("/p/b-", flags=3) == "/p/b-0000000001"
    log.create("/p/plain")
    log.ok(Op.DELETE, DeleteRequest("/p/plain", -1))
    assert log.err(Op.CREATE, CreateRequest("/p/a-0000000000", b"", OPEN, 0)) == E.NODE_EXISTS
    assert log.create("/p/a-", flags=2) == "/p/a-0000000003"
    assert log.ok(Op.CREATE_TTL, CreateTTLRequest("/p/", b"", OPEN, 6, 1000)).path == "/p/0000000004"


# -- multi ------------------------------------------------------------------------------------------------


def test_a_multi_shares_one_zxid_and_sees_itself() -> None:
    log = Applier()
    results = log.multi(
        (Op.CREATE, CreateRequest("/m", b"", OPEN, 0)),
        (Op.CREATE2, CreateRequest("/m/s-", b"", OPEN, 3)),
        (Op.SET_DATA, SetDataRequest("/m", b"1", 0)),
        (Op.CHECK, CheckVersionRequest("/m", 1)),
        (Op.DELETE, DeleteRequest("/m/s-0000000000", -1)),
        (Op.CREATE_CONTAINER, CreateRequest("/m/c", b"", OPEN, 4)),
        (Op.CREATE_TTL, CreateTTLRequest("/m/t", b"", OPEN, 5, 10)),
    )
    # create2 answers as create; only containers and TTL znodes come with a Stat
    assert [op for op, _, _ in results] == [1, 1, 5, 13, 2, 15, 15]
    assert [err for _, err, _ in results] == [0] * 7
    assert results[1][2].path == "/m/s-0000000000"
    assert results[2][2].stat.version == 1
    stat = log.stat("/m")
    assert (stat.czxid, stat.mzxid, stat.pzxid) == (log.zxid,) * 3
    assert (stat.cversion, stat.num_children) == (4, 2)
    assert log.machine.tree.ephemerals == {}
    assert log.changes == [
        (CREATED, "/m"),
        (CHILDREN, "/"),
        (CREATED, "/m/s-0000000000"),
        (CHILDREN, "/m"),
        (DATA, "/m"),
        (DELETED, "/m/s-0000000000"),
        (CHILDREN, "/m"),
        (CREATED, "/m/c"),
        (CHILDREN, "/m"),
        (CREATED, "/m/t"),
        (CHILDREN, "/m"),
    ]


def test_in_a_multi_the_flags_make_the_container() -> None:
    log = Applier()
    results = log.multi(
        (Op.CREATE, CreateRequest("/c", b"", OPEN, 4)),
        (Op.CREATE_CONTAINER, CreateRequest("/p", b"", OPEN, 0)),
    )
    assert [op for op, _, _ in results] == [15, 1]
    assert list(log.machine.tree.lifetimes) == ["/c"]


def test_s28_a_failed_multi_tells_which_and_changes_nothing() -> None:
    """Not even the number of the next sequential znode (ZOOKEEPER-1624)."""
    log = Applier()
    log.create("/p")
    log.create("/p/old", b"old", flags=1)
    log.ok(Op.CREATE_TTL, CreateTTLRequest("/p/ttl", b"", OPEN, 5, 1000))
    before, size = log.image(), log.machine.tree.data_bytes
    results = log.multi(
        (Op.CREATE, CreateRequest("/p/s-", b"", OPEN, 3)),
        (Op.CREATE_CONTAINER, CreateRequest("/p/c", b"", OPEN, 4)),
        (Op.SET_DATA, SetDataRequest("/p", b"long data", -1)),
        (Op.SET_DATA, SetDataRequest("/p/old", b"new", -1)),
        (Op.DELETE, DeleteRequest("/p/old", -1)),
        (Op.DELETE, DeleteRequest("/p/ttl", -1)),
        (Op.CREATE, CreateRequest("/p/old", b"", OPEN, 0)),
        (Op.DELETE, DeleteRequest("/none", -1)),
        (Op.CREATE, CreateRequest("/q", b"", OPEN, 0)),
        (Op.CREATE, CreateRequest("/r", b"", OPEN, 0)),
    )
    assert [(op, reply.err) for op, _, reply in results] == [(-1, 0)] * 7 + [(-1, E.NO_NODE)] + [(-1, -2)] * 2
    assert log.changes == []
    log.machine.zxid -= 1
    assert log.image() == before
    assert log.machine.tree.data_bytes == size
    assert log.machine.tree.ephemerals == {SESSION: {"/p/old": None}}
    assert log.machine.tree.lifetimes == {"/p/ttl": 1000}
    assert log.create("/p/s-", flags=2) == "/p/s-0000000002"


def test_an_empty_multi_succeeds() -> None:
    assert Applier().multi() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode_multi([(Op.GET_DATA, PathRequest("/"))]),
        encode_multi([(Op.SET_ACL, SetACLRequest("/", OPEN, -1))]),
        encode_multi([(Op.CREATE, CreateRequest("/a", b"", OPEN, 0))])[:-1],
    ],
)
def test_a_multi_that_is_none_is_refused_whole(body: bytes) -> None:
    log = Applier()
    assert log.apply(Op.MULTI, body) == (E.MARSHALLING_ERROR, b"")
    assert log.machine.zxid == log.zxid  # it has taken its zxid all the same
    assert "/a" not in log.machine.tree.nodes


# -- sessions ---------------------------------------------------------------------------------------------


def test_closing_a_session_deletes_its_ephemerals_under_one_zxid() -> None:
    log = Applier()
    log.create("/p")
    log.create("/p/b", flags=1)
    log.create("/p/a", flags=1)
    log.create("/other", flags=1, session_id=OTHER)
    assert log.close_session(SESSION) == 0
    assert log.changes == [(DELETED, "/p/a"), (CHILDREN, "/p"), (DELETED, "/p/b"), (CHILDREN, "/p")]
    assert (log.stat("/p").cversion, log.stat("/p").pzxid) == (4, log.zxid)
    assert "/other" in log.machine.tree.nodes
    assert log.err(Op.CREATE, CreateRequest("/x", b"", OPEN, 0)) == E.SESSION_EXPIRED
    assert log.close_session(SESSION) == E.SESSION_EXPIRED


def test_an_ephemeral_is_its_creators_even_if_another_deletes_it() -> None:
    log = Applier()
    log.create("/e", flags=1)
    log.ok(Op.DELETE, DeleteRequest("/e", -1), OTHER)
    log.create("/e", session_id=OTHER)
    log.close_session(SESSION)
    assert "/e" in log.machine.tree.nodes


def test_a_refused_request_has_its_zxid_and_its_error() -> None:
    log = Applier()
    assert log.apply(Op.ERROR, pack_int(E.UNIMPLEMENTED), 0) == (E.UNIMPLEMENTED, b"")
    assert log.machine.zxid == log.zxid
    assert log.apply(Op.ERROR, pack_int(12345), 0)[0] == E.SYSTEM_ERROR
    assert log.apply(Op.ERROR, b"", 0)[0] == E.MARSHALLING_ERROR


# -- containers and TTLs ----------------------------------------------------------------------------------


def test_a_container_goes_once_it_has_had_children() -> None:
    log = Applier()
    log.ok(Op.CREATE_CONTAINER, CreateRequest("/c", b"", OPEN, 4))
    assert log.stat("/c").ephemeral_owner == 0
    assert log.machine.reapable(log.time_ms) == []
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/c"), 0) == E.NOT_EMPTY
    log.create("/c/x")
    assert log.machine.reapable(log.time_ms) == []
    log.ok(Op.DELETE, DeleteRequest("/c/x", -1))
    assert log.machine.reapable(log.time_ms) == ["/c"]
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/c"), 0) == 0
    assert log.changes == [(DELETED, "/c"), (CHILDREN, "/")]
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/c"), 0) == E.NO_NODE


def test_a_ttl_znode_goes_when_unchanged_and_childless_for_too_long() -> None:
    log = Applier()
    log.ok(Op.CREATE_TTL, CreateTTLRequest("/t", b"", OPEN, 5, 100))
    assert log.stat("/t").ephemeral_owner == 0
    created = log.time_ms
    assert log.machine.reapable(created + 100) == []
    assert log.machine.reapable(created + 101) == ["/t"]
    log.create("/t/x")
    assert log.machine.reapable(created + 101) == []
    log.ok(Op.DELETE, DeleteRequest("/t/x", -1))
    log.ok(Op.SET_DATA, SetDataRequest("/t", b"", -1))
    assert log.machine.reapable(created + 101) == []
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/t"), 0) == E.NOT_EMPTY
    log.time_ms += 200
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/t"), 0) == 0


def test_the_reaper_takes_nothing_else() -> None:
    log = Applier()
    log.create("/plain", flags=4)  # the opcode decides, not the flag
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/plain"), 0) == E.BAD_ARGUMENTS
    assert log.err(Op.DELETE_CONTAINER, PathRequest("/"), 0) == E.BAD_ARGUMENTS


def test_a_check_for_reapable_znodes_is_bounded() -> None:
    log = Applier()
    for number in range(CONTAINERS_PER_CHECK_MAX + 5):
        log.ok(Op.CREATE_TTL, CreateTTLRequest(f"/t{number}", b"", OPEN, 5, 1))
    assert len(log.machine.reapable(log.time_ms + 100)) == CONTAINERS_PER_CHECK_MAX


# -- garbage and replies nobody wants -----------------------------------------------------------------------


OPS = [int(op) for op in Op]


@given(op=st.sampled_from(OPS) | st.integers(-50, 200), body=st.binary(max_size=80))
def test_garbage_is_answered_not_raised(op: int, body: bytes) -> None:
    log = Applier()
    before = log.machine.tree.digest
    log.apply(op, body)
    if op not in (Op.MULTI, Op.CREATE, Op.CREATE2, Op.CLOSE_SESSION):
        assert log.machine.tree.digest == before


@given(data=st.data())
def test_half_garbage_is_answered_not_raised(data: st.DataObject) -> None:
    log = Applier()
    log.create("/a")
    op, request = data.draw(
        st.sampled_from(
            [
                (Op.CREATE2, CreateRequest("/b", b"x", OPEN, 3).encode()),
                (Op.CREATE_TTL, CreateTTLRequest("/b", b"x", OPEN, 5, 9).encode()),
                (Op.SET_ACL, SetACLRequest("/a", OPEN, 0).encode()),
                (Op.MULTI, encode_multi([(Op.CREATE, CreateRequest("/b", b"x", OPEN, 3))])),
                (Op.CREATE_SESSION, CreateSessionRequest(7).encode()),
            ]
        )
    )
    body = bytearray(request)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    log.apply(op, bytes(body))
    assert Machine.restore(log.machine.snapshot()).digest == log.machine.digest


def test_without_a_wish_for_replies_the_state_is_the_same() -> None:
    entries = [
        (SESSION, Op.CREATE_SESSION, CreateSessionRequest(1).encode()),
        (SESSION, Op.CREATE2, CreateRequest("/a", b"x", OPEN, 1).encode()),
        (SESSION, Op.SET_DATA, SetDataRequest("/a", b"y", -1).encode()),
        (SESSION, Op.MULTI, encode_multi([(Op.CREATE, CreateRequest("/b", b"x", OPEN, 0))])),
    ]
    machines = Machine(), Machine()
    for zxid, (session_id, op, body) in enumerate(entries, 1):
        first, second = (
            machine.apply(zxid, 5, session_id, op, (), body, want_reply=wanted)
            for machine, wanted in zip(machines, (True, False), strict=True)
        )
        assert first[0] == second[0] == 0
        assert [change[:2] for change in first[2]] == [change[:2] for change in second[2]]
    assert list(machines[0].snapshot()) == list(machines[1].snapshot())


def test_the_digest_is_that_of_all_znodes_however_many_have_changed() -> None:
    log = Applier()
    count = tree._UNHASHED_MAX + 100
    for number in range(count):
        log.create(f"/{number}", b"x")
    for number in range(0, count, 3):
        log.ok(Op.SET_DATA, SetDataRequest(f"/{number}", b"y", -1))
    assert len(log.machine.tree._unhashed) <= tree._UNHASHED_MAX, "nobody waits long for the digest"
    failing = [(Op.DELETE, DeleteRequest(f"/{number}", -1)) for number in range(count)]
    log.multi(*failing, (Op.DELETE, DeleteRequest("/nowhere", -1)))
    for number in range(1, count, 3):
        log.ok(Op.DELETE, DeleteRequest(f"/{number}", -1))
    digest = log.machine.digest
    assert Machine.restore(log.machine.snapshot()).digest == digest
    log.ok(Op.SET_DATA, SetDataRequest("/0", b"z", -1))
    assert log.machine.digest != digest


def test_the_digest_counts_a_znode_once_that_is_created_again_when_many_have_changed() -> None:
    log = Applier()
    assert log.machine.digest
    for number in range(tree._UNHASHED_MAX):
        log.create(f"/{number}", b"x")
    log.ok(Op.DELETE, DeleteRequest("/7", -1))
    log.create("/7", b"y")
    digest = log.machine.digest
    assert Machine.restore(log.machine.snapshot()).digest == digest
