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


QUICKLY = {"max_tries": -1, "delay": 0.005, "max_jitter": 0.0, "max_delay": 0.05}
"""kazoo's own pauses before it connects again would be the longest part of a test"""


@contextmanager
def kazoo_client(hosts: str) -> Iterator[KazooClient]:
    client = KazooClient(
        hosts, timeout=SESSION_SECONDS, connection_retry=dict(QUICKLY), command_retry=dict(QUICKLY)
    )
    client.start(timeout=15)
    try:
        yield client
    finally:
        client.stop()
        client.close()
