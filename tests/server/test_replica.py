"""The way of a write, the order of replies, the life of sessions: the server's core without its shell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.config import Config
from coord.errors import ErrorCode
from coord.limits import (
    BATCH_BYTES_MAX,
    OUTBOX_BYTES_FATAL,
    OUTBOX_BYTES_MAX,
    PIPELINE_BYTES_MAX,
    PIPELINE_REQUESTS_MAX,
    REQUESTS_PER_TURN,
)
from coord.server.carrier import Phase
from coord.server.replica import Replica
from coord.server.replica_messages import Forward, decode
from coord.server.tracker import new_session_id
from coord.state.machine import Machine
from coord.wire.ensemble import Batch
from coord.wire.frames import pack_frame
from coord.wire.jute import pack_int
from coord.wire.member_codec import FROM_FOLLOWERS, MessageReader, frames_of
from coord.wire.members import (
    Append,
    Commit,
    Install,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Payload,
    Proposal,
    Truncate,
)
from coord.wire.records import (
    ACL,
    GOODBYE_ERROR,
    AuthPacket,
    CreateMode,
    CreateRequest,
    CreateTTLRequest,
    EventType,
    GetDataReply,
    Id,
    Op,
    PathReply,
    PathRequest,
    PathWatchRequest,
    RequestHeader,
    SetDataRequest,
    WatcherEvent,
    WhoAmIReply,
    Xid,
    decode_multi_reply,
    encode_multi,
)
from coord.zab.following import Following
from coord.zab.history import COUNTER_MAX
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Majority
from tests.server.member import Member, Talker
from tests.server.voter import FOUNDING, Voter, batch

OPEN = [ACL(31, Id("world", "anyone"))]


def create(path: str, flags: int = 0) -> CreateRequest:
    return CreateRequest(path, b"", OPEN, flags)


def test_a_write_is_answered_when_it_is_durable_and_not_before() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, create("/a"))
    assert ann.hear() == []
    member.propose()
    assert ann.hear() == []
    member.persist()
    [(header, body)] = ann.hear()
    assert (header.err, PathReply.from_bytes(body).path) == (0, "/a")


def test_a_read_behind_a_write_sees_it_and_waits_for_it() -> None:
    member = Member()
    ann = member.talker()
    first = ann.say(Op.CREATE, create("/a"))
    second = ann.say(Op.SET_DATA, SetDataRequest("/a", b"new", -1))
    third = ann.say(Op.GET_DATA, PathWatchRequest("/a", False))
    fourth = ann.say(Op.PING, xid=Xid.PING)
    assert ann.hear() == []
    member.settle()
    replies = ann.hear()
    assert [header.xid for header, _ in replies] == [first, second, third, fourth]
    assert GetDataReply.from_bytes(replies[2][1]).data == b"new"


def test_a_read_of_another_connection_does_not_wait() -> None:
    member = Member()
    ann, bob = member.talker(), member.talker()
    ann.say(Op.CREATE, create("/a"))
    bob.say(Op.EXISTS, PathWatchRequest("/a", False))
    [(header, _)] = bob.hear()
    assert header.err == ErrorCode.NO_NODE


def test_an_event_comes_before_the_reply_that_shows_the_change() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.EXISTS, PathWatchRequest("/a", True))
    ann.say(Op.CREATE, create("/a"))
    ann.say(Op.EXISTS, PathWatchRequest("/a", False))
    member.settle()
    missing, event, created, exists = ann.hear()
    assert missing[0].err == ErrorCode.NO_NODE
    assert event[0].xid == Xid.NOTIFICATION
    assert WatcherEvent.from_bytes(event[1]) == WatcherEvent(EventType.CREATED, 3, "/a")
    assert event[0].zxid == created[0].zxid, "the event carries the zxid of its change"
    assert exists[0].err == 0


def test_a_batch_gathers_while_the_disk_writes() -> None:
    member = Member()
    ann, bob = member.talker(), member.talker()
    records = len(member.log)
    ann.say(Op.CREATE, create("/a"))
    member.propose()
    ann.say(Op.CREATE, create("/b"))
    bob.say(Op.CREATE, create("/c"))
    member.propose()
    assert len(member.log) == records
    member.persist()
    member.settle()
    assert len(member.log) == records + 2, "two records: one for /a, one for /b and /c together"
    assert len(ann.hear()) == 2
    assert len(bob.hear()) == 1


def test_state_and_sessions_come_back_from_the_log() -> None:
    first = Member()
    ann = Talker(first)
    ann.greet()
    first.settle()
    session = ann.greeted()
    ann.say(Op.CREATE, create("/mine", flags=1))
    first.settle()
    second = Member(log=first.log)
    assert second.replica.machine.digest == first.replica.machine.digest
    again = Talker(second)
    again.greet(session.session_id, session.password or b"", zxid=first.replica.machine.zxid)
    assert again.greeted().session_id == session.session_id
    again.say(Op.EXISTS, PathWatchRequest("/mine", False))
    [(header, _)] = again.hear()
    assert header.err == 0


def test_a_restart_gives_every_session_its_full_timeout_again() -> None:
    first = Member()
    ann = first.talker(timeout_ms=5000)
    ann.say(Op.CREATE, create("/mine", flags=1))
    first.settle()
    first.beats(45)  # of 50
    second = Member(log=first.log)
    second.beats(45)
    assert "/mine" in second.replica.machine.tree.nodes
    second.beats(10)
    assert "/mine" not in second.replica.machine.tree.nodes


def test_a_silent_session_expires_through_the_log_and_its_connection_is_closed() -> None:
    member = Member()
    ann, bob = member.talker(timeout_ms=5000), member.talker(timeout_ms=5000)
    ann.say(Op.CREATE, create("/mine", flags=1))
    member.settle()
    bob.say(Op.EXISTS, PathWatchRequest("/mine", True))
    for _ in range(55):
        bob.say(Op.PING, xid=Xid.PING)
        member.beats(1)
    events = [body for header, body in bob.hear() if header.xid == Xid.NOTIFICATION]
    assert [WatcherEvent.from_bytes(body).type for body in events] == [EventType.DELETED]
    assert ann.wire.is_closed
    assert not bob.wire.is_closed
    assert "/mine" not in member.replica.machine.tree.nodes


def test_a_session_has_its_whole_timeout_whenever_it_was_last_heard() -> None:
    """Right before a beat: 49 whole intervals follow until the 50th beat, and a client counts on 50."""
    member = Member()
    ann = member.talker(timeout_ms=5000)
    member.beats(10)
    ann.say(Op.PING, xid=Xid.PING)
    member.beats(50)
    assert not ann.wire.is_closed
    member.beats(1)
    assert ann.wire.is_closed


def test_a_stalled_disk_is_not_held_against_a_client_that_is_not_read() -> None:
    member = Member()
    ann, bob = member.talker(timeout_ms=5000), member.talker(timeout_ms=5000)
    while not ann.connection.congested:
        ann.say(Op.CREATE, create("/a"))
    member.propose()
    for _ in range(120):
        member.replica.beat()
    member.settle()
    assert bob.wire.is_closed, "its pings would have been heard"
    assert not ann.wire.is_closed
    assert len(ann.hear()) == PIPELINE_REQUESTS_MAX
    member.beats(60)
    assert ann.wire.is_closed, "it is silent now"


def test_a_session_that_is_to_end_ends_whatever_its_client_waits_for() -> None:
    member = Member()
    ann = member.talker(timeout_ms=5000)
    for number in range(PIPELINE_REQUESTS_MAX):
        ann.say(Op.CREATE, create(f"/n{number}"))
    member.replica.expire(ann.connection.session_id, even_if_busy=True)
    member.replica.expire(ann.connection.session_id, even_if_busy=True)  # once is enough
    member.settle()
    assert ann.wire.is_closed
    assert len(member.replica.machine.sessions) == 0


def test_a_stopped_server_does_not_hold_its_silence_against_its_clients() -> None:
    """However long the shell did not call: expiry counts beats, and there were none."""
    member = Member()
    ann = member.talker(timeout_ms=5000)
    member.replica.wall_ms += 3_600_000
    member.replica.turn_ms += 3_600_000
    member.beats(1)
    ann.say(Op.PING, xid=Xid.PING)
    assert [header.xid for header, _ in ann.hear()] == [Xid.PING]


def test_the_last_words_of_a_session() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, create("/mine", flags=1))
    closing = ann.say(Op.CLOSE_SESSION)
    ann.say(Op.CREATE, create("/too-late"))
    member.settle()
    assert [header.xid for header, _ in ann.hear()] == [1, closing]
    assert ann.wire.is_closed
    assert "/mine" not in member.replica.machine.tree.nodes
    assert "/too-late" not in member.replica.machine.tree.nodes


def test_a_client_that_leaves_while_its_session_is_opened_leaves_no_trace_but_the_session() -> None:
    member = Member()
    ann = Talker(member)
    ann.greet(timeout_ms=4000)
    ann.wire.close("gone")
    member.settle()
    assert len(member.replica.machine.sessions) == 1
    member.beats(60)
    assert len(member.replica.machine.sessions) == 0


def test_a_client_that_leaves_with_writes_under_way_disturbs_nobody() -> None:
    member = Member()
    ann, bob = member.talker(), member.talker()
    ann.say(Op.CREATE, create("/a"))
    ann.say(Op.GET_DATA, PathWatchRequest("/a", True))
    bob.say(Op.CREATE, create("/b"))
    member.propose()
    ann.wire.close("gone")
    member.persist()
    assert [header.err for header, _ in bob.hear()] == [0]
    assert "/a" in member.replica.machine.tree.nodes
    assert len(member.replica.watches) == 0


def test_too_many_waiting_requests_stop_the_reading_until_they_are_answered() -> None:
    member = Member()
    ann = member.talker()
    for _ in range(PIPELINE_REQUESTS_MAX):
        assert not ann.connection.congested
        ann.say(Op.CREATE, create("/a"))
    assert ann.connection.congested
    member.settle()
    assert not ann.connection.congested


def test_large_requests_stop_the_reading_sooner() -> None:
    member = Member()
    ann = member.talker()
    sent = 0
    while not ann.connection.congested:
        ann.say(Op.SET_DATA, SetDataRequest("/", bytes(1_000_000), -1))
        ann.say(Op.GET_DATA, PathWatchRequest("/", False))
        sent += 1
    assert sent <= PIPELINE_BYTES_MAX // 1_000_000 + 1
    member.settle()
    assert not ann.connection.congested
    assert len(ann.hear()) == 2 * sent


def test_nothing_is_read_while_the_session_is_being_opened() -> None:
    """Else a disk that stalls lets whoever connects fill the memory."""
    member = Member()
    ann = Talker(member)
    ann.greet()
    assert ann.connection.congested
    member.settle()
    assert ann.greeted().session_id
    assert not ann.connection.congested


def test_too_many_unread_bytes_stop_the_reading_until_they_are_taken() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, CreateRequest("/big", bytes(1_000_000), OPEN, 0))
    member.settle()
    count = 0
    while not ann.connection.congested:
        ann.say(Op.GET_DATA, PathWatchRequest("/big", False))
        count += 1
    assert count == OUTBOX_BYTES_MAX // 1_000_000 + 1
    ann.hear()
    assert not ann.connection.congested


def test_a_few_bytes_cannot_ask_for_gigabytes_at_once() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, CreateRequest("/big", bytes(1_000_000), OPEN, 0))
    member.settle()
    ann.hear()
    get = pack_frame(b"\0\0\0\7\0\0\0\4" + PathWatchRequest("/big", False).encode())
    ann.connection.receive(get * 100)
    assert ann.connection.outbox_bytes < OUTBOX_BYTES_MAX + 2_000_000
    assert len(ann.hear()) == 100, "and none is forgotten"


def test_one_turn_serves_only_so_much_of_one_connection() -> None:
    member = Member()
    ann = member.talker()
    count = pack_frame(b"\0\0\0\7\0\0\0\x68" + PathRequest("/").encode())
    look = pack_frame(b"\0\0\0\7\0\0\0\3" + PathWatchRequest("/", False).encode())
    for requests, served in ((count * 5, 1), (look * (REQUESTS_PER_TURN + 1), REQUESTS_PER_TURN)):
        before = ann.connection.stats.sent
        ann.connection.receive(requests)
        assert ann.connection.stats.sent - before == served
        assert ann.connection.congested, "no more is read meanwhile"
        assert len(ann.hear()) == len(requests) // len(count if served == 1 else look)
        assert not ann.connection.congested


def test_reads_behind_a_write_cannot_ask_for_gigabytes_either() -> None:
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, CreateRequest("/big", bytes(1_000_000), OPEN, 0))
    for _ in range(500):
        ann.say(Op.GET_DATA, PathWatchRequest("/big", False))
    member.propose()
    member.replica.peer.persisted(member.replica.peer._taken[0][0])
    member.replica.apply_committed()
    assert ann.connection.outbox_bytes < OUTBOX_BYTES_FATAL + 2_000_000
    assert ann.connection.phase is Phase.CLOSING


def test_what_was_not_heard_before_the_goodbye_takes_no_more_turns() -> None:
    member = Member()
    ann = member.talker()
    count = pack_frame(b"\0\0\0\7\0\0\0\x68" + PathRequest("/").encode())
    ann.say(Op.CREATE, create("/a"))
    ann.connection.receive(count * 3)
    assert ann.connection.stalled
    member.replica.lobby.say_goodbye()
    ann.connection.resume()
    assert not member.replica.stalled
    member.propose()
    member.persist()
    *answers, (goodbye, _) = ann.hear()
    assert [header.xid for header, _ in answers] == [1, 7]
    assert (goodbye.xid, goodbye.err) == (Xid.PING, GOODBYE_ERROR)


def test_what_is_asked_of_a_leader_that_finds_no_heir_comes_before_what_is_asked_later() -> None:
    member = Member()
    ann, peer = member.talker(), member.replica.peer
    member.replica.exchange()
    peer.leave()
    first = ann.say(Op.CREATE, create("/a"))
    member.replica.exchange()
    assert ann.hear() == []
    while not peer.leading:
        peer.tick()
    second = ann.say(Op.CREATE, create("/b"))
    member.settle()
    heard = [(header.xid, PathReply.from_bytes(body).path) for header, body in ann.hear()]
    assert heard == [(first, "/a"), (second, "/b")]


def test_too_many_connections_from_one_host() -> None:
    member = Member(max_client_cnxns=2)
    assert member.replica.lobby.admit("10.0.0.1", 1)
    assert member.replica.lobby.admit("10.0.0.1", 2)
    assert member.replica.lobby.admit("10.0.0.1", 3) is None
    assert member.replica.lobby.admit("10.0.0.2", 1), "another host is not affected"


def test_a_connection_that_never_opens_a_session_is_closed() -> None:
    member = Member()
    silent = Talker(member)
    member.beats(299)
    assert not silent.wire.is_closed
    member.beats(1)
    assert silent.wire.is_closed


def test_a_resumed_session_takes_over_and_the_older_connection_is_closed() -> None:
    member = Member()
    ann = Talker(member)
    ann.greet()
    member.settle()
    session = ann.greeted()
    again = Talker(member)
    again.greet(session.session_id, session.password or b"")
    assert again.greeted().session_id == session.session_id
    assert ann.wire.is_closed
    again.say(Op.PING, xid=Xid.PING)
    assert len(again.hear()) == 1


def test_requests_sent_along_with_the_greeting_are_served_once_the_session_is_open() -> None:
    member = Member()
    ann = Talker(member)
    ann.greet()
    ann.say(Op.CREATE, create("/a"))
    ann.say(Op.SYNC, PathRequest("/a"))
    member.settle()
    assert ann.greeted().session_id
    assert [header.err for header, _ in ann.hear()] == [0, 0]


def test_authentication_counts_for_the_requests_behind_it() -> None:
    member = Member(super_digest="super:" + "x" * 28)
    ann = member.talker()
    ann.say(Op.AUTH, AuthPacket(0, "digest", b"ann:secret"), xid=Xid.AUTH)
    ann.say(Op.WHO_AM_I)
    auth, who = ann.hear()
    assert (auth[0].xid, auth[0].zxid, auth[0].err) == (Xid.AUTH, 0, 0)
    assert {i.scheme for i in WhoAmIReply.from_bytes(who[1]).identities} == {"ip", "digest"}


def test_authentication_does_not_count_for_the_writes_before_it_that_came_in_the_same_bytes() -> None:
    member = Member()
    ann = member.talker()
    mine = CreateRequest("/mine", b"", [ACL(31, Id("auth", ""))], 0).encode()
    frames = [
        pack_frame(RequestHeader(1, Op.CREATE).encode(), mine),
        pack_frame(RequestHeader(Xid.AUTH, Op.AUTH).encode(), AuthPacket(0, "digest", b"ann:pw").encode()),
        pack_frame(RequestHeader(2, Op.CREATE).encode(), mine),
    ]
    ann.connection.receive(b"".join(frames))
    member.settle()
    assert [(header.xid, header.err) for header, _ in ann.hear()] == [
        (1, ErrorCode.INVALID_ACL),
        (Xid.AUTH, 0),
        (2, 0),
    ]


def test_large_requests_that_gather_become_several_records() -> None:
    """One record of all of them would be more than the log takes, and would end the server."""
    member = Member()
    ann = member.talker()
    ann.say(Op.CREATE, create("/a"))
    member.settle()
    before = len(member.log)
    for _ in range(70):
        ann.say(Op.SET_DATA, SetDataRequest("/a", bytes(1_000_000), -1))
    member.settle()
    assert all(len(record) <= BATCH_BYTES_MAX + 1000 for record in member.log[before:])
    assert [header.err for header, _ in ann.hear()] == [0] * 71


def test_a_segment_ends_by_its_entries_or_by_its_size() -> None:
    """A start reads the log beyond the snapshot into memory, so many entries of 1 MB are too many."""
    member = Member(snap_count=1000, snap_size_limit_kb=100)
    ann = member.talker()
    assert not member.replica.segment_ends.due()
    for _ in range(100):
        ann.say(Op.SET_DATA, SetDataRequest("/", bytes(1024), -1))
    member.settle()
    assert member.replica.segment_ends.due()
    assert not member.replica.segment_ends.due(), "the next segment begins at nothing"
    for _ in range(1000):
        ann.say(Op.SET_DATA, SetDataRequest("/", b"", -1))
    member.settle()
    assert member.replica.segment_ends.due()
    again = Member(log=member.log, snap_count=1000, snap_size_limit_kb=100)
    assert again.replica.segment_ends.due(), "what a start finds in the log counts too"


def test_however_much_is_forwarded_at_once_its_leader_takes_each_message() -> None:
    voter = Voter()
    link = voter.follow(3, 1, [FOUNDING])
    clients = [voter.talker() for _ in range(5)]
    voter.said(link)
    for client in clients:
        for _ in range(15):
            client.say(Op.SET_DATA, SetDataRequest("/a", bytes(1_000_000), -1))
    voter.settle()
    reader, heard = MessageReader(FROM_FOLLOWERS), 0
    for message in voter.said(link):
        for frame in frames_of(message):
            for payload in reader.receive(b"".join(frame)):
                assert isinstance(payload, Payload)
                forward = decode(payload.data)
                assert isinstance(forward, Forward)
                heard += len(forward.requests)
    assert heard == 75


def test_a_segment_whose_end_was_forgotten_does_not_hold_up_later_snapshots() -> None:
    """A snapshot is due when the last entry of a segment is applied; here another one took its place."""
    voter = Voter(snap_count=3)
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    voter.hear(link, Append(batch(1, 3, (0, 0, Op.ERROR, b""))))
    voter.lose(link)
    link = voter.follow(2, epoch=2, history=[Truncate(FOUNDING.last_zxid)])
    assert not voter.replica.segment_ends.digests
    more = batch(2, 1, *[(0, 0, Op.ERROR, b"")] * 3)
    voter.hear(link, Append(more), Commit(more.last_zxid))
    assert [zxid for zxid, _ in voter.replica.segment_ends.digests] == [more.last_zxid]


def test_one_request_larger_than_a_batch_travels_alone() -> None:
    member = Member(jute_maxbuffer=3 * BATCH_BYTES_MAX)
    ann = member.talker()
    before = len(member.log)
    ann.say(Op.CREATE, create("/a"))
    ann.say(Op.SET_DATA, SetDataRequest("/a", bytes(2 * BATCH_BYTES_MAX), -1))
    ann.say(Op.CREATE, create("/b"))
    member.settle()
    assert [header.err for header, _ in ann.hear()] == [0, 0, 0]
    assert len(member.log) - before == 3


def test_who_authenticates_without_end_is_closed() -> None:
    """The identities are logged with every batch: they must stay small beside a record."""
    member = Member()
    ann = member.talker()
    for number in range(100):
        ann.say(Op.AUTH, AuthPacket(0, "digest", f"{number:03}{'u' * 900}:pw".encode()), xid=Xid.AUTH)
    ann.say(Op.CREATE, create("/a"))
    member.settle()
    errors = [header.err for header, _ in ann.hear()]
    assert errors[:17] == [0] * 17
    assert errors[-1] == ErrorCode.AUTH_FAILED
    assert ann.wire.is_closed
    assert "/a" not in member.replica.machine.tree.nodes


def test_used_up_zxids_begin_a_new_epoch_and_every_request_is_answered() -> None:
    """ZOOKEEPER-1277, from the client's side."""
    member = Member()
    ann = member.talker()
    peer = member.replica.peer
    assert isinstance(peer.role, Leading)
    peer.role._last_zxid = peer.history.logged = peer.history.durable = 1 << 32 | (COUNTER_MAX - 10)
    ann.say(Op.CREATE, create("/a"))
    member.settle()
    [(header, _)] = ann.hear()
    assert header.err == 0
    assert header.zxid >> 32 == 2


