"""The shell: a replica, its input loops, and the one function that carries its outputs out.

Each loop (sockets, disk, clock; peers in an ensemble) feeds the replica and calls `settle`, which never
awaits. trio runs one task at a time, so between two awaits nothing else happens: there are no locks, no
queues between stages and no callbacks beyond this file.

Synopsis::

    async with trio.open_nursery() as nursery:
        server = await nursery.start(Server(config).run)
        print(server.port)
"""

from __future__ import annotations

import logging
import math
import secrets
import socket
from functools import partial

import trio

from coord.config import Config
from coord.logs import fields
from coord.server import turn
from coord.server.clients import Listener, listen
from coord.server.clock import run_clock, run_zab_clock
from coord.server.four_letter import answer
from coord.server.inspection import Inspection
from coord.server.peers import PeerNetwork
from coord.server.recovery import Recovered, recover
from coord.server.replica import Replica
from coord.server.role_log import RoleLog
from coord.server.snapshotting import run_snapshots
from coord.server.sockets import Sockets
from coord.server.streams import serve_streams
from coord.server.surroundings import Surroundings
from coord.zab.learner import Fetch
from coord.zab.peer import Peer

log = logging.getLogger("coord.server")

RETIRE_SECONDS = 1.5

BATCHES_PER_TURN = 4
"""Written in place one after the other before others have their turn, however much was asked for."""


