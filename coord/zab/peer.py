"""The peer: one member of an ensemble, as a state machine that its caller drives.

Owns the member's role, the promises that wait for the disk, and the work that waits for the caller. Must not
know what a proposal contains, nor any socket, file or clock. The package's docstring is the theory.

Synopsis::

    peer = Peer(1, Majority({1}), last_zxid=0, epochs=Epochs(0, 0))
    while work := peer.take_work():
        ...  # write work.epochs and work.proposals
        peer.persisted(work.ticket)
    peer.propose(Proposal(peer.next_zxid, peer.next_zxid, b"..."))

Rules that hold here:

- one function (`become`) changes role;
- `persisted` is called for tickets in the order they were taken, once each;
- `committed` never moves past what a quorum has made durable.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from coord.zab.election import Looking
from coord.zab.history import History, Proposal
from coord.zab.leading import Leading
from coord.zab.messages import Message
from coord.zab.quorum import Majority


class Epochs(NamedTuple):
    """The two durable epochs of a member: the newest it has accepted, and the one its history belongs to."""

    accepted: int
    current: int


@dataclass(slots=True)
class Work:
    """What must become durable, in this order: the proposals, then the epochs. Report the ticket after both.

    (History before epoch: else a member with a short history could win an election by its epoch alone,
    ZOOKEEPER-4643.)
    """

    ticket: int
    proposals: list[Proposal] = field(default_factory=list)
    epochs: Epochs | None = None

    def __bool__(self) -> bool:
        return bool(self.proposals) or self.epochs is not None


class Peer:
    def __init__(self, my_id: int, quorum: Majority, *, last_zxid: int, epochs: Epochs) -> None:
        assert my_id in quorum.voters, (my_id, quorum.voters)
        assert 0 <= epochs.current <= epochs.accepted, epochs
        self.my_id = my_id
        self.quorum = quorum
        self.history = History(last_zxid)
        self.epochs = epochs
        self._work = Work(ticket=1)
        self._taken: deque[tuple[int, int]] = deque()  # (ticket, last zxid logged when it was taken)
        self._promises: deque[tuple[int, Message]] = deque()  # (ticket it depends on, message to the leader)
        self.role: Looking | Leading = Looking(self)
        self.role.begin()

    # -- what the caller asks -------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        """May this member propose: does it lead, with its epoch established by a quorum?"""
        return isinstance(self.role, Leading) and self.role.established

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
        """How many entries this epoch can still take; at 0 call `new_epoch`."""
        return self._lead().room

    # -- what the caller feeds ------------------------------------------------------------------------

    def propose(self, proposal: Proposal) -> None:
        self._lead().propose(proposal)

    def new_epoch(self) -> None:
        """Give up the epoch (its zxids are used up) and stand for election again."""
        self._lead()
        self.become(Looking(self))

    def persisted(self, ticket: int) -> None:
        """All work of `ticket` is durable: what was promised on it is now said."""
        taken, logged = self._taken.popleft()
        assert taken == ticket, f"work must be reported in the order taken: {ticket} before {taken}"
        self.history.persisted(logged)
        while self._promises and self._promises[0][0] <= ticket:
            _, message = self._promises.popleft()
            self.role.receive(self.my_id, message)

    def take_work(self) -> Work | None:
        """Everything to be made durable since the last call, or None."""
        if not self._work:
            return None
        work = self._work
        self._taken.append((work.ticket, self.history.logged))
        self._work = Work(ticket=work.ticket + 1)
        return work

    # -- what the roles ask for -----------------------------------------------------------------------

    def become(self, role: Looking | Leading) -> None:
        """The one place that changes role. Promises of the old role are not kept: it no longer stands."""
        self._promises.clear()
        self.role = role
        role.begin()

    def log(self, proposal: Proposal) -> None:
        self.history.append(proposal)
        self._work.proposals.append(proposal)

    def set_epochs(self, epochs: Epochs) -> None:
        assert epochs.accepted >= self.epochs.accepted
        assert epochs.current >= self.epochs.current
        self.epochs = epochs
        self._work.epochs = epochs

    def promise(self, message: Message) -> None:
        """Say `message` to the leader as soon as all work handed out or waiting so far is durable."""
        assert self._work, "a promise speaks of work that is not durable yet"
        self._promises.append((self._work.ticket, message))

    def _lead(self) -> Leading:
        assert isinstance(self.role, Leading), "only a leader can do this"
        return self.role
