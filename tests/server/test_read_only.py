"""A member that has lost its leader, and the clients that are content with that. Without a shell."""

from __future__ import annotations

from typing import Any

import pytest

from coord.config import Config
from coord.config import Member as ServerLine
from coord.errors import ErrorCode
from coord.server.carrier import Phase
from coord.server.four_letter import answer
from coord.server.inspection import Inspection
from coord.server.tracker import is_local, new_local_session_id, new_session_id
from coord.wire.records import (
    ACL,
    CheckVersionRequest,
    ConnectReply,
    CreateMode,
    CreateRequest,
    DeleteRequest,
    EventType,
    GetDataReply,
    Id,
    Op,
    PathRequest,
    PathWatchRequest,
    Record,
    SetACLRequest,
    SetDataRequest,
    SetWatchesRequest,
    WatcherEvent,
    Xid,
    encode_multi,
)
from tests.server.member import Member, Talker

OPEN = [ACL(31, Id("world", "anyone"))]
BEATS_UNTIL_READ_ONLY = 20
"""2 s: with a tickTime of 1000 ms a beat is 100"""


class Multi(Record):
    """A multi of one check, as a request body."""

    def encode(self) -> bytes:
        return encode_multi([(Op.CHECK, CheckVersionRequest("/a", -1))])


def left_alone(**settings: Any) -> Member:
    """Has /a, had a leader, and has none for long enough."""
    member = Member(read_only_mode_enabled=True, **settings)
    ann = member.talker()
    ann.say(Op.CREATE, CreateRequest("/a", b"old", OPEN, 0))
    member.settle()
    assert ann.hear()[0][0].err == 0
    ann.connection.closed("gone")
    member.lose_quorum()
    member.beats(BEATS_UNTIL_READ_ONLY)
    return member


def reader(member: Member, timeout_ms: int = 5000) -> Talker:
    """With a read-only session."""
    bob = Talker(member)
    bob.greet(read_only=True, timeout_ms=timeout_ms)
    reply = bob.greeted()
    assert reply.read_only
    assert is_local(reply.session_id)
    return bob


def resume(member: Member, session: ConnectReply, **arguments: Any) -> Talker:
    talker = Talker(member)
    talker.greet(session.session_id, session.password or b"", **arguments)
    member.flush()
    return talker


def get(talker: Talker, path: str = "/a", *, watch: bool = False) -> tuple[int, bytes]:
    """(err, data)"""
    talker.say(Op.GET_DATA, PathWatchRequest(path, watch))
    [(header, body)] = talker.hear()
    return header.err, GetDataReply.from_bytes(body).data or b"" if header.err == 0 else b""


def ping(talker: Talker) -> None:
    talker.say(Op.PING, xid=Xid.PING)
    assert [header.xid for header, _ in talker.hear()] == [Xid.PING]


# -- when -------------------------------------------------------------------------------------------------


def test_it_begins_two_seconds_after_the_leader_was_lost() -> None:
    member = Member(read_only_mode_enabled=True)
    member.lose_quorum()
    member.beats(BEATS_UNTIL_READ_ONLY - 1)
    early = Talker(member)
    early.greet(read_only=True)
    member.flush()
    assert early.wire.is_closed
    member.beats(1)
    reader(member)


def test_a_long_tick_makes_it_begin_later() -> None:
    member = Member(read_only_mode_enabled=True, tick_time_ms=3000)
    member.lose_quorum()
    member.beats(9)
    assert not member.replica.read_only.active
    member.beats(1)
    assert member.replica.read_only.active


def test_never_with_the_option_off() -> None:
    member = Member()
    member.lose_quorum()
    member.beats(1000)
    bob = Talker(member)
    bob.greet(read_only=True)
    member.flush()
    assert (bob.wire.is_closed, bob.wire.raw) == (True, b"")


