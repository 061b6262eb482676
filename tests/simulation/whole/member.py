"""A whole member: `Replica` on `Peer`, its clients' connections, its disk and its clocks. `server.Server`, in
virtual time.

Owns what the server's shell owes the replica, in the same order: `_settle` is that of `coord.server.server`,
around the very same `turn.play`; `_recover` is `coord.server.recovery`, `_fold` is
`coord.server.snapshotting`. Clients come through a `Port`, a station of its own, so that their links are
never taken for those of members.

Tells the `Annals` of every batch when it is applied, before anybody can hear of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from coord.limits import BEATS_PER_TICK, HEARTBEATS_PER_TICK, ZAB_TICKS_PER_HEARTBEAT
from coord.server import turn
from coord.server.carrier import Phase
from coord.server.connection import Connection
from coord.server.replica import Replica
from coord.wire.ensemble import Batch
from coord.wire.members import Proposal
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Role, Work
from tests.simulation.chronicle import demand
from tests.simulation.member import Member
from tests.simulation.network import End
from tests.simulation.trace import name
from tests.simulation.whole.disk import ImageDisk

if TYPE_CHECKING:
    from tests.simulation.whole.ensemble import Ensemble

BEAT = ZAB_TICKS_PER_HEARTBEAT * HEARTBEATS_PER_TICK / BEATS_PER_TICK
MS_PER_TICK = 50
EPOCH_MS = 1_700_000_000_000
FULL_AGAIN = 20.0


class WatchedReplica(Replica):
    """Says what it proposes, and what it has applied: only here is each batch seen at that very moment."""

    told: Callable[[Batch], None]
    asks: Callable[[Proposal], None]

    def propose(self) -> None:
        history = self.peer.history
        before = history.logged
        super().propose()
        if history.logged > before:
            (proposal,) = history.since(before)
            self.asks(proposal)

    def _apply(self, batch: Batch) -> None:
        super()._apply(batch)
        self.told(batch)


class Line:
    """Carries a connection's bytes; see `coord.server.carrier`."""

    def __init__(self, member: WholeMember, end: End, connection: Connection) -> None:
        self._member = member
        self._end = end
        self._connection = connection
        self._held_back: list[bytes] = []

    def receive(self, data: bytes) -> None:
        """What comes while the connection is not read waits, as it would in the socket."""
        self._held_back.append(data)
        self._read()

    def _read(self) -> None:
        while self._held_back and self._connection.is_read:
            self._connection.receive(self._held_back.pop(0))

    def flush(self) -> None:
        connection = self._connection
        if connection.phase is Phase.CLOSED:
            return
        if connection.outbox:
            self._member.send_to_client(self._end, connection.take_outbox())
        else:
            connection.take_outbox()
        if connection.phase is Phase.CLOSING:
            self.close(connection.close_reason)
        else:
            connection.resume()
            self._read()

    def close(self, reason: str) -> None:
        self._connection.closed(reason)
        self._member.hang_up(self._end, reason)

    def lost(self) -> None:
        self._connection.closed("")


class Port:
    """Where a member's clients connect: a `Station`."""

    def __init__(self, member: WholeMember) -> None:
        self.id = member.id
        self._member = member

    @property
    def up(self) -> bool:
        return self._member.up

    @property
    def incarnation(self) -> int:
        return self._member.incarnation

    def defer(self, action: Callable[[], None]) -> bool:
        return self._member.defer(action)

    def accepted(self, end: End) -> None:
        self._member.admit(end)

    def connected(self, end: End | None) -> None:
        raise AssertionError("members do not call their clients")

    def disconnected(self, end: End) -> None:
        self._member.client_gone(end)

    def receive(self, end: End, message: Any) -> None:
        self._member.client_says(end, message)


