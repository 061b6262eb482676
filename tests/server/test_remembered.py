"""Reads that are answered from memory: the same bytes, in the same order, for those who may have them."""

from __future__ import annotations

from coord.errors import ErrorCode
from coord.server.carrier import Phase
from coord.wire.frames import pack_frame
from coord.wire.jute import pack_int
from coord.wire.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    Id,
    Op,
    PathWatchRequest,
    SetACLRequest,
    SetDataRequest,
)
from tests.server.member import Member, Talker

OPEN = [ACL(31, Id("world", "anyone"))]
LOOK = PathWatchRequest("/a", False)


def prepared() -> tuple[Member, Talker, Talker]:
    member = Member()
    ann, bob = member.talker(), member.talker()
    ann.say(Op.CREATE, CreateRequest("/a", b"1", OPEN, 0))
    member.settle()
    ann.hear()
    return member, ann, bob


def heard(talker: Talker, op: Op) -> tuple[int, int, int, bytes]:
    """xid, zxid, err and body of the one reply to `op`."""
    talker.say(op, LOOK)
    ((header, body),) = talker.hear()
    return header.xid, header.zxid, header.err, body


def test_the_second_answer_is_the_first_but_for_its_header() -> None:
    member, ann, bob = prepared()
    for op in (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2):
        _, *first = heard(ann, op)
        assert heard(bob, op) == (bob.xid, *first)
        assert heard(bob, op) == (bob.xid, *first)
    bob.say(Op.SET_DATA, SetDataRequest("/zookeeper", b"", -1))
    member.settle()
    bob.hear()
    assert heard(ann, Op.GET_DATA)[1] == member.replica.machine.zxid, "the zxid is that of now"
    assert ann.connection.stats.sent == ann.connection.stats.received == 6
    assert ann.connection.stats.last_xid == ann.xid
    assert ann.connection.stats.last_op == Op.GET_DATA


def test_a_read_behind_a_write_waits_for_it() -> None:
    member, ann, bob = prepared()
    heard(ann, Op.GET_DATA)
    ann.say(Op.SET_DATA, SetDataRequest("/a", b"2", -1))
    ann.say(Op.GET_DATA, LOOK)
    assert ann.hear() == []
    assert heard(bob, Op.GET_DATA)[3].startswith(pack_int(1) + b"1"), "which is not done yet"
    member.settle()
    _, (header, body) = ann.hear()
    assert (header.xid, body[:5]) == (ann.xid, pack_int(1) + b"2")
    assert heard(bob, Op.GET_DATA)[3] == body


def test_what_is_gone_or_closed_is_told_to_nobody() -> None:
    member, ann, bob = prepared()
    heard(bob, Op.GET_DATA)
    ann.say(Op.SET_ACL, SetACLRequest("/a", [ACL(30, Id("world", "anyone"))], -1))
    member.settle()
    ann.hear()
    assert heard(bob, Op.GET_DATA)[2] == ErrorCode.NO_AUTH
    ann.say(Op.SET_ACL, SetACLRequest("/a", OPEN, -1))
    member.settle()
    ann.hear()
    heard(bob, Op.GET_DATA)
    ann.say(Op.DELETE, DeleteRequest("/a", -1))
    member.settle()
    ann.hear()
    assert heard(bob, Op.GET_DATA)[2] == ErrorCode.NO_NODE


def test_a_member_that_may_not_answer_does_not() -> None:
    member, ann, _ = prepared()
    heard(ann, Op.GET_DATA)
    member.replica.answers = False
    ann.say(Op.GET_DATA, LOOK)
    assert ann.hear() == []
    assert ann.connection.outstanding == 1


def test_a_request_without_a_header_ends_the_connection_behind_what_came_before() -> None:
    member, ann, _ = prepared()
    heard(ann, Op.GET_DATA)
    look = pack_frame(pack_int(7) + pack_int(Op.GET_DATA) + LOOK.encode())
    received = member.replica.stats.received
    ann.connection.receive(look + look + pack_frame(b"\0\0\0\1\0\0"))
    assert ann.connection.phase is Phase.CLOSING
    assert len(ann.hear()) == 2
    assert member.replica.stats.received == received + 2
