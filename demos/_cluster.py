"""The demo's brokers as processes: started, asked to leave, killed, stopped and woken.

Owns the processes, each in a process group of its own; none of them outlives the `async with`. What a broker
does is `_broker`'s business.

Synopsis::

    async with Cluster(ensemble.connect_string, {1: "a", 2: "b"}) as cluster:
        await cluster.start(1)
        await cluster.kill(1)
"""

from __future__ import annotations

import signal
import tempfile

import trio

from demos._stage import open_actor


class Cluster:
    """The broker processes: each in a process group of its own, none of which outlives the `async with`."""

    def __init__(self, server: str, racks: dict[int, str]) -> None:
        """`racks` says of each broker where it is."""
        self._server = server
        self.racks = racks
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the cluster)
        self.processes: dict[int, trio.Process] = {}
        self.stopped: set[int] = set()

    async def start(self, broker: int) -> None:
        options = {"--server": self._server, "--id": broker, "--rack": self.racks[broker]}
        words = [word for pair in options.items() for word in map(str, pair)]
        module = "demos.broker_cluster"
        self.processes[broker] = await open_actor(module, "broker", *words, stderr=self._errors)

    def errors(self) -> str:
        """What the brokers have complained of."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    async def kill(self, broker: int) -> None:
        process = self.processes.pop(broker)
        self.stopped.discard(broker)
        process.kill()
        await process.wait()

    def ask_to_leave(self, broker: int) -> None:
        self.processes[broker].terminate()

    async def ended(self, broker: int) -> None:
        """Returns when the process that was asked to leave has ended."""
        await self.processes[broker].wait()
        del self.processes[broker]

    def stop(self, broker: int) -> None:
        self.stopped.add(broker)
        self.processes[broker].send_signal(signal.SIGSTOP)

    def wake(self, broker: int) -> None:
        self.stopped.discard(broker)
        self.processes[broker].send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):  # SIGKILL ends a stopped process, too, so this does not take long
            for broker in list(self.processes):
                await self.kill(broker)
        self._errors.close()
