"""A server process for the tests of a module, and kazoo's client on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from tests.kazoo_client import kazoo_client
from tests.servers import ServerProcess, skip_without_its_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    skip_without_its_server()
    with ServerProcess(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture
def kazoo(server: ServerProcess) -> Iterator[KazooClient]:
    with kazoo_client(server.hosts) as client:
        yield client