def test_not_before_a_leader_has_said_what_of_the_log_is_committed() -> None:
    first = Member(read_only_mode_enabled=True)
    again = Member(first.log, read_only_mode_enabled=True, alone=False)
    again.beats(1000)
    assert not again.replica.read_only.active


def test_it_ends_with_the_next_leader() -> None:
    member = left_alone()
    bob = reader(member)
    member.regain_quorum()
    member.flush()
    assert bob.wire.is_closed
    assert not member.replica.read_only.active
    bob = Talker(member)
    bob.greet(read_only=True)
    member.settle()
    reply = bob.greeted()
    assert (reply.read_only, is_local(reply.session_id)) == (False, False)
    bob.say(Op.SET_DATA, SetDataRequest("/a", b"new", -1))
    member.settle()
    assert bob.hear()[0][0].err == 0


# -- what is served -----------------------------------------------------------------------------------------


def test_reads_and_watches() -> None:
    member = left_alone()
    bob = reader(member)
    assert get(bob, watch=True) == (0, b"old")
    assert get(bob, "/nowhere") == (ErrorCode.NO_NODE, b"")
    bob.say(Op.SET_WATCHES, SetWatchesRequest(1, ["/gone"], [], []), xid=Xid.SET_WATCHES)
    (event, body), (header, _) = bob.hear()
    assert (event.xid, WatcherEvent.from_bytes(body).type) == (Xid.NOTIFICATION, EventType.DELETED)
    assert (header.xid, header.err) == (Xid.SET_WATCHES, 0)
    ping(bob)


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        (Op.CREATE, CreateRequest("/b", b"", OPEN, 0)),
        (Op.CREATE2, CreateRequest("/b", b"", OPEN, CreateMode.EPHEMERAL)),
        (Op.CREATE_CONTAINER, CreateRequest("/b", b"", OPEN, CreateMode.CONTAINER)),
        (Op.DELETE, DeleteRequest("/a", -1)),
        (Op.SET_DATA, SetDataRequest("/a", b"", -1)),
        (Op.SET_ACL, SetACLRequest("/a", OPEN, -1)),
        (Op.SYNC, PathRequest("/a")),
        (Op.MULTI, Multi()),
    ],
)
def test_writes_and_syncs_are_refused_and_the_connection_goes_on(op: Op, request_: Record) -> None:
    member = left_alone()
    before = member.replica.machine.digest
    bob = reader(member)
    bob.say(op, request_)
    [(header, body)] = bob.hear()
    assert (header.err, header.zxid, body) == (ErrorCode.NOT_READ_ONLY, member.replica.machine.zxid, b"")
    assert get(bob) == (0, b"old")
    member.regain_quorum()
    assert member.replica.machine.digest == before


def test_who_did_not_say_read_only_is_turned_away() -> None:
    member = left_alone()
    bob = Talker(member)
    bob.greet()
    member.flush()
    assert (bob.wire.is_closed, bob.wire.raw) == (True, b"")


def test_who_has_seen_more_is_turned_away() -> None:
    member = left_alone()
    bob = Talker(member)
    bob.greet(read_only=True, zxid=member.replica.machine.zxid + 1)
    member.flush()
    assert (bob.wire.is_closed, bob.wire.raw) == (True, b"")


# -- sessions -----------------------------------------------------------------------------------------------


def test_a_real_session_cannot_be_resumed_and_is_not_called_expired() -> None:
    member = Member(read_only_mode_enabled=True)
    ann = Talker(member)
    ann.greet(timeout_ms=20_000)
    member.settle()
    session = ann.greeted()
    member.lose_quorum()
    member.beats(BEATS_UNTIL_READ_ONLY)
    assert get(ann, "/zookeeper") == (0, b""), "whoever is connected stays for as long as its session lasts"
    again = resume(member, session, read_only=True)
    assert (again.wire.is_closed, again.wire.raw) == (True, b"")
    member.regain_quorum()
    assert resume(member, session).greeted().session_id == session.session_id


