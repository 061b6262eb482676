"""The production server inside your process: on a free port, in memory or on disk, with its faults at hand.

Owns the server's life (it can go down and come up on the same port, with the same data and sessions) and what
befalls its clients. Runs in the caller's trio loop and on its clock: under a `trio.testing.MockClock` server
and clients live in virtual time together. What it stands on differs from production in three things: time is
the loop's, memory outlives a restart, and each client is served by a task of its own (`server.streams`), so
that its stream can be held up.

Synopsis::

    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        await server.expire_session(zk)
        with server.partition():  # nothing gets through, no connection breaks
            ...
        await server.restart()
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import trio

from coord.config import Config
from coord.server.disk import MemoryDisk
from coord.server.server import Server
from coord.server.surroundings import Surroundings
from coord.server.tracker import in_hex
from coord.storage.memory import MemoryLog
from coord.testing.clock import WallClock, advance
from coord.testing.faults import HOST, Gate, GatedStream, Partition, Port
from coord.testing.sessions import session_id_of

BEATS_LATE = 2
"""A server counts a session's silence in beats of its own: it may end so much later than its timeout."""

RETIRE_SECONDS = 0.2
"""So long a server that is stopped waits for its clients to hang up: some cannot, while their test waits for
the server."""

_OURS = ("tick_time", "min_session_timeout", "max_session_timeout")


class EmbeddedSurroundings(Surroundings):
    """Time is the loop's, clients come through `gate`, and nothing is forgotten while it is down."""

    def __init__(self) -> None:
        super().__init__(use_selector=False, can_stand_still=False, memory=MemoryDisk(MemoryLog(), keep=True))
        self.gate = Gate()
        self._wall = WallClock()

    def now_ms(self) -> int:
        # (Not 0 at the beginning of virtual time: it would be no time at all.)
        return 1 + int(trio.current_time() * 1000)

    def wall_ms(self) -> int:
        return int(self._wall() * 1000)

    def client_stream(self, stream: trio.SocketStream) -> trio.abc.Stream:
        return GatedStream(stream, self.gate)


