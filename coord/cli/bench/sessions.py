"""Sessions for a load: a socket each, from the handshake to the goodbye.

Owns the first and the last frames of a session. Must not know what is sent between: that is the `engine`'s.

Rules that hold here: a session has credentials, and has seen everything written before (a sync), when it is
handed over; those that are opened are spread over the servers, one server after the other.

Synopsis::

    await open_sessions(engine, hosts, 50, auth, "/coord-bench-1f2e3d4c")
    ...
    close_sessions(engine)
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from struct import Struct
from time import monotonic
from typing import Final

import trio

from coord.cli.bench.engine import Engine
from coord.cli.bench.tally import kind_of
from coord.cli.members import name_of
from coord.client.hosts import Address, Host, open_stream
from coord.errors import AuthFailed, ConnectionLost, ProtocolError
from coord.wire.records import (
    AuthPacket,
    ConnectRequest,
    Op,
    PathRequest,
    ReplyHeader,
    RequestHeader,
    Xid,
    decode_connect_reply,
)

SESSION_MS: Final = 30_000
AT_A_TIME: Final = 64
"""Connections being opened: servers do not keep many waiting."""
GOODBYE_SECONDS: Final = 1.0
GREETING_BYTES_MAX: Final = 64 * 1024
_LENGTH = Struct(">i")
_SYNC_XID: Final = 1

Credentials = Sequence[tuple[str, str]]


async def open_sessions(
    engine: Engine, hosts: Sequence[Host], count: int, auth: Credentials, path: str
) -> None:
    """Gives the engine `count` sessions. Raises `ConnectionLost`, `AuthFailed`."""
    places = trio.CapacityLimiter(AT_A_TIME)
    opened: dict[int, tuple[socket.socket, Host]] = {}
    failure: Exception | None = None

    async def one(number: int) -> None:
        nonlocal failure
        host = hosts[number % len(hosts)]
        async with places:
            if failure is not None:
                return
            try:
                opened[number] = await _open(host, auth, path), host
            except (ConnectionLost, AuthFailed) as error:
                failure = failure or error  # what others have begun is told of, too

    try:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
    finally:
        for number in sorted(opened):
            sock, host = opened[number]
            engine.add(sock, name_of(host))
    if failure is not None:
        failure.add_note(f"{len(opened)} of {count} clients were connected (maxClientCnxns may limit them)")
        raise failure


async def _open(host: Host, auth: Credentials, path: str) -> socket.socket:
    try:
        stream = await open_stream(Address(host, host.name))
    except OSError as error:
        raise ConnectionLost(f"{name_of(host)}: {error.strerror or error}") from None
    assert isinstance(stream, trio.SocketStream)
    try:
        await _greet(stream, auth, path)
    except (trio.BrokenResourceError, trio.EndOfChannel):
        await trio.aclose_forcefully(stream)
        raise ConnectionLost(f"{name_of(host)} closed the connection of a new client") from None
    except ProtocolError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectionLost(f"{name_of(host)} greets as no ZooKeeper does: {error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


async def _greet(stream: trio.SocketStream, auth: Credentials, path: str) -> None:
    await stream.send_all(_frame(ConnectRequest(0, 0, SESSION_MS, 0, bytes(16), False).encode()))
    if decode_connect_reply(await _receive(stream)).timeout_ms <= 0:
        raise ConnectionLost("the server refused a new session")
    for scheme, credentials in auth:
        packet = AuthPacket(0, scheme, credentials.encode("utf-8", "surrogateescape"))
        if await _ask(stream, Xid.AUTH, Op.AUTH, packet.encode()):
            raise AuthFailed(operation="bench")
    if error := await _ask(stream, _SYNC_XID, Op.SYNC, PathRequest(path).encode()):
        raise ConnectionLost(f"sync {path}: {kind_of(error)}")


async def _ask(stream: trio.SocketStream, xid: int, operation: Op, body: bytes) -> int:
    """The error code of the reply."""
    await stream.send_all(_frame(RequestHeader(xid, operation).encode() + body))
    while (reply := ReplyHeader.from_bytes(await _receive(stream))).xid != xid:
        pass
    return reply.err


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


async def _receive(stream: trio.SocketStream) -> bytes:
    """The next frame, and not a byte of what follows it."""
    (length,) = _LENGTH.unpack(await _exactly(stream, _LENGTH.size))
    if not 0 <= length <= GREETING_BYTES_MAX:
        raise ProtocolError(f"a frame announces {length} bytes")
    return await _exactly(stream, length)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        if not chunk:
            raise trio.EndOfChannel
        data += chunk
    return data


def close_sessions(engine: Engine) -> None:
    """Says goodbye on each connection, and waits a moment for the servers to have done it."""
    goodbye = _frame(RequestHeader(0, Op.CLOSE_SESSION).encode())
    deadline = monotonic() + GOODBYE_SECONDS
    waiting = []
    for connection in engine.connections:
        if connection.unsent or connection.outstanding:
            continue  # it was cut off in the midst of something
        with suppress(OSError):
            connection.sock.send(goodbye)
            waiting.append(connection.sock)
    for sock in waiting:
        sock.settimeout(max(0.0, deadline - monotonic()))
        with suppress(OSError):
            sock.recv(4096)
