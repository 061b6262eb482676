"""One client's conversation: bytes in, bytes out, and the order between them.

Owns what a connection knows: its session, the identities it has proven, the pipeline of requests that wait
for an answer, and the outbox. Must not know sockets, clocks or tasks; a `Carrier` moves the bytes.

Order follows from the shape:

- the pipeline is a queue whose head is a write that waits for its commit (or anything that waits for a
  leader, while there is none). A read that finds the pipeline empty is answered at once; otherwise it waits
  behind the write. Replies leave only from the head, so a session's requests take effect, and are answered,
  in the order they came;
- a watch event goes to the outbox while the change is applied, so before any reply that shows the change.

What a client may get wrong: an undecodable body is answered with MARSHALLINGERROR and the connection goes
on; an unknown opcode is answered with UNIMPLEMENTED and the connection is closed; a frame that is too large,
or a first frame that is no ConnectRequest, closes it without an answer. (All as ZooKeeper does.)
"""

from __future__ import annotations

import struct
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING

from coord.errors import ErrorCode, ProtocolError
from coord.limits import (
    FRAME_BYTES_MAX,
    IDENTITIES_BYTES_MAX,
    LAST_REPLY_SECONDS,
    OUTBOX_BYTES_FATAL,
    OUTBOX_BYTES_MAX,
    PIPELINE_BYTES_MAX,
    PIPELINE_REQUESTS_MAX,
    REPLY_BYTES_PER_TURN,
    REQUESTS_PER_TURN,
)
from coord.server.carrier import Carrier, Phase
from coord.server.four_letter import recognise
from coord.server.stats import ConnectionStats
from coord.state.acl import digest_id
from coord.state.reads import READS, Refused, set_watches
from coord.wire.ensemble import Identities
from coord.wire.frames import FrameBuffer, FrameTooLarge
from coord.wire.jute import pack_int
from coord.wire.records import (
    GOODBYE_ERROR,
    WRITES,
    AuthPacket,
    ConnectReply,
    EventType,
    Id,
    KeeperState,
    Op,
    PathReply,
    PathRequest,
    SetWatches2Request,
    WatcherEvent,
    Xid,
    decode_connect_request,
)

if TYPE_CHECKING:
    from coord.server.replica import Replica

_REQUEST_HEADER = struct.Struct(">ii")
_FRAMED_REPLY_HEADER = struct.Struct(">iiqi")  # length, xid, zxid, err
_pack_header = _FRAMED_REPLY_HEADER.pack
_HEADER_BYTES = _FRAMED_REPLY_HEADER.size - 4

NOT_OFFERED = frozenset({Op.RECONFIG, Op.SASL})
"""Known operations that coord answers with UNIMPLEMENTED, keeping the connection."""

PASSWORD_NONE = bytes(16)


def pack_event(type_: EventType, path: str, zxid: int) -> bytes:
    """A watch event as a frame. Its zxid is that of the change, as since ZooKeeper 3.9 (ZOOKEEPER-4655)."""
    body = WatcherEvent(type_, KeeperState.SYNC_CONNECTED, path).encode()
    return _pack_header(_HEADER_BYTES + len(body), Xid.NOTIFICATION, zxid, 0) + body