class EmbeddedServer:
    """A server: where it is, how to take it down and up again, and what else can happen to it."""

    host = HOST

    def __init__(
        self,
        config: Config,
        nursery: trio.Nursery,
        surroundings: EmbeddedSurroundings | None = None,
        other_ports: Sequence[Port] = (),
    ) -> None:
        """`other_ports` are those where it listens for members."""
        self.config = config
        self.server: Server | None = None
        """None while it is down"""
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._around = surroundings or EmbeddedSurroundings()
        self._ports = (Port(config.client_port), *other_ports)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.connect_string} {'running' if self.running else 'down'}>"

    @property
    def port(self) -> int:
        return self._ports[0].number

    @property
    def connect_string(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self.server is not None

    # -- its life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start (again), on the same port as before, with the data and sessions it had. Raises what
        `Server.run` raises, `RuntimeError` if it runs already."""
        if self.running:
            raise RuntimeError("the server runs already")
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        self.server = await self._nursery.start(self._run)

    async def stop(self) -> None:
        """End it, as SIGTERM does: clients get their answers, connections are closed, sessions live on."""
        if self.server is None:
            return
        if not self._around.gate.is_shut:  # else nobody hears it
            await self.server.retire(RETIRE_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """End it at once: connections break, requests under way may be done or not."""
        if self.server is None:
            return
        self._scope.cancel()
        await self._stopped.wait()

    async def restart(self) -> None:
        """Stop it, and start it again."""
        await self.stop()
        await self.start()

    def release(self) -> None:
        """For good, once it is down: its ports are anybody's."""
        self.heal()
        for port in self._ports:
            port.leave()

    async def _run(self, task_status: trio.TaskStatus[Server]) -> None:
        for port in self._ports:
            port.hold()
        server = Server(dataclasses.replace(self.config, client_port=self.port), self._around)
        for port in self._ports:
            port.lend()
        try:
            with self._scope:
                await server.run(task_status=task_status)
        finally:
            self.server = None
            for port in self._ports:
                port.hold()
            self._stopped.set()

    # -- sessions -------------------------------------------------------------------------------------

    def sessions(self) -> tuple[int, ...]:
        """The ids of the sessions there are, as clients know theirs; connected or not."""
        return tuple(self._there().replica.machine.sessions.timeouts)

    async def expire_session(self, client: object) -> None:
        """End a session as if it had been silent for too long: its ephemeral znodes are gone on return, and
        its client is told `SessionExpired` when it connects again.

        `client` is a session id, or a client of kazoo's or coord's. Raises `LookupError` if there is no such
        session, `ValueError` if the client has none, `RuntimeError` while the server is down, or is a member
        that does not lead.
        """
        session_id = session_id_of(client)
        if not await self._there().expire_session(session_id):
            if session_id in self.sessions():
                raise RuntimeError(f"{self!r} does not lead: ask the ensemble to end a session")
            known = ", ".join(map(in_hex, self.sessions())) or "none"
            raise LookupError(f"there is no session {in_hex(session_id)} on this server; there are: {known}")

    def drop_connections(self) -> None:
        """Break every client's connection; they may come again at once, and their sessions live on."""
        server = self._there()
        server.begin_turn()
        for connection in list(server.replica.lobby.connections):
            if connection.carrier is not None:
                connection.carrier.close("dropped by the test")
        server.settle()

    def _there(self) -> Server:
        if self.server is None:
            raise RuntimeError("the server is down: start() it first")
        return self.server

    # -- the network, and time ------------------------------------------------------------------------

    def partition(self) -> Partition:
        """Nothing gets through between clients and server until `heal`: connections stay open, new ones hang.
        What was said meanwhile arrives then. Also a ``with`` block."""
        self._around.gate.shut()
        return Partition(self.heal)

    def heal(self) -> None:
        """End the partition."""
        self._around.gate.open()

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass, and as much more as the server may be late: whoever was silent for its whole
        session timeout has expired. See `coord.testing.advance`."""
        await advance(seconds + BEATS_LATE * self.config.beat_ms / 1000)


@asynccontextmanager
async def embedded_server(
    *, data_dir: Path | None = None, tick_time: float = 0.1, port: int = 0, **settings: Any
) -> AsyncIterator[EmbeddedServer]:
    """A server that serves when the block begins and is gone when it ends.

    `tick_time`, `min_session_timeout` and `max_session_timeout` are in seconds: sessions last from 50 ms to a
    minute unless these say otherwise. `settings` are fields of `coord.config.Config`. With a `data_dir` it
    keeps its data there, for another server, too; virtual time does not wait for a disk, so leave `advance`
    to those in memory. Raises what `Server.run` raises, and `TypeError` for a setting that there is not.
    """
    config = config_of(data_dir=data_dir, tick_time=tick_time, client_port=port, **settings)
    async with hosting() as nursery:
        server = EmbeddedServer(config, nursery)
        try:
            await server.start()
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.kill()
            server.release()


@asynccontextmanager
async def hosting() -> AsyncIterator[trio.Nursery]:
    """A nursery for servers that have ended when the block has: the block's own exception is not the
    nursery's, and leaves as it is."""
    nurseries = trio.open_nursery()
    nursery = await nurseries.__aenter__()
    try:
        yield nursery
    finally:
        await nurseries.__aexit__(None, None, None)


def config_of(*, tick_time: float, **settings: Any) -> Config:
    """The settings of a server for tests: whatever a test may want is allowed. Raises `TypeError`, for a
    setting that there is not, and `ConfigError`."""
    options: dict[str, Any] = {
        "client_port_address": HOST,
        "tick_time_ms": max(1, round(tick_time * 1000)),
        "min_session_timeout_ms": 50,
        "max_session_timeout_ms": 60_000,
        "max_client_cnxns": 0,
        "extended_types_enabled": True,
        "four_letter_whitelist": frozenset({"*"}),
    }
    if isinstance(settings.get("data_dir"), str):
        settings["data_dir"] = Path(settings["data_dir"])
    for name in ("min_session_timeout", "max_session_timeout"):
        if name in settings:
            options[f"{name}_ms"] = max(1, round(settings.pop(name) * 1000))
    known = {field.name for field in dataclasses.fields(Config)}
    for name in settings:
        if name not in known:
            close = get_close_matches(name, {*known, *_OURS}, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise TypeError(f"a server has no setting {name!r}{hint}")
    return Config(**(options | settings))
