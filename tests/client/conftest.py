"""The server that the client's live tests talk to: coord's own, in this process, or Apache ZooKeeper's.

``COORD_TEST_ZOOKEEPER=1`` chooses Apache ZooKeeper. What it is known to do differently is in `DIFFERENCES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
import trio

import coord
from coord.testing import EmbeddedServer, embedded_server
from tests.servers import Flavour, ServerProcess, chosen_flavour

TICK_SECONDS: Final = 0.1

DIFFERENCES: Final = {
    "event-zxid": "before 3.9 an event does not carry the zxid of its change (ZOOKEEPER-4655)",
    "watch-modes": "before 3.9 a one-shot watch on a path replaces a persistent one (ZOOKEEPER-4466)",
}
"""Known differences of Apache ZooKeeper 3.8, by name; a test names the one it allows for."""


class LiveServer:
    """A server that can be taken down and brought back with its data, on the same port."""

    def __init__(self, running: EmbeddedServer | ServerProcess) -> None:
        self._running = running
        self.flavour = Flavour.COORD if isinstance(running, EmbeddedServer) else Flavour.ZOOKEEPER
        self.chroot = f"/test-{uuid4().hex}"

    @property
    def hosts(self) -> str:
        running = self._running
        return running.connect_string if isinstance(running, EmbeddedServer) else running.hosts

    @property
    def connect_string(self) -> str:
        """Leads to a znode that is this test's alone and has no children yet."""
        return self.hosts + self.chroot

    def differs(self, name: str) -> bool:
        """Is it one that does differently what `DIFFERENCES` lists under `name`?"""
        assert name in DIFFERENCES
        return self.flavour is Flavour.ZOOKEEPER

    async def stop(self) -> None:
        if isinstance(self._running, EmbeddedServer):
            await self._running.kill()
        else:
            await trio.to_thread.run_sync(self._running.kill)

    async def start(self) -> None:
        if isinstance(self._running, EmbeddedServer):
            await self._running.start()
        elif self._running.process is None:
            await trio.to_thread.run_sync(self._running.start)


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess | None]:
    """Apache ZooKeeper, one for all tests since it takes long to start; None if they run against coord."""
    if chosen_flavour() is Flavour.COORD:
        yield None
        return
    config = {"tickTime": "100", "minSessionTimeout": "200", "maxSessionTimeout": "60000"}
    properties = {"extendedTypesEnabled": "true"}
    with ServerProcess(tmp_path_factory.mktemp("zookeeper"), config, properties=properties) as process:
        yield process


@pytest.fixture
async def server(zookeeper: ServerProcess | None, tmp_path: Path) -> AsyncIterator[LiveServer]:
    """A running server."""
    async with AsyncExitStack() as stack:
        if zookeeper is None:
            embedded = embedded_server(data_dir=tmp_path, tick_time=TICK_SECONDS)
            server = LiveServer(await stack.enter_async_context(embedded))
        else:
            server = LiveServer(zookeeper)
            await server.start()
        async with coord.connect(server.connect_string) as zk:
            await zk.ensure_chroot()
        yield server


@pytest.fixture
async def zk(server: LiveServer) -> AsyncIterator[coord.Client]:
    """A client whose session timeout no test reaches."""
    async with coord.connect(server.connect_string, timeout=30) as client:
        yield client
