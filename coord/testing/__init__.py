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

With pytest, the fixtures of `coord.pytest_plugin` do this.
"""

from coord.server.ensemble import Status
from coord.testing.clock import advance
from coord.testing.embedded import EmbeddedServer, embedded_server
from coord.testing.ensemble import EmbeddedEnsemble, EmbeddedMember, embedded_ensemble
from coord.testing.processes import LocalEnsemble, LocalServer, local_ensemble

__all__ = [
    "EmbeddedEnsemble",
    "EmbeddedMember",
    "EmbeddedServer",
    "LocalEnsemble",
    "LocalServer",
    "Status",
    "advance",
    "embedded_ensemble",
    "embedded_server",
    "local_ensemble",
]
