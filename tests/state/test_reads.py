"""What the reads answer, and what a client that comes back has missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.limits import MULTI_READ_REPLY_BYTES_MAX
from coord.state.reads import READS, set_watches
from coord.wire.records import (
    ACL,
    AddWatchRequest,
    Children2Reply,
    ChildrenReply,
    CreateRequest,
    DeleteRequest,
    EmptyRequest,
    EphemeralsReply,
    EventType,
    GetACLReply,
    GetDataReply,
    GetEphemeralsRequest,
    Id,
    NumberReply,
    Op,
    PathRequest,
    PathWatchRequest,
    SetACLRequest,
    SetDataRequest,
    SetWatches2Request,
    StatReply,
    WatcherType,
    WhoAmIReply,
    decode_multi_reply,
    encode_multi,
)
from tests.state.applier import ANYONE, OPEN, OTHER, SESSION, Applier, Caller, only

CREATED, DELETED = EventType.CREATED, EventType.DELETED
DATA, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED


@pytest.fixture
def log() -> Applier:
    log = Applier()
    for path in ("/p", "/p/a", "/p/a/x", "/p/b", "/pq"):
        log.create(path, path.encode())
    return log


def look(path: str) -> PathWatchRequest:
    return PathWatchRequest(path, False)


def test_reads(log: Applier) -> None:
    stat = log.stat("/p")
    assert GetDataReply.from_bytes(log.read(Op.GET_DATA, look("/p"))) == GetDataReply(b"/p", stat)
    assert StatReply.from_bytes(log.read(Op.EXISTS, look("/p"))) == StatReply(stat)
    assert sorted(ChildrenReply.from_bytes(log.read(Op.GET_CHILDREN, look("/p"))).children) == ["a", "b"]
    reply = Children2Reply.from_bytes(log.read(Op.GET_CHILDREN2, look("/p")))
    assert (sorted(reply.children), reply.stat) == (["a", "b"], stat)
    children = ChildrenReply.from_bytes(log.read(Op.GET_CHILDREN, look("/"))).children
    assert sorted(children) == ["p", "pq", "zookeeper"]
    assert ChildrenReply.from_bytes(log.read(Op.GET_CHILDREN, look("/p/b"))).children == []


def test_null_data_reads_as_null(log: Applier) -> None:
    log.ok(Op.SET_DATA, SetDataRequest("/p", None, -1))
    assert GetDataReply.from_bytes(log.read(Op.GET_DATA, look("/p"))).data is None


@pytest.mark.parametrize(("path", "count"), [("/", 8), ("/p", 3), ("/p/a", 1), ("/p/b", 0)])
def test_all_children_number(log: Applier, path: str, count: int) -> None:
    reply = log.read(Op.GET_ALL_CHILDREN_NUMBER, PathRequest(path))
    assert NumberReply.from_bytes(reply).number == count


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (None, ["/p/e1", "/p/e2", "/q"]),
        ("/", ["/p/e1", "/p/e2", "/q"]),
        ("", ["/p/e1", "/p/e2", "/q"]),
        ("/p", ["/p/e1", "/p/e2"]),
        ("/p/e1", ["/p/e1"]),
        ("/p/", ["/p/e1", "/p/e2"]),
        ("/none", []),
    ],
)
def test_ephemerals_are_the_sessions_own(log: Applier, prefix: str | None, expected: list[str]) -> None:
    for path in ("/p/e1", "/q", "/p/e2"):
        log.create(path, flags=1)
    log.create("/other", flags=1, session_id=OTHER)
    reply = log.read(Op.GET_EPHEMERALS, GetEphemeralsRequest(prefix))
    assert sorted(EphemeralsReply.from_bytes(reply).paths) == expected


def test_ephemerals_of_a_session_without_any(log: Applier) -> None:
    reply = log.read(Op.GET_EPHEMERALS, GetEphemeralsRequest(None), Caller(OTHER))
    assert EphemeralsReply.from_bytes(reply).paths == []


def test_who_am_i_tells_no_hash(log: Applier) -> None:
    caller = Caller(identities=(Id("ip", "127.0.0.1"), Id("digest", "ann:secret=")))
    reply = WhoAmIReply.from_bytes(log.read(Op.WHO_AM_I, EmptyRequest(), caller))
    assert reply.identities == [Id("ip", "127.0.0.1"), Id("digest", "ann")]


def test_get_acl_hides_hashes_from_all_but_admins(log: Applier) -> None:
    ann, bob = Id("digest", "ann:h1"), Id("digest", "bob:h2")
    acl = [ACL(31, ann), ACL(1, bob), ACL(1, Id("ip", "10.0.0.1"))]
    log.ok(Op.SET_ACL, SetACLRequest("/p", acl, -1))

    def seen_by(*identities: Id) -> list[ACL]:
        reply = log.read(Op.GET_ACL, PathRequest("/p"), Caller(identities=identities))
        return GetACLReply.from_bytes(reply).acl

    assert seen_by(ann) == seen_by(Id("super", "")) == acl
    hidden = [ACL(31, Id("digest", "ann:x")), ACL(1, Id("digest", "bob:x")), acl[2]]
    assert seen_by(bob) == hidden
    assert log.read_err(Op.GET_ACL, PathRequest("/p"), Caller()) == -102


def test_multi_read_answers_each_by_itself_and_watches_nothing(log: Applier) -> None:
    log.create("/shut", acl=only(0))
    body = encode_multi(
        [
            (Op.GET_DATA, PathWatchRequest("/p", True)),
            (Op.GET_DATA, look("/none")),
            (Op.GET_CHILDREN, PathWatchRequest("/p/a", True)),
            (Op.GET_CHILDREN, look("/shut")),
        ]
    )
    results = decode_multi_reply(log.read(Op.MULTI_READ, body))
    assert [op for op, _, _ in results] == [Op.GET_DATA, -1, Op.GET_CHILDREN, -1]
    assert [err for _, err, _ in results] == [0, -101, 0, -102]
    assert (results[0][2].data, results[2][2].children) == (b"/p", ["x"])
    assert len(log.watches) == 0


def test_a_multi_read_that_asks_for_gigabytes_is_refused(log: Applier) -> None:
    log.create("/big", bytes(1_000_000))
    fitting = encode_multi([(Op.GET_DATA, look("/big"))] * (MULTI_READ_REPLY_BYTES_MAX // 1_000_100))
    assert log.read_err(Op.MULTI_READ, fitting) == 0
    assert log.read_err(Op.MULTI_READ, encode_multi([(Op.GET_DATA, look("/big"))] * 50_000)) == -8


@pytest.mark.parametrize(
    "body", [encode_multi([(Op.EXISTS, look("/"))]), encode_multi([(Op.DELETE, DeleteRequest("/", 0))]), b""]
)
def test_a_multi_read_of_anything_else_is_refused_whole(log: Applier, body: bytes) -> None:
    assert log.read_err(Op.MULTI_READ, body) == -5


@given(op=st.sampled_from(sorted(READS)), body=st.binary(max_size=40))
def test_garbage_is_refused_and_nothing_else(op: int, body: bytes) -> None:
    assert Applier().read_err(op, body) in (0, -5, -8, -101, -121)


# -- coming back ------------------------------------------------------------------------------------------


def come_back(log: Applier, caller: Caller, since: int, **paths: list[str]) -> list[tuple[EventType, str]]:
    none: list[str] = []
    request = SetWatches2Request(
        since,
        paths.get("data", none),
        paths.get("exist", none),
        paths.get("child", none),
        paths.get("persistent", none),
        paths.get("recursive", none),
    )
    return set_watches(log.machine, log.watches, caller, request)


def test_what_has_not_changed_is_armed(log: Applier) -> None:
    caller = Caller()
    assert come_back(log, caller, log.zxid, data=["/p"], exist=["/none"], child=["/p/a"]) == []
    assert log.watches.has("/p", WatcherType.DATA, caller)
    assert log.watches.has("/none", WatcherType.DATA, caller)
    assert log.watches.has("/p/a", WatcherType.CHILDREN, caller)


def test_what_has_changed_is_told(log: Applier) -> None:
    caller, since = Caller(), log.zxid
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    log.create("/p/a/new")
    log.ok(Op.DELETE, DeleteRequest("/pq", -1))
    events = come_back(
        log, caller, since, data=["/p", "/p/b", "/pq"], exist=["/p/a/new"], child=["/p/a", "/p/b", "/pq"]
    )
    assert events == [(DATA, "/p"), (DELETED, "/pq"), (CREATED, "/p/a/new"), (CHILDREN, "/p/a")]
    assert log.watches.by_watcher() == {caller: ["/p/b"]}  # told is told: nothing else is armed
    assert log.watches.has("/p/b", WatcherType.CHILDREN, caller)
    assert len(log.watches) == 2


def test_changes_of_data_are_none_of_children_and_the_other_way_round(log: Applier) -> None:
    caller, since = Caller(), log.zxid
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    log.create("/p/a/new")
    assert come_back(log, caller, since, data=["/p/a"], child=["/p"]) == []
    assert len(log.watches) == 2


def test_persistent_watches_are_armed_without_catching_up(log: Applier) -> None:
    caller = Caller()
    assert come_back(log, caller, 0, persistent=["/p"], recursive=["/p/a", "/none"]) == []
    assert log.watches.has("/p", WatcherType.PERSISTENT, caller)
    assert log.watches.has("/p/a", WatcherType.PERSISTENT_RECURSIVE, caller)
    assert log.watches.has("/none", WatcherType.PERSISTENT_RECURSIVE, caller)


def test_missed_events_go_to_those_who_may_read(log: Applier) -> None:
    ann = Id("digest", "ann:x")
    log.ok(Op.SET_ACL, SetACLRequest("/p", [ACL(31, ann), ACL(30, ANYONE)], -1))
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    log.create("/p/new", acl=[ACL(31, ann)])
    wanted = {"data": ["/p"], "exist": ["/p/new"], "child": ["/p"]}
    everything = [(DATA, "/p"), (CREATED, "/p/new"), (CHILDREN, "/p")]
    assert come_back(log, Caller(identities=(ann,)), 0, **wanted) == everything
    assert come_back(log, Caller(), 0, **wanted) == []
    assert len(log.watches) == 0


def test_an_armed_watch_is_a_watch_like_any_other(log: Applier) -> None:
    caller = Caller()
    come_back(log, caller, log.zxid, data=["/p"])
    err, _, changes = log.machine.apply(
        log.zxid + 1, 0, SESSION, Op.SET_DATA, (), SetDataRequest("/p", b"", -1).encode()
    )
    assert err == 0
    assert [list(log.watches.fire(change)) for change in changes] == [[caller]]
    assert log.read_err(Op.ADD_WATCH, AddWatchRequest("/p", 0), caller) == 0
    assert log.err(Op.CREATE, CreateRequest("/x", b"", OPEN, 0)) == 0