class Server:
    """One server, alone or a member. `run` serves until cancelled; a failed disk ends it: `StorageFailed`."""

    def __init__(self, config: Config, surroundings: Surroundings | None = None) -> None:
        """`surroundings`: None for those of production."""
        self.config = config
        self._around = surroundings or Surroundings()
        notices = config.is_ensemble and self._around.can_stand_still
        self._standstill_ms = config.silence_ms if notices else math.inf
        self.port = 0
        """where clients connect; set once it serves"""
        self._network: PeerNetwork | None = None
        self._sockets: Sockets | None = None
        self._serves = trio.Event()
        self._recovered = False
        self._settled = trio.lowlevel.ParkingLot()
        self._stalled = trio.Event()
        self._snapshots, self._due = trio.open_memory_channel[tuple[int, int]](math.inf)

    async def run(self, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, listen, serve. Started with `nursery.start`, returns there as soon as it serves.

        Raises `StorageDamaged` or `StorageFailed` (see `coord.storage`), `OSError` if the port is taken.
        """
        with recover(self.config, self._around.memory) as recovered:
            await self._serve(recovered, task_status)

    async def _serve(self, recovered: Recovered, task_status: trio.TaskStatus[Server]) -> None:
        config = self.config
        self._disk = recovered.disk
        self.replica = Replica(
            config,
            recovered.peer,
            recovered.machine,
            recovered.history,
            secret=secrets.token_bytes(32),
            boot=secrets.randbits(23),
        )
        self._recovered = True
        self.replica.answer_word = partial(answer, view=Inspection(self.replica))
        address, port = config.client_port_address, config.client_port
        with listen(address, port, config.client_port_listen_backlog) as listener, Sockets(self) as sockets:
            self.port = listener.getsockname()[1]
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._disk.run, self._persisted)
                if self._around.use_selector:
                    self._sockets = sockets
                    nursery.start_soon(sockets.run)
                if config.is_ensemble:
                    wrap = self._around.member_stream
                    self._network = PeerNetwork(self, self.replica.peer, config, wrap, self._sockets)
                    self._roles = RoleLog(self.replica, self._network.parted)
                    await nursery.start(self._network.run)
                    nursery.start_soon(run_zab_clock, self)
                self.settle()
                if not config.is_ensemble:
                    await self._serves.wait()
                nursery.start_soon(self._serve_clients, listener)
                nursery.start_soon(self._resume_stalled)
                nursery.start_soon(run_clock, self)
                if recovered.snapshot_directory is not None:
                    keep = config.autopurge_snap_retain_count
                    nursery.start_soon(
                        run_snapshots, self._due, self._disk, recovered.snapshot_directory, keep
                    )
                log.info("listening", extra=fields(address=f"{config.client_port_address}:{self.port}"))
                task_status.started(self)

    async def retire(self, patience: float = RETIRE_SECONDS) -> None:
        """What comes before an orderly end: clients get their answers and go elsewhere; then another leads.

        `patience` seconds each at the most, whatever others do. The caller cancels `run` afterwards.
        """
        if not self._recovered:
            return
        replica = self.replica
        with trio.move_on_after(patience):
            replica.lobby.say_goodbye()
            self.settle()
            while replica.lobby.connections:
                await self._settled.park()
        with trio.move_on_after(patience):
            replica.peer.leave()
            self.settle()
            while self.config.votes_with_others and replica.peer.leader == replica.peer.my_id:
                await self._settled.park()

    async def _serve_clients(self, listener: socket.socket) -> None:
        if self._sockets is not None:
            await Listener(self.replica, self._sockets, listener).run()
        else:
            streams = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await serve_streams(self, streams, self._around.client_stream)

    async def expire_session(self, session_id: int) -> bool:
        """Ends the session as if it had been silent for too long; returns when it is over here. False if
        there is none, or this server does not lead (any more)."""
        replica = self.replica
        if session_id not in replica.machine.sessions.timeouts or not self._leads:
            return False
        self.begin_turn()
        replica.expire(session_id, even_if_busy=True)
        self.settle()
        while session_id in replica.machine.sessions.timeouts:
            if not self._leads:
                return False
            await self._settled.park()
        return True

    @property
    def _leads(self) -> bool:
        return self.replica.serving and self.replica.peer.leading

    async def _resume_stalled(self) -> None:
        """Turns for what is more than one turn serves; others have theirs in between."""
        while True:
            await self._stalled.wait()
            self._stalled = trio.Event()
            self.begin_turn()
            self.replica.resume_stalled()
            self.settle()

    def _persisted(self, ticket: int) -> None:
        self.replica.peer.persisted(ticket)
        self.settle()

    def settle(self) -> None:
        """All that the inputs since the last call made due: propose, write, apply, send. Never awaits.
        What is more than `BATCHES_PER_TURN` has another turn."""
        replica = self.replica
        for _ in range(BATCHES_PER_TURN):
            self.begin_turn()
            turn.play(replica, self._disk)
            if self._network is not None:
                replica.exchange()
                self._network.update()
            # Only now: others write to their disks while this member does.
            ticket = self._disk.finish()
            if ticket is None:
                break
            replica.peer.persisted(ticket)
        else:
            self._stalled.set()
        if self._network is not None:
            self._roles.look()
            self._fetch(replica.peer)
        self._settled.unpark_all()
        if replica.serving and not self._serves.is_set():
            self._serves.set()
            log.info("serving clients", extra=fields(port=self.port))
        if replica.stalled:
            self._stalled.set()
        for end in replica.segment_ends.take(replica.peer.history.durable):
            self._snapshots.send_nowait(end)

    @property
    def may_linger(self) -> bool:
        return not self._disk.busy and not self._stalled.is_set()

    def _fetch(self, peer: Peer) -> None:
        """Followers that were away for long get history from the disk, while everything else goes on."""
        fetches, peer.fetches = peer.fetches, []
        for fetch in fetches:
            self._nursery.start_soon(self._read_history, fetch)

    async def _read_history(self, fetch: Fetch) -> None:
        snapshot, proposals = await self._disk.read_history(fetch)
        self.replica.peer.fetched(fetch, snapshot, proposals)
        self.settle()

    def begin_turn(self) -> None:
        """Tells the replica what time it is; nothing in the core ever asks."""
        now_ms = self._around.now_ms()
        replica = self.replica
        if 0 < replica.turn_ms < now_ms - self._standstill_ms:
            log.warning("this process stood still", extra=fields(ms=now_ms - replica.turn_ms))
            replica.woke()
        replica.turn_ms = now_ms
        replica.wall_ms = self._around.wall_ms()
