"""`coord.testing.server_in_thread`, as tests without trio use it: with kazoo, and from asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import SessionExpiredError

import coord
from coord import aio, blocking
from coord.storage.files import StorageFailed
from coord.testing import (
    EnsembleHandle,
    ServerHandle,
    ensemble_in_thread,
    server_in_thread,
)
from recipes import LockLost
from tests.kazoo_client import kazoo_client

PATIENCE_SECONDS = 10.0
QUICK_SECONDS = 3.0
SESSION_SECONDS = 30
"""of a kazoo_client's session"""


@pytest.fixture
def server() -> Iterator[ServerHandle]:
    with server_in_thread() as server:
        yield server


@pytest.fixture
def ensemble() -> Iterator[EnsembleHandle]:
    with ensemble_in_thread() as ensemble:
        yield ensemble


@pytest.fixture
def client(server: ServerHandle) -> Iterator[KazooClient]:
    with kazoo_client(server.connect_string) as client:
        yield client


@pytest.fixture
def states(client: KazooClient) -> Queue[str]:
    """What kazoo says of its session, from now on."""
    states: Queue[str] = Queue()
    client.add_listener(states.put)
    return states


def until(states: Queue[str], state: str) -> None:
    while states.get(timeout=PATIENCE_SECONDS) != state:
        pass


def quick(fn: Callable[[], object]) -> None:
    """A control takes milliseconds; it is granted more, on a machine that is busy."""
    began = time.monotonic()
    fn()
    assert time.monotonic() - began < QUICK_SECONDS


def test_kazoo_is_told_that_its_session_has_ended(
    server: ServerHandle, client: KazooClient, states: Queue[str]
) -> None:
    client.create("/e", ephemeral=True)
    session = client.client_id[0]
    assert server.sessions() == (session,)
    quick(lambda: server.expire_session(client))
    assert server.sessions() == ()
    until(states, KazooState.LOST)
    until(states, KazooState.CONNECTED)
    assert client.client_id[0] != session
    assert client.exists("/e") is None


def test_kazoo_keeps_its_session_over_a_restart(
    server: ServerHandle, client: KazooClient, states: Queue[str]
) -> None:
    client.create("/e", b"1", ephemeral=True)
    quick(server.restart)
    until(states, KazooState.SUSPENDED)
    until(states, KazooState.CONNECTED)
    assert client.get("/e")[0] == b"1"
    server.kill()
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))
    quick(server.start)
    until(states, KazooState.CONNECTED)
    assert client.get("/e")[0] == b"1"


def test_kazoo_waits_in_a_partition(server: ServerHandle, client: KazooClient) -> None:
    with server.partition():
        creating = client.create_async("/late")
        with kazoo_not_started(server) as other:
            connecting = other.start_async()
            assert not creating.ready()
            assert not connecting.is_set()
            server.heal()
            assert creating.get(timeout=PATIENCE_SECONDS) == "/late"
            assert connecting.wait(PATIENCE_SECONDS)


@contextmanager
def kazoo_not_started(server: ServerHandle) -> Iterator[KazooClient]:
    client = KazooClient(server.connect_string)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_to_the_server_kazoo_was_silent_while_time_was_advanced(
    server: ServerHandle, client: KazooClient, states: Queue[str]
) -> None:
    session = client.client_id[0]
    quick(lambda: server.advance(SESSION_SECONDS - 1))
    client.exists("/")  # a sign of life
    server.advance(SESSION_SECONDS - 1)
    assert session in server.sessions()
    server.advance(SESSION_SECONDS)
    assert session not in server.sessions()
    until(states, KazooState.LOST)


def test_dropped_connections_come_back(server: ServerHandle, client: KazooClient, states: Queue[str]) -> None:
    client.create("/e", ephemeral=True)
    server.drop_connections()
    until(states, KazooState.SUSPENDED)
    until(states, KazooState.CONNECTED)
    assert client.exists("/e")


def test_chroots_have_nothing_in_common(server: ServerHandle) -> None:
    one, other = server.new_chroot("test_x[a/b]"), server.new_chroot()
    assert "/test_x-a-b-" in one
    with kazoo_client(one) as client, kazoo_client(other) as stranger:
        client.create("/a")
        assert client.get_children("/") == ["a"]
        assert stranger.get_children("/") == []


def test_chroots_of_an_ensemble_and_of_its_members_have_nothing_in_common(ensemble: EnsembleHandle) -> None:
    with kazoo_client(ensemble.connect_string) as client:
        client.create("/1")
    places = [one.new_chroot().partition("/")[2] for one in (ensemble, *ensemble.members, ensemble)]
    assert len({*places, "1"}) == 6


def test_an_ensemble_outlives_its_leader(ensemble: EnsembleHandle) -> None:
    with kazoo_client(ensemble.connect_string) as client:
        client.create("/e", ephemeral=True)
        old = ensemble.kill_leader()
        assert not old.running
        new = ensemble.wait_leader()
        assert (new, ensemble.leader) == (ensemble.members[new.id - 1], new)
        client.retry(client.ensure_path, "/after")
        old.start()
        assert ensemble.wait_leader() is new
        ensemble.expire_session(client)
        with pytest.raises((SessionExpiredError, AssertionError)):
            assert client.exists("/e")