def test_session_ids_are_unique_by_member_epoch_and_counter() -> None:
    ids = {
        new_session_id(member, epoch << 32 | counter)
        for member in (1, 2, 200, 254)
        for epoch in (1, 2, 77)
        for counter in (1, 2, 0xFFFFFFFF)
    }
    assert len(ids) == 36
    assert all(-(1 << 63) <= session_id < 1 << 63 for session_id in ids)
    assert 0 not in ids


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans(), st.booleans())
def test_garbage_never_raises_and_hurts_nobody_else(
    garbage: list[bytes], framed: bool, session: bool
) -> None:
    member = Member()
    bob = member.talker()
    ann = member.talker() if session else Talker(member)
    for data in garbage:
        if ann.connection.phase in (Phase.CLOSED, Phase.CLOSING):
            break
        ann.connection.receive(pack_frame(data) if framed else data)
        member.settle()
    bob.say(Op.CREATE, create("/bob"))
    member.settle()
    assert [header.err for header, _ in bob.hear()][-1] in (0, ErrorCode.NODE_EXISTS)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_portions_of_bytes_give_the_same_replies(data: st.DataObject) -> None:
    requests = [(Op.CREATE, create("/a")), (Op.SET_DATA, SetDataRequest("/a", b"x", 0)), (Op.PING, None)]
    whole = Member().talker()
    for op, request in requests:
        whole.say(op, request)
    whole.member.settle()
    stream = b"".join(
        pack_frame((i + 1).to_bytes(4, "big") + int(op).to_bytes(4, "big") + (r.encode() if r else b""))
        for i, (op, r) in enumerate(requests)
    )
    pieces = Member().talker()
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        pieces.connection.receive(stream[:cut])
        stream = stream[cut:]
    pieces.member.settle()
    assert pieces.hear() == whole.hear()


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n"])
def test_http_is_told_what_this_port_is(words: bytes) -> None:
    ann = Talker(Member())
    ann.connection.receive(words)
    assert "HTTP" in ann.connection.close_reason


