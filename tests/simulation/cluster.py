"""An ensemble in virtual time, everything about it drawn from one seed.

A run has two parts. First trouble: faults of all kinds while leaders propose, with checkers looking on
(`chronicle`). Then everything is healed, and progress is demanded: soon there is one leader with everybody in
touch, and what it proposes is committed and applied everywhere.

Synopsis::

    Cluster(seed=7).run()
    Cluster(seed=7, tell=print).run()  # the same, with a trace
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from coord.wire.members import LinkMessage, Ping, Pong
from coord.zab.history import RECENT_BYTES_MAX
from coord.zab.peer import IN_FLIGHT_BYTES_MAX
from coord.zab.quorum import Hierarchical, Majority, Quorum
from coord.zab.timing import Timing
from tests.simulation.chronicle import Chronicle, demand
from tests.simulation.faults import Faults
from tests.simulation.member import Member
from tests.simulation.network import End, Network, Weather
from tests.simulation.timeline import Timeline

TROUBLE_TICKS = 600
IN_FLIGHT_MAX = 8
STALL_TICKS_MAX = 100
"""A write that hangs goes on hanging when all else is healed."""


class Cluster:
    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self._tell = tell
        self.timeline = Timeline()
        self.quorum, self.observers = draw_ensemble(random)
        self.timing = draw_timing(random)
        self.recent_bytes = random.choice([30, 100, 300, RECENT_BYTES_MAX])
        self.in_flight_bytes = random.choice([1, 30, 100, IN_FLIGHT_BYTES_MAX])
        self.faults = Faults.draw(random)
        self.network = Network(self.timeline, random)
        self.network.weather = Weather(
            random.choice([0.02, 0.1, 0.5, 1.5]), random.choice([0, 0, 0.1, 0.3]), random.choice([0, 0.1])
        )
        ids = [*sorted(self.quorum.voters), *self.observers]
        self.members = {member_id: self._make_member(member_id) for member_id in ids}
        if random.random() < 0.5:  # else everybody is trusted from the start
            for voter in self.quorum.voters:
                self.members[voter].disk.wipe()
        self.chronicle = Chronicle(self.quorum, [self.members[one] for one in sorted(self.quorum.voters)])
        self.injected: Counter[str] = Counter()
        """how often each fault happened"""
        self._troubled = True
        self._working = True
        self._payloads = 0

    def _make_member(self, member_id: int) -> Member:
        member = Member(self, member_id)
        member.clock_rate = self.random.uniform(0.8, 1.25)
        member.sync_time = self.random.choice([0.02, 0.1, 0.1, 1.0])
        member.depth = self.random.choice([1, 1, 3])
        return member

    @property
    def now(self) -> float:
        return self.timeline.now

    def note(self, member: int, text: str, *values: object) -> None:
        if self._tell is not None:
            self._tell(f"{self.now:9.3f}  {member}  {text % values}")

    def _announce(self, text: str) -> None:
        if self._tell is not None:
            self._tell(f"{self.now:9.3f}  -  {text}")

    # -- a run ----------------------------------------------------------------------------------------

    def run(self) -> None:
        voters = sorted(self.quorum.voters)
        self._announce(f"voters {voters}, observers {self.observers}, {self.timing}, faults: {self.faults}")
        for member in self.members.values():
            self.timeline.after(self.random.uniform(0, 30), partial(self._start, member))
        self._begin_work()
        for fault, action in self._actions().items():
            rate = getattr(self.faults, fault)
            if rate:
                self._plan(1 / rate, partial(self._inject, fault, action))
        self.timeline.run(TROUBLE_TICKS)
        self.heal()
        self._demand_progress()

    def _begin_work(self) -> None:
        self._plan(0.3 * self.random.choice([1, 3, 10]), self._work)

    def _inject(self, fault: str, action: Callable[[], None]) -> None:
        self.injected[fault] += 1
        action()

    def totals(self) -> Counter[str]:
        """How much has happened, in all."""
        return Counter({"epochs": len(self.chronicle.epochs), "batches": len(self.chronicle.committed)})

    def heal(self) -> None:
        self._announce("everything is healed")
        self._troubled = False
        self.network.mend()
        self.network.weather = Weather()
        for member in self.members.values():
            member.stalled_until = 0.0
            member.resume()
            member.disk_fails = False
            member.sync_time = min(member.sync_time, 0.2)
            self._start(member)

    def _demand_progress(self) -> None:
        bound = 3 * self.timing.join + 20 * self.timing.silence + 5 * self.timing.revote_max
        deadline = self.now + bound
        before = max(member.peer.history.logged for member in self.members.values())
        self._wait(lambda: self._all_agree(before), deadline)
        self._announce("nothing is proposed any more")
        self._working = False
        self._wait(self._all_is_done, self.now + 10 * self.timing.ping + STALL_TICKS_MAX + 10)
        self.chronicle.disk_changed()

    def _wait(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition():
            if self.now > deadline:
                self._announce(self._state())
                demand(
                    False, "%.0f ticks after the last fault there is no progress", self.now - TROUBLE_TICKS
                )
            self.timeline.run(2)

    def _all_agree(self, before: int) -> bool:
        """Everybody serves one leader and has applied something that was proposed after the healing."""
        peers = [member.peer for member in self.members.values()]
        applied = self.chronicle.committed[: min(member.applied for member in self.members.values())]
        return (
            all(peer.in_touch for peer in peers)
            and not any(peer.epochs.blank for peer in peers if peer.is_voter)
            and len({peer.leader for peer in peers}) == 1
            and applied != []
            and applied[-1].last_zxid > before
        )

    def _all_is_done(self) -> bool:
        """Everything that was proposed is committed, everywhere."""
        last = max(member.peer.history.logged for member in self.members.values())
        return all(member.peer.committed == last for member in self.members.values())

    def _state(self) -> str:
        states = [f"{one.id}: leader {one.peer.leader}, {one.applied}" for one in self.members.values()]
        return "; ".join(states)

    # -- work -----------------------------------------------------------------------------------------

    def _plan(self, pause: float, action: Callable[[], None]) -> None:
        """`action` happens again and again, after random pauses."""
        self.timeline.after(self.random.expovariate(1 / pause), partial(self._again, pause, action))

    def _again(self, pause: float, action: Callable[[], None]) -> None:
        if self._troubled or (self._working and action == self._work):
            action()
            self._plan(pause, action)

    def _work(self) -> None:
        for member in self.members.values():
            if not member.up or member.paused_until > self.now or not member.peer.leading:
                continue
            if self.random.random() < 0.2:
                self.chronicle.asks(member)
            under_way = member.peer.history.logged - member.peer.committed
            if under_way < IN_FLIGHT_MAX:
                self._payloads += 1
                member.propose(b"%d of %d" % (self._payloads, member.id), self.random.randint(1, 3))

    # -- trouble --------------------------------------------------------------------------------------

    def _actions(self) -> dict[str, Callable[[], None]]:
        return {
            "crash": self._crash_one,
            "crash_all": self._crash_all,
            "reset": self._reset,
            "isolate": partial(self._cut, one_way=False),
            "deafen": partial(self._cut, one_way=True),
            "split": self._split,
            "slow": self._slow,
            "stall": self._stall,
            "pause": self._pause,
            "zombie": self._zombie,
            "fail_disk": self._fail_disk,
            "wipe": self._wipe,
            "step_down": self._step_down,
            "hand_over": self._hand_over,
            "mislead": self._mislead,
            "snapshot": self._snapshot,
        }

    def _someone(self) -> Member:
        """Leaders are where it hurts."""
        running = [member for member in self.members.values() if member.up]
        leaders = [member for member in running if member.peer.leading]
        if leaders and self.random.random() < 0.6:
            return self.random.choice(leaders)
        return self.random.choice(list(self.members.values()))

    def _start(self, member: Member) -> None:
        if not member.up:
            member.start()

    def _down(self, member: Member) -> None:
        if member.up:
            member.crash(host_too=self.random.random() < 0.3)
        pause = self.random.choice([1, 10, 60]) * self.random.random()
        self.timeline.after(pause, partial(self._start, member))

    def _crash_one(self) -> None:
        self._down(self._someone())

    def _crash_all(self) -> None:
        for member in self.members.values():
            self._down(member)

    def _reset(self) -> None:
        alive = [ends for ends in self.network.links if ends[0].open and ends[1].open]
        if alive:
            near, _ = self.random.choice(alive)
            self.note(near.member.id, "-- %d  link is reset", near.link.member)
            self.network.reset(near)

    def _mend_later(self) -> None:
        self.timeline.after(self.random.choice([3, 30, 100]) * self.random.random(), self.network.mend)

    def _cut(self, *, one_way: bool) -> None:
        lonely = self._someone().id
        hears = not one_way or self.random.random() < 0.5
        says = not one_way or not hears
        self.note(lonely, "is cut off: it%s%s", " hears nothing" * hears, " is not heard" * says)
        for other in self.members:
            if hears:
                self.network.block(other, lonely)
            if says:
                self.network.block(lonely, other)
        self._mend_later()

    def _split(self) -> None:
        side = {member for member in self.members if self.random.random() < 0.5}
        self._announce(f"{sorted(side)} and the others are cut off from each other")
        for one in self.members:
            for other in self.members:
                if (one in side) != (other in side):
                    self.network.block(one, other)
        self._mend_later()

    def _slow(self) -> None:
        sender, receiver = self.random.choice(list(self.members)), self.random.choice(list(self.members))
        self.network.slow(sender, receiver, self.random.choice([5, 20, 100]))
        self._mend_later()

    def _stall(self) -> None:
        ticks = self.random.choice([5, 30, STALL_TICKS_MAX]) * self.random.random()
        member = self._someone()
        self.note(member.id, "has a disk that hangs for %.1f ticks", ticks)
        member.stalled_until = self.now + ticks

    def _pause(self) -> None:
        member = self._someone()
        if member.up:
            member.pause(self.random.choice([5, 30, 100]) * self.random.random())

    def _zombie(self) -> None:
        """A leader is stopped, and cut off; when it goes on, others have gone on without it."""
        for member in self.members.values():
            if member.up and member.peer.leading:
                ticks = self.random.choice([30, 60])
                member.pause(ticks)
                self._wakes_up(member, ticks)
                self._block(member.id)
                self.timeline.after(self.random.choice([60, 80]), self.network.mend)

    def _wakes_up(self, member: Member, ticks: float) -> None:
        """A leader that was stopped will be asked again in so many ticks: whoever uses it may be misled."""

    def _block(self, lonely: int) -> None:
        for other in self.members:
            self.network.block(other, lonely)
            self.network.block(lonely, other)

    def _fail_disk(self) -> None:
        member = self._someone()
        member.disk_fails = member.up
        self.timeline.after(self.random.choice([10, 60]), partial(self._start, member))

    def _wipe(self) -> None:
        """A disk is replaced by an empty one, as long as the others can go on without it."""
        victim = self._someone()
        voting = [one for one in self.quorum.voters if not self.members[one].disk.saved.blank]
        if self.quorum.reached([one for one in voting if one != victim.id]):
            self._down(victim)
            lose = self.random.choice([victim.disk.wipe, victim.disk.wipe, victim.disk.lose_log])
            self.note(victim.id, "has an empty disk" if lose == victim.disk.wipe else "has lost its log")
            lose()
            self.chronicle.disk_changed()

    def _step_down(self) -> None:
        for member in self.members.values():
            if member.up and member.peer.leading:
                member.step_down()

    def _hand_over(self) -> None:
        for member in self.members.values():
            if member.up and member.peer.leading:
                member.leave()

    def _mislead(self) -> None:
        """The outcome of an election is advice: whoever it names, nothing may go wrong. So name anybody."""
        leader = self.random.choice(list(self.members.values()))
        for member in self.members.values():
            if member.up and self.random.random() < 0.7:
                member.follow(leader.id)

    def _snapshot(self) -> None:
        member = self._someone()
        upto = min(member.peer.committed, member.disk.last_zxid) if member.up else 0
        if upto > member.disk.snapshot and member.disk.count(upto):
            member.disk.make_snapshot(member.disk.history[member.disk.count(upto) - 1].last_zxid, self.random)

    def trap(self, member: Member, end: End, message: LinkMessage) -> bool:
        """Something may happen at the very moment a message arrives."""
        if not self._troubled or isinstance(message, (Ping, Pong)):
            return False
        if self.random.random() < self.faults.trap:
            self.injected["trap"] += 1
            self._down(member)
            return True
        if self.random.random() < self.faults.sever:
            self.injected["sever"] += 1
            self.note(member.id, "-- %d  link is reset", end.link.member)
            self.network.reset(end)
            return True
        return False


def draw_ensemble(random: Random) -> tuple[Quorum, list[int]]:
    """Mostly three or five voters; sometimes one, two or four, or groups; sometimes observers."""
    observers = [11, 12][: random.choice([0, 0, 0, 1, 2])]
    if random.random() < 0.15:
        groups = random.choice([{1: [1, 2, 3], 2: [4, 5]}, {1: [1, 2, 3], 2: [4, 5], 3: [6]}])
        return Hierarchical(groups, {3: random.choice([0, 1]), 4: 2}), observers
    size = random.choice([1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5])
    return Majority(range(1, size + 1)), observers


def draw_timing(random: Random) -> Timing:
    if random.random() < 0.5:
        return Timing()
    return Timing(
        ping=random.choice([1, 2, 3]),
        silence=random.choice([9, 15]),
        greet=random.choice([5, 10, 20]),
        join=random.choice([30, 60]),
        settle=random.choice([0, 1, 3]),
        revote=random.choice([2, 5]),
        revote_max=random.choice([10, 20]),
    )
