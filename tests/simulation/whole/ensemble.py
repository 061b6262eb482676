"""Whole members with clients, in virtual time, everything about it drawn from one seed.

As `Cluster`, one layer up: the members are replicas with sessions and watches, and what they do is what their
clients ask for. A run has the same two parts. First trouble, with checkers looking on: `Chronicle` at the
agreement, `Annals` at the state, a `Witness` at what each client hears. Then everything is healed, and
progress is demanded: every client gets a write and a linearizable read through, sessions whose clients are
gone expire and take their ephemerals along, and all members come to the same state.

Some runs are *calm*: nothing happens but that leaders die, and then no client of a survivor may be
disconnected.

Synopsis::

    Ensemble(seed=7).run()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import inf

from coord import config as settings
from coord.config import Config
from coord.limits import REPORT_BEATS
from coord.wire.members import LinkMessage, Proposal
from coord.zab.timing import Timing
from tests.linearizability import NotLinearizable, Operation, State, check
from tests.simulation.chronicle import Violation, demand
from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.member import Member
from tests.simulation.network import End, Weather
from tests.simulation.trace import name
from tests.simulation.whole.annals import Annals
from tests.simulation.whole.client import SECONDS_PER_TICK, Client
from tests.simulation.whole.faults import ClientFaults
from tests.simulation.whole.member import BEAT, WholeMember

FIRST_CLIENT = 101
DRIFT = 0.01
"""clocks run apart by so much, which is a hundred times what a quartz does"""


class Ensemble(Cluster):
    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.annals = Annals(lambda: self.now, self._counts_on)
        self.operations: list[Operation] = []
        self.counts: Counter[str] = Counter()
        self.names: list[tuple[int, str]] = []
        super().__init__(seed, tell)
        random = self.random
        self.config = Config(
            members=settings_of(sorted(self.quorum.voters), self.observers),
            my_id=min(self.quorum.voters),  # they share it: only the peers need to know who they are
            max_client_cnxns=0,
            snap_count=random.choice([10, 40, 150, 100_000]),
        )
        self.client_faults = ClientFaults.draw(random)
        self.pause = random.choice([2.0, 5.0, 15.0])
        """ticks between what one client does and what it does next, on average"""
        self.is_calm = random.random() < 0.15
        if self.is_calm:
            self._be_calm()
        timeouts = [8.0, 12.0] if self.is_calm else [4.0, 4.0, 4.0, 6.0, 6.0, 10.0, 20.0]
        ids = range(FIRST_CLIENT, FIRST_CLIENT + random.choice([2, 3, 4, 5]))
        self.clients = [Client(self, client_id, random.choice(timeouts)) for client_id in ids]
        for client in self.clients:
            client.clock_rate = random.uniform(1 - DRIFT, 1 + DRIFT)

    def _be_calm(self) -> None:
        """Nothing but that leaders die."""
        self.faults, self.client_faults = Faults.none(), ClientFaults.none()
        self.network.weather = Weather(unsteady=False)
        self.timing = Timing()
        for member in self.members.values():
            member.sync_time = 0.1

    def _make_member(self, member_id: int) -> WholeMember:
        member = WholeMember(self, member_id)
        member.clock_rate = self.random.uniform(1 - DRIFT, 1 + DRIFT)
        member.sync_time = self.random.choice([0.02, 0.1, 0.1, 1.0])
        return member

    def whole(self, member_id: int) -> WholeMember:
        member = self.members[member_id]
        assert isinstance(member, WholeMember)
        return member

    @property
    def whole_members(self) -> list[WholeMember]:
        return [self.whole(one) for one in self.members]

    def committed_upto(self, zxid: int) -> list[Proposal]:
        """The one history, as far as that."""
        upto = [one for one in self.chronicle.committed if one.last_zxid <= zxid]
        demand(upto[-1:] != [] and upto[-1].last_zxid == zxid, "a snapshot at %#x, in the middle", zxid)
        return upto

    def start_again(self, member: Member) -> None:
        self._start(member)

    # -- what clients tell ----------------------------------------------------------------------------

    def _counts_on(self, session_id: int) -> float:
        mine = [one.counts_on_session_until for one in self.clients if one.core.id == session_id]
        return max(mine, default=-inf)

    def named(self, zxid: int, path: str) -> None:
        """A sequential znode was acknowledged."""
        self.names.append((zxid, path))

    def left_by_survivor(self, client: int, member: int) -> None:
        """A session's connection has ended although its member lives on."""
        # An observer asks who leads at a pace of its own: it may find out too late for its clients.
        exempt = not self.is_calm or member not in self.quorum.voters
        demand(exempt, "%d is disconnected from %d, though only leaders die", client, member)

    # -- a run ----------------------------------------------------------------------------------------

    def _begin_work(self) -> None:
        for client in self.clients:
            client.start()
        self.random.choice(self.clients).prepare()
        if self.is_calm:
            self._plan(120, partial(self._inject, "leader dies", self._kill_leader))
        for fault, action in self._client_actions().items():
            rate = getattr(self.client_faults, fault)
            if rate:
                self._plan(1 / rate, partial(self._inject, fault, action))

    def _actions(self) -> dict[str, Callable[[], None]]:
        actions = super()._actions()
        del actions["snapshot"]  # members make their own
        return actions

    def _client_actions(self) -> dict[str, Callable[[], None]]:
        return {
            "hang_up": self._hang_up,
            "reset_client": self._reset_client,
            "cut_client": partial(self._cut_client, one_way=False),
            "deafen_client": partial(self._cut_client, one_way=True),
            "pause_client": self._pause_client,
            "give_up": lambda: self._some_client().give_up(),
            "strand": self._strand,
            "overtake": self._overtake,
            "pass_through": self._pass_through,
            "fill_disk": self._fill_disk,
        }

    def _some_client(self) -> Client:
        return self.random.choice(self.clients)

    def _kill_leader(self) -> None:
        """Not while the ensemble has not got over the last one's death, nor if it never could."""
        members = self.whole_members
        if not all(member.up and member.replica.serving for member in members):
            return
        for member in members:
            if member.peer.leading and self.quorum.reached(self.quorum.voters - {member.id}):
                member.crash(host_too=self.random.random() < 0.3)
                self.timeline.after(self.random.uniform(20, 60), partial(self._start, member))

    def _wakes_up(self, member: Member, ticks: float) -> None:
        for client in self.random.sample(self.clients, self.random.choice([1, 2])):
            client.pause(ticks)  # who had seen what others have done since would be turned away
            self.timeline.after(ticks + self.random.uniform(0, 5), partial(client.visit, member.id))

    def _hang_up(self) -> None:
        client = self._some_client()
        client.hang_up(client.end)

    def _reset_client(self) -> None:
        ends = [client.end for client in self.clients if client.end is not None]
        if ends:
            end = self.random.choice(ends)
            self.note(end.member.id, "-- %d  connection is reset", end.link.member)
            self.network.reset(end)

    def _cut_client(self, *, one_way: bool) -> None:
        client = self._some_client()
        hears = not one_way or self.random.random() < 0.5
        says = not one_way or not hears
        self.note(client.id, "is cut off: it%s%s", " hears nothing" * hears, " is not heard" * says)
        ways = [(member, client.id) for member in self.members if hears]
        ways += [(client.id, member) for member in self.members if says]
        self._cut_for_a_while(ways)

    def _cut_for_a_while(self, ways: Sequence[tuple[int, int]]) -> None:
        """From whom to whom; no other cut is mended along with these."""
        for way in ways:
            self.network.block(*way)
        self._mend_ways(self.random.choice([3, 30, 100]) * self.random.random(), ways)

    def _mend_ways(self, delay: float, ways: Sequence[tuple[int, int]]) -> None:
        for way in ways:
            self.timeline.after(delay, partial(self.network.unblock, *way))

    def _strand(self) -> None:
        """One member does not notice that a client has gone elsewhere, and later hears what it said last."""
        client = self._some_client()
        end = client.end
        if end is not None:
            self.note(client.id, "-- %d  no way between them", end.link.member)
            self._cut_for_a_while(_both_ways(client.id, end.link.member))
            self.timeline.after(self.random.uniform(0, 20), partial(client.hang_up, end))

    def _overtake(self) -> None:
        """A client leaves, unnoticed, a member that is cut off from the leader, and goes on at the leader.
        Then that one dies, and the member is back, with what the client had asked it for."""
        client = self._some_client()
        leaders = [member for member in self.whole_members if member.up and member.peer.leading]
        if not leaders or client.end is None or client.end.link.member == leaders[0].id:
            return
        leader, left = leaders[0], client.end.link.member
        self.note(client.id, "-- %d  is to be overtaken at %d", left, leader.id)
        between_members = _both_ways(left, leader.id)
        for way in between_members:
            self.network.block(*way)
        leaves = self.random.uniform(3, 10)
        self._in_trouble(leaves, partial(self._cut_for_a_while, _both_ways(client.id, left)))
        self._in_trouble(leaves, partial(client.visit, leader.id))
        dies = leaves + self.random.uniform(5, 12)
        self._in_trouble(dies, partial(self._down, leader))
        self._mend_ways(dies, between_members)

    def _pass_through(self) -> None:
        """A client comes to a member that is cut off from the leader, and goes on to the leader, unnoticed:
        what that member has to say of it comes late."""
        client = self._some_client()
        leaders = [member.id for member in self.whole_members if member.up and member.peer.leading]
        if not leaders or len(self.members) == 1:
            return
        passed = self.random.choice([one for one in self.members if one != leaders[0]])
        between_members = _both_ways(passed, leaders[0])
        for way in between_members:
            self.network.block(*way)
        client.visit(passed)
        leaves = self.random.uniform(4, 8)
        self._in_trouble(leaves, partial(self._cut_for_a_while, _both_ways(client.id, passed)))
        self._in_trouble(leaves, partial(client.visit, leaders[0]))
        self._mend_ways(leaves + self.random.uniform(2, 8), between_members)

    def _in_trouble(self, delay: float, action: Callable[[], None]) -> None:
        """Unless everything is healed by then."""
        self.timeline.after(delay, lambda: action() if self._troubled else None)

    def _pause_client(self) -> None:
        """Perhaps for about as long as its session lasts without it."""
        client = self._some_client()
        timeout = client.timeout / SECONDS_PER_TICK
        client.pause(self.random.choice([20 * self.random.random(), timeout * self.random.uniform(0.3, 2.2)]))

    def _fill_disk(self) -> None:
        member = self.whole(self._someone().id)
        member.disk_is_full = True
        self.timeline.after(self.random.uniform(5, 60), partial(self._make_room, member))

    def _make_room(self, member: WholeMember) -> None:
        member.disk_is_full = False

    def trap(self, member: Member, end: End, message: LinkMessage) -> bool:
        return not self.is_calm and super().trap(member, end, message)

    def totals(self) -> Counter[str]:
        self.counts["events"] = sum(client.events for client in self.clients)
        return super().totals() + self.counts + self.annals.counts

    # -- the end --------------------------------------------------------------------------------------

    def heal(self) -> None:
        for member in self.whole_members:
            self._make_room(member)
        for client in self.clients:
            client.resume()
        super().heal()

    def _demand_progress(self) -> None:
        healed = self.now
        bound = 3 * self.timing.join + 20 * self.timing.silence + 5 * self.timing.revote_max
        self._wait(lambda: self._all_serve(healed), healed + bound + 200)
        self._announce("half of the clients vanish")
        gone = self.random.sample(self.clients, len(self.clients) // 2)
        for client in gone:
            client.vanish()
        longest = max(client.timeout for client in self.clients) / SECONDS_PER_TICK
        patience = longest * 7 / 6 + (2 * self.config.fresh_beats + REPORT_BEATS + 4) * BEAT + 20
        self._wait(self._only_the_living_have_sessions, self.now + (1 + 2 * DRIFT) * patience)
        self._announce("nobody asks for anything any more")
        for client in self.clients:
            client.silent = True
        self._wait(self._all_is_done, self.now + 10 * self.timing.ping + 50)
        self.chronicle.disk_changed()
        self._judge()

    def _all_serve(self, since: float) -> bool:
        """Every member serves, and every client got a write and a read through that it asked for since."""
        return (
            len({member.peer.leader for member in self.whole_members}) == 1
            and all(member.replica.serving for member in self.whole_members)
            and all(client.wrote_at >= since and client.read_at >= since for client in self.clients)
        )

    def _living(self) -> set[int]:
        return {client.core.id for client in self.clients if client.up}

    def _only_the_living_have_sessions(self) -> bool:
        living = self._living()
        return all(member.replica.machine.sessions.timeouts.keys() == living for member in self.whole_members)

    def _all_is_done(self) -> bool:
        if any(member.entries_beyond_snapshot > 3 * self.config.snap_count for member in self.whole_members):
            return False
        machines = [member.replica.machine for member in self.whole_members]
        last = max(member.peer.history.logged for member in self.whole_members)
        same = {(one.zxid, one.digest) for one in machines} == {(last, machines[0].digest)}
        return same and self._nobody_waits()

    def _nobody_waits(self) -> bool:
        connections = [one for member in self.whole_members for one in member.replica.lobby.connections]
        return not any(connection.outstanding for connection in connections) and all(
            client.waits_for_nothing for client in self.clients if client.up
        )

    def _judge(self) -> None:
        """What can be judged only when all is over."""
        for member in self.whole_members:
            self.annals.compare_all(member.replica.machine)
        try:
            check(self.operations, State(b"", 0))
        except NotLinearizable as error:
            raise Violation(str(error)) from None
        numbers: dict[str, str] = {}
        for zxid, path in sorted(self.names):
            parent = path.rpartition("/")[0]
            demand(path[-10:] > numbers.get(parent, ""), "%s at %#x has a number given before", path, zxid)
            numbers[parent] = path[-10:]

    def _state(self) -> str:
        members = [
            f"{one.id}: leader {one.peer.leader}, {name(one.replica.machine.zxid)}, "
            f"serving {one.replica.serving}"
            for one in self.whole_members
        ]
        clients = [
            f"{one.id}: session {one.core.id:#x}, connected {one.core.connected}, wrote {one.wrote_at:.0f}, "
            f"read {one.read_at:.0f}"
            for one in self.clients
        ]
        return "; ".join([*members, *clients])


def settings_of(voters: Sequence[int], observers: Sequence[int]) -> dict[int, settings.Member]:
    def one(member: int, role: str) -> settings.Member:
        return settings.Member("127.0.0.1", 1000 + member, 2000 + member, role)

    return {
        **{member: one(member, "participant") for member in voters},
        **{member: one(member, "observer") for member in observers},
    }


def _both_ways(one: int, other: int) -> list[tuple[int, int]]:
    return [(one, other), (other, one)]
