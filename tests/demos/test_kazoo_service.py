"""The elected service, with kazoo and with coord: its instances take turns; and one is cut off."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
from kazoo.client import KazooClient

import coord
from coord.testing import EmbeddedEnsemble, EnsembleHandle, ServerHandle
from demos.kazoo_service import PERIOD_SECONDS, serve_with_coord, serve_with_kazoo
from tests.kazoo_client import kazoo_client

SESSION_SECONDS = 2.0
PATIENCE_SECONDS = 10.0


class Instance:
    """One that runs in a thread, with kazoo."""

    def __init__(self, client: KazooClient, host: str) -> None:
        self.client = client
        self.host = host
        self.stopping = threading.Event()
        self._rounds = threading.Semaphore(0)
        self._thread = threading.Thread(
            target=serve_with_kazoo, args=(client, host, self._rounds.release, self.stopping)
        )

    def start(self) -> None:
        self._thread.start()

    def has_worked(self) -> bool:
        """Has it done one more round since the last time, or does it soon?"""
        return self._rounds.acquire(timeout=PATIENCE_SECONDS)

    def forget(self) -> None:
        """All rounds so far."""
        while self._rounds.acquire(blocking=False):
            pass

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()


@contextmanager
def instance(hosts: str, host: str) -> Iterator[Instance]:
    with kazoo_client(hosts) as client:
        one = Instance(client, host)
        one.start()
        try:
            yield one
        finally:
            one.stop()


def test_with_kazoo_the_next_one_works_when_the_first_stops(coord_server: ServerHandle) -> None:
    with instance(coord_server.connect_string, "host1") as first:
        assert first.has_worked()
        with instance(coord_server.connect_string, "host2") as second:
            first.stop()
            assert second.has_worked()


def test_with_kazoo_a_leader_that_is_cut_off_works_beside_its_successor(
    coord_ensemble: EnsembleHandle,
) -> None:
    near, far, _ = coord_ensemble.members
    with instance(near.connect_string, "host1") as first:
        assert first.has_worked()
        with instance(far.connect_string, "host2") as second, near.partition():
            coord_ensemble.expire_session(first.client)
            assert second.has_worked()
            first.forget()
            assert first.has_worked()
            assert second.has_worked()


def test_with_kazoo_a_leader_that_is_told_steps_down(coord_server: ServerHandle) -> None:
    with instance(coord_server.connect_string, "host1") as first:
        assert first.has_worked()
        with instance(coord_server.connect_string, "host2") as second:
            coord_server.expire_session(first.client)
            assert second.has_worked()


@pytest.fixture
def worked() -> list[tuple[str, float]]:
    """Who has done a round, and when."""
    return []


def works(host: str, worked: list[tuple[str, float]]) -> Callable[[int], Awaitable[None]]:
    async def work(token: int) -> None:
        worked.append((host, trio.current_time()))

    return work


@pytest.mark.trio
async def test_with_coord_a_leader_that_is_cut_off_has_stopped_before_its_successor_begins(
    coord_trio_ensemble: EmbeddedEnsemble, autojump_clock: object, worked: list[tuple[str, float]]
) -> None:
    near, far, _ = coord_trio_ensemble.members
    async with (
        coord.connect(near.connect_string, timeout=SESSION_SECONDS) as one,
        coord.connect(far.connect_string, timeout=SESSION_SECONDS) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serve_with_coord, one, "host1", works("host1", worked))
        await trio.sleep(1)
        nursery.start_soon(serve_with_coord, two, "host2", works("host2", worked))
        near.partition()
        await trio.sleep(2 * SESSION_SECONDS)
        near.heal()
        nursery.cancel_scope.cancel()
    hosts = [host for host, _ in worked]
    assert hosts == sorted(hosts)  # host1 to its end, then host2
    assert set(hosts) == {"host1", "host2"}


@pytest.mark.trio
async def test_with_coord_the_next_one_works_when_the_session_of_the_first_ends(
    coord_trio_ensemble: EmbeddedEnsemble, autojump_clock: object, worked: list[tuple[str, float]]
) -> None:
    hosts = coord_trio_ensemble.connect_string
    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        nursery.start_soon(serve_with_coord, one, "host1", works("host1", worked))
        await trio.sleep(1)
        nursery.start_soon(serve_with_coord, two, "host2", works("host2", worked))
        await trio.sleep(1)
        assert {host for host, _ in worked} == {"host1"}
        await coord_trio_ensemble.expire_session(one)
        await trio.sleep(PERIOD_SECONDS + 1)
        assert worked[-1][0] == "host2"
        nursery.cancel_scope.cancel()