def test_an_ensemble_without_a_majority_has_no_leader(ensemble: EnsembleHandle) -> None:
    leader = ensemble.wait_leader()
    with ensemble.partition(leader):
        assert ensemble.wait_leader() is not leader
    ensemble.kill_leader()
    ensemble.kill_leader()
    with pytest.raises(TimeoutError, match=r"no member of the ensemble leads after 0\.1 s"):
        ensemble.wait_leader(0.1)
    ensemble.restore()
    assert all(member.running for member in ensemble.members)
    with pytest.raises(ValueError, match="has members 1 to 3"):
        ensemble.partition(7)


def test_a_session_is_ended_by_who_leads(ensemble: EnsembleHandle) -> None:
    leader = ensemble.wait_leader()
    follower = next(one for one in ensemble.members if one is not leader)
    with kazoo_client(ensemble.connect_string) as client:
        with pytest.raises(RuntimeError, match=r"running> does not lead: ask the ensemble"):
            follower.expire_session(client)
        leader.expire_session(client)


def test_a_server_that_is_gone_says_so() -> None:
    with server_in_thread() as server:
        pass
    for use in (server.start, server.sessions, server.partition, server.new_chroot):
        with pytest.raises(RuntimeError, match=r"<EmbeddedServer 127\.0\.0\.1:\d+ down> has ended"):
            use()


def test_a_program_of_asyncio_has_its_loop_for_itself() -> None:
    async def main() -> bytes:
        with server_in_thread() as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"ruok")
            answer = await reader.read()
            server.restart()
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(main()) == b"imok"


def test_clients_for_threads_live_in_the_servers_time(server: ServerHandle) -> None:
    with blocking.connect(server.connect_string, timeout=10) as zk:
        zk.create("/e", ephemeral=True)
        session = zk.session.id
        quick(lambda: server.advance(60))
        assert server.sessions() == (session,)
        with server.partition():
            quick(lambda: server.advance(10))
            assert server.sessions() == ()
        with suppress(coord.SessionExpired):  # or in the next session already
            zk.exists("/e")
        zk.create("/e", ephemeral=True)
        server.expire_session(zk)
        with suppress(coord.SessionExpired):
            zk.exists("/e")
        assert zk.exists("/e") is None


def test_a_lock_of_a_thread_is_lost_before_its_session_is(server: ServerHandle) -> None:
    def hold(zk: blocking.Client) -> None:
        with blocking.Lock(zk, "/lock") as grant, server.partition():
            server.advance(7)
            assert not grant.lost
            server.advance(4)
            assert grant.lost
            assert len(server.sessions()) == 1

    with blocking.connect(server.connect_string, timeout=12) as zk, pytest.raises(LockLost):
        hold(zk)


def test_clients_for_asyncio_live_in_the_servers_time(server: ServerHandle) -> None:
    async def main() -> None:
        async with aio.connect(server.connect_string, timeout=10) as zk:
            await zk.create("/e", ephemeral=True)
            quick(lambda: server.advance(60))
            assert len(server.sessions()) == 1
            with server.partition():
                quick(lambda: server.advance(10))
                assert server.sessions() == ()
            with suppress(coord.SessionExpired):  # or in the next session already
                await zk.exists("/e")
            await zk.create("/e", ephemeral=True)
            server.expire_session(zk)
            with suppress(coord.SessionExpired):
                await zk.exists("/e")
            assert await zk.exists("/e") is None

    asyncio.run(main())


def test_a_client_that_nobody_closes_is_closed_with_the_server() -> None:
    with server_in_thread() as server:
        began = time.monotonic()
        zk = blocking.connect(server.connect_string).start()
        zk.create("/e", ephemeral=True)
    assert time.monotonic() - began < QUICK_SECONDS
    with pytest.raises(coord.ClientClosed):
        zk.exists("/e")


def test_nothing_is_left() -> None:
    gc.collect()
    threads, files = set(threading.enumerate()), open_files()
    for open_one in (server_in_thread, ensemble_in_thread):
        with open_one() as one:
            if isinstance(one, ServerHandle):
                one.partition()
                one.kill()
            else:
                one.members[0].partition()
                one.partition(1)
                one.kill_leader()
    assert set(threading.enumerate()) == threads
    assert open_files() == files


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


def test_a_server_that_fails_says_why_in_the_end(tmp_path: Path) -> None:
    def write_until_lost(hosts: str) -> None:
        with blocking.connect(hosts) as zk:
            while True:
                zk.create("/a-", sequential=True, timeout=1)

    def play() -> None:
        with server_in_thread(data_dir=str(tmp_path), snap_count=10) as server:
            shutil.rmtree(tmp_path)  # under its feet
            with pytest.raises((coord.ConnectionLost, TimeoutError)):
                write_until_lost(server.connect_string)

    with pytest.raises(ExceptionGroup) as failed:
        play()
    assert failed.group_contains(StorageFailed)


def test_a_server_that_cannot_start_says_so(server: ServerHandle) -> None:
    with pytest.raises(OSError, match="in use"), server_in_thread(port=server.port):
        pass
    with pytest.raises(TypeError, match="no setting"), server_in_thread(nonsense=1):
        pass
