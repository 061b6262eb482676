"""A server (coord's, or Apache ZooKeeper's: COORD_TEST_ZOOKEEPER=1), a JVM with Curator, a client of each.

Server and JVM are the same for all tests; each test has a place of its own in the tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

import coord
from tests.interop.curator.driver import Curator, CuratorClient, Jvm
from tests.servers import ServerProcess


@pytest.fixture(scope="session")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    with Jvm(tmp_path_factory.mktemp("curator")) as process:
        yield process


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = {"tickTime": "100", "minSessionTimeout": "400", "maxSessionTimeout": "60000"}
    with ServerProcess(tmp_path_factory.mktemp("server"), config) as process:
        yield process


@pytest.fixture
async def hosts(server: ServerProcess) -> str:
    """A connect string, of a place where nobody else's znodes are."""
    chroot = f"/t{uuid4().hex}"
    async with coord.connect(server.hosts) as zk:
        await zk.create(chroot)
    return server.hosts + chroot


@pytest.fixture
async def zk(hosts: str) -> AsyncIterator[coord.Client]:
    """Ours, with a session timeout that no test reaches."""
    async with coord.connect(hosts, timeout=30) as client:
        yield client


@pytest.fixture
async def curator(jvm: Jvm) -> AsyncIterator[Curator]:
    async with jvm.talk() as talk:
        yield talk


@pytest.fixture
async def java(curator: Curator, hosts: str) -> AsyncIterator[CuratorClient]:
    """Curator's, with a session timeout that no test reaches."""
    async with curator.client(hosts, timeout=30) as client:
        yield client
