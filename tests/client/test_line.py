"""A connection's bytes: what is not taken at once stays in order; what broke is told of where one waits."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing

from coord.client.line import Line, line_of


@asynccontextmanager
async def plain() -> AsyncIterator[tuple[Line, trio.abc.Stream]]:
    """A TCP connection, and its other side."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    near = await trio.open_tcp_stream("127.0.0.1", port)
    far = await listeners[0].accept()
    await listeners[0].aclose()
    line = line_of(near)
    try:
        yield line, far
    finally:
        await line.close()
        await trio.aclose_forcefully(far)


@asynccontextmanager
async def in_memory() -> AsyncIterator[tuple[Line, trio.abc.Stream]]:
    near, far = trio.testing.memory_stream_pair()
    line = line_of(near)
    try:
        yield line, far
    finally:
        await line.close()


both = pytest.mark.parametrize("opened", [plain, in_memory])
Opened = Callable[[], AbstractAsyncContextManager[tuple[Line, trio.abc.Stream]]]


async def everything(far: trio.abc.Stream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += await far.receive_some(65536)
    return bytes(data)


@pytest.mark.trio
@both
async def test_bytes_go_to_and_fro(opened: Opened) -> None:
    async with opened() as (line, far):
        line.send(b"one ")
        line.send(b"two")
        await line.drained()
        assert not line.behind
        assert await everything(far, 7) == b"one two"
        await far.send_all(b"three")
        assert await line.receive() == b"three"
        await far.aclose()
        assert await line.receive() == b""


@pytest.mark.trio
async def test_what_is_sent_at_once_needs_no_waiting() -> None:
    async with plain() as (line, far):
        assert line.direct
        line.send(b"now")
        assert not line.behind
        assert await far.receive_some() == b"now"


@pytest.mark.trio
async def test_what_a_slow_reader_does_not_take_stays_in_order() -> None:
    pieces = [bytes([number]) * 1_000_000 for number in range(20)]
    async with plain() as (line, far), trio.open_nursery() as nursery:
        for piece in pieces:
            line.send(piece)
        assert line.behind
        nursery.start_soon(line.drained)
        await trio.testing.wait_all_tasks_blocked()
        assert line.behind
        assert await everything(far, 20_000_000) == b"".join(pieces)
    assert not line.behind


@pytest.mark.trio
async def test_a_broken_connection_is_told_of_when_it_is_waited_for() -> None:
    async with plain() as (line, far):
        assert isinstance(far, trio.SocketStream)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await far.aclose()  # a reset
        with pytest.raises(ConnectionResetError):
            await line.receive()
        line.send(b"into the void")
        assert line.behind
        with pytest.raises(OSError, match=r"pipe|reset"):
            await line.drained()


@pytest.mark.trio
@both
async def test_whoever_waits_can_be_cancelled(opened: Opened) -> None:
    async with opened() as (line, far):
        with trio.move_on_after(0) as scope:
            await line.receive()
        assert scope.cancelled_caught
        await far.send_all(b"later")
        assert await line.receive() == b"later"


@pytest.mark.trio
async def test_closing_ends_the_waiting() -> None:
    async with plain() as (line, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await line.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await line.close()
