"""The peer: one member of an ensemble, as a state machine that its caller drives.

Owns the member's role, the promises that wait for the disk, and the work that waits for the caller. Must not
know what a proposal contains, nor any socket, file or clock. The package's docstring is the theory.

Synopsis::

    peer = Peer(1, Majority({1}), last_zxid=0, epochs=Epochs(0, 0))
    while work := peer.take_work():
        ...  # make it durable, in the order of its fields
        peer.persisted(work.ticket)
    peer.propose(Proposal(peer.next_zxid, peer.next_zxid, b"..."))
    for to, message in peer.take_messages():
        ...  # to an `int`, a member, on the election network; to a `Link`, on that link

Rules that hold here:

- one function (`become`) changes role, and what the old role had promised is not said any more;
- `persisted` is called for tickets in the order they were taken, once each;
- `committed` never moves past what a quorum has made durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from coord.wire.members import Install, LinkMessage, Proposal, Standing, Vote
from coord.zab.election import Looking
from coord.zab.following import Following
from coord.zab.history import RECENT_BYTES_MAX, History, epoch_of
from coord.zab.leading import Leading
from coord.zab.learner import Fetch
from coord.zab.links import Link
from coord.zab.quorum import Quorum
from coord.zab.timing import Timing


class Epochs(NamedTuple):
    """The two durable epochs of a member: the newest it has accepted, and the one its history belongs to."""

    accepted: int
    current: int
    blank: bool = False
    """This member began with an empty disk, and no leader has let it vote since. It may have lost what it
    had promised: so it counts for nothing (see `learner`)."""


@dataclass(slots=True)
class Work:
    """What must become durable, in the order of the fields. Report the ticket after all of it.

    (History before epoch: else a member with a short history could win an election by its epoch alone,
    ZOOKEEPER-4643.)
    """

    ticket: int
    truncate: int | None = None
    """forget everything after this zxid"""
    install: Install | None = None
    """forget everything; this snapshot takes its place"""
    install_digest: int = 0
    """for the caller's own use: what it knows of that snapshot"""
    proposals: list[Proposal] = field(default_factory=list)
    epochs: Epochs | None = None

    def __bool__(self) -> bool:
        return (
            bool(self.proposals)
            or self.epochs is not None
            or self.truncate is not None
            or self.install is not None
        )


Role = Looking | Following | Leading
Addressee = int | Link
"""a member on the election network, or a link"""
_SELF = Link(0, 0)

IN_FLIGHT_BYTES_MAX = RECENT_BYTES_MAX // 2
"""Less than what is kept in memory: a slow follower goes on from there."""


