"""The workers, with kazoo and with coord: they follow the settings and each other; and a session ends."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
from kazoo.client import KazooClient

import coord
from coord.testing import EmbeddedServer, ServerHandle
from demos.kazoo_config import CONFIG, follow_with_coord, follow_with_kazoo
from tests.kazoo_client import kazoo_client

PATIENCE_SECONDS = 10.0

State = tuple[dict[str, Any], list[str]]


class Seen:
    """What a worker with kazoo was told."""

    def __init__(self) -> None:
        self._states: queue.Queue[State] = queue.Queue()

    def __call__(self, settings: dict[str, Any], workers: list[str]) -> None:
        self._states.put((settings, workers))

    def wait(self, settings: dict[str, Any], *workers: str) -> None:
        while self._states.get(timeout=PATIENCE_SECONDS) != (settings, list(workers)):
            pass


@pytest.fixture
def client(coord_server: ServerHandle) -> Iterator[KazooClient]:
    with kazoo_client(coord_server.connect_string) as client:
        yield client


@pytest.fixture
def operator(coord_server: ServerHandle) -> Iterator[KazooClient]:
    with kazoo_client(coord_server.connect_string) as client:
        yield client


def test_with_kazoo_workers_follow_the_settings_and_each_other(
    client: KazooClient, operator: KazooClient
) -> None:
    one, other = Seen(), Seen()
    follow_with_kazoo(client, "host1", one)
    one.wait({}, "host1")
    operator.create(CONFIG, b'{"batch": 50}')
    one.wait({"batch": 50}, "host1")
    follow_with_kazoo(operator, "host2", other)
    other.wait({"batch": 50}, "host1", "host2")
    one.wait({"batch": 50}, "host1", "host2")


def test_with_kazoo_a_worker_whose_session_ended_works_unseen(
    coord_server: ServerHandle, client: KazooClient, operator: KazooClient
) -> None:
    one, other = Seen(), Seen()
    follow_with_kazoo(client, "host1", one)
    follow_with_kazoo(operator, "host2", other)
    other.wait({}, "host1", "host2")
    coord_server.expire_session(client)
    other.wait({}, "host2")
    operator.create(CONFIG, b'{"batch": 50}')
    one.wait({"batch": 50}, "host2")  # it goes on, but is in nobody's list, its own included
    other.wait({"batch": 50}, "host2")


class States:
    """What a worker with coord was told."""

    def __init__(self) -> None:
        self.last: State = {}, []

    def __call__(self, settings: dict[str, Any], workers: list[str]) -> None:
        self.last = settings, workers


@pytest.mark.trio
async def test_with_coord_a_worker_whose_session_ended_is_there_again(
    coord_trio_server: EmbeddedServer, autojump_clock: object
) -> None:
    one, other = States(), States()
    hosts = coord_trio_server.connect_string
    async with coord.connect(hosts) as zk, coord.connect(hosts) as second, trio.open_nursery() as nursery:
        nursery.start_soon(follow_with_coord, zk, "host1", one)
        nursery.start_soon(follow_with_coord, second, "host2", other)
        await trio.sleep(1)
        assert one.last == other.last == ({}, ["host1", "host2"])
        await coord_trio_server.expire_session(zk)
        await second.create(CONFIG, b'{"batch": 50}')
        await trio.sleep(1)
        assert one.last == other.last == ({"batch": 50}, ["host1", "host2"])
        await second.set(CONFIG, b"{")  # of no use
        await trio.sleep(1)
        assert one.last == ({"batch": 50}, ["host1", "host2"])
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_workers_of_the_two_see_each_other(coord_server: ServerHandle, client: KazooClient) -> None:
    seen, states = Seen(), States()
    async with coord.connect(coord_server.connect_string) as zk, trio.open_nursery() as nursery:
        await zk.create(CONFIG, json.dumps({"batch": 50}).encode(), make_parents=True)
        await trio.to_thread.run_sync(follow_with_kazoo, client, "kazoo", seen)
        nursery.start_soon(follow_with_coord, zk, "coord", states)
        await trio.to_thread.run_sync(partial(seen.wait, {"batch": 50}, "coord", "kazoo"))
        while states.last != ({"batch": 50}, ["coord", "kazoo"]):
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
