"""One session, from the client's side, without any I/O: bytes in, bytes out, and what it means.

Owns the conversation with whichever server the session is connected to: the handshake, xids, the order of
requests and replies, pings, what is known of the session's life, and what must be said again on the next
connection. Must not know: sockets, clocks, tasks, chroots. Time is the argument `now`, in seconds.

The caller (`link`) feeds it and carries out what comes of it::

    session.attach(now)  # a connection is open
    stream.send(session.outgoing(now))  # whenever has_outgoing is true
    session.receive(data, now)  # raises CoordError: this connection is over
    session.tick(now)  # at next_tick at the latest; raises likewise
    session.detach()  # the connection is over, for whatever reason
    session.take_outcomes()  # after each of them: finished calls, fired watches, ...

Rules that hold:

- Requests leave in the order they were submitted and are answered in the order they left; a reply out of
  order ends the connection.
- On a new connection the order is: credentials, watches, reads that were not answered, new requests.
- A write that was sent and not answered fails with `ConnectionLost`; a read is sent again. But if the server
  has said goodbye, it has taken nothing that it did not answer: all of that is asked of the next one.
- A server without a quorum opens a read-only session, which is of that connection only: it is forgotten with
  it, and the next connection opens another session. A real session is never given up for one.
- A real session is over only by a server's word: a handshake that refuses it, or answers with another
  session, or a reply that says so. Then every unanswered call fails with `SessionExpired`.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from math import inf
from struct import Struct
from typing import Final

from coord import limits
from coord.client.calls import (
    NO_PASSWORD,
    Call,
    Credential,
    Ended,
    Fired,
    Opened,
    Outcome,
    SessionHandle,
    SessionState,
)
from coord.client.lease import Lease
from coord.client.watches import Kind, Watcher, Watches, WatchEvent
from coord.errors import (
    AuthFailed,
    ConnectionLost,
    CoordError,
    ErrorCode,
    ProtocolError,
    RequestTooLarge,
    SessionExpired,
)
from coord.wire.brief import read_event
from coord.wire.frames import FrameBuffer, FrameTooLarge, pack_frame
from coord.wire.records import (
    GOODBYE_ERROR,
    REPLY_HEADER_BYTES,
    AuthPacket,
    CheckWatchesRequest,
    ConnectReply,
    ConnectRequest,
    EventType,
    Op,
    SetWatches2Request,
    Xid,
    decode_connect_reply,
)

SEND_BYTES: Final = 256 * 1024
XID_MAX: Final = 0x7FFFFFFF

_REQUEST_HEADER = Struct(">ii")
_pack_framed_header = Struct(">iii").pack
"""length of the frame, xid, op"""
_REPLY_HEADER = Struct(">iqi")
_NOTIFICATION: Final = int(Xid.NOTIFICATION)


class _Phase(Enum):
    APART = auto()
    HANDSHAKE = auto()
    OPEN = auto()


class Session:
    """See the module's text. `timeout` is in seconds, as asked for; what was granted is in `lease`."""

    def __init__(
        self, timeout: float, *, read_only: bool = False, handle: SessionHandle | None = None
    ) -> None:
        self.asked_timeout = timeout
        self.lease = Lease(timeout)
        self.read_only = read_only
        self.id, self.password = handle or SessionHandle(0, NO_PASSWORD)
        self.generation = 1 if handle else 0
        self.last_zxid = 0
        self.state = SessionState.SUSPENDED
        self.watches = Watches()
        self._credentials: list[Credential] = []
        self._phase = _Phase.APART
        self._frames = FrameBuffer(limits.REPLY_FRAME_BYTES_MAX)
        self._outbox: list[bytes] = []  # the protocol's own frames; they leave before the queue's
        self._queue: deque[Call] = deque()  # to be sent
        self._pending: deque[Call] = deque()  # sent, in this order
        self._auths: deque[Credential] = deque()  # sent, in this order
        self._outcomes: list[Outcome] = []
        self._xid = 0
        self._attached_at = -inf
        self.moving = False
        """the server has said goodbye, and no other one is found yet"""
        self._is_read_only = False  # the session at hand is one that only this server knows

    # -- what is known ------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._phase is _Phase.OPEN

    @property
    def quiet(self) -> bool:
        """Has the server answered all that it was sent?"""
        return not self._pending

    @property
    def has_outgoing(self) -> bool:
        return bool(self._outbox) or (self._phase is _Phase.OPEN and bool(self._queue))

    @property
    def next_tick(self) -> float:
        """When `tick` has something to do if nothing else happens before; inf without a connection."""
        return self.lease.next_tick if self._phase is _Phase.OPEN else inf

    def take_outcomes(self) -> list[Outcome]:
        """What has happened since the last time, in order."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    # -- the caller's requests ----------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        if self.state is SessionState.AUTH_FAILED:
            self._fail(call, AuthFailed(path=call.path, operation=call.operation))
        else:
            self._queue.append(call)

    def abandon(self, call: Call) -> None:
        """Nobody waits for `call` any more. If it was not sent yet it never will be; if it was, its reply
        is read and dropped."""
        call.abandoned = True
        call.waiter = None
        if call.xid == 0:
            try:
                self._queue.remove(call)
            except ValueError:
                pass  # it is finished

    def add_auth(self, scheme: str, auth: bytes, call: Call | None) -> None:
        """Adds credentials to this and every later connection; `call` learns the server's opinion."""
        credential = Credential(scheme, auth, call)
        self._credentials.append(credential)
        if self._phase is _Phase.OPEN:
            self._send_auth(credential)

    def forget(self, watcher: Watcher) -> None:
        """`watcher` wants to hear of nothing any more; what only it had armed is disarmed at the server."""
        for path, table in self.watches.disarming(watcher):
            if self._phase is _Phase.OPEN and not self._arming(path):
                body = CheckWatchesRequest(path, table).encode()
                call = Call(Op.REMOVE_WATCHES, body, path=path, operation="removeWatches")
                call.abandoned = True
                self._queue.append(call)

    def _arming(self, path: str) -> bool:
        """Is a read on its way that arms a watch there?"""
        calls = (call for queue in (self._pending, self._queue) for call in queue)
        return any(call.watch is not None and call.watch[1] == path for call in calls)

    # -- a connection -------------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A connection is open: says hello."""
        assert self._phase is _Phase.APART
        self._phase = _Phase.HANDSHAKE
        self._attached_at = now
        self._frames = FrameBuffer(limits.REPLY_FRAME_BYTES_MAX)
        timeout_ms = round(self.asked_timeout * 1000)
        hello = ConnectRequest(0, self.last_zxid, timeout_ms, self.id, self.password, self.read_only)
        self._outbox = [pack_frame(hello.encode())]

    def detach(self) -> None:
        """The connection is over: unanswered writes fail, unanswered reads wait for the next one."""
        self._phase = _Phase.APART
        self._outbox.clear()
        self._auths.clear()
        self.lease.pinged_at = None
        if self._is_read_only:
            self._is_read_only = False
            self.id, self.password = 0, NO_PASSWORD
            self.lease.end()
        if self.state in (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY):
            self.state = SessionState.SUSPENDED
        pending, self._pending = self._pending, deque()
        again: list[Call] = []
        for call in pending:
            size = len(call.body) + _REQUEST_HEADER.size
            if size > limits.FRAME_BYTES_MAX and not self.moving:
                self._fail(call, RequestTooLarge(size, path=call.path, operation=call.operation))
            elif not call.repeatable and not self.moving:
                self._fail(call, ConnectionLost(path=call.path, operation=call.operation))
            elif call.abandoned:
                call.finished = True
            else:
                call.xid = 0
                again.append(call)
        self._queue.extendleft(reversed(again))

    def outgoing(self, now: float) -> bytes:
        """The next bytes to send, some `SEND_BYTES` at most; b"" if there is nothing."""
        parts, self._outbox = self._outbox, []
        if self._phase is _Phase.OPEN:
            size = sum(map(len, parts))
            queue, pending, xid = self._queue, self._pending, self._xid
            while queue and size < SEND_BYTES:
                call = queue.popleft()
                call.xid = xid = xid + 1 if xid < XID_MAX else 1
                call.sent_at = now
                pending.append(call)
                length = len(call.body) + _REQUEST_HEADER.size
                parts.append(_pack_framed_header(length, xid, call.op))
                parts.append(call.body)
                size += length
            self._xid = xid
        return b"".join(parts)

    def receive(self, data: bytes, now: float) -> None:
        """Takes bytes off the connection. Raises `CoordError` when it cannot go on; then `detach`."""
        self.lease.received_at = now
        self._frames.receive(data)
        try:
            for frame in self._frames.frames():
                if self._phase is _Phase.OPEN:
                    self._receive_reply(frame)
                else:
                    self._receive_hello(decode_connect_reply(frame), now)
        except FrameTooLarge as error:
            if self._pending:  # replies come in order, so this is whose reply it is; again would not help
                call = self._pending.popleft()
                error.path, error.operation = call.path, call.operation
                self._fail(call, error)
            raise

    def tick(self, now: float) -> None:
        """Pings when an acknowledgement is due; raises `ConnectionLost` when the server stays silent."""
        if now < self.next_tick:
            return
        if self.lease.pinged_at is not None:
            raise ConnectionLost(f"the server was silent for {now - self.lease.received_at:.1f} s")
        self.lease.pinged_at = now
        self._outbox.append(pack_frame(_REQUEST_HEADER.pack(Xid.PING, Op.PING)))

    def close(self) -> None:
        """The client is closed: nothing is answered any more."""
        self.detach()
        self.state = SessionState.CLOSED
        self.lease.end()

    def take_calls(self) -> list[Call]:
        """Every call that nobody has answered, taken out; for the shell that closes or fails them."""
        calls = [*self._pending, *self._queue, *(c.call for c in self._credentials if c.call)]
        self._pending.clear()
        self._queue.clear()
        for credential in self._credentials:
            credential.call = None
        return calls

    # -- sending ------------------------------------------------------------------------------------

    def _send_auth(self, credential: Credential) -> None:
        packet = AuthPacket(0, credential.scheme, credential.auth)
        self._outbox.append(pack_frame(_REQUEST_HEADER.pack(Xid.AUTH, Op.AUTH), packet.encode()))
        self._auths.append(credential)

    def _rearm(self, now: float) -> None:
        for request in self.watches.rearming(self.last_zxid):
            op = Op.SET_WATCHES2 if isinstance(request, SetWatches2Request) else Op.SET_WATCHES
            call = Call(op, request.encode(), operation="setWatches")
            call.abandoned = True
            call.xid = Xid.SET_WATCHES
            call.sent_at = now
            self._pending.append(call)
            self._outbox.append(pack_frame(_REQUEST_HEADER.pack(call.xid, call.op), call.body))

    # -- receiving ----------------------------------------------------------------------------------

    def _receive_hello(self, reply: ConnectReply, now: float) -> None:
        if reply.timeout_ms <= 0:
            if self.id == 0:
                raise ProtocolError("the server refused to open a session")
            self._end()
            raise SessionExpired
        if self.id not in (0, reply.session_id):
            self._end()  # some servers open another session in place of one they do not know
            raise SessionExpired("the server answered with another session than the one asked for")
        new = self.id == 0
        self.generation += new
        self.id, self.password = reply.session_id, reply.password or NO_PASSWORD
        self._is_read_only = new and reply.read_only
        self.lease.timeout = reply.timeout_ms / 1000
        self.lease.guarantees = not reply.read_only
        self.lease.acknowledge(self._attached_at)
        self._phase = _Phase.OPEN
        self.moving = False
        self.state = SessionState.CONNECTED_READ_ONLY if reply.read_only else SessionState.CONNECTED
        for credential in self._credentials:
            self._send_auth(credential)
        self._rearm(now)
        self._outcomes.append(Opened(new, self.watches.lasting()))

    def _receive_reply(self, frame: bytes) -> None:
        if len(frame) < REPLY_HEADER_BYTES:
            raise ProtocolError(f"a reply of {len(frame)} bytes has no header")
        xid, zxid, error = _REPLY_HEADER.unpack_from(frame)
        if xid == _NOTIFICATION:
            self._receive_event(frame, zxid)
            return
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        if xid > 0:  # most of all there are
            self._receive_answer(xid, zxid, error, frame)
        elif xid == Xid.PING and error == GOODBYE_ERROR:
            self.moving = True
            raise ConnectionLost("the server is about to end")
        elif xid == Xid.PING:
            self.lease.pong()
        elif xid == Xid.AUTH:
            self._receive_auth(error)
        else:
            self._receive_answer(xid, zxid, error, frame)

    def _receive_event(self, frame: bytes, zxid: int) -> None:
        number, path = read_event(frame, REPLY_HEADER_BYTES)
        try:
            event = WatchEvent(EventType(number), path, zxid)
        except ValueError:
            return  # a kind of event from the future concerns no watch of ours
        watchers = self.watches.fire(event)
        if watchers:
            self._outcomes.append(Fired(event, watchers))

    def _receive_auth(self, error: int) -> None:
        if not self._auths:
            raise ProtocolError("the server answered credentials that were not sent")
        credential = self._auths.popleft()
        if error:
            self._refuse(f"the server refused the credentials of scheme {credential.scheme!r}")
        call, credential.call = credential.call, None
        if call is not None:
            self._finish(call)

    def _receive_answer(self, xid: int, zxid: int, error: int, frame: bytes) -> None:
        if not self._pending or self._pending[0].xid != xid:
            raise ProtocolError(f"a reply out of order: xid {xid}")
        call = self._pending.popleft()
        if error == ErrorCode.SESSION_EXPIRED:
            self._pending.appendleft(call)
            self._end()
            raise SessionExpired
        self.lease.acknowledge(call.sent_at)
        call.zxid = zxid
        if error:
            call.error = error
        else:
            call.reply = frame
        if call.watch is not None and not call.abandoned:
            self._arm(call, error)
        self._finish(call)

    def _arm(self, call: Call, error: int) -> None:
        assert call.watch is not None
        kind, path, watcher = call.watch
        if error == 0:
            self.watches.add(kind, path, watcher)
        elif error == ErrorCode.NO_NODE and call.op == Op.EXISTS:
            self.watches.add(Kind.EXISTS, path, watcher)

    # -- ends ---------------------------------------------------------------------------------------

    def _finish(self, call: Call) -> None:
        call.finished = True
        if not call.abandoned:
            self._outcomes.append(call)

    def _fail(self, call: Call, error: CoordError) -> None:
        call.error = error
        self._finish(call)

    def _end(self) -> None:
        """The session is over, and so is the connection; the next one opens a new session."""
        self._phase = _Phase.APART
        self.state = SessionState.EXPIRED
        self.id, self.password = 0, NO_PASSWORD
        self.lease.end()
        calls = [*self._pending, *self._queue]
        self._pending.clear()
        self._queue.clear()
        for call in calls:
            self._fail(call, SessionExpired(path=call.path, operation=call.operation))
        self._outcomes.append(Ended(self.watches.end_session()))

    def _refuse(self, why: str) -> None:
        """The credentials are refused: nothing works any more."""
        self._phase = _Phase.APART
        self.state = SessionState.AUTH_FAILED
        self.lease.end()
        for call in self.take_calls():
            self._fail(call, AuthFailed(why, path=call.path, operation=call.operation))
        self._outcomes.append(Ended(self.watches.end_session()))
        raise AuthFailed(why)