def test_a_read_only_session_is_resumed_where_it_was_and_with_its_password() -> None:
    member = left_alone()
    bob = Talker(member)
    bob.greet(read_only=True)
    session = bob.greeted()
    again = resume(member, session, read_only=True)
    assert bob.wire.is_closed
    assert again.greeted().session_id == session.session_id
    assert get(again) == (0, b"old")
    wrong = resume(member, ConnectReply(0, 0, session.session_id, b"x" * 16, True), read_only=True)
    assert wrong.greeted().timeout_ms == 0
    assert get(again) == (0, b"old"), "nobody was harmed"


def test_a_read_only_session_is_over_where_there_is_a_leader() -> None:
    member = left_alone()
    bob = Talker(member)
    bob.greet(read_only=True)
    session = bob.greeted()
    member.regain_quorum()
    assert resume(member, session, read_only=True).greeted().timeout_ms == 0


def test_a_silent_read_only_session_expires_by_the_members_own_beats() -> None:
    member = left_alone()
    bob, alive = reader(member, 2000), reader(member, 2000)
    session = ConnectReply(0, 0, bob.connection.session_id, bytes(16), True)
    for _ in range(20):
        member.beats(1)
        ping(alive)
    assert not bob.wire.is_closed
    member.beats(1)
    assert bob.wire.is_closed
    assert get(alive) == (0, b"old")
    assert resume(member, session, read_only=True).greeted().timeout_ms == 0
    assert len(member.replica.read_only) == 1


def test_a_read_only_session_outlasts_any_time_without_a_leader() -> None:
    member = left_alone()
    bob = reader(member, 2000)
    for _ in range(1000):
        member.beats(1)
        ping(bob)
    assert get(bob) == (0, b"old")


def test_closing_a_read_only_session() -> None:
    member = left_alone()
    bob = reader(member)
    bob.say(Op.CLOSE_SESSION)
    [(header, _)] = bob.hear()
    assert header.err == 0
    assert bob.wire.is_closed
    assert len(member.replica.read_only) == 0
    member.beats(1000)
    member.regain_quorum()


def test_sessions_of_the_log_know_nothing_of_it() -> None:
    member = left_alone()
    before = dict(member.replica.machine.sessions.timeouts)
    bob = reader(member)
    member.regain_quorum()
    assert member.replica.machine.sessions.timeouts == before
    assert bob.connection.phase is Phase.CLOSED


def test_ids_of_read_only_sessions_are_their_own() -> None:
    ids = {new_local_session_id(member, number) for member in (1, 127, 128, 255) for number in range(1000)}
    assert len(ids) == 4000
    assert all(is_local(one) for one in ids)
    assert new_local_session_id(128, 0xFF_FFFF) & 0xFF_FFFF << 32, "the mark of a container is no session"
    assert not any(is_local(new_session_id(1, epoch << 32 | 1)) for epoch in range(1000))
    assert not is_local(new_session_id(255, 7 << 32 | 0xFFFF_FFFF))


# -- what it says of itself ---------------------------------------------------------------------------------


def test_the_four_letter_words_tell() -> None:
    members = {one: ServerLine("127.0.0.1", 3000 + one, 4000 + one) for one in (1, 2, 3)}
    settings: dict[str, Any] = {"members": members, "my_id": 1, "four_letter_whitelist": frozenset("*")}
    member = left_alone(**settings)
    bob = reader(member)
    view = Inspection(member.replica)
    assert answer("isro", view) == "ro"
    assert "\nREAD-ONLY mode; serving only read-only clients\n" in answer("srvr", view)
    assert "\nMode: read-only\n" in answer("stat", view)
    assert {"zk_server_state\tread-only", "zk_local_sessions\t1"} <= set(answer("mntr", view).splitlines())
    assert f"sid={hex(bob.connection.session_id)}" in answer("cons", view)
    member.regain_quorum()
    assert answer("isro", view) == "rw"
    assert isinstance(view.config, Config)
    assert "read-only" not in answer("srvr", view).lower()
