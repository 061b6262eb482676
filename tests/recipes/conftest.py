"""A server for the recipes: coord's own, in this process, or Apache ZooKeeper (COORD_TEST_ZOOKEEPER=1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest

import coord
from coord.testing import embedded_server
from tests.servers import Flavour, ServerProcess, chosen_flavour

Connect = Callable[..., AbstractAsyncContextManager[coord.Client]]


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Apache ZooKeeper's address; None if the tests run against coord."""
    if chosen_flavour() is Flavour.COORD:
        yield None
        return
    config = {"tickTime": "100", "minSessionTimeout": "400", "maxSessionTimeout": "60000"}
    with ServerProcess(tmp_path_factory.mktemp("zookeeper"), config) as server:
        yield server.hosts


@pytest.fixture
async def hosts(zookeeper: str | None) -> AsyncIterator[str]:
    """A connect string, of a place where nobody else's znodes are."""
    if zookeeper is None:
        async with embedded_server() as server:
            yield server.connect_string
        return
    chroot = f"/t{uuid4().hex}"
    async with coord.connect(zookeeper) as zk:
        await zk.create(chroot)
    yield zookeeper + chroot


@pytest.fixture
async def zk(hosts: str) -> AsyncIterator[coord.Client]:
    """A client with a session timeout that no test reaches."""
    async with coord.connect(hosts, timeout=30) as client:
        yield client