class Connection:
    """See the module's docstring. `address` is the client's host and port, `name` what logs call it."""

    def __init__(
        self, replica: Replica, address: tuple[str, int], frame_limit: int = FRAME_BYTES_MAX
    ) -> None:
        self.replica = replica
        self.address = address
        self.name = f"{address[0]}:{address[1]}"
        self.phase = Phase.GREETING
        self.session_id = 0
        self.timeout_ms = 0
        self.identities: Identities = (Id("ip", address[0]),)
        self.carrier: Carrier | None = None
        self.outbox: list[bytes] = []
        self.outbox_bytes = 0
        self.unsent_bytes = 0  # handed to the carrier, not yet to the network
        self.stalled = False  # whole requests wait in the frame buffer
        self.stats = ConnectionStats(established_ms=replica.wall_ms)
        self.close_reason = ""
        self.said_goodbye = False  # the carrier is to read, and forget, whatever is still on its way
        self._dirty = False
        self._frames = FrameBuffer(frame_limit)
        # xid, opcode, body (None: a write, which the replica has), when it came, size
        self._pipeline: deque[tuple[int, int, bytes | None, int, int]] = deque()
        self._pipeline_bytes = 0
        self._syncs = 0  # how many are in the pipeline
        self._sync_asked = False  # the head is one that a quorum has not confirmed yet
        self._syncs_covered = 0  # how many were here when the quorum was asked
        self._sends_read_only = False
        self.read_only = False
        """its session is this member's alone (`server.read_only`): nothing of it goes through the log"""
        self._touch = replica.touch
        self._logged = WRITES

    # -- what the carrier asks ------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Should the carrier stop reading: too much waits for an answer, or for the client to read it?"""
        # While a session is opened, or others have their turn, requests shall not pile up.
        opening = self.phase is Phase.OPENING
        return self.stalled or self._blocked or opening or self.replica.lobby.hears_no_more

    @property
    def _blocked(self) -> bool:
        return self.pipeline_full or self.outbox_bytes + self.unsent_bytes >= OUTBOX_BYTES_MAX

    @property
    def pipeline_full(self) -> bool:
        """Is the client not heard because the log has not caught up with its requests?"""
        return len(self._pipeline) >= PIPELINE_REQUESTS_MAX or self._pipeline_bytes >= PIPELINE_BYTES_MAX

    @property
    def is_read(self) -> bool:
        return not self.congested and self.phase not in (Phase.CLOSING, Phase.CLOSED)

    @property
    def outstanding(self) -> int:
        return len(self._pipeline)

    def take_outbox(self) -> bytes:
        """Everything to be sent, in order."""
        data = b"".join(self.outbox)
        self.outbox.clear()
        self.outbox_bytes = 0
        self._dirty = False
        return data

    def closed(self, reason: str) -> None:
        """The carrier lost (or has closed) the connection: nothing more can be said. The session lives on."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self.close_reason = self.close_reason or reason
            self._pipeline.clear()
            self.carrier = None  # each knows the other: apart, both are gone at once (see `server.garbage`)
            self.replica.lobby.forget(self)

    # -- bytes in -------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take the next turn for the requests that were held up; for the carrier, once bytes have left."""
        if self.stalled and not self._blocked and not self.replica.lobby.hears_no_more:
            self.replica.stalled[self] = None

    def go_on(self) -> None:
        """Its turn has come (see `resume`)."""
        if self.phase is Phase.OPEN:
            self.receive(b"")
            self._mark_dirty()  # the carrier is to look whether it may read again

    def receive(self, data: bytes) -> None:
        """Bytes from the client, in any portions. Never raises for what a client sends."""
        self._frames.receive(data)
        if self.replica.lobby.hears_no_more:
            return
        try:
            if self.phase is Phase.GREETING:
                self._greet()
            if self.phase is Phase.OPEN:
                self._requests()
        except FrameTooLarge as error:
            self.close(str(error))
        except ProtocolError as error:
            self.close(f"the client broke the protocol: {error}")

    def _greet(self) -> None:
        first = self._frames.peek(4)
        word = recognise(first)
        if word is not None:
            # Paths of the system may hold what is not Unicode, as lone surrogates.
            self._say(self.replica.answer_word(word).encode(errors="backslashreplace"))
            self.close("")
        elif first in (b"GET ", b"POST", b"HEAD", b"PUT "):
            self.close("this is an HTTP request; the client port speaks ZooKeeper's protocol only")
        else:
            frame = self._frames.take()
            if frame is not None:
                request, self._sends_read_only = decode_connect_request(frame)
                self.phase = Phase.OPENING
                self.replica.lobby.connect(self, request)

    def _requests(self) -> None:
        """What one turn serves of the whole frames; the rest waits, for others have theirs.

        A few bytes of requests can ask for gigabytes of replies, or for hours of work.
        """
        self.stalled = False
        requests_left = REQUESTS_PER_TURN
        bytes_max = min(self.outbox_bytes + REPLY_BYTES_PER_TURN, OUTBOX_BYTES_MAX)
        with closing(self._frames.frames()) as frames:
            for frame in frames:
                requests_left -= self._request(frame)
                if self.phase is not Phase.OPEN:
                    break
                full = self._pipeline and self.pipeline_full
                if full or requests_left <= 0 or self.outbox_bytes >= bytes_max:
                    self.stalled = True
                    break

    def _request(self, frame: bytes) -> int:
        """Serves it, or lets it wait; returns how many requests it counts for."""
        try:
            xid, op = _REQUEST_HEADER.unpack_from(frame)
        except struct.error:
            raise ProtocolError(f"a request of {len(frame)} bytes has no header") from None
        replica = self.replica
        if not self._touch(self):
            return 1
        self.stats.received += 1
        replica.stats.received += 1
        now = replica.turn_ms
        if op in self._logged:
            # Behind a sync even a write waits: what it asks for must not be done before the sync is.
            self._wait(xid, op, frame[8:] if self._syncs else None, now, len(frame))
            if not self._syncs:
                replica.submit(self, op, frame[8:])
            return 1
        if op == Op.AUTH:
            self._authenticate(frame[8:])
        if self.phase is not Phase.OPEN:
            return 1
        if (self._pipeline or op == Op.SYNC or not replica.answers) and not self.read_only:
            self._wait(xid, op, frame[8:], now, len(frame))
            self._syncs += op == Op.SYNC
            if len(self._pipeline) == 1:
                self.proceed()
        else:
            self._answer(xid, op, frame[8:], now)
        return REQUESTS_PER_TURN if op == Op.GET_ALL_CHILDREN_NUMBER else 1  # that walks a whole subtree

    def _wait(self, xid: int, op: int, body: bytes | None, received_at: int, size: int) -> None:
        self._pipeline.append((xid, op, body, received_at, size))
        self._pipeline_bytes += size

    # -- answers --------------------------------------------------------------------------------------

    def answer_ahead(self) -> None:
        """The first write in the pipeline is about to be applied: what waits before it for a leader must not
        see it (and has one: that is where it comes from)."""
        while self._pipeline and self._pipeline[0][2] is not None:
            self._answer_head()

    def committed(self, zxid: int, err: int, reply: bytes) -> None:
        """The first write in the pipeline was applied; what waited behind it is answered next."""
        if self.phase is not Phase.OPEN:
            return
        xid, op, body, received_at = self._leave()
        assert body is None, "commits arrive in the order of submission"
        self._reply(xid, op, zxid, err, reply, received_at)
        if op == Op.CLOSE_SESSION:
            self.close("")
        elif err == ErrorCode.SESSION_MOVED:
            self.close("its session has moved to another member")
        self.proceed()

    def synced(self) -> None:
        """The sync at the head of the pipeline is confirmed."""
        if self.phase is not Phase.OPEN:
            return
        self._sync_asked = False
        self._syncs_covered -= 1
        self._finish_sync()
        self.proceed()

    def cover_syncs(self) -> None:
        """A quorum is asked from now on: its answer is one to every sync that has come by now."""
        self._syncs_covered = self._syncs

    def proceed(self) -> None:
        """Answers from the head of the pipeline what can be answered now."""
        while self._pipeline and self.phase is Phase.OPEN and not self._sync_asked:
            _, op, body, _, _ = self._pipeline[0]
            if body is None or not self.replica.answers:
                return
            if op != Op.SYNC:
                self._answer_head()
                if self.outbox_bytes > OUTBOX_BYTES_FATAL:
                    self.close(f"its requests behind one write ask for more than {OUTBOX_BYTES_FATAL} bytes")
            elif self._syncs_covered:
                self._syncs_covered -= 1
                self._finish_sync()
            elif self.replica.syncs.ask(self):
                self._finish_sync()
            else:
                self._sync_asked = True
        if self.replica.lobby.hears_no_more and not self._pipeline and self.phase is Phase.OPEN:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Everything taken is answered: what else the client has asked for is for another member."""
        self.said_goodbye = True
        self._say(_pack_header(_HEADER_BYTES, Xid.PING, self.replica.machine.zxid, GOODBYE_ERROR))
        self.close("")

    def _answer_head(self) -> None:
        xid, op, body, received_at = self._leave()
        assert body is not None
        self._answer(xid, op, body, received_at)

    def _finish_sync(self) -> None:
        """Answers the sync, and sends on their way the writes that waited for it (up to the next one)."""
        assert self._pipeline[0][1] == Op.SYNC
        self._syncs -= 1
        self._answer_head()
        for place, (xid, op, body, received_at, size) in enumerate(self._pipeline):
            if op == Op.SYNC:
                break
            if op in WRITES and body is not None:
                self._pipeline[place] = (xid, op, None, received_at, size)
                self.replica.submit(self, op, body)

    def _leave(self) -> tuple[int, int, bytes | None, int]:
        xid, op, body, received_at, size = self._pipeline.popleft()
        self._pipeline_bytes -= size
        return xid, op, body, received_at

    def _answer(self, xid: int, op: int, body: bytes, received_at: int) -> None:
        """Answers what needs no log: evaluated here and now, at the head of the pipeline."""
        replica = self.replica
        err, reply = 0, b""
        try:
            read = READS.get(op)
            if read is not None:
                reply = read(replica.machine, replica.watches, self, body)
            else:
                reply = self._answer_special(op, body)
        except Refused as refused:
            err = refused.code
        except ProtocolError:
            err = ErrorCode.MARSHALLING_ERROR
        zxid = replica.machine.zxid
        if op == Op.PING:
            xid = Xid.PING
        elif op == Op.AUTH:
            xid, zxid = Xid.AUTH, 0
        elif err == ErrorCode.UNIMPLEMENTED and op not in NOT_OFFERED:
            zxid = -1
        self._reply(xid, op, zxid, err, reply, received_at)
        if err == ErrorCode.AUTH_FAILED:
            self.close("the client could not authenticate")
        elif err == ErrorCode.UNIMPLEMENTED and op not in NOT_OFFERED:
            self.close(f"opcode {op} is not for clients")

    def _answer_special(self, op: int, body: bytes) -> bytes:
        if op == Op.PING:
            return b""
        if self.read_only and self.replica.read_only.answers(self, op):
            return b""
        if op == Op.SYNC:
            return PathReply(PathRequest.from_bytes(body).path).encode()
        if op in (Op.SET_WATCHES, Op.SET_WATCHES2):
            return self._set_watches(op, body)
        if op == Op.AUTH:
            packet = AuthPacket.from_bytes(body)
            if packet.scheme != "ip" and (packet.scheme != "digest" or packet.auth is None):
                raise Refused(ErrorCode.AUTH_FAILED)
            return b""
        raise Refused(ErrorCode.UNIMPLEMENTED)

    def _set_watches(self, op: int, body: bytes) -> bytes:
        request, replica = SetWatches2Request.from_either(op, body), self.replica
        for type_, path in set_watches(replica.machine, replica.watches, self, request):
            self.event(pack_event(type_, path, replica.machine.zxid))
        return b""

    def _authenticate(self, body: bytes) -> None:
        """Takes effect for requests behind it; its reply keeps its place in line (`_answer_special`)."""
        try:
            packet = AuthPacket.from_bytes(body)
        except ProtocolError:
            return
        if packet.scheme != "digest" or packet.auth is None:
            return
        user, _, password = packet.auth.decode("utf-8", "replace").partition(":")
        new = [Id("digest", digest_id(user, password))]
        if self.replica.lobby.is_super(new[0]):
            new.append(Id("super", ""))
        self.identities += tuple(identity for identity in new if identity not in self.identities)
        if sum(len(who.encode()) for who in self.identities) > IDENTITIES_BYTES_MAX:
            # Each batch carries them: without a bound one client could make a record the log does not take.
            self._reply(Xid.AUTH, Op.AUTH, 0, ErrorCode.AUTH_FAILED, b"", self.replica.turn_ms)
            self.close(f"it authenticates as more than {IDENTITIES_BYTES_MAX} bytes of identities")

    # -- the session ----------------------------------------------------------------------------------

    def open_session(self, session_id: int, timeout_ms: int, password: bytes) -> None:
        """The handshake is done; what the client sent meanwhile is served now."""
        assert self.phase is Phase.OPENING
        self.phase = Phase.OPEN
        self.session_id = session_id
        self.timeout_ms = timeout_ms
        if self.read_only:
            self._touch, self._logged = self.replica.read_only.touch, frozenset()
        self._say_connect_reply(ConnectReply(0, timeout_ms, session_id, password, self.read_only))
        self.receive(b"")
        self.proceed()

    def refuse_session(self, reason: str) -> None:
        """Unknown or expired session, or a wrong password: clients read a timeout of 0 as "expired"."""
        self._say_connect_reply(ConnectReply(0, 0, 0, PASSWORD_NONE, False))
        self.close(reason)

    def _say_connect_reply(self, reply: ConnectReply) -> None:
        body = reply.encode()
        if not self._sends_read_only:
            body = body[:-1]
        self._say(pack_int(len(body)) + body)

    # -- bytes out ------------------------------------------------------------------------------------

    def event(self, frame: bytes) -> None:
        """A watch event, packed once for all its watchers (`pack_event`)."""
        self.stats.sent += 1
        self.replica.stats.sent += 1
        self._say(frame)

    def close(self, reason: str) -> None:
        """Say what is in the outbox, then close. An empty reason is nothing an operator must know."""
        if self.phase not in (Phase.CLOSING, Phase.CLOSED):
            self.phase = Phase.CLOSING
            self.close_reason = reason
            self._pipeline.clear()
            self.replica.lobby.limit(self, LAST_REPLY_SECONDS)
            self._mark_dirty()

    def _reply(self, xid: int, op: int, zxid: int, err: int, reply: bytes, received_at: int) -> None:
        now_ms = self.replica.turn_ms
        self.stats.replied(op, xid, zxid, now_ms - received_at, now_ms)
        self.replica.stats.replied(now_ms - received_at)
        self._say(_pack_header(_HEADER_BYTES + len(reply), xid, zxid, err) + reply)

    def _say(self, data: bytes) -> None:
        self.outbox.append(data)
        self.outbox_bytes += len(data)
        self._mark_dirty()

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.replica.dirty.append(self)
