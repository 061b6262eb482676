"""The server as a whole, in this process: start and stop, both kinds of carriers, many and bad clients."""

from __future__ import annotations

import dataclasses
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

import coord
from coord.config import Config
from coord.limits import BATCH_REQUESTS_MAX, REQUESTS_PER_TURN
from coord.server.server import BATCHES_PER_TURN, Server
from coord.server.surroundings import Surroundings
from coord.storage.files import DirectoryInUse
from coord.testing import embedded_server

HELLO = struct.pack(">iiqiqi16sb", 45, 0, 0, 30000, 0, 16, bytes(16), 0)


@pytest.mark.trio
async def test_it_serves_in_well_under_100_ms() -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        async with embedded_server() as server:
            took.append(time.perf_counter() - began)
            assert server.port
    assert sorted(took)[2] < 0.1, took


@pytest.mark.trio
async def test_data_and_sessions_survive_a_restart_on_disk(tmp_path: Path) -> None:
    async with embedded_server(data_dir=tmp_path) as server, coord.connect(server.connect_string) as zk:
        await zk.create("/kept", b"data")
        await zk.create("/mine", b"", ephemeral=True)
        session = zk.session.id
        await server.stop()
        await server.start()
        data, _ = await zk.get("/kept")
        stat = await zk.exists("/mine")
        assert data == b"data"
        assert stat is not None
        assert stat.ephemeral_owner == zk.session.id == session


@pytest.mark.trio
async def test_only_one_server_uses_a_directory(tmp_path: Path) -> None:
    async with embedded_server(data_dir=tmp_path):
        with pytest.raises(DirectoryInUse, match="in use"):
            async with embedded_server(data_dir=tmp_path):
                pass


@pytest.mark.trio
async def test_the_block_s_own_exception_leaves_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with embedded_server():
            raise KeyError("mine")


@pytest.mark.trio
async def test_a_port_that_is_taken_is_said() -> None:
    async with embedded_server() as server:
        with pytest.raises(OSError, match="in use"):
            async with embedded_server(port=server.port):
                pass


@asynccontextmanager
async def a_server(*, use_selector: bool) -> AsyncIterator[int]:
    config = Config(client_port=0, client_port_address="127.0.0.1", max_client_cnxns=0, tick_time_ms=200)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(Server(config, Surroundings(use_selector=use_selector)).run)
        yield server.port
        nursery.cancel_scope.cancel()


both_carriers = pytest.mark.parametrize("use_selector", [True, False])


@both_carriers
@pytest.mark.trio
async def test_a_client_is_served_by_either_carrier(use_selector: bool) -> None:
    async with a_server(use_selector=use_selector) as port, coord.connect(f"127.0.0.1:{port}") as zk:
        await zk.create("/a", bytes(900_000))
        with zk.watch() as watch:
            data, _ = await zk.get("/a", watch=watch)
            assert len(data) == 900_000
            await zk.set("/a", b"new")
            event = await watch.wait()
            assert event.path == "/a"
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(zk.create, f"/a/{number}")
        assert len(await zk.children("/a")) == 200


@both_carriers
@pytest.mark.trio
async def test_requests_beyond_one_turn_are_served_in_later_ones(use_selector: bool) -> None:
    requests = 3 * REQUESTS_PER_TURN + 1
    async with a_server(use_selector=use_selector) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(HELLO + struct.pack(">iii", 8, -2, 11) * requests)
            expected, received = 41 + 20 * requests, 0
            with trio.fail_after(5):
                while received < expected:
                    received += len(await stream.receive_some())
            assert received == expected


@pytest.mark.trio
async def test_others_have_their_turn_before_all_is_written_that_has_come_at_once(tmp_path: Path) -> None:
    clients = 2 * BATCHES_PER_TURN * BATCH_REQUESTS_MAX // REQUESTS_PER_TURN + 4
    writes = struct.pack(">iiii2sii", 22, 1, 5, 2, b"/a", 0, -1) * REQUESTS_PER_TURN
    config = Config(client_port=0, client_port_address="127.0.0.1", data_dir=tmp_path, max_client_cnxns=0)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(Server(config).run)
        socks = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(clients)]
        for sock in socks:
            sock.sendall(HELLO)
        while len(server.replica.machine.sessions.timeouts) < clients:
            await trio.lowlevel.checkpoint()
        for sock in socks:
            sock.sendall(writes)
        zxids = [server.replica.machine.zxid]
        while zxids[-1] < zxids[0] + clients * REQUESTS_PER_TURN:
            await trio.lowlevel.checkpoint()
            zxids.append(server.replica.machine.zxid)
        steps = [after - before for before, after in pairwise(zxids)]
        assert max(steps) <= 2 * BATCHES_PER_TURN * BATCH_REQUESTS_MAX, "of the sockets, and of what was left"
        for sock in socks:
            sock.close()
        nursery.cancel_scope.cancel()


