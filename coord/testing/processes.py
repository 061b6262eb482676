"""An ensemble of processes on this machine, whose members can be killed as processes are.

Owns the processes and their temporary directory. For one inside your process, which starts in less time and
has more faults, see `ensemble`.

Synopsis::

    async with local_ensemble() as ensemble:
        leader = next(one for one in ensemble.servers if (await one.status()).mode == "leader")
        await leader.kill()
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from coord.server.ensemble import (
    LocalMember,
    Status,
    connect_string,
    end_process,
    prepare,
    start_process,
    status_of,
)

ENSEMBLE_START_SECONDS = 60.0
POLL_SECONDS = 0.05


class LocalServer:
    """One member of a `LocalEnsemble`: a process of its own while it runs."""

    def __init__(self, member: LocalMember) -> None:
        self.id = member.my_id
        self.port = member.client_port
        self._member = member
        self._process: trio.Process | None = None

    @property
    def alive(self) -> bool:
        """Is there a process?"""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start (again), on the same ports and data; returns before it serves."""
        assert not self.alive, "it runs already"
        self._process = await start_process(self._member)

    async def kill(self) -> None:
        """End it as SIGKILL does; returns when there is no process any more."""
        if self._process is not None:
            self._process.kill()
            await end_process(self._process)

    async def stop(self) -> None:
        """End it as SIGTERM does."""
        if self._process is not None:
            await end_process(self._process)

    async def status(self) -> Status:
        """Its mode and zxid, as it tells them itself (the four-letter word srvr)."""
        return await status_of(self.port) if self.alive else Status("silent")

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._member.log_file.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no log"


class LocalEnsemble:
    """`servers` by their ids, from 1 on; a client is given all their addresses."""

    def __init__(self, members: list[LocalMember]) -> None:
        self.servers = [LocalServer(member) for member in members]
        self.connect_string = connect_string(members)

    async def start(self) -> None:
        """Start all of them; returns when one leads and the others follow."""
        for server in self.servers:
            await server.start()
        while True:
            modes = sorted([(await server.status()).mode for server in self.servers])
            if modes == ["follower"] * (len(modes) - 1) + ["leader"] or modes == ["standalone"]:
                return
            for server in self.servers:
                if not server.alive:
                    raise OSError(f"server {server.id} has ended: {server.last_words()}")
            await trio.sleep(POLL_SECONDS)


@asynccontextmanager
async def local_ensemble(
    size: int = 3, *, tick_time: float = 0.5, port: int = 0
) -> AsyncIterator[LocalEnsemble]:
    """An ensemble of processes on this machine, which works when the block begins and is gone, with its
    data, when it ends.

    `tick_time` is in seconds: sessions last 2 to 20 ticks, and leaders are missed after half a tick of
    silence. `port` is the first server's, the others have the next ones; 0: any free ones. Raises `OSError`
    if a port is taken or a server does not start, `trio.TooSlowError` if they do not agree on a leader.
    """
    with tempfile.TemporaryDirectory(prefix="coord-") as directory:
        tick_time_ms = max(1, round(tick_time * 1000))
        ensemble = LocalEnsemble(prepare(Path(directory), size, tick_time_ms=tick_time_ms, client_port=port))
        try:
            with trio.fail_after(ENSEMBLE_START_SECONDS):
                await ensemble.start()
            yield ensemble
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for server in ensemble.servers:
                        nursery.start_soon(server.kill)
