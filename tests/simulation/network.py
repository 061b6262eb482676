"""The network between members: votes that get lost, late or repeated, and links that keep order or break.

Whoever has an end is a `Station`: a member, or whatever else talks over links; what is said is not looked at.

Knows no role and no epoch. A cut (`block`) is one-way: votes into it are lost, what is on a link waits until
the cut is mended, or for ever if the link is given up meanwhile. The far end of a link learns that it is
closed after what was sent before; or at once, when it is reset; or never, when the host is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from coord.wire.members import Vote
from coord.zab.links import Link

if TYPE_CHECKING:
    from tests.simulation.member import Member
    from tests.simulation.timeline import Timeline

CONNECT_TICKS = 40.0
"""An attempt to connect is given up then, as the shell does (`MEMBER_CONNECT_SECONDS`)."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Delays are in ticks, the others are probabilities."""

    delay: float = 0.05
    lost: float = 0.0
    repeated: float = 0.0
    unsteady: bool = True
    """is each delay another one, so that votes overtake each other?"""


class Station(Protocol):
    """Who can be reached, by an id of its own."""

    id: int

    @property
    def up(self) -> bool: ...
    @property
    def incarnation(self) -> int: ...
    def defer(self, action: Callable[[], None]) -> bool: ...
    def accepted(self, end: End) -> None: ...
    def connected(self, end: End | None) -> None: ...
    def disconnected(self, end: End) -> None: ...
    def receive(self, end: End, message: Any) -> None: ...


class End:
    """A station's end of a connection; `link` is its own name for it."""

    def __init__(self, member: Station, link: Link) -> None:
        self.member = member
        self.link = link
        self.open = True
        self.incoming: deque[Any | None] = deque()
        """sent, not delivered yet; None is the end of it"""
        self.last_arrival = 0.0
        self.other: End


class Network:
    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.weather = Weather()
        self.links: list[tuple[End, End]] = []
        self._timeline = timeline
        self._random = random
        self._blocked: set[tuple[int, int]] = set()
        self._slow: dict[tuple[int, int], float] = {}
        self._links_opened = 0

    # -- its state ------------------------------------------------------------------------------------

    def block(self, sender: int, receiver: int) -> None:
        self._blocked.add((sender, receiver))

    def slow(self, sender: int, receiver: int, factor: float) -> None:
        self._slow[sender, receiver] = factor

    def unblock(self, sender: int, receiver: int) -> None:
        self._blocked.discard((sender, receiver))
        for ends in self.links:
            for end in ends:
                if (end.link.member, end.member.id) == (sender, receiver):
                    self._go_on(end)

    def mend(self) -> None:
        """No way is cut or slow any more."""
        self._blocked.clear()
        self._slow.clear()
        for ends in self.links:
            for end in ends:
                self._go_on(end)

    def _go_on(self, end: End) -> None:
        end.last_arrival = self._timeline.now
        for _ in end.incoming:
            self._expect(end)

    def reaches(self, sender: int, receiver: int) -> bool:
        return (sender, receiver) not in self._blocked

    def _delay(self, sender: int, receiver: int) -> float:
        factor = self._slow.get((sender, receiver), 1.0)
        chance = self._random.expovariate(2.0) if self.weather.unsteady else 0.5
        return factor * self.weather.delay * (0.5 + chance)

    # -- votes ----------------------------------------------------------------------------------------

    def send_vote(self, sender: Member, receiver: Member, vote: Vote) -> None:
        copies = 1 + (self._random.random() < self.weather.repeated)
        for _ in range(copies):
            if self.reaches(sender.id, receiver.id) and self._random.random() >= self.weather.lost:
                delay = self._delay(sender.id, receiver.id)
                # It comes over a connection, which does not outlive the receiver's process.
                hear = partial(self._deliver_vote, receiver, receiver.incarnation, sender.id, vote)
                self._timeline.after(delay, hear)

    def _deliver_vote(self, receiver: Member, incarnation: int, sender: int, vote: Vote) -> None:
        if receiver.incarnation == incarnation:
            receiver.hear(sender, vote)

    # -- links ----------------------------------------------------------------------------------------

    def connect(self, opener: Station, acceptor: Station) -> None:
        """Tells both that the link is there, after a while; or the opener that it can't be."""
        delay = self._delay(opener.id, acceptor.id) + self._delay(acceptor.id, opener.id)
        in_time = delay <= CONNECT_TICKS
        attempt = partial(self._connect, opener, opener.incarnation, acceptor, in_time)
        self._timeline.after(min(delay, CONNECT_TICKS), attempt)

    def _connect(self, opener: Station, incarnation: int, acceptor: Station, in_time: bool) -> None:
        if opener.incarnation != incarnation:
            return
        both_ways = self.reaches(opener.id, acceptor.id) and self.reaches(acceptor.id, opener.id)
        if not acceptor.up or not both_ways or not in_time:
            opener.connected(None)
            return
        self._links_opened += 1
        near = End(opener, Link(acceptor.id, self._links_opened))
        far = End(acceptor, Link(opener.id, self._links_opened))
        near.other, far.other = far, near
        self.links = [ends for ends in self.links if ends[0].open or ends[1].open]
        self.links.append((near, far))
        acceptor.accepted(far)
        opener.connected(near)

    def send(self, end: End, message: Any) -> None:
        if end.open:
            self._pass(end.other, message)

    def close(self, end: End) -> None:
        """The member gives up its end: the other learns it after what is on its way."""
        if end.open:
            end.open = False
            self._pass(end.other, None)

    def vanish(self, end: End) -> None:
        """The host is gone without a word."""
        end.open = False

    def reset(self, end: End) -> None:
        """What is on its way is lost, in both directions; both ends learn it, each in its time."""
        for one in (end, end.other):
            one.incoming.clear()
            self._pass(one, None)

    def _pass(self, to: End, message: Any | None) -> None:
        to.incoming.append(message)
        self._expect(to)

    def _expect(self, end: End) -> None:
        """Something is due at this end, not before what was sent earlier."""
        arrival = self._timeline.now + self._delay(end.link.member, end.member.id)
        end.last_arrival = max(end.last_arrival, arrival)
        self._timeline.at(end.last_arrival, partial(self._deliver, end, end.member.incarnation))

    def _deliver(self, end: End, incarnation: int) -> None:
        member = end.member
        if not end.open or not end.incoming or member.incarnation != incarnation:
            return
        if not self.reaches(end.link.member, member.id):
            return  # until it is mended
        if member.defer(partial(self._deliver, end, incarnation)):
            return
        message = end.incoming.popleft()
        if message is None:
            end.open = False
            member.disconnected(end)
        else:
            member.receive(end, message)
