"""Peers around a table, driven by hand: every message, tick and write happens when a test says so.

Owns what lies between the peers: messages under way, links, the work that disks have not done yet. Nothing
moves by itself; `run` moves everything that can move, in a fixed order, until nothing can. Messages that are
delivered are written to `heard`, for scripts to show.

Synopsis::

    table = Table([1, 2, 3])
    table.start(1, 2, 3)
    table.run()
    table.propose(table.leader, b"a")
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from coord.wire.members import LinkMessage, Proposal, Vote
from coord.zab.following import Following
from coord.zab.history import RECENT_BYTES_MAX
from coord.zab.leading import Leading
from coord.zab.learner import Fetch
from coord.zab.links import Link
from coord.zab.peer import IN_FLIGHT_BYTES_MAX, Peer, Role, Work
from coord.zab.quorum import Majority, Quorum
from coord.zab.timing import Timing
from tests.simulation.disk import Disk
from tests.simulation.trace import describe, name

TURNS_MAX = 10_000


@dataclass
class Seat:
    """A member: its disk outlives it."""

    disk: Disk = field(default_factory=Disk)
    peer: Peer | None = None
    role: Role | None = None
    work: deque[Work] = field(default_factory=deque)
    """taken, not written yet"""
    fetches: deque[Fetch] = field(default_factory=deque)
    disk_waits: bool = False


@dataclass
class Wire:
    """A link: two ways, each in order."""

    number: int
    follower: int
    leader: int
    under_way: dict[int, deque[LinkMessage]]
    """to whom -> messages"""

    def end_of(self, member: int) -> Link:
        return Link(self.leader if member == self.follower else self.follower, self.number)


class Table:
    def __init__(
        self,
        voters: Sequence[int],
        observers: Sequence[int] = (),
        *,
        quorum: Quorum | None = None,
        timing: Timing | None = None,
        recent_bytes: int = RECENT_BYTES_MAX,
        in_flight_bytes: int = IN_FLIGHT_BYTES_MAX,
    ) -> None:
        self.quorum = quorum or Majority(voters)
        self.observers = list(observers)
        self.timing = timing
        self.recent_bytes = recent_bytes
        self.in_flight_bytes = in_flight_bytes
        self.seats = {member: Seat() for member in [*voters, *observers]}
        self.heard: list[str] = []
        self.votes: deque[tuple[int, int, Vote]] = deque()
        self.wires: list[Wire] = []
        self.held: Callable[[int, int, LinkMessage | Vote], bool] = lambda sender, to, message: False
        """messages that stay under way"""
        self._cut: set[frozenset[int]] = set()
        self._wires_opened = 0

    # -- members --------------------------------------------------------------------------------------

    def peer(self, member: int) -> Peer:
        peer = self.seats[member].peer
        assert peer is not None, f"{member} is not running"
        return peer

    @property
    def running(self) -> list[int]:
        return [member for member, seat in self.seats.items() if seat.peer is not None]

    @property
    def leader(self) -> int:
        """The one established leader."""
        (leader,) = [member for member in self.running if self.peer(member).leading]
        return leader

    def leading(self, member: int) -> Leading:
        role = self.peer(member).role
        assert isinstance(role, Leading)
        return role

    def log(self, member: int) -> list[bytes]:
        return [proposal.payload for proposal in self.seats[member].disk.history]

    def start(self, *members: int) -> None:
        for member in members:
            seat = self.seats[member]
            assert seat.peer is None
            disk = seat.disk
            seat.peer = Peer(
                member,
                self.quorum,
                last_zxid=disk.last_zxid,
                epochs=disk.epochs,
                ends=disk.ends(disk.snapshot),
                base=disk.snapshot,
                observers=self.observers,
                timing=self.timing,
                recent_bytes=self.recent_bytes,
                in_flight_bytes=self.in_flight_bytes,
            )
            seat.role = seat.peer.role
            self._settle(member)

    def crash(self, *members: int, survive: int = 0) -> None:
        """`survive` parts of the work under way are on disk (see `Disk.parts`); links and votes are lost."""
        for member in members:
            seat = self.seats[member]
            parts = [part for work in seat.work for part in seat.disk.parts(work)]
            for part in parts[:survive]:
                part()
            seat.work.clear()
            seat.fetches.clear()
            seat.peer = None
            self.votes = deque(one for one in self.votes if member not in one[:2])
            self.break_links(member)

    # -- what a test makes happen ---------------------------------------------------------------------

    def tick(self, *members: int, times: int = 1) -> None:
        for _ in range(times):
            for member in members or self.running:
                self.peer(member).tick()
                self._settle(member)

    def propose(self, member: int, *payloads: bytes) -> None:
        for payload in payloads:
            zxid = self.peer(member).next_zxid
            self.peer(member).propose(Proposal(zxid, zxid, payload))
            self._settle(member)

    def step_down(self, member: int) -> None:
        self.peer(member).step_down()
        self._settle(member)

    def write(self, member: int) -> bool:
        """The disk does the work it has, once. False if there is none."""
        seat = self.seats[member]
        if not seat.work:
            return False
        work = seat.work.popleft()
        seat.disk.write(work)
        self.peer(member).persisted(work.ticket)
        self._settle(member)
        return True

    def read(self, member: int) -> bool:
        """The disk is read for a follower, as far as the peer has asked for it."""
        seat = self.seats[member]
        if not seat.fetches:
            return False
        fetch = seat.fetches.popleft()
        self.peer(member).fetched(fetch, *seat.disk.read(fetch.after))
        self._settle(member)
        return True

    def snapshot(self, member: int) -> None:
        """Everything committed is folded into a snapshot, and goes from the log."""
        disk = self.seats[member].disk
        disk.snapshot = disk.purged = min(self.peer(member).committed, disk.last_zxid)

    def cut(self, one: int, other: int) -> None:
        """Nothing passes between them, and their links break."""
        self._cut.add(frozenset((one, other)))
        self.votes = deque(vote for vote in self.votes if {vote[0], vote[1]} != {one, other})
        self.break_links(one, other)

    def mend(self, one: int, other: int) -> None:
        self._cut.discard(frozenset((one, other)))

    def break_links(self, *members: int) -> None:
        """All links of these members (between them, if they are two); what is under way is lost."""
        for wire in list(self.wires):
            if wire in self.wires and set(members) <= {wire.follower, wire.leader}:
                self._close(wire)

    def connect(self, member: int) -> bool:
        """A follower without a link opens one to its leader, if that is possible."""
        role = self.peer(member).role
        if not isinstance(role, Following) or role.link is not None or not self._passes(member, role.leader):
            return False
        self._wires_opened += 1
        wire = Wire(self._wires_opened, member, role.leader, {member: deque(), role.leader: deque()})
        if not self.peer(role.leader).linked(wire.end_of(role.leader)):
            return False
        self.wires.append(wire)
        self._settle(role.leader)
        assert self.peer(member).linked(wire.end_of(member))
        self._settle(member)
        return True

    def deliver_vote(self) -> bool:
        for place, (sender, to, vote) in enumerate(self.votes):
            if self._passes(sender, to) and not self.held(sender, to, vote):
                del self.votes[place]
                self.heard.append(f"{sender} -> {to}  {describe(vote)}")
                self.peer(to).hear(sender, vote)
                self._settle(to)
                return True
        return False

    def deliver(self, wire: Wire, to: int) -> bool:
        """The next message on that way."""
        sender = wire.end_of(to).member
        waiting = wire.under_way[to]
        if wire not in self.wires or not waiting or self.held(sender, to, waiting[0]):
            return False
        message = waiting.popleft()
        self.heard.append(f"{sender} -> {to}  {describe(message)}")
        self.peer(to).receive(wire.end_of(to), message)
        self._settle(to)
        return True

    def move(self) -> bool:
        """One thing that can happen without a tick happens. False if there is none."""
        return (
            self.deliver_vote()
            or any(self.write(member) for member in self.running if not self.seats[member].disk_waits)
            or any(self.read(member) for member in self.running if not self.seats[member].disk_waits)
            or any(self.deliver(wire, to) for wire in self.wires for to in (wire.leader, wire.follower))
            or any(self.connect(member) for member in self.running)
        )

    def quiet(self) -> None:
        """Everything that can happen without a tick has happened."""
        for _ in range(TURNS_MAX):
            if not self.move():
                return
        raise AssertionError("the peers talk without end")

    def run(self, ticks: int = 12) -> None:
        """Some ticks pass, and between them everything that can happen."""
        self.quiet()
        for _ in range(ticks):
            self.tick()
            self.quiet()

    def run_until(self, condition: Callable[[], bool], ticks: int = 600) -> None:
        self.quiet()
        for _ in range(ticks):
            if condition():
                return
            self.tick()
            self.quiet()
        raise AssertionError("it does not come to that")

    def serves(self, members: Collection[int] | None = None) -> bool:
        """Are they all in touch with one leader?"""
        peers = [self.peer(member) for member in members or self.running]
        return all(peer.in_touch for peer in peers) and len({peer.leader for peer in peers}) == 1

    # -- between the peers ----------------------------------------------------------------------------

    def _passes(self, one: int, other: int) -> bool:
        running = self.seats[one].peer is not None and self.seats[other].peer is not None
        return running and frozenset((one, other)) not in self._cut

    def _settle(self, member: int) -> None:
        seat, peer = self.seats[member], self.peer(member)
        for to, message in peer.take_messages():
            if isinstance(message, Vote):
                assert not isinstance(to, Link)
                if self._passes(member, to):
                    self.votes.append((member, to, message))
            else:
                assert isinstance(to, Link)
                for wire in self.wires:
                    if wire.number == to.number:
                        wire.under_way[to.member].append(message)
        if peer.role is not seat.role:
            seat.role = peer.role
            self.break_links(member)
        while (work := peer.take_work()) is not None:
            seat.work.append(work)
        seat.fetches.extend(peer.fetches)
        peer.fetches.clear()

    def _close(self, wire: Wire) -> None:
        self.wires.remove(wire)
        for member in (wire.follower, wire.leader):
            peer = self.seats[member].peer
            if peer is not None:
                peer.unlinked(wire.end_of(member))
                self._settle(member)


def state(table: Table, member: int) -> str:
    """A line of a script's output."""
    seat = table.seats[member]
    stored = b" ".join(table.log(member)).decode() or "nothing"
    if seat.peer is None:
        return f"{member} is down; on disk: {stored}"
    peer = seat.peer
    match peer.role:
        case Leading(epoch=epoch, established=established):
            role = f"leads epoch {epoch}" if established else "wants to lead"
        case Following(leader=leader, established=established):
            role = f"follows {leader}" if established else f"joins {leader}"
        case _:
            role = "looks"
    zxids = f"logged {name(peer.history.logged)}, committed {name(peer.committed)}"
    return f"{member} {role}; {zxids}; on disk: {stored}"
