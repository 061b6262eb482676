"""A learner: what a leader knows of one member on one link, and how it makes that member's history its own.

Owns the choice of the way: what both share is found by the ends of their epochs; the follower forgets what
it has beyond that (TRUNC), and gets what it lacks, from memory if it is recent (DIFF), else from disk, as a
snapshot if the log does not go back so far (SNAP). Then live proposals follow without a gap, since nothing
else happens between choosing and sending. A follower that is slow to acknowledge is sent no more than
`Peer.in_flight_bytes` at a time; the rest waits in memory, and one for which memory does not go back far
enough any more has to synchronise anew.

A voter that is *blank* (`Epochs.blank`: its disk was empty) is served like an observer. It may have lost
epochs it had accepted, and proposals it had acknowledged. It votes again once it has this leader's history
and something is committed, without it, that was not proposed yet when it came. For, suppose another leader X
still counts on what the lost disk had accepted, for an epoch X. X needs a quorum, and so one of those who
committed that entry: either this one has accepted X before, then it acknowledged nothing here any more; or it
accepts X now, and its history has the entry, which X cannot have, since X began before it was proposed: X
gives way. And what was committed with the lost disk's help is in this leader's history, so on the new disk.

A new link is a new learner: nothing of an older one survives.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from coord.wire.members import Append, NewLeader, Proposal, Truncate
from coord.zab.links import Link

if TYPE_CHECKING:
    from coord.zab.peer import Peer


FROM_A_SNAPSHOT: Final = -1


class Fetch(NamedTuple):
    """A follower needs history that is no longer in memory: everything after `after`, from disk.

    The caller answers with `Peer.fetched`: proposals up to `until` at the least, behind a snapshot if the log
    does not go back so far, or if `after` is `FROM_A_SNAPSHOT`.
    """

    link: Link
    after: int
    until: int


class Phase(Enum):
    CONNECTED = auto()
    """no greeting yet"""
    GREETED = auto()
    """waits for the epoch to be chosen"""
    DISCOVERY = auto()
    """has been told the epoch"""
    WAITING = auto()
    """has acknowledged the epoch; the quorum for it is not there yet"""
    FETCHING = auto()
    """waits for history from this member's disk"""
    SYNCHRONISED = auto()
    """has been sent the whole history; its acknowledgement is awaited"""
    ACTIVE = auto()
    """has it, and serves"""


class Learner:
    def __init__(self, link: Link) -> None:
        self.link = link
        self.member = link.member
        self.phase = Phase.CONNECTED
        self.votes = False
        self.blank = False
        """a voter that does not vote: see the module's docstring"""
        self.came_at = 0
        """the last zxid there was when it came"""
        self.ends: tuple[int, ...] = ()
        self.sent = 0
        """the last zxid it has been sent, or has"""
        self.silent = 0
        """ticks since its last word"""
        self.ponged = 0
        self._in_flight: deque[tuple[int, int]] = deque()  # proposals not acknowledged: last zxid, size
        self._in_flight_bytes = 0

    @property
    def takes_proposals(self) -> bool:
        return self.phase in (Phase.SYNCHRONISED, Phase.ACTIVE)

    def synchronise(self, peer: Peer, epoch: int) -> None:
        """Begins to make its history the leader's."""
        common = peer.history.common(self.ends)
        if common is None:
            self._fetch(peer, FROM_A_SNAPSHOT)
            return
        self.sent = common
        if common < self.ends[-1]:
            peer.say(self.link, Truncate(common))
        self.continue_synchronisation(peer, epoch)

    def continue_synchronisation(self, peer: Peer, epoch: int) -> None:
        """From memory if that is possible, else after another look at the disk."""
        if self.sent < peer.history.recent_after:
            self._fetch(peer, self.sent)
            return
        for proposal in peer.history.since(self.sent):
            peer.say(self.link, Append(proposal))
        self.sent = peer.history.logged
        self.phase = Phase.SYNCHRONISED
        peer.say(self.link, NewLeader(epoch, peer.history.logged))

    def offer(self, peer: Peer, proposal: Proposal, previous: int) -> None:
        """Sends a new proposal, which comes after `previous`, unless too much is under way already."""
        if self.sent == previous and self._in_flight_bytes < peer.in_flight_bytes:
            self._send(peer, proposal)

    def acknowledged(self, peer: Peer, zxid: int) -> bool:
        """It has everything up to `zxid`: there is room for what was held back. False if that is no longer
        in memory."""
        while self._in_flight and self._in_flight[0][0] <= zxid:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        if self.sent == peer.history.logged or self._in_flight_bytes > peer.in_flight_bytes // 2:
            return True
        if self.sent < peer.history.recent_after:
            return False
        for proposal in peer.history.since(self.sent):
            if self._in_flight_bytes >= peer.in_flight_bytes:
                break
            self._send(peer, proposal)
        return True

    def _send(self, peer: Peer, proposal: Proposal) -> None:
        peer.say(self.link, Append(proposal))
        self.sent = proposal.last_zxid
        self._in_flight.append((proposal.last_zxid, len(proposal.payload)))
        self._in_flight_bytes += len(proposal.payload)

    def _fetch(self, peer: Peer, after: int) -> None:
        self.phase = Phase.FETCHING
        peer.fetch(Fetch(self.link, after, peer.history.recent_after))