class WholeMember(Member):
    disk: ImageDisk
    replica: WatchedReplica

    def __init__(self, ensemble: Ensemble, member_id: int) -> None:
        super().__init__(ensemble, member_id, ImageDisk(ensemble.committed_upto))
        self._ensemble = ensemble
        self.port = Port(self)
        self.disk_is_full = False
        self._lines: dict[End, Line] = {}
        self._resuming = False

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        super().start()
        if self.up:
            self._later(self.clock_rate * BEAT * self._random.random(), self._beat)

    def _recover(self) -> None:
        super()._recover()
        ensemble, disk, random = self._ensemble, self.disk, self._random
        self._lines, self._resuming = {}, False
        machine = disk.machine()
        ensemble.annals.restored(self.id, machine)
        self.replica = WatchedReplica(
            ensemble.config,
            self.peer,
            machine,
            disk.log(),
            secret=random.randbytes(32),
            boot=random.getrandbits(23),
        )
        self.replica.told = self._applied
        self.replica.asks = self._proposed
        self._begin_turn()

    def crash(self, *, host_too: bool) -> None:
        super().crash(host_too=host_too)
        for end in self._lines:
            if host_too:
                self._ensemble.network.vanish(end)
            else:
                self._ensemble.network.close(end)

    def _proposed(self, proposal: Proposal) -> None:
        self._ensemble.note(self.id, "proposes %s", name(proposal.last_zxid))
        self._ensemble.chronicle.proposed(self, proposal)

    def _applied(self, batch: Batch) -> None:
        self._ensemble.annals.applied(self.id, batch, self.replica.machine)

    @property
    def entries_beyond_snapshot(self) -> int:
        """Of the log; every so often a snapshot is to be made."""
        log = self.disk.history[self.disk.count(self.disk.snapshot) :]
        return sum(proposal.last_zxid - proposal.first_zxid + 1 for proposal in log)

    # -- clocks ---------------------------------------------------------------------------------------

    def defer(self, action: Callable[[], None]) -> bool:
        """Whatever comes in begins a turn."""
        if super().defer(action):
            return True
        if self.up:
            self._begin_turn()
        return False

    def _begin_turn(self) -> None:
        replica, now_ms = self.replica, int(self._ensemble.now * MS_PER_TICK)
        if 0 < replica.turn_ms < now_ms - self._ensemble.config.silence_ms:
            replica.woke()
        replica.turn_ms = now_ms
        replica.wall_ms = EPOCH_MS + now_ms

    def _beat(self) -> None:
        self._later(self.clock_rate * BEAT, self._beat)
        self._begin_turn()
        self.replica.beat()
        self._settle()

    # -- clients --------------------------------------------------------------------------------------

    def admit(self, end: End) -> None:
        self._begin_turn()
        connection = self.replica.lobby.admit(f"10.0.0.{end.link.member}", end.link.number)
        assert connection is not None
        line = self._lines[end] = Line(self, end, connection)
        connection.carrier = line

    def client_says(self, end: End, data: bytes) -> None:
        self._begin_turn()
        self._lines[end].receive(data)
        self._settle()

    def client_gone(self, end: End) -> None:
        self._begin_turn()
        line = self._lines.pop(end, None)
        if line is not None:
            line.lost()
        self._settle()

    def send_to_client(self, end: End, data: bytes) -> None:
        self._ensemble.network.send(end, data)

    def hang_up(self, end: End, reason: str) -> None:
        if self._lines.pop(end, None) is not None:
            self._ensemble.note(self.id, "-> %d  hangs up: %s", end.link.member, reason or "as it should")
            self._ensemble.network.close(end)

    # -- a turn ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        replica = self.replica
        self._begin_turn()
        turn.play(replica, self)
        replica.exchange()
        self._update_links()
        self._conclude()
        if replica.stalled and not self._resuming:
            self._resuming = True
            self._later(0.0, self._resume_stalled)
        for zxid, digest in replica.segment_ends.take(self.peer.history.durable):
            self._later(self._random.expovariate(0.2), partial(self._fold, zxid, digest))

    def _resume_stalled(self) -> None:
        self._resuming = False
        self._begin_turn()
        self.replica.resume_stalled()
        self._settle()

    def _update_links(self) -> None:
        super()._update_links()
        for link, end in list(self._ends.items()):
            if not _knows(self.peer.role, link):
                del self._ends[link]
                self._ensemble.network.close(end)

    # -- the disk (see `coord.server.turn.Disk`) ------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def begin(self, work: Work, *, roll: bool) -> bool:
        """(Where segments end is the real disk's business: here they are no files.)"""
        self._see(work)
        if work.install is not None:
            self._ensemble.annals.restored(self.id, self.replica.machine)
        self._under_way.append(work)
        self._begin_write()
        return False

    def _written(self) -> None:
        if self.disk_is_full:
            self._ensemble.note(self.id, "has no room on its disk")
            self.crash(host_too=False)
            self._ensemble.timeline.after(FULL_AGAIN, partial(self._ensemble.start_again, self))
            return
        super()._written()

    def _fold(self, zxid: int, digest: int) -> None:
        """Makes a snapshot, unless a newer one was installed meanwhile."""
        if self.disk.snapshot >= zxid:
            return
        machine = self.disk.fold(zxid)
        demand(
            (machine.zxid, machine.digest) == (zxid, digest),
            "the log of %d gives another state at %s than it has",
            *(self.id, name(zxid)),
        )
        self.disk.keep(machine, self._random)
        self._ensemble.note(self.id, "has a snapshot at %s", name(zxid))


def _knows(role: Role, link: Link) -> bool:
    if isinstance(role, Leading):
        return link in role.learners
    return isinstance(role, Following) and role.link == link
