"""The selector's input loop against clients whose timing is against it: events that meet in one turn."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from coord.config import Config
from coord.server.server import Server
from coord.server.surroundings import Surroundings
from coord.wire.frames import pack_frame
from coord.wire.records import ConnectReply, ConnectRequest, decode_connect_reply


@asynccontextmanager
async def a_server() -> AsyncIterator[Server]:
    """One that has its clients in a selector; the embedded ones have a task for each."""
    config = Config(client_port=0, client_port_address="127.0.0.1", four_letter_whitelist=frozenset({"ruok"}))
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(Server(config, Surroundings(use_selector=True)).run)
        yield server
        nursery.cancel_scope.cancel()


def greeting(session: ConnectReply | None = None) -> bytes:
    known = session or ConnectReply(0, 0, 0, bytes(16), False)
    return pack_frame(ConnectRequest(0, 0, 5000, known.session_id, known.password, False).encode())


async def received(sock: socket.socket) -> bytes:
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(sock)
        return sock.recv(1 << 16)


async def connected(server: Server) -> socket.socket:
    """A socket the server has accepted. What is sent on it without an `await` arrives in one turn."""
    before = len(server.replica.lobby.connections)
    sock = socket.create_connection(("127.0.0.1", server.port))
    with trio.fail_after(5):
        while len(server.replica.lobby.connections) == before:
            await trio.lowlevel.checkpoint()
    return sock


@pytest.mark.trio
async def test_a_session_resumes_in_the_turn_in_which_its_old_connection_ends() -> None:
    """The old one is told to close and is found closed before its outbox, which is empty, is looked at."""
    async with a_server() as server:
        old = await connected(server)
        old.sendall(greeting())
        session = decode_connect_reply((await received(old))[4:])
        with await connected(server) as new:
            new.sendall(greeting(session))
            old.close()
            assert decode_connect_reply((await received(new))[4:]).session_id == session.session_id
            with await connected(server) as third:
                third.sendall(b"ruok")
                assert await received(third) == b"imok", "the server lives on"