@both_carriers
@pytest.mark.trio
async def test_a_client_that_is_gone_before_it_is_served_ends_nothing(use_selector: bool) -> None:
    async with a_server(use_selector=use_selector) as port:
        for _ in range(20):
            hasty = socket.create_connection(("127.0.0.1", port))
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.close()  # with a reset, before the server has had its turn
        async with coord.connect(f"127.0.0.1:{port}") as zk:
            assert await zk.exists("/")


@both_carriers
@pytest.mark.trio
async def test_a_client_that_reads_nothing_holds_up_nobody(use_selector: bool) -> None:
    """Its replies pile up to a bound, then its requests are not read any more."""
    async with a_server(use_selector=use_selector) as port, coord.connect(f"127.0.0.1:{port}") as zk:
        await zk.create("/big", bytes(1_000_000))
        deaf = await trio.open_tcp_stream("127.0.0.1", port)
        await deaf.send_all(HELLO)
        await deaf.receive_some(41)
        get = struct.pack(">iiii4s?", 17, 1, 4, 4, b"/big", False)
        with trio.move_on_after(0.5) as stuck:
            while True:
                await deaf.send_all(get * 1000)
        assert stuck.cancelled_caught, "the server stopped reading, so sending blocks at last"
        with trio.fail_after(2):
            await zk.set("/big", b"small")
        await deaf.aclose()


@both_carriers
@pytest.mark.trio
async def test_a_thousand_connections(use_selector: bool) -> None:
    async with a_server(use_selector=use_selector) as port:
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        try:
            for sock in socks:
                sock.sendall(HELLO)
            streams = [trio.socket.from_stdlib_socket(sock) for sock in socks]
            for stream in streams:
                reply = await stream.recv(41)
                assert struct.unpack_from(">i", reply, 8)[0] > 0
        finally:
            for sock in socks:
                sock.close()


@both_carriers
@pytest.mark.trio
async def test_garbage_and_silence_hurt_nobody_else(use_selector: bool) -> None:
    async with a_server(use_selector=use_selector) as port, coord.connect(f"127.0.0.1:{port}") as zk:
        silent = await trio.open_tcp_stream("127.0.0.1", port)
        for garbage in (b"\x7f\xff\xff\xff", b"\0\0\0\4abcd", b"GET / HTTP/1.1\r\n\r\n", HELLO + b"\xff" * 9):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(garbage)
            async with stream:
                with trio.fail_after(2):
                    try:
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass  # closed with bytes unread is a reset
        await zk.create("/well")
        await silent.aclose()


@pytest.mark.trio
async def test_settings_reach_the_server() -> None:
    async with embedded_server(max_session_timeout_ms=700) as server:
        assert dataclasses.asdict(server.config)["max_session_timeout_ms"] == 700
        async with coord.connect(server.connect_string, timeout=30) as zk:
            assert zk.session.timeout == pytest.approx(0.7)


# -- the end ----------------------------------------------------------------------------------------------


@both_carriers
@pytest.mark.trio
async def test_a_restart_in_good_order_fails_no_write(tmp_path: Path, use_selector: bool) -> None:
    numbers: list[int] = []

    async def count(zk: coord.Client) -> None:
        while True:
            numbers.append(int((await zk.create("/n/", sequential=True)).removeprefix("/n/")))

    async def write(port: int) -> None:
        async with coord.connect(f"127.0.0.1:{port}") as zk, trio.open_nursery() as nursery:
            await zk.create("/n")
            for _ in range(20):
                nursery.start_soon(count, zk)

    config = Config(client_port=0, client_port_address="127.0.0.1", data_dir=tmp_path, tick_time_ms=200)
    with trio.fail_after(30):
        async with trio.open_nursery() as writers:
            for start in range(4):
                async with trio.open_nursery() as running:
                    server: Server = await running.start(
                        Server(config, Surroundings(use_selector=use_selector)).run
                    )
                    if start == 0:
                        config = dataclasses.replace(config, client_port=server.port)
                        writers.start_soon(write, server.port)
                    before = len(numbers)
                    while len(numbers) < before + 300:
                        await trio.sleep(0.001)
                    if start == 3:
                        writers.cancel_scope.cancel()
                    else:
                        await server.retire()
                    running.cancel_scope.cancel()
    assert len(numbers) == len(set(numbers))
    assert set(range(1200)) <= set(numbers)
