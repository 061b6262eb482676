"""Real servers for tests and demos: one inside your process, or an ensemble whose members can be killed.

Synopsis::

    async with embedded_server() as server:
        async with coord.connect(server.connect_string) as zk:
            await zk.create("/hello", b"world")

    async with embedded_server(data_dir=tmp_path) as server:  # on disk; starting again finds the data
        ...

    async with local_ensemble() as ensemble:  # three processes
        leader = next(one for one in ensemble.servers if (await one.status()).mode == "leader")
        await leader.kill()

`embedded_server` is the production server, in milliseconds, on a free port of the loopback interface, in
memory unless given a directory. `local_ensemble` takes a second, and a temporary directory.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from coord.config import Config
from coord.server.ensemble import (
    LocalMember,
    Status,
    connect_string,
    end_process,
    prepare,
    start_process,
    status_of,
)
from coord.server.server import Server

__all__ = [
    "EmbeddedServer",
    "LocalEnsemble",
    "LocalServer",
    "Status",
    "embedded_server",
    "local_ensemble",
]

ENSEMBLE_START_SECONDS = 60.0
POLL_SECONDS = 0.05


class EmbeddedServer:
    """A running server: where it is, and how to take it down and up again."""

    def __init__(self, config: Config, nursery: trio.Nursery) -> None:
        self.config = config
        self.server: Server | None = None
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self.port = config.client_port

    @property
    def connect_string(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start (again), on the same port as before; with a `data_dir` the data and sessions are back."""
        assert self.server is None, "it runs already"
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        self.server = await self._nursery.start(self._run)
        assert self.server is not None
        self.port = self.server.port

    async def stop(self) -> None:
        """End it, as SIGTERM does: connections are closed, sessions stay in the log."""
        if self.server is None:
            return
        await self.server.retire()
        await self.kill()

    async def kill(self) -> None:
        """End it at once: connections break, requests under way may be done or not."""
        if self.server is None:
            return
        self._scope.cancel()
        await self._stopped.wait()

    async def _run(self, task_status: trio.TaskStatus[Server]) -> None:
        server = Server(dataclasses.replace(self.config, client_port=self.port))
        try:
            with self._scope:
                await server.run(task_status=task_status)
        finally:
            self.server = None
            self._stopped.set()


@asynccontextmanager
async def embedded_server(
    *, data_dir: Path | None = None, tick_time: float = 0.1, port: int = 0, **settings: Any
) -> AsyncIterator[EmbeddedServer]:
    """A server that serves when the block begins and is gone when it ends.

    `tick_time` is in seconds: sessions last 2 to 20 ticks unless `settings` (fields of `coord.config.Config`,
    e.g. ``max_session_timeout_ms=60_000``) say otherwise. Raises what `Server.run` raises.
    """
    options: dict[str, Any] = {
        "client_port_address": "127.0.0.1",
        "client_port": port,
        "data_dir": data_dir,
        "tick_time_ms": max(1, round(tick_time * 1000)),
        "min_session_timeout_ms": 50,
        "max_session_timeout_ms": 60_000,
        "max_client_cnxns": 0,
        "extended_types_enabled": True,
        "four_letter_whitelist": frozenset({"*"}),
    }
    config = Config(**(options | settings))
    nurseries = trio.open_nursery()
    server = EmbeddedServer(config, await nurseries.__aenter__())
    try:
        await server.start()
        yield server
    finally:
        with trio.CancelScope(shield=True):
            await server.stop()
        # The server has ended, and the block's own exception is not the nursery's: it leaves as it is.
        await nurseries.__aexit__(None, None, None)


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
