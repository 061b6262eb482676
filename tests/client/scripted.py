"""A server that follows a script: it speaks the protocol over memory streams, and fails as it is told.

Not a server with znodes: every request gets the reply in `replies`. What it is for is everything a real
server does only by accident: staying silent, closing between two bytes, forgetting sessions.

Synopsis::

    async with open_scripted() as server:
        server.silent = True
        async with client_of(server) as zk:
            ...
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from random import Random

import trio
import trio.testing

from coord.client.calls import SessionHandle
from coord.client.client import Client
from coord.client.hosts import Address, Addresses, Host
from coord.client.link import Link
from coord.client.paths import Chroot
from coord.client.session import Session
from coord.limits import RECORD_BYTES_MAX
from coord.wire.frames import FrameBuffer, pack_frame
from coord.wire.records import (
    ACL,
    GOODBYE_ERROR,
    Children2Reply,
    ChildrenReply,
    ConnectReply,
    EphemeralsReply,
    ErrorReply,
    EventType,
    GetACLReply,
    GetDataReply,
    Id,
    NumberReply,
    Op,
    PathReply,
    PathStatReply,
    Stat,
    StatReply,
    WatcherEvent,
    WhoAmIReply,
    Xid,
    decode_connect_request,
    encode_multi_reply,
    pack_reply_header,
)

STAT = Stat(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
PASSWORD = b"secret-sixteen-b"

REPLIES: dict[int, bytes] = {
    Op.CREATE: PathReply("/a").encode(),
    Op.CREATE2: PathStatReply("/a", STAT).encode(),
    Op.GET_DATA: GetDataReply(b"data", STAT).encode(),
    Op.EXISTS: StatReply(STAT).encode(),
    Op.SET_DATA: StatReply(STAT).encode(),
    Op.SET_ACL: StatReply(STAT).encode(),
    Op.GET_ACL: GetACLReply([ACL(31, Id("world", "anyone"))], STAT).encode(),
    Op.GET_CHILDREN: ChildrenReply([]).encode(),
    Op.GET_CHILDREN2: Children2Reply([], STAT).encode(),
    Op.SYNC: PathReply("/a").encode(),
    Op.MULTI: encode_multi_reply([(Op.SET_DATA, 0, StatReply(STAT).encode())]),
    Op.MULTI_READ: encode_multi_reply([(Op.GET_DATA, 0, GetDataReply(b"data", STAT).encode())]),
    Op.GET_EPHEMERALS: EphemeralsReply(["/a"]).encode(),
    Op.GET_ALL_CHILDREN_NUMBER: NumberReply(5).encode(),
    Op.WHO_AM_I: WhoAmIReply([Id("ip", "127.0.0.1")]).encode(),
    Op.ADD_WATCH: ErrorReply(0).encode(),
}


def socket_pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return trio.SocketStream(_with_trio(near)), trio.SocketStream(_with_trio(far))


def _with_trio(sock: socket.socket) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(sock)


class ScriptedServer:
    """What it does next is in its attributes."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.timeout_ms = 12_000
        self.over_sockets = False
        """its connections are sockets, as the client has them in earnest, rather than streams in memory"""
        self.silent = False
        """hears everything, says nothing"""
        self.refusing = False
        """takes no connections"""
        self.read_only: set[str] = set()
        """names of the hosts at which it has no quorum"""
        self.keeping_sessions = False
        """lets a real session go on where it has no quorum, as Apache ZooKeeper does"""
        self.silent_to_words = False
        """hears four-letter words and does not answer"""
        self.closing_at_hello = False
        """closes a connection instead of answering the handshake"""
        self.sessions: set[int] = set()
        """those that can be resumed"""
        self.read_only_sessions = 0
        """how many were opened; their ids begin at 1001"""
        self.errors: dict[int, int] = {}
        """op -> the error its replies carry"""
        self.replies = dict(REPLIES)
        self.lose: Callable[[int, bytes], bool] = lambda op, body: False
        """asked at every request: should the connection end instead of a reply?"""
        self.goodbye: Callable[[int, bytes], bool] = lambda op, body: False
        """the same, with a goodbye: the request is not taken"""
        self.requests: list[tuple[int, bytes]] = []
        """(op, body) of everything that was received, pings included"""
        self.attempts: list[Host] = []
        self._nursery = nursery
        self._streams: set[trio.abc.Stream] = set()
        self._zxid = 0
        self._heard = trio.Event()

    # -- for the client -------------------------------------------------------------------------------

    async def open_stream(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.attempts.append(address.host)
        if self.refusing:
            raise OSError("connection refused")
        near, far = socket_pair() if self.over_sockets else trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, far, address.host.name)
        return near

    # -- for the test ---------------------------------------------------------------------------------

    def ops(self) -> list[int]:
        """The opcodes received, without pings."""
        return [op for op, _ in self.requests if op != Op.PING]

    async def heard(self, op: int, times: int = 1) -> None:
        """Waits until `op` was received so often."""
        while self.ops().count(op) < times:
            self._heard = trio.Event()
            await self._heard.wait()

    async def drop(self) -> None:
        """Closes every connection."""
        for stream in list(self._streams):
            await trio.aclose_forcefully(stream)

    async def notify(self, event: EventType, path: str, times: int = 1) -> None:
        """Sends the event, so many times in one go."""
        header = pack_reply_header(Xid.NOTIFICATION, -1, 0)
        for stream in self._streams:
            await stream.send_all(pack_frame(header, WatcherEvent(event, 3, path).encode()) * times)

    # -- one connection -------------------------------------------------------------------------------

    async def _serve(self, stream: trio.abc.Stream, host: str) -> None:
        self._streams.add(stream)
        frames = FrameBuffer(RECORD_BYTES_MAX)
        greeted = False
        try:
            while data := await stream.receive_some(65536):
                if not greeted and data.startswith(b"isro"):
                    if self.silent_to_words:
                        continue
                    await stream.send_all(b"ro" if host in self.read_only else b"rw")
                    return
                frames.receive(bytes(data))
                for frame in frames.frames():
                    if greeted and self._leaves(frame):
                        await stream.send_all(pack_frame(pack_reply_header(Xid.PING, 0, GOODBYE_ERROR)))
                        return
                    answer = self._answer(frame) if greeted else self._greet(frame, host)
                    greeted = True
                    if answer is None:
                        return
                    if answer and not self.silent:
                        await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._streams.discard(stream)
            await trio.aclose_forcefully(stream)

    def _greet(self, frame: bytes, host: str) -> bytes | None:
        request, _ = decode_connect_request(frame)
        if self.closing_at_hello:
            return None
        if host in self.read_only:
            if request.session_id in self.sessions and request.read_only and self.keeping_sessions:
                reply = ConnectReply(0, self.timeout_ms, request.session_id, PASSWORD, True)
                return pack_frame(reply.encode())
            if request.session_id or not request.read_only:
                return None
            self.read_only_sessions += 1
            reply = ConnectReply(0, self.timeout_ms, 1000 + self.read_only_sessions, PASSWORD, True)
            return pack_frame(reply.encode())
        if request.session_id == 0:
            session_id = len(self.sessions) + 1
            while session_id in self.sessions:
                session_id += 1
            self.sessions.add(session_id)
            return pack_frame(ConnectReply(0, self.timeout_ms, session_id, PASSWORD, False).encode())
        if request.session_id not in self.sessions:
            return pack_frame(ConnectReply(0, 0, 0, bytes(16), False).encode())
        return pack_frame(ConnectReply(0, self.timeout_ms, request.session_id, PASSWORD, False).encode())

    def _leaves(self, frame: bytes) -> bool:
        _, op = struct.unpack_from(">ii", frame)
        leaves = self.goodbye(op, frame[8:])
        if leaves:
            self.requests.append((op, frame[8:]))
        return leaves

    def _answer(self, frame: bytes) -> bytes | None:
        xid, op = struct.unpack_from(">ii", frame)
        self.requests.append((op, frame[8:]))
        self._heard.set()
        if self.lose(op, frame[8:]):
            return None
        self._zxid += 1
        error = self.errors.get(op, 0)
        body = b"" if error else self.replies.get(op, b"")
        return pack_frame(pack_reply_header(xid, self._zxid, error), body)


def client_of(
    server: ScriptedServer,
    *,
    hosts: int = 1,
    timeout: float = 12.0,
    connect_timeout: float = 1.0,
    chroot: str = "",
    session: SessionHandle | None = None,
    patience: float = inf,
    read_only: bool = False,
) -> Client:
    """A client whose connections all lead to `server`, whatever the host."""
    core = Session(timeout, read_only=read_only, handle=session)
    addresses = Addresses([Host(f"127.0.0.{i + 1}", 2181) for i in range(hosts)], Random(1))
    link = Link(core, addresses, connect_timeout=connect_timeout, open_stream=server.open_stream)
    return Client(link, core, Chroot(chroot), patience=patience)


@asynccontextmanager
async def open_scripted() -> AsyncIterator[ScriptedServer]:
    async with trio.open_nursery() as nursery:
        yield ScriptedServer(nursery)
        nursery.cancel_scope.cancel()


def lose_first(op: int) -> Callable[[int, bytes], bool]:
    """For `ScriptedServer.lose`: the connection ends at the first `op`, and only then."""
    remaining = [1]

    def lose(received: int, body: bytes) -> bool:
        if received == op and remaining:
            remaining.clear()
            return True
        return False

    return lose