def test_ttl_znodes_need_extended_types_even_inside_a_multi_and_after_a_restart() -> None:
    """Whether they are enabled is part of the log, so that a replay decides as the first time did."""
    ttl = CreateTTLRequest("/ttl", b"", OPEN, CreateMode.PERSISTENT_WITH_TTL, 1000)
    multi = encode_multi([(Op.CREATE, create("/a")), (Op.CREATE_TTL, ttl)])
    member = Member(extended_types_enabled=False)
    ann = member.talker()
    ann.say(Op.CREATE_TTL, ttl)
    ann.connection.receive(pack_frame(b"\0\0\0\2\0\0\0\x0e" + multi))
    member.settle()
    alone, together = ann.hear()
    assert alone[0].err == ErrorCode.UNIMPLEMENTED
    assert [err for _, err, _ in decode_multi_reply(together[1])] == [0, ErrorCode.UNIMPLEMENTED]
    assert "/a" not in member.replica.machine.tree.nodes
    later = Member(log=member.log, extended_types_enabled=True)
    assert "/ttl" not in later.replica.machine.tree.nodes
    bob = later.talker()
    bob.say(Op.CREATE_TTL, ttl)
    later.settle()
    assert bob.hear()[0][0].err == 0


def test_a_segment_that_ends_where_a_snapshot_takes_its_place_holds_up_no_later_one() -> None:
    def batch_at(zxid: int) -> Batch:
        return Batch(zxid, 0, [(0, 0, int(Op.ERROR), (), pack_int(0))])

    first = 1 << 32 | 1
    peer = Peer(2, Majority({1, 2, 3}), last_zxid=first, epochs=Epochs(1, 1), ends=[0, first])
    replica = Replica(Config(snap_count=1), peer, Machine(), [batch_at(first)], secret=b"s" * 32)
    link = Link(1, 1)
    peer.become(Following(peer, 1))
    peer.linked(link)
    leaders = Machine()
    leaders.zxid = first + 5

    def receive(*messages: LinkMessage) -> None:
        for message in messages:
            peer.receive(link, message)
        while (work := replica.take_work()) is not None:
            replica.segment_ends.due()
            peer.persisted(work.ticket)
        replica.apply_committed()

    receive(NewEpoch(2), Install(leaders.zxid, tuple(leaders.snapshot())))
    receive(NewLeader(2, leaders.zxid), Commit(leaders.zxid))
    later = 2 << 32 | 1
    for zxid in (later, later + 1):
        receive(Append(Proposal(zxid, zxid, batch_at(zxid).encode())), Commit(zxid))
    assert [zxid for zxid, _ in replica.segment_ends.digests] == [later, later + 1]