class Peer:
    def __init__(
        self,
        my_id: int,
        quorum: Quorum,
        *,
        last_zxid: int,
        epochs: Epochs,
        ends: Sequence[int] = (),
        base: int = 0,
        observers: Sequence[int] = (),
        timing: Timing | None = None,
        recent_bytes: int = RECENT_BYTES_MAX,
        in_flight_bytes: int = IN_FLIGHT_BYTES_MAX,
    ) -> None:
        """`ends`, `base`, `recent_bytes`: see `History`. `observers` follow without a vote. `in_flight_bytes`
        of proposals are on their way to one follower at the most, and one proposal."""
        assert my_id in quorum.voters or my_id in observers, (my_id, quorum.voters)
        assert 0 <= epochs.current <= epochs.accepted, epochs
        assert epoch_of(last_zxid) <= epochs.current, (last_zxid, epochs)
        self.my_id = my_id
        self.quorum = quorum
        self.is_voter = my_id in quorum.voters
        self.others = sorted((quorum.voters | set(observers)) - {my_id})
        self.timing = timing or Timing()
        self.history = History(last_zxid, ends, base, recent_bytes)
        self.in_flight_bytes = in_flight_bytes
        self.epochs = epochs
        self.round = 0
        self.ballot: Vote | None = None
        """the vote with which the last election ended here"""
        self.epoch_heard = 0
        """the newest epoch that this member, when it led, was told of too late to begin a newer one"""
        self._work = Work(ticket=1)
        self.durable_epochs = epochs
        """as far as the disk knows"""
        self._taken: deque[tuple[int, int, Epochs]] = deque()  # (ticket, last zxid, epochs when it was taken)
        self._promises: deque[tuple[int, Addressee, LinkMessage | Vote | Fetch]] = deque()
        self._outbox: list[tuple[Addressee, LinkMessage | Vote]] = []
        self.fetches: list[Fetch] = []
        """history to be read from disk for followers; the caller takes them"""
        self.payloads: list[tuple[Link, bytes]] = []
        """what replicas have sent over the links of this role; the caller takes them"""
        self.role: Role = Looking(self)
        self.role.begin()

    # -- what the caller asks -------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """May this member propose: does it lead, with its epoch established by a quorum?"""
        return isinstance(self.role, Leading) and self.role.established and not self.role.leaving

    @property
    def in_touch(self) -> bool:
        """Is this member part of a working ensemble, as far as it has heard lately?"""
        return isinstance(self.role, (Leading, Following)) and self.role.established and self.role.fresh

    @property
    def leader(self) -> int | None:
        """Whom this member follows (itself, if it leads); None while it is looking."""
        return None if isinstance(self.role, Looking) else self.role.leader

    @property
    def committed(self) -> int:
        """Everything up to this zxid is committed and may be applied."""
        return self.history.committed

    @property
    def next_zxid(self) -> int:
        """The zxid of the next entry to propose."""
        return self._lead().next_zxid

    @property
    def room(self) -> int:
        """How many entries this epoch can still take; when they run out call `step_down`."""
        return self._lead().room

    @property
    def may_vote(self) -> bool:
        """Does this member count, where members are counted? Not before its disk says so: else a crash could
        leave members with a promise, and too few with a vote to go on from there."""
        return self.is_voter and not self.durable_epochs.blank

    @property
    def may_lead(self) -> bool:
        return self.may_vote and self.my_id in self.quorum.electable

    @property
    def entry_wanted(self) -> bool:
        """Would any entry help: is there nothing to propose, and somebody waits for a proposal?"""
        return isinstance(self.role, Leading) and self.role.entry_wanted

    # -- what the caller feeds ------------------------------------------------------------------------

    def propose(self, proposal: Proposal) -> None:
        self._lead().propose(proposal)

    def step_down(self) -> None:
        """Give up the epoch (its zxids are used up, or the disk has failed) and look for a leader again."""
        self.become(Looking(self))

    def leave(self) -> None:
        """This member is about to go: if it leads, let another lead first."""
        if isinstance(self.role, Leading):
            self.role.leave()

    def tick(self) -> None:
        """One unit of `Timing` has passed."""
        self.role.tick()

    def hear(self, sender: int, vote: Vote) -> None:
        """Something came over the election network."""
        if sender in self.others:
            self.role.hear(sender, vote)

    def linked(self, link: Link) -> bool:
        """A link is there: to the leader this member follows, or from a member that takes it for its leader.
        False: nobody wants it, close it. Links do not outlive the role."""
        return self.role.linked(link)

    def unlinked(self, link: Link) -> None:
        self.role.unlinked(link)

    def receive(self, link: Link, message: LinkMessage) -> None:
        self.role.receive(link, message)

    def fetched(self, fetch: Fetch, snapshot: Install | None, proposals: Sequence[Proposal]) -> None:
        """What a `Fetch` asked for."""
        if isinstance(self.role, Leading):
            self.role.fetched(fetch, snapshot, proposals)

    def persisted(self, ticket: int) -> None:
        """All work of `ticket` is durable: what was promised on it is now said."""
        taken, logged, self.durable_epochs = self._taken.popleft()
        assert taken == ticket, f"work must be reported in the order taken: {ticket} before {taken}"
        self.history.persisted(logged)
        while self._promises and self._promises[0][0] <= ticket:
            _, to, message = self._promises.popleft()
            if isinstance(message, Fetch):
                self.fetches.append(message)
            elif to is _SELF:
                assert not isinstance(message, Vote)
                self.role.receive_own(message)
            else:
                self._outbox.append((to, message))

    def take_work(self) -> Work | None:
        """Everything to be made durable since the last call, or None."""
        if not self._work:
            return None
        work = self._work
        self._taken.append((work.ticket, self.history.logged, self.epochs))
        self._work = Work(ticket=work.ticket + 1)
        return work

    def take_messages(self) -> list[tuple[Addressee, LinkMessage | Vote]]:
        """Everything to be sent since the last call, in order."""
        messages, self._outbox = self._outbox, []
        return messages

    # -- what the roles ask for -----------------------------------------------------------------------

    def become(self, role: Role) -> None:
        """The one place that changes role. Promises of the old role are not kept: it no longer stands."""
        self._promises.clear()
        self.role = role
        role.begin()

    def log(self, proposal: Proposal) -> None:
        self.history.append(proposal)
        self._work.proposals.append(proposal)

    def truncate(self, zxid: int) -> None:
        self.history.truncate(zxid)
        self._taken = deque((ticket, min(logged, zxid), epochs) for ticket, logged, epochs in self._taken)
        work = self._work
        work.proposals = [proposal for proposal in work.proposals if proposal.last_zxid <= zxid]
        if work.install is None or work.install.zxid < zxid:
            work.truncate = zxid if work.truncate is None else min(zxid, work.truncate)

    def install(self, snapshot: Install) -> None:
        self.history.install(snapshot.zxid)
        self._taken = deque((ticket, 0, epochs) for ticket, _, epochs in self._taken)
        self._work.truncate, self._work.proposals = None, []
        self._work.install = snapshot

    def set_epochs(self, epochs: Epochs) -> None:
        assert epochs.accepted >= self.epochs.accepted
        assert epochs.current >= self.epochs.current
        self.epochs = epochs
        self._work.epochs = epochs

    def say(self, to: Addressee, message: LinkMessage | Vote) -> None:
        """Free to go at once."""
        self._outbox.append((to, message))

    def repeat_ballot(self, sender: int, standing: Standing) -> None:
        """For one that is still looking: how the election ended here, while there is no epoch to tell."""
        if self.ballot is not None and self.ballot.leader == self.leader:
            self.say(sender, replace(self.ballot, standing=standing))

    def promise(self, to: Addressee, message: LinkMessage | Vote) -> None:
        """Say it as soon as everything logged and set so far is durable."""
        if self._waits_for:
            self._promises.append((self._waits_for, to, message))
        else:
            self.say(to, message)

    def fetch(self, fetch: Fetch) -> None:
        """Ask the caller for it as soon as the disk holds what this history holds, and nothing else: not what
        was truncated a moment ago, nor what a snapshot is about to replace."""
        if self._waits_for:
            self._promises.append((self._waits_for, _SELF, fetch))
        else:
            self.fetches.append(fetch)

    @property
    def _waits_for(self) -> int:
        """The ticket of the last work there is; 0 if everything is durable."""
        return self._work.ticket if self._work else self._taken[-1][0] if self._taken else 0

    def promise_myself(self, message: LinkMessage) -> None:
        """The leader's own acknowledgement takes the same way as everybody's."""
        assert self._work, "a promise speaks of work that is not durable yet"
        self.promise(_SELF, message)

    def _lead(self) -> Leading:
        assert isinstance(self.role, Leading), "only a leader can do this"
        return self.role
