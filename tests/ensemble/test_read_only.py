"""One of three real servers is left: who is content with that reads on, and writes when others are back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from kazoo.client import KazooClient, KazooState, KeeperState
from kazoo.exceptions import NotReadOnlyCallError

import coord
from coord import SessionState
from tests.ensemble.processes import EnsembleProcesses
from tests.rawclient import four_letters

TEST_SECONDS = 60.0


async def word(ensemble: EnsembleProcesses, one: int, what: bytes) -> str:
    return (await trio.to_thread.run_sync(four_letters, ensemble.port(one), what)).decode()


@asynccontextmanager
async def one_of_three(directory: Path) -> AsyncIterator[tuple[EnsembleProcesses, int, int]]:
    """The only member that is left of an ensemble with /a, and a dead one that can come back."""
    config = {"readonlymode.enabled": "true", "tickTime": "500"}
    with trio.fail_after(TEST_SECONDS):
        async with EnsembleProcesses(directory, 3, config) as ensemble:
            async with coord.connect(ensemble.hosts()) as zk:
                await zk.create("/a", b"old")
            await ensemble.until_equal()
            leader = await ensemble.leader()
            last, other = ensemble.followers(leader)
            assert await word(ensemble, last, b"isro") == "rw"
            ensemble.kill(leader, other)
            yield ensemble, last, other


@pytest.mark.trio
async def test_clients_read_without_a_quorum_and_write_when_it_is_back(tmp_path: Path) -> None:
    async with (
        one_of_three(tmp_path) as (ensemble, last, other),
        coord.connect(ensemble.hosts(), read_only=True) as zk,
    ):
        assert zk.session.state.value is SessionState.CONNECTED_READ_ONLY
        assert (await ensemble.modes())[last] == "read-only"
        assert await word(ensemble, last, b"isro") == "ro"
        assert (await zk.get("/a"))[0] == b"old"
        with pytest.raises(coord.NotReadOnly):
            await zk.set("/a", b"new")
        with pytest.raises(trio.TooSlowError):
            await coord.connect(ensemble.hosts(last), patience=0.5).__aenter__()
        async with zk.watch_data("/a") as states:
            node = await states.receive()
            assert node is not None
            assert node.data == b"old"
            ensemble.spawn(other)
            await zk.session.state.wait_value(SessionState.CONNECTED)
            await zk.set("/a", b"new")
            node = await states.receive()
            assert node is not None
            assert node.data == b"new"
            assert zk.session.generation == 2


@pytest.mark.trio
async def test_kazoo_reads_without_a_quorum_and_writes_when_it_is_back(tmp_path: Path) -> None:
    async with one_of_three(tmp_path) as (ensemble, last, other):
        zk = KazooClient(ensemble.hosts(), timeout=3, read_only=True)
        await trio.to_thread.run_sync(zk.start)
        try:
            assert zk.client_state == KeeperState.CONNECTED_RO
            assert (await trio.to_thread.run_sync(zk.get, "/a"))[0] == b"old"
            with pytest.raises(NotReadOnlyCallError):
                await trio.to_thread.run_sync(zk.set, "/a", b"new")
            ensemble.spawn(other)
            await ensemble.until(lambda: zk.client_state == KeeperState.CONNECTED)
            await trio.to_thread.run_sync(zk.retry, zk.set, "/a", b"new")
            assert zk.state == KazooState.CONNECTED
            assert (await ensemble.modes())[last] in ("leader", "follower")
        finally:
            await trio.to_thread.run_sync(zk.stop)
            await trio.to_thread.run_sync(zk.close)
