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
from coord.server.specials import answer_special, authenticate
from coord.server.stats import ConnectionStats
from coord.state.reads import READS, Refused
from coord.wire.ensemble import Identities
from coord.wire.frames import FrameBuffer, FrameTooLarge
from coord.wire.jute import pack_int
from coord.wire.records import (
    GOODBYE_ERROR,
    WRITES,
    ConnectReply,
    Id,
    Op,
    Xid,
    decode_connect_request,
)

if TYPE_CHECKING:
    from coord.server.replica import Replica

# Looking up a member of an enumeration takes as long as packing a header: the hot path has its own names.
_GREETING, _OPENING, _OPEN = Phase.GREETING, Phase.OPENING, Phase.OPEN
_SYNC, _AUTH, _CLOSE_SESSION = int(Op.SYNC), int(Op.AUTH), int(Op.CLOSE_SESSION)
_COUNT_DESCENDANTS = int(Op.GET_ALL_CHILDREN_NUMBER)
_SESSION_MOVED = int(ErrorCode.SESSION_MOVED)
_unpack_header = struct.Struct(">ii").unpack_from
_FRAMED_REPLY_HEADER = struct.Struct(">iiqi")  # length, xid, zxid, err
_pack_header = _FRAMED_REPLY_HEADER.pack
_HEADER_BYTES = _FRAMED_REPLY_HEADER.size - 4

