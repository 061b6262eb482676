"""A kazoo client for the length of a block, in a process where trio runs as well.

Synopsis::

    with kazoo_client(server.hosts) as client:
        await trio.to_thread.run_sync(client.get, "/a")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

SESSION_SECONDS = 30.0
"""longer than any test takes"""


@contextmanager
def kazoo_client(hosts: str) -> Iterator[KazooClient]:
    client = KazooClient(hosts, timeout=SESSION_SECONDS)
    client.start(timeout=15)
    try:
        yield client
    finally:
        client.stop()
        client.close()
