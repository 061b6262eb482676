"""`coord.testing.embedded_server`: its faults, its restarts, and its time, from a trio loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import coord
from coord.config import Config
from coord.testing import EmbeddedServer, advance, embedded_server
from coord.testing.sessions import session_id_of

SECONDS = 10.0
"""of every session"""


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with embedded_server() as server:
        yield server


@pytest.fixture
async def zk(server: EmbeddedServer) -> AsyncIterator[coord.Client]:
    async with coord.connect(server.connect_string, timeout=SECONDS) as client:
        yield client


@pytest.fixture
async def other(server: EmbeddedServer) -> AsyncIterator[coord.Client]:
    async with coord.connect(server.connect_string, timeout=SECONDS) as client:
        yield client


@pytest.mark.trio
async def test_a_session_that_is_ended_takes_its_ephemerals_and_tells_its_client(
    server: EmbeddedServer, zk: coord.Client, other: coord.Client
) -> None:
    await zk.create("/e", ephemeral=True)
    ended = zk.session.id
    with zk.session.guard() as guard:
        await server.expire_session(zk)
        assert ended not in server.sessions()
        assert await other.exists("/e") is None
        await trio.sleep_forever()  # the guard ends this
    assert guard.lost
    with pytest.raises(coord.SessionExpired):
        await zk.exists("/e") if zk.session.id == ended else guard.ensure()
    await zk.create("/e", ephemeral=True)  # in the next session
    assert zk.session.id in server.sessions()


@pytest.mark.trio
async def test_what_has_no_session_is_said(server: EmbeddedServer, zk: coord.Client) -> None:
    with pytest.raises(LookupError, match=f"no session 0x99 on this server; there are: 0x{zk.session.id:x}"):
        await server.expire_session(0x99)
    with pytest.raises(TypeError, match="a client of kazoo's or coord's, not 'x'"):
        await server.expire_session("x")
    await server.stop()
    with pytest.raises(RuntimeError, match="the server is down"):
        await server.expire_session(zk)
    with pytest.raises(RuntimeError, match="the server is down"):
        server.drop_connections()
    await server.start()
    with pytest.raises(RuntimeError, match="runs already"):
        await server.start()


def test_a_session_is_known_by_whatever_has_it() -> None:
    class Kazoo:
        client_id: tuple[int, bytes] | None = (7, b"secret")

    assert session_id_of(7) == 7
    assert session_id_of(Kazoo()) == 7
    assert session_id_of((7, b"secret")) == 7
    assert session_id_of(coord.SessionHandle(7, b"secret")) == 7
    assert session_id_of(0xFF00_0000_0000_0001) == -0x00FF_FFFF_FFFF_FFFF  # as it is printed
    Kazoo.client_id = None
    with pytest.raises(ValueError, match="has no session now"):
        session_id_of(Kazoo())
    with pytest.raises(TypeError):
        session_id_of(True)


@pytest.mark.trio
async def test_who_is_cut_off_for_its_timeout_expires_and_who_is_connected_does_not(
    mock_clock: MockClock, server: EmbeddedServer, zk: coord.Client
) -> None:
    session = zk.session.id
    await server.advance(10 * SECONDS)
    assert server.sessions() == (session,)
    server.partition()
    await server.advance(SECONDS / 2)
    assert server.sessions() == (session,)
    await server.advance(SECONDS / 2)
    assert server.sessions() == ()
    assert zk.session.state.value is coord.SessionState.SUSPENDED  # nobody can tell it
    server.heal()
    await server.advance(SECONDS)
    assert zk.session.id not in (0, session)


@pytest.mark.trio
async def test_what_was_said_through_a_partition_arrives_after_it(
    autojump_clock: MockClock, server: EmbeddedServer, zk: coord.Client
) -> None:
    with server.partition():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(zk.create, "/late")
            await trio.sleep(1)
            assert zk.session.state.value is coord.SessionState.CONNECTED
            server.heal()
    assert await zk.exists("/late")


@pytest.mark.trio
async def test_a_partition_hides_that_the_server_hangs_up(
    autojump_clock: MockClock, server: EmbeddedServer, zk: coord.Client
) -> None:
    with server.partition():
        await server.expire_session(zk)
        await trio.sleep(SECONDS / 4)
        assert zk.session.state.value is coord.SessionState.CONNECTED
    with pytest.raises(coord.SessionExpired):
        await zk.exists("/")
    assert await zk.exists("/")


@pytest.mark.trio
async def test_new_connections_hang_in_a_partition(autojump_clock: MockClock, server: EmbeddedServer) -> None:
    server.partition()
    with pytest.raises(trio.TooSlowError):
        async with coord.connect(server.connect_string, patience=5):
            pass
    server.heal()
    async with coord.connect(server.connect_string, patience=5):
        pass


@pytest.mark.trio
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_data_and_sessions_are_kept_in_memory(
    autojump_clock: MockClock, server: EmbeddedServer, zk: coord.Client, how: str
) -> None:
    await zk.create("/p", b"1")
    await zk.create("/e", ephemeral=True)
    port, session = server.port, zk.session.id
    for _ in range(3):
        await (server.stop() if how == "stop" else server.kill())
        assert not server.running
        with pytest.raises(OSError, match=f"127.0.0.1:{port} failed"):
            await trio.open_tcp_stream("127.0.0.1", port)
        await server.start()
        assert server.port == port
        assert await zk.exists("/e")
        assert (await zk.get("/p"))[0] == b"1"
        assert zk.session.id == session
    await server.restart()
    async with coord.connect(server.connect_string, session=zk.session.handle) as same:
        assert same.session.id == session


@pytest.mark.trio
async def test_data_on_disk_is_there_for_the_next_server(tmp_path: Path) -> None:
    for data in (b"1", b"2"):
        async with (
            embedded_server(data_dir=tmp_path) as server,
            coord.connect(server.connect_string) as zk,
        ):
            await zk.ensure_path("/p")
            assert (await zk.get("/p"))[0] == (b"" if data == b"1" else b"1")
            await zk.set("/p", data)


@pytest.mark.trio
async def test_dropped_connections_come_back_with_their_sessions(
    server: EmbeddedServer, zk: coord.Client
) -> None:
    await zk.create("/e", ephemeral=True)
    for _ in range(3):
        server.drop_connections()
        await zk.session.state.wait_value(lambda state: state is not coord.SessionState.CONNECTED)
        assert await zk.exists("/e")


@pytest.mark.trio
async def test_a_server_that_stops_does_not_wait_long_for_a_client_that_does_not_hang_up(
    server: EmbeddedServer,
) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", server.port):
        with trio.fail_after(1):
            await server.stop()


@pytest.mark.trio
async def test_time_to_live_is_virtual_too(mock_clock: MockClock) -> None:
    async with (
        embedded_server(tick_time=10, container_check_interval_ms=10_000) as server,
        coord.connect(server.connect_string) as zk,
    ):
        await zk.create("/t", ttl=3600)
        await server.advance(3500)
        assert await zk.exists("/t")
        await server.advance(200)
        assert await zk.exists("/t") is None


@pytest.mark.trio
async def test_real_time_cannot_be_advanced(server: EmbeddedServer) -> None:
    with pytest.raises(RuntimeError, match="real time, which cannot be advanced"):
        await server.advance(1)


@pytest.mark.trio
async def test_the_clock_is_as_it_was_after_an_advance(mock_clock: MockClock) -> None:
    mock_clock.rate = 1
    await advance(3600)
    assert 3600 <= trio.current_time() < 3610
    assert (mock_clock.rate, mock_clock.autojump_threshold) == (1, float("inf"))
    with trio.move_on_after(5) as scope:
        await advance(10)  # cancelled
    assert scope.cancelled_caught
    assert mock_clock.rate == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(advance, 10)
        nursery.start_soon(advance, 20)
    assert (mock_clock.rate, mock_clock.autojump_threshold) == (1, float("inf"))


@pytest.mark.trio
async def test_a_setting_that_there_is_not_is_said() -> None:
    with pytest.raises(TypeError, match=r"no setting 'tick_tim'; did you mean tick_time\?"):
        async with embedded_server(tick_tim=1):
            pass
    async with embedded_server(max_session_timeout=5, min_session_timeout=1) as server:
        assert isinstance(server.config, Config)
        async with coord.connect(server.connect_string, timeout=60) as zk:
            assert zk.session.timeout == 5
        async with coord.connect(server.connect_string, timeout=0.1) as zk:
            assert zk.session.timeout == 1
