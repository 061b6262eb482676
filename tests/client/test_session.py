"""The session core, byte by byte, without a server: what it says, and what it makes of what it hears."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import pytest

from coord import limits
from coord.client.calls import Call, Ended, Fired, Opened, SessionHandle, SessionState
from coord.client.session import Session
from coord.client.watches import Kind, WatchEvent
from coord.errors import (
    AuthFailed,
    ConnectionLost,
    CoordError,
    ErrorCode,
    ProtocolError,
    RequestTooLarge,
    SessionExpired,
)
from coord.wire.frames import FrameBuffer, FrameTooLarge, pack_frame
from coord.wire.records import (
    GOODBYE_ERROR,
    AuthPacket,
    ConnectReply,
    ConnectRequest,
    EventType,
    Op,
    SetWatches2Request,
    SetWatchesRequest,
    WatcherEvent,
    Xid,
    pack_reply_header,
)

PASSWORD = b"secret-sixteen-b"


@dataclass(eq=False)
class Ear:
    """A watcher that notes down what it is told."""

    events: list[WatchEvent] = field(default_factory=list)

    def fired(self, event: WatchEvent) -> None:
        self.events.append(event)

    def session_ended(self) -> None: ...

    def resynced(self) -> None: ...


def hello(session_id: int = 7, timeout_ms: int = 12_000, read_only: bool = False) -> bytes:
    return pack_frame(ConnectReply(0, timeout_ms, session_id, PASSWORD, read_only).encode())


def reply(xid: int, zxid: int = 1, err: int = 0, body: bytes = b"") -> bytes:
    return pack_frame(pack_reply_header(xid, zxid, err), body)


def notification(kind: EventType, path: str) -> bytes:
    return reply(Xid.NOTIFICATION, -1, 0, WatcherEvent(kind, 3, path).encode())


def sent(session: Session, now: float = 0.0) -> list[tuple[int, int, bytes]]:
    """(xid, op, body) of everything the session wants to send now."""
    buffer = FrameBuffer(limits.RECORD_BYTES_MAX)
    while session.has_outgoing:
        buffer.receive(session.outgoing(now))
    return [(*struct.unpack_from(">ii", frame), frame[8:]) for frame in buffer.frames()]


def opened(now: float = 0.0, **arguments: Any) -> Session:
    """A connected session of 12 s; it pings after 4, gives up after 2 more, and keeps a margin of 2."""
    session = Session(12, **arguments)
    session.attach(now)
    session.outgoing(now)
    session.receive(hello(), now)
    return session


def reopen(session: Session, now: float = 0.0) -> None:
    session.attach(now)
    session.outgoing(now)
    session.receive(hello(session.id or 8), now)


def get(path: str = "/a", watcher: Ear | None = None, op: int = Op.GET_DATA) -> Call:
    watch = (Kind.DATA, path, watcher) if watcher else None
    return Call(op, path.encode(), path=path, operation="get", repeatable=True, watch=watch)


def write(path: str = "/a", body: bytes = b"") -> Call:
    return Call(Op.SET_DATA, body, path=path, operation="set")


# -- the handshake --------------------------------------------------------------------------------------


def test_says_hello_and_learns_the_session() -> None:
    session = Session(12)
    session.attach(100.0)
    frame = session.outgoing(100.0)
    assert frame[:4] == struct.pack(">i", 45)
    assert ConnectRequest.from_bytes(frame[4:]) == ConnectRequest(0, 0, 12_000, 0, bytes(16), False)
    assert not session.connected
    session.receive(hello(timeout_ms=6_000), 101.0)
    assert (session.id, session.password, session.lease.timeout) == (7, PASSWORD, 6.0)
    assert (session.state, session.generation) == (SessionState.CONNECTED, 1)
    assert session.take_outcomes() == [Opened(True, set())]


def test_the_handshake_may_come_byte_by_byte_and_without_the_read_only_byte() -> None:
    session = Session(12)
    session.attach(0)
    session.outgoing(0)
    old = hello()[:-1]
    for byte in struct.pack(">i", 36) + old[4:]:
        assert not session.connected
        session.receive(bytes([byte]), 0)
    assert session.connected


def test_a_read_only_server_is_told_apart() -> None:
    session = Session(12, read_only=True)
    session.attach(0)
    assert session.outgoing(0).endswith(b"\x01")
    session.receive(hello(read_only=True), 0)
    assert session.state is SessionState.CONNECTED_READ_ONLY


def test_resumes_with_the_id_the_password_and_the_newest_zxid() -> None:
    session = opened()
    session.submit(get())
    sent(session)
    session.receive(reply(1, zxid=55), 0)
    session.detach()
    assert session.state is SessionState.SUSPENDED
    session.attach(1)
    request = ConnectRequest.from_bytes(session.outgoing(1)[4:])
    assert (request.session_id, request.password, request.last_zxid_seen) == (7, PASSWORD, 55)
    session.receive(hello(), 1)
    assert session.generation == 1
    assert session.take_outcomes()[-1] == Opened(False, set())


def test_a_handle_is_resumed_as_the_first_session() -> None:
    session = Session(12, handle=SessionHandle(7, PASSWORD))
    session.attach(0)
    assert ConnectRequest.from_bytes(session.outgoing(0)[4:]).session_id == 7
    session.receive(hello(), 0)
    assert session.generation == 1


@pytest.mark.parametrize("answer", [hello(0, 0), hello(9)], ids=["refused", "another session"])
def test_pitfall_22_a_session_the_server_does_not_resume_has_expired(answer: bytes) -> None:
    session = opened()
    waiting = get()
    session.detach()
    session.submit(waiting)
    session.attach(1)
    session.outgoing(1)
    with pytest.raises(SessionExpired):
        session.receive(answer, 1)
    assert (session.state, session.id, session.lease.valid_until) == (SessionState.EXPIRED, 0, float("-inf"))
    assert isinstance(waiting.error, SessionExpired)
    session.detach()
    assert session.state is SessionState.EXPIRED
    reopen(session)
    assert (session.state, session.generation, session.id) == (SessionState.CONNECTED, 2, 8)


def test_a_new_session_refused_is_no_expiry() -> None:
    session = Session(12)
    session.attach(0)
    session.outgoing(0)
    with pytest.raises(ProtocolError):
        session.receive(hello(0, 0), 0)
    assert session.generation == 0
    assert session.take_outcomes() == []


# -- requests and replies -------------------------------------------------------------------------------


def test_requests_leave_in_order_and_replies_find_them() -> None:
    session = opened()
    calls = [get("/a"), write("/b"), get("/c")]
    for call in calls:
        session.submit(call)
    session.take_outcomes()
    assert [(xid, body) for xid, _, body in sent(session)] == [(1, b"/a"), (2, b""), (3, b"/c")]
    replies = reply(1, body=b"x") + reply(2, err=ErrorCode.BAD_VERSION) + reply(3)
    for byte in replies:
        session.receive(bytes([byte]), 0)
    assert session.take_outcomes() == calls
    assert [call.error for call in calls] == [None, ErrorCode.BAD_VERSION, None]
    assert calls[0].reply[16:] == b"x"


@pytest.mark.parametrize("xid", [2, 5, 0, -3, Xid.SET_WATCHES], ids=str)
def test_a_reply_out_of_order_ends_the_connection(xid: int) -> None:
    session = opened()
    for _ in range(2):
        session.submit(get())
    sent(session)
    with pytest.raises(ProtocolError, match="out of order"):
        session.receive(reply(xid), 0)


@pytest.mark.parametrize(
    "rubbish",
    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", pack_frame(b"\x00\x00"), reply(-1, body=b"\x01")],
    ids=["negative", "huge", "no header", "half an event"],
)
def test_rubbish_raises_one_class_of_errors_only(rubbish: bytes) -> None:
    with pytest.raises(CoordError):
        opened().receive(rubbish, 0)


def test_a_lost_reply_fails_the_write_and_repeats_the_read() -> None:
    session = opened()
    calls = [get("/first"), write("/second"), get("/third")]
    for call in calls:
        session.submit(call)
    sent(session)
    late = get("/late")
    session.submit(late)
    session.receive(reply(1), 0)
    session.detach()
    error = calls[1].error
    assert isinstance(error, ConnectionLost)
    assert (error.path, error.operation) == ("/second", "set")
    reopen(session)
    assert [(xid, body) for xid, _, body in sent(session)] == [(4, b"/third"), (5, b"/late")]


GOODBYE = reply(Xid.PING, 5, GOODBYE_ERROR)


def test_what_a_server_leaves_unanswered_when_it_says_goodbye_is_asked_of_the_next() -> None:
    session = opened()
    calls = [write(body=b"/first"), write(body=b"/second"), get("/third"), write(body=bytes(2_000_000))]
    given_up = write(body=b"/given up")
    for call in [*calls, given_up]:
        session.submit(call)
    while session.has_outgoing:
        session.outgoing(0)
    session.submit(write(body=b"/fourth"))
    session.abandon(given_up)
    with pytest.raises(ConnectionLost, match="about to end"):
        session.receive(reply(1) + GOODBYE, 3)
    assert calls[0].finished
    session.detach()
    assert not any(call.finished for call in calls[1:])
    assert given_up.finished
    reopen(session)
    paths = [body for _, _, body in sent(session)]
    assert [path[:20] for path in paths] == [b"/second", b"/third", bytes(20), b"/fourth"]


def test_a_goodbye_is_worth_nothing_on_the_next_connection() -> None:
    session = opened()
    with pytest.raises(ConnectionLost):
        session.receive(GOODBYE, 0)
    session.detach()
    assert session.moving
    reopen(session)
    assert not session.moving
    call = write()
    session.submit(call)
    sent(session)
    session.detach()
    assert isinstance(call.error, ConnectionLost)


def test_a_goodbye_does_not_prolong_the_session() -> None:
    session = opened()
    session.tick(4)
    assert len(sent(session, 4)) == 1
    with pytest.raises(ConnectionLost):
        session.receive(GOODBYE, 4)
    assert session.lease.acknowledged_at == 0


def test_a_write_not_sent_yet_survives_the_connection() -> None:
    session = opened()
    call = write()
    session.submit(call)
    session.detach()
    assert not call.finished
    reopen(session)
    assert len(sent(session)) == 1


def test_what_is_submitted_without_a_connection_waits_for_one() -> None:
    session = Session(12)
    session.submit(get())
    assert not session.has_outgoing
    session.attach(0)
    assert len(session.outgoing(0)) == 4 + 45, "nothing but the handshake"
    session.receive(hello(), 0)
    assert len(sent(session)) == 1


def test_an_abandoned_call_is_not_sent_or_its_reply_is_dropped() -> None:
    session = opened()
    unsent, flying, after = get("/unsent"), get("/flying"), get("/after")
    session.submit(flying)
    sent(session)
    session.submit(unsent)
    session.submit(after)
    session.abandon(unsent)
    session.abandon(flying)
    session.take_outcomes()
    assert [body for _, _, body in sent(session)] == [b"/after"]
    session.receive(reply(1) + reply(2), 0)
    assert session.take_outcomes() == [after]


def test_an_abandoned_read_is_not_repeated() -> None:
    session = opened()
    call = get()
    session.submit(call)
    sent(session)
    session.abandon(call)
    session.detach()
    reopen(session)
    assert sent(session) == []


def test_a_reply_may_say_that_the_session_has_expired() -> None:
    session = opened()
    ear = Ear()
    session.watches.add(Kind.DATA, "/w", ear)
    calls = [get(), write()]
    for call in calls:
        session.submit(call)
    sent(session)
    with pytest.raises(SessionExpired):
        session.receive(reply(1, err=ErrorCode.SESSION_EXPIRED), 0)
    assert all(isinstance(call.error, SessionExpired) for call in calls)
    assert session.take_outcomes()[-1] == Ended({ear})
    assert not session.has_outgoing


def test_a_request_too_large_is_named_when_the_connection_breaks() -> None:
    session = opened()
    large, small = write(body=bytes(2_000_000)), write()
    session.submit(large)
    session.submit(small)
    while session.has_outgoing:
        session.outgoing(0)
    session.detach()
    assert isinstance(large.error, RequestTooLarge)
    assert large.error.size == 2_000_008
    assert type(small.error) is ConnectionLost


def test_a_large_read_is_not_repeated_for_ever() -> None:
    session = opened()
    call = Call(Op.MULTI_READ, bytes(2_000_000), repeatable=True)
    session.submit(call)
    sent(session)
    session.detach()
    assert isinstance(call.error, RequestTooLarge)


def test_a_reply_too_large_fails_the_call_that_asked_for_it() -> None:
    session = opened()
    call = get()
    session.submit(call)
    sent(session)
    with pytest.raises(FrameTooLarge):
        session.receive(struct.pack(">i", limits.REPLY_FRAME_BYTES_MAX + 1), 0)
    assert isinstance(call.error, FrameTooLarge)


def test_one_send_holds_many_requests_but_not_without_bound() -> None:
    session = opened()
    for _ in range(10):
        session.submit(write(body=bytes(100_000)))
    first = session.outgoing(0)
    assert 256 * 1024 <= len(first) <= 256 * 1024 + 100_020
    assert session.has_outgoing


def test_xids_wrap_around_to_one() -> None:
    session = opened()
    session._xid = 0x7FFFFFFE
    for _ in range(2):
        session.submit(get())
    assert [xid for xid, _, _ in sent(session)] == [0x7FFFFFFF, 1]


# -- credentials ----------------------------------------------------------------------------------------


def test_after_connecting_credentials_come_first_then_watches_then_requests() -> None:
    session = opened()
    session.add_auth("digest", b"me:pw", None)
    sent(session)
    session.receive(reply(Xid.AUTH, 0), 0)
    session.watches.add(Kind.CHILDREN, "/w", Ear())
    session.submit(get("/read"))
    sent(session)
    session.detach()
    session.submit(write("/new"))
    reopen(session)
    frames = sent(session)
    assert [(xid, op) for xid, op, _ in frames] == [
        (Xid.AUTH, Op.AUTH),
        (Xid.SET_WATCHES, Op.SET_WATCHES),
        (2, Op.GET_DATA),
        (3, Op.SET_DATA),
    ]
    assert AuthPacket.from_bytes(frames[0][2]) == AuthPacket(0, "digest", b"me:pw")


def test_who_adds_credentials_learns_that_they_were_taken() -> None:
    session = opened()
    call = Call(Op.AUTH, b"")
    session.add_auth("digest", b"me:pw", call)
    session.take_outcomes()
    sent(session)
    session.receive(reply(Xid.AUTH, 0), 0)
    assert session.take_outcomes() == [call]
    assert call.error is None


def test_credentials_survive_a_connection_that_breaks_before_the_answer() -> None:
    session = opened()
    call = Call(Op.AUTH, b"")
    session.add_auth("digest", b"me:pw", call)
    sent(session)
    session.detach()
    assert not call.finished
    reopen(session)
    assert [op for _, op, _ in sent(session)] == [Op.AUTH]
    session.receive(reply(Xid.AUTH, 0), 0)
    assert call.finished


def test_refused_credentials_fail_everything_for_good() -> None:
    session = opened()
    adding, reading = Call(Op.AUTH, b""), get()
    session.add_auth("nonsense", b"", adding)
    session.submit(reading)
    sent(session)
    with pytest.raises(AuthFailed):
        session.receive(reply(Xid.AUTH, 0, ErrorCode.AUTH_FAILED), 0)
    assert isinstance(adding.error, AuthFailed)
    assert isinstance(reading.error, AuthFailed)
    session.detach()
    assert session.state is SessionState.AUTH_FAILED
    later = get()
    session.submit(later)
    assert isinstance(later.error, AuthFailed)


def test_an_answer_to_credentials_never_sent_ends_the_connection() -> None:
    with pytest.raises(ProtocolError):
        opened().receive(reply(Xid.AUTH, 0), 0)


# -- watches --------------------------------------------------------------------------------------------


def test_the_reply_arms_the_watch_and_the_event_uses_it_up() -> None:
    session, ear = opened(), Ear()
    session.submit(get("/a", ear))
    sent(session)
    session.receive(notification(EventType.DATA_CHANGED, "/a"), 0)
    assert session.take_outcomes() == [Opened(True, set())], "not armed yet: not ours"
    session.receive(reply(1) + notification(EventType.DATA_CHANGED, "/a"), 0)
    assert session.take_outcomes()[-1] == Fired(WatchEvent(EventType.DATA_CHANGED, "/a", -1), {ear})
    session.receive(notification(EventType.DATA_CHANGED, "/a"), 0)
    assert session.take_outcomes() == []


@pytest.mark.parametrize(
    ("op", "err", "armed"),
    [
        (Op.GET_DATA, 0, [Kind.DATA]),
        (Op.GET_DATA, ErrorCode.NO_NODE, []),
        (Op.EXISTS, 0, [Kind.DATA]),
        (Op.EXISTS, ErrorCode.NO_NODE, [Kind.EXISTS]),
        (Op.EXISTS, ErrorCode.NO_AUTH, []),
    ],
)
def test_what_arms_a_watch(op: Op, err: int, armed: list[Kind]) -> None:
    session = opened()
    session.submit(get("/a", Ear(), op))
    sent(session)
    session.receive(reply(1, err=err), 0)
    assert session.watches.kinds("/a") == armed


def test_an_abandoned_read_arms_nothing() -> None:
    session = opened()
    call = get("/a", Ear())
    session.submit(call)
    sent(session)
    session.abandon(call)
    session.receive(reply(1), 0)
    assert session.watches.kinds("/a") == []


def test_watches_are_armed_again_relative_to_what_was_seen() -> None:
    session, ear = opened(), Ear()
    session.watches.add(Kind.DATA, "/d", ear)
    session.watches.add(Kind.EXISTS, "/e", ear)
    session.watches.add(Kind.CHILDREN, "/c", ear)
    session.submit(get())
    sent(session)
    session.receive(reply(1, zxid=99), 0)
    session.detach()
    reopen(session)
    ((xid, op, body),) = sent(session)
    assert (xid, op) == (Xid.SET_WATCHES, Op.SET_WATCHES)
    assert SetWatchesRequest.from_bytes(body) == SetWatchesRequest(99, ["/d"], ["/e"], ["/c"])
    session.receive(notification(EventType.DELETED, "/d") + reply(Xid.SET_WATCHES), 0)
    assert Fired(WatchEvent(EventType.DELETED, "/d", -1), {ear}) in session.take_outcomes()


def test_persistent_watches_outlive_the_session_and_others_do_not() -> None:
    session, one_shot, lasting = opened(), Ear(), Ear()
    session.watches.add(Kind.DATA, "/d", one_shot)
    session.watches.add(Kind.PERSISTENT, "/p", lasting)
    session.watches.add(Kind.RECURSIVE, "/r", lasting)
    session.detach()
    session.attach(0)
    session.outgoing(0)
    with pytest.raises(SessionExpired):
        session.receive(hello(0, 0), 0)
    assert Ended({one_shot}) in session.take_outcomes()
    session.detach()
    reopen(session)
    ((_, op, body),) = sent(session)
    assert op == Op.SET_WATCHES2
    assert SetWatches2Request.from_bytes(body) == SetWatches2Request(0, [], [], [], ["/p"], ["/r"])
    assert session.take_outcomes() == [Opened(True, {lasting})]


def test_many_watches_are_armed_in_requests_a_server_takes() -> None:
    session = opened()
    paths = [f"/{i:05}{'x' * 200}" for i in range(3000)]
    for path in paths:
        session.watches.add(Kind.DATA, path, Ear())
    session.detach()
    reopen(session)
    requests = [SetWatchesRequest.from_bytes(body) for _, _, body in sent(session)]
    assert len(requests) > 4
    assert all(sum(map(len, r.data)) <= limits.SET_WATCHES_CHUNK_BYTES for r in requests)
    assert [path for r in requests for path in r.data] == paths


def test_the_last_who_forgets_a_watch_disarms_it() -> None:
    session, one, other = opened(), Ear(), Ear()
    session.watches.add(Kind.DATA, "/a", one)
    session.watches.add(Kind.DATA, "/a", other)
    session.forget(one)
    assert sent(session) == []
    session.forget(other)
    assert [op for _, op, _ in sent(session)] == [Op.REMOVE_WATCHES]


def test_no_watch_is_disarmed_that_a_read_is_about_to_arm() -> None:
    session, one = opened(), Ear()
    session.watches.add(Kind.DATA, "/a", one)
    session.submit(get("/a", Ear()))
    sent(session)
    session.forget(one)
    assert sent(session) == []


def test_a_one_shot_watch_is_not_disarmed_under_a_persistent_one() -> None:
    session, one = opened(), Ear()
    session.watches.add(Kind.DATA, "/a", one)
    session.watches.add(Kind.PERSISTENT, "/a", Ear())
    session.forget(one)
    assert sent(session) == []


# -- time -----------------------------------------------------------------------------------------------


def test_pings_when_the_newest_acknowledgement_is_a_third_of_the_timeout_old() -> None:
    session = opened(100.0)
    assert session.next_tick == pytest.approx(104.0)
    session.tick(103.9)
    assert not session.has_outgoing
    session.tick(104.0)
    assert sent(session, 104.0) == [(Xid.PING, Op.PING, b"")]
    session.receive(reply(Xid.PING, 0), 104.5)
    assert session.next_tick == pytest.approx(108.0), "it counts from the ping's sending"


def test_a_pinged_server_that_stays_silent_is_given_up() -> None:
    session = opened(100.0)
    session.tick(104.0)
    assert session.next_tick == pytest.approx(106.0)
    session.tick(105.9)
    with pytest.raises(ConnectionLost, match="silent"):
        session.tick(106.0)


def test_bytes_of_any_kind_show_that_the_server_lives() -> None:
    session = opened(100.0)
    session.tick(104.0)
    session.receive(b"\x00", 105.0)
    session.tick(106.5)
    with pytest.raises(ConnectionLost):
        session.tick(107.0)


def test_traffic_makes_pings_needless() -> None:
    session = opened(100.0)
    session.submit(get())
    sent(session, 103.0)
    session.receive(reply(1), 103.5)
    assert session.next_tick == pytest.approx(107.0)


def test_requests_without_replies_do_not_put_the_ping_off() -> None:
    session = opened(100.0)
    session.submit(write())
    sent(session, 103.0)
    session.tick(104.0)
    assert [op for _, op, _ in sent(session, 104.0)] == [Op.PING]


def test_validity_counts_from_the_sending_of_what_was_acknowledged() -> None:
    session = Session(12)
    session.attach(100.0)
    session.outgoing(100.0)
    assert session.lease.valid_until == float("-inf")
    session.receive(hello(), 101.0)
    assert session.lease.valid_until == pytest.approx(110.0)
    session.submit(get())
    session.submit(get())
    sent(session, 105.0)
    assert session.lease.valid_until == pytest.approx(110.0), "sent is not acknowledged"
    session.receive(reply(1), 107.0)
    assert session.lease.valid_until == pytest.approx(115.0)
    session.detach()
    assert session.lease.valid_until == pytest.approx(115.0), "a lost connection ends no session"


def test_an_event_acknowledges_nothing() -> None:
    session = opened(100.0)
    session.receive(notification(EventType.CREATED, "/x"), 108.0)
    assert session.lease.valid_until == pytest.approx(110.0)


def test_without_a_connection_there_is_nothing_to_wait_for() -> None:
    session = opened()
    session.detach()
    assert session.next_tick == float("inf")
    session.tick(1e9)


def test_only_replies_move_the_zxid_and_only_forwards() -> None:
    session = opened()
    for _ in range(3):
        session.submit(get())
    sent(session)
    session.receive(reply(1, zxid=9) + reply(2, zxid=4) + reply(3, zxid=-1), 0)
    session.receive(reply(Xid.NOTIFICATION, 50, 0, WatcherEvent(3, 3, "/x").encode()), 0)
    assert session.last_zxid == 9