PASSWORD_NONE = bytes(16)


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
        self._stats = ConnectionStats(established_ms=replica.wall_ms)
        # What is not in the statistics yet: requests received, replies of one latency, and the last of these.
        self._received = self._replies = self._latency_ms = 0
        self._last_reply = (0, 0, 0, 0)  # opcode, xid, zxid, ms
        self.close_reason = ""
        self.said_goodbye = False  # the carrier is to read, and forget, whatever is still on its way
        self._dirty = False
        self._frames = FrameBuffer(frame_limit)
        # xid, opcode, opcode and body (None: of a write that the replica has), when it came, size
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
        opening = self.phase is _OPENING
        return self.stalled or self._blocked or opening or self.replica.lobby.hears_no_more

    @property
    def _blocked(self) -> bool:
        full = bool(self._pipeline) and self.pipeline_full
        return full or self.outbox_bytes + self.unsent_bytes >= OUTBOX_BYTES_MAX

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

    @property
    def stats(self) -> ConnectionStats:
        self.count()
        return self._stats

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
            self.count()
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
            if self.phase is _GREETING:
                self._greet()
            if self.phase is _OPEN:
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
        take, pipeline, replica = self._frames.take, self._pipeline, self.replica
        frame = take()
        if frame is None or not self._touch(self):
            return
        remembered = replica.machine.tree.answers.get
        zxid, now = replica.machine.zxid, replica.turn_ms
        bytes_max = min(self.outbox_bytes + REPLY_BYTES_PER_TURN, OUTBOX_BYTES_MAX)
        left = REQUESTS_PER_TURN
        writes: list[tuple[int, bytes]] = []
        try:
            while frame is not None:
                try:
                    xid, op = _unpack_header(frame)
                except struct.error:
                    raise ProtocolError(f"a request of {len(frame)} bytes has no header") from None
                self._received += 1
                reply = None if pipeline or not replica.answers else remembered(frame[4:])
                if reply is not None:
                    left -= 1
                    self.reply(xid, op, zxid, 0, reply, now)
                elif op in self._logged and not self._syncs:
                    left -= 1
                    self._wait(xid, op, None, now, len(frame))
                    writes.append((op, frame[8:]))
                else:
                    if op == _AUTH and writes:  # what came before it is asked for by whoever that was then
                        replica.submit(self, writes)
                        writes = []
                    left -= self._request(xid, op, frame)
                    if self.phase is not _OPEN:
                        break
                if left <= 0 or self.outbox_bytes >= bytes_max or (pipeline and self.pipeline_full):
                    self.stalled = True
                    break
                frame = take()
        finally:
            if writes:
                replica.submit(self, writes)

    def _request(self, xid: int, op: int, frame: bytes) -> int:
        """Serves it, or lets it wait; returns how many requests it counts for."""
        replica = self.replica
        now = replica.turn_ms
        if op in self._logged:
            # Behind a sync even a write waits: what it asks for must not be done before the sync is.
            self._wait(xid, op, frame[4:], now, len(frame))
            return 1
        if op == _AUTH and not authenticate(self, frame[8:]):
            self.reply(Xid.AUTH, Op.AUTH, 0, ErrorCode.AUTH_FAILED, b"", now)
            self.close(f"it authenticates as more than {IDENTITIES_BYTES_MAX} bytes of identities")
            return 1
        if (self._pipeline or op == _SYNC or not replica.answers) and not self.read_only:
            self._wait(xid, op, frame[4:], now, len(frame))
            self._syncs += op == _SYNC
            if len(self._pipeline) == 1:
                self.proceed()
        else:
            self._answer(xid, op, frame[4:], now)
        return REQUESTS_PER_TURN if op == _COUNT_DESCENDANTS else 1  # that walks a whole subtree

    def _wait(self, xid: int, op: int, request: bytes | None, received_at: int, size: int) -> None:
        self._pipeline.append((xid, op, request, received_at, size))
        self._pipeline_bytes += size

    # -- answers --------------------------------------------------------------------------------------

    def answer_ahead(self) -> None:
        """The first write in the pipeline is about to be applied: what waits before it for a leader must not
        see it (and has one: that is where it comes from)."""
        while self._pipeline and self._pipeline[0][2] is not None:
            self._answer_head()

    def committed(self, zxid: int, err: int, reply: bytes) -> None:
        """The first write in the pipeline was applied; what waited behind it is answered next."""
        if self.phase is not _OPEN:
            return
        pipeline = self._pipeline
        xid, op, request, received_at, size = pipeline.popleft()
        self._pipeline_bytes -= size
        assert request is None, "commits arrive in the order of submission"
        self.reply(xid, op, zxid, err, reply, received_at)
        if op == _CLOSE_SESSION:
            self.close("")
        elif err == _SESSION_MOVED:
            self.close("its session has moved to another member")
        if not pipeline or pipeline[0][2] is not None:
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
        while self._pipeline and self.phase is _OPEN and not self._sync_asked:
            _, op, request, _, _ = self._pipeline[0]
            if request is None or not self.replica.answers:
                return
            if op != _SYNC:
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
        xid, op, request, received_at, size = self._pipeline.popleft()
        self._pipeline_bytes -= size
        assert request is not None
        self._answer(xid, op, request, received_at)

    def _finish_sync(self) -> None:
        """Answers the sync, and sends on their way the writes that waited for it (up to the next one)."""
        assert self._pipeline[0][1] == Op.SYNC
        self._syncs -= 1
        self._answer_head()
        writes: list[tuple[int, bytes]] = []
        for place, (xid, op, request, received_at, size) in enumerate(self._pipeline):
            if op == Op.SYNC:
                break
            if op in WRITES and request is not None:
                self._pipeline[place] = (xid, op, None, received_at, size)
                writes.append((op, request[4:]))
        if writes:
            self.replica.submit(self, writes)

    def _answer(self, xid: int, op: int, request: bytes, received_at: int) -> None:
        """Answers what needs no log: evaluated here and now, at the head of the pipeline."""
        replica, zxid = self.replica, self.replica.machine.zxid
        remembered = replica.machine.tree.answers.get(request)
        if remembered is not None:
            self.reply(xid, op, zxid, 0, remembered, received_at)
            return
        read = READS.get(op)
        if read is None:
            answer_special(self, xid, op, request[4:], received_at)
            return
        err, reply = 0, b""
        try:
            reply = read(replica.machine, replica.watches, self, request[4:])
        except Refused as refused:
            err = refused.code
        self.reply(xid, op, zxid, err, reply, received_at)

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
        self._stats.sent += 1
        self.replica.counted.sent += 1
        self._say(frame)

    def close(self, reason: str) -> None:
        """Say what is in the outbox, then close. An empty reason is nothing an operator must know."""
        if self.phase not in (Phase.CLOSING, Phase.CLOSED):
            self.phase = Phase.CLOSING
            self.close_reason = reason
            self._pipeline.clear()
            self.replica.lobby.limit(self, LAST_REPLY_SECONDS)
            self._mark_dirty()

    def reply(self, xid: int, op: int, zxid: int, err: int, reply: bytes, received_at: int) -> None:
        now_ms = self.replica.turn_ms
        if now_ms - received_at != self._latency_ms:
            self.count()
            self._latency_ms = now_ms - received_at
        self._replies += 1
        self._last_reply = op, xid, zxid, now_ms
        data = _pack_header(_HEADER_BYTES + len(reply), xid, zxid, err) + reply
        self.outbox.append(data)
        self.outbox_bytes += len(data)
        if not self._dirty:
            self._mark_dirty()

    def count(self) -> None:
        """Brings the statistics up to date, the server's as well."""
        mine, servers = self._stats, self.replica.counted
        mine.received += self._received
        servers.received += self._received
        if self._replies:
            mine.replied(self._last_reply, self._latency_ms, self._replies)
            servers.replied(self._latency_ms, self._replies)
        self._received = self._replies = 0

    def _say(self, data: bytes) -> None:
        self.outbox.append(data)
        self.outbox_bytes += len(data)
        self._mark_dirty()

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            self.replica.dirty.append(self)
