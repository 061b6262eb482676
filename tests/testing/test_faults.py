"""The gate, by itself: what gets through it, and when."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from coord.testing.faults import Gate, GatedStream


@asynccontextmanager
async def connection(gate: Gate) -> AsyncIterator[tuple[GatedStream, socket.socket]]:
    """The end that is behind the gate, and the other one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await trio.open_tcp_stream(*listener.getsockname())
        other, _ = listener.accept()
    with other:
        async with GatedStream(stream, gate) as gated:
            yield gated, other


@pytest.mark.trio
async def test_what_is_said_comes_through_a_gate_that_opens_again(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with connection(gate) as (stream, other):
        gate.shut()
        other.sendall(b"late")
        with trio.move_on_after(10) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, b"later")
                nursery.start_soon(stream.receive_some)
        assert scope.cancelled_caught
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        gate.open()
        await stream.send_all(b"now")
        assert other.recv(10) == b"now"


@pytest.mark.trio
@pytest.mark.parametrize("linger_seconds", [None, 0], ids=["closed", "reset"])
async def test_the_end_of_a_connection_is_not_heard_through_a_shut_gate(
    autojump_clock: MockClock, linger_seconds: int | None
) -> None:
    gate = Gate()
    async with connection(gate) as (stream, other):
        if linger_seconds is not None:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger_seconds))
        heard = trio.Event()

        async def listen() -> None:
            try:
                assert await stream.receive_some() == b""
            except trio.BrokenResourceError:
                assert linger_seconds is not None
            heard.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await wait_all_tasks_blocked()
            gate.shut()
            other.close()
            await trio.sleep(10)
            assert not heard.is_set()
            gate.open()
            await heard.wait()
