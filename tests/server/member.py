"""A replica with its connections, driven by hand: no sockets, no tasks, no clock. For tests of the core."""

from __future__ import annotations

from typing import Any

from coord.config import Config
from coord.server.carrier import Phase
from coord.server.connection import Connection
from coord.server.recovery import epoch_ends
from coord.server.replica import Replica
from coord.state.machine import Machine
from coord.wire.ensemble import Batch
from coord.wire.frames import FrameBuffer, pack_frame
from coord.wire.jute import Reader
from coord.wire.records import (
    ConnectReply,
    ConnectRequest,
    Op,
    Record,
    ReplyHeader,
    RequestHeader,
    decode_connect_reply,
)
from coord.zab.peer import Epochs, Peer, Work
from coord.zab.quorum import Majority


class Wire:
    """A carrier that keeps what was sent."""

    def __init__(self, member: Member, connection: Connection) -> None:
        self.connection = connection
        self.sent = FrameBuffer(1 << 30)
        self.raw = b""
        self.is_closed = False

    def flush(self) -> None:
        data = self.connection.take_outbox()
        self.raw += data
        self.sent.receive(data)
        if self.connection.phase is Phase.CLOSING:
            self.close(self.connection.close_reason)
        else:
            self.connection.resume()

    def close(self, reason: str) -> None:
        self.connection.closed(reason)
        self.is_closed = True


class Talker:
    """A client: says requests, hears replies as (header, body)."""

    def __init__(self, member: Member, address: str = "127.0.0.1") -> None:
        self.member = member
        connection = member.replica.lobby.admit(address, 1234)
        assert connection is not None
        self.connection = connection
        self.wire = Wire(member, connection)
        connection.carrier = self.wire
        self.xid = 0

    def greet(
        self,
        session_id: int = 0,
        password: bytes = bytes(16),
        timeout_ms: int = 5000,
        zxid: int = 0,
        *,
        read_only: bool = False,
    ) -> None:
        request = ConnectRequest(0, zxid, timeout_ms, session_id, password, read_only)
        self.connection.receive(pack_frame(request.encode()))

    def greeted(self) -> ConnectReply:
        self.member.flush()
        frame = self.wire.sent.take()
        assert frame is not None, "no reply to the greeting yet"
        return decode_connect_reply(frame)

    def say(self, op: Op, request: Record | None = None, xid: int | None = None) -> int:
        self.xid += 1
        xid = self.xid if xid is None else xid
        body = b"" if request is None else request.encode()
        self.connection.receive(pack_frame(RequestHeader(xid, op).encode(), body))
        return xid

    def hear(self) -> list[tuple[ReplyHeader, bytes]]:
        """Everything that has come since the last call."""
        self.member.flush()
        heard: list[tuple[ReplyHeader, bytes]] = []
        for frame in self.wire.sent.frames():
            reader = Reader(frame)
            header = ReplyHeader.decode(reader)
            heard.append((header, frame[reader.position :]))
        return heard


class Member:
    """A replica whose disk writes exactly when the test says so (`persist`), and whose log can be kept."""

    def __init__(
        self,
        log: list[bytes] | None = None,
        epochs: Epochs | None = None,
        *,
        alone: bool = True,
        **settings: Any,
    ) -> None:
        """`alone`: a quorum by itself, and so it serves at once; else two more voters are somewhere."""
        self.log: list[bytes] = [] if log is None else log
        history = [Batch.decode(payload) for payload in self.log]
        last_zxid = history[-1].last_zxid if history else 0
        epoch = last_zxid >> 32
        ends = epoch_ends([0, *(batch.last_zxid for batch in history)])
        voters = {1} if alone else {1, 2, 3}
        epochs = epochs or Epochs(epoch, epoch)
        peer = Peer(1, Majority(voters), last_zxid=last_zxid, epochs=epochs, ends=ends)
        defaults: dict[str, Any] = {"tick_time_ms": 1000, "extended_types_enabled": True}
        self.replica = Replica(Config(**(defaults | settings)), peer, Machine(), history, secret=b"s" * 32)
        self.replica.wall_ms = 1_700_000_000_000
        self.writing: Work | None = None
        while alone and not self.replica.serving:
            self.settle()

    def settle(self) -> None:
        """One whole turn with a disk that is instantly durable."""
        while True:
            self.propose()
            if self.writing is None:
                if not self.replica.apply_committed():
                    break
                continue
            self.persist()
        self.flush()

    def propose(self) -> None:
        if self.writing is None:
            self.replica.propose()
            self.writing = self.replica.take_work()

    def persist(self) -> None:
        assert self.writing is not None
        work, self.writing = self.writing, None
        self.log += [proposal.payload for proposal in work.proposals]
        self.replica.peer.persisted(work.ticket)
        self.replica.apply_committed()
        self.flush()

    def flush(self) -> None:
        while (dirty := self.replica.take_dirty()) or self.replica.stalled:
            for connection in dirty:
                if connection.carrier is not None:
                    connection.carrier.flush()
            self.replica.resume_stalled()

    def talker(self, timeout_ms: int = 5000) -> Talker:
        """A client with a session."""
        talker = Talker(self)
        talker.greet(timeout_ms=timeout_ms)
        self.settle()
        assert talker.greeted().session_id
        return talker

    def lose_quorum(self) -> None:
        """From now on two other voters are needed, and nobody has ever heard of them."""
        peer = self.replica.peer
        peer.quorum, peer.others = Majority({1, 2, 3}), [2, 3]
        peer.step_down()
        self.settle()

    def regain_quorum(self) -> None:
        peer = self.replica.peer
        peer.quorum, peer.others = Majority({1}), []
        peer.tick()
        while not self.replica.serving:
            self.replica.exchange()
            self.settle()

    def beats(self, count: int) -> None:
        for _ in range(count):
            self.replica.beat()
            self.settle()
