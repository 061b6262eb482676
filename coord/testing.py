"""A real server inside your process: for tests and demos, in milliseconds, without files or a JVM.

Synopsis::

    async with embedded_server() as server:
        async with coord.connect(server.connect_string) as zk:
            await zk.create("/hello", b"world")

    async with embedded_server(data_dir=tmp_path) as server:  # on disk; starting again finds the data
        ...

It is the production server, on a free port of the loopback interface, in memory unless given a directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from coord.config import Config
from coord.server.server import Server


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
