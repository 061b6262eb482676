"""Real servers for tests and demos, in your process, with every fault at hand; and ensembles of processes.

Synopsis::

    async with embedded_server() as server:  # in milliseconds, in memory, on a free port
        async with coord.connect(server.connect_string) as zk:
            await zk.create("/hello", b"world")

    async with embedded_server(data_dir=tmp_path) as server:  # on disk; starting again finds the data
        ...

    async with embedded_ensemble() as ensemble:  # three members, likewise
        await ensemble.kill_leader()

    async with local_ensemble() as ensemble:  # three processes, in a second
        ...

    with server_in_thread() as server:  # for tests without trio: its controls are plain calls
        server.expire_session(kazoo_client)

With pytest, the fixtures of `pytest_coord` do this.
"""

from coord.server.ensemble import Status
from coord.testing.clock import advance
from coord.testing.embedded import EmbeddedServer, embedded_server
from coord.testing.ensemble import EmbeddedEnsemble, EmbeddedMember, embedded_ensemble
from coord.testing.processes import LocalEnsemble, LocalServer, local_ensemble
from coord.testing.threads import (
    EnsembleHandle,
    MemberHandle,
    ServerHandle,
    ensemble_in_thread,
    server_in_thread,
)

__all__ = [
    "EmbeddedEnsemble",
    "EmbeddedMember",
    "EmbeddedServer",
    "EnsembleHandle",
    "LocalEnsemble",
    "LocalServer",
    "MemberHandle",
    "ServerHandle",
    "Status",
    "advance",
    "embedded_ensemble",
    "embedded_server",
    "ensemble_in_thread",
    "local_ensemble",
    "server_in_thread",
]
