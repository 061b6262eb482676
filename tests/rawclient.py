"""ZooKeeper's client protocol by hand, for tests: a blocking socket, frames in, frames out, nothing hidden.

Synopsis::

    with RawClient.open(port) as zk:
        assert zk.create("/a", b"x").err == 0
        zk.send(7, Op.GET_DATA, PathWatchRequest("/a", True).encode())  # pipelined
        reply = zk.receive()

Nothing is retried, reconnected or kept alive. Watch events are collected in `events`, in the order in which
they came, while a reply is awaited.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from coord.wire.frames import FrameBuffer, pack_frame
from coord.wire.jute import Reader
from coord.wire.records import (
    ACL,
    REPLY_OF,
    ConnectReply,
    ConnectRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Id,
    Op,
    PathRequest,
    PathWatchRequest,
    Record,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    WatcherEvent,
    Xid,
    decode_connect_reply,
    decode_multi_reply,
    encode_multi,
)

ANYONE = Id("world", "anyone")
OPEN = [ACL(31, ANYONE)]
NO_PASSWORD = bytes(16)
SECONDS = 10.0


class Closed(Exception):
    """The server closed the connection."""


@dataclass
class Reply:
    xid: int
    zxid: int
    err: int
    body: bytes
    events: list[tuple[int, int, str]] = field(default_factory=list)
    """(type, state, path) of the events that came between the reply before this one and this one"""

    def decode(self, op: int) -> Record:
        """The record of a successful reply to `op`; it must fill the body exactly."""
        return REPLY_OF[op].from_bytes(self.body)


class RawClient:
    """One connection, and the session it carries."""

    def __init__(self, port: int, seconds: float = SECONDS) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), seconds)
        self.sock.settimeout(seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frames = FrameBuffer(64 << 20)
        self.ready: list[bytes] = []
        self.events: list[tuple[int, int, str]] = []
        self.session = ConnectReply(0, 0, 0, b"", False)
        self.last_zxid = 0
        self._xid = 0

    @classmethod
    def open(
        cls, port: int, timeout_ms: int = 10_000, session: ConnectReply | None = None, last_zxid: int = 0
    ) -> Self:
        """A connection with a session: a new one, or `session` resumed. `Closed` if the server refuses."""
        zk = cls(port)
        try:
            zk.handshake(timeout_ms, session, last_zxid)
        except BaseException:
            zk.close()
            raise
        return zk

    # -- frames ---------------------------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_frame(self, body: bytes) -> None:
        self.sock.sendall(pack_frame(body))

    def send(self, xid: int, op: int, body: bytes = b"") -> None:
        self.send_frame(RequestHeader(xid, op).encode() + body)

    def receive_frame(self) -> bytes:
        """The next frame; `Closed` at the end of the stream, `TimeoutError` if nothing comes."""
        while not self.ready:
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionError:
                raise Closed from None
            if not data:
                raise Closed
            self.frames.receive(data)
            self.ready = list(self.frames.frames())
        return self.ready.pop(0)

    def receive(self) -> Reply:
        """The next reply; events before it go to `events` and to the reply's own list."""
        events: list[tuple[int, int, str]] = []
        while True:
            frame = self.receive_frame()
            reader = Reader(frame)
            header = ReplyHeader.decode(reader)
            if header.xid != Xid.NOTIFICATION:
                self.last_zxid = max(self.last_zxid, header.zxid)
                return Reply(header.xid, header.zxid, header.err, frame[reader.position :], events)
            event = WatcherEvent.decode(reader)
            reader.finish()
            events.append((event.type, event.state, event.path))
            self.events.append(events[-1])

    def receive_event(self) -> tuple[ReplyHeader, WatcherEvent]:
        """The next frame, which must be an event."""
        reader = Reader(self.receive_frame())
        header, event = ReplyHeader.decode(reader), WatcherEvent.decode(reader)
        assert header.xid == Xid.NOTIFICATION
        return header, event

    def expect_end(self, seconds: float = SECONDS) -> bytes:
        """Waits for the server to close; returns the bytes that came before."""
        self.sock.settimeout(seconds)
        rest = list(self.ready)
        try:
            while data := self.sock.recv(1 << 16):
                rest.append(data)
        except ConnectionError:
            pass
        return b"".join(rest)

    # -- requests -------------------------------------------------------------------------------------

    def handshake(
        self, timeout_ms: int = 10_000, session: ConnectReply | None = None, last_zxid: int = 0
    ) -> ConnectReply:
        who = session or ConnectReply(0, 0, 0, NO_PASSWORD, False)
        request = ConnectRequest(0, last_zxid, timeout_ms, who.session_id, who.password, False)
        self.send_frame(request.encode())
        self.session = decode_connect_reply(self.receive_frame())
        return self.session

    def ask(self, op: int, body: bytes = b"", xid: int | None = None) -> Reply:
        """Sends one request and waits for its reply, whose xid must be the request's."""
        self._xid += 1
        xid = self._xid if xid is None else xid
        self.send(xid, op, body)
        reply = self.receive()
        assert reply.xid == xid, f"asked {xid}, answered {reply.xid}"
        return reply

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        flags: int = 0,
        acl: Sequence[ACL] = OPEN,
        op: int = Op.CREATE,
        ttl_ms: int = 0,
    ) -> Reply:
        if op == Op.CREATE_TTL:
            return self.ask(op, CreateTTLRequest(path, data, list(acl), flags, ttl_ms).encode())
        return self.ask(op, CreateRequest(path, data, list(acl), flags).encode())

    def delete(self, path: str, version: int = -1) -> Reply:
        return self.ask(Op.DELETE, DeleteRequest(path, version).encode())

    def set(self, path: str, data: bytes | None, version: int = -1) -> Reply:
        return self.ask(Op.SET_DATA, SetDataRequest(path, data, version).encode())

    def get(self, path: str, watch: bool = False) -> Reply:
        return self.ask(Op.GET_DATA, PathWatchRequest(path, watch).encode())

    def exists(self, path: str, watch: bool = False) -> Reply:
        return self.ask(Op.EXISTS, PathWatchRequest(path, watch).encode())

    def children(self, path: str, watch: bool = False) -> Reply:
        return self.ask(Op.GET_CHILDREN, PathWatchRequest(path, watch).encode())

    def path(self, op: int, path: str) -> Reply:
        return self.ask(op, PathRequest(path).encode())

    def multi(self, *operations: tuple[int, Record]) -> Reply:
        return self.ask(Op.MULTI, encode_multi(list(operations)))

    def multi_results(self, *operations: tuple[int, Record]) -> list[tuple[int, int]]:
        """(type, err) of each result."""
        reply = self.multi(*operations)
        assert reply.err == 0
        return [(op, err) for op, err, _ in decode_multi_reply(reply.body)]

    def end_session(self) -> Reply:
        return self.ask(Op.CLOSE_SESSION)

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Drops the connection; the session goes on."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def four_letters(port: int, word: bytes, seconds: float = SECONDS) -> bytes:
    """What the server answers to a four-letter word before it closes."""
    with socket.create_connection(("127.0.0.1", port), seconds) as sock:
        sock.settimeout(seconds)
        sock.sendall(word)
        answer = b""
        try:
            while data := sock.recv(1 << 16):
                answer += data
        except ConnectionResetError:
            pass
        return answer


def wait_until(
    condition: Callable[[], object], seconds: float = SECONDS, what: str = "the condition"
) -> None:
    """Calls `condition` until it is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.01)
