"""The checkers: they watch from outside, see every disk, and believe no member.

Owns what has happened so far: every proposal, every epoch's leader, the one committed history. Any breach
raises `Violation` at the moment it happens:

- an epoch has one leader, and its quorum has accepted it, durably, before the leader uses it;
- a zxid is given once; histories have no gap;
- nothing is committed before a quorum of the disks holds it, and from then on a quorum always does, the
  disks that were wiped and have no vote apart;
- any two members apply the same proposals, byte by byte, in the same order;
- a new leader's history holds everything that was committed in older epochs;
- a member that has an established epoch on disk has the history with which that began;
- an epoch is accepted for one leader;
- what a member acknowledges (`AckEpoch`, `AckNewLeader`, `Ack`), and what it says of itself in a vote, is on
  its disk when it says so;
- a leader that a quorum has answered knows everything that was committed when it asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coord.wire.members import Ack, AckEpoch, AckNewLeader, LinkMessage, NewLeader, Proposal, Standing, Vote
from coord.zab.history import epoch_of, follows
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Addressee, Role
from coord.zab.quorum import Quorum
from tests.simulation.trace import describe, name

if TYPE_CHECKING:
    from tests.simulation.member import Member


class Violation(AssertionError):
    """Something happened that never may."""


def demand(condition: bool, text: str, *values: object) -> None:
    if not condition:
        raise Violation(text % values)


class Chronicle:
    def __init__(self, quorum: Quorum, members: Sequence[Member]) -> None:
        self.committed: list[Proposal] = []
        """what some member has applied: the one history"""
        self.epochs: dict[int, Role] = {}
        self.messages: Counter[str] = Counter()
        """how often each kind was sent: what a run has exercised"""
        self._quorum = quorum
        self._members = members
        self._proposals: dict[int, Proposal] = {}
        self._supported: dict[tuple[int, int], int] = {}
        """(member, epoch): the leader for whom it accepted that epoch"""
        self._established: dict[int, int] = {}
        """epoch: the last zxid of the history that it began with"""
        self._committed_zxid = 0
        self._questions: list[tuple[Member, Leading, int, int]] = []

    # -- what members tell ----------------------------------------------------------------------------

    def proposed(self, member: Member, proposal: Proposal) -> None:
        other = self._proposals.setdefault(proposal.last_zxid, proposal)
        demand(other is proposal, "%d gives zxid %s a second time", member.id, name(proposal.last_zxid))

    def sent(self, member: Member, to: Addressee, message: LinkMessage | Vote) -> None:
        disk = member.disk
        self.messages[type(message).__name__] += 1
        match message:
            case AckEpoch(epoch, current, ends, counts):
                true = disk.epochs.accepted == epoch and disk.epochs.current >= current
                true = true and ends[-1] == disk.last_zxid and set(ends) <= {0, *disk.ends()}
                if counts and not disk.saved.blank:
                    demand((member.id, epoch) not in self._supported, "%d accepts %d twice", member.id, epoch)
                    assert isinstance(to, Link)
                    self._supported[member.id, epoch] = to.member
            case AckNewLeader(epoch, zxid):
                true = disk.epochs.current >= epoch and self._on_disk(member, zxid)
            case Ack(zxid):
                true = self._on_disk(member, zxid)
            case Vote(_, leader, epoch, zxid, Standing.LOOKING) if leader == member.id:
                true = disk.epochs.current >= epoch and disk.last_zxid >= zxid
            case NewLeader(epoch):
                self._leads(member, epoch)
                true = True
            case _:
                return
        demand(true, "%d says what is not on its disk: %s", member.id, describe(message))

    def progress(self, member: Member) -> None:
        """Called after everything that a member did."""
        peer = member.peer
        if peer.committed > self._committed_zxid:
            self._commit(peer.committed)
        if peer.leading:
            assert isinstance(peer.role, Leading)
            self._leads(member, peer.role.epoch)
            self._established.setdefault(peer.role.epoch, peer.role.joined_zxid)
        view, place = member.view, member.applied
        while place < len(view) and view[place].last_zxid <= peer.committed:
            self._apply(member, place, view[place])
            place += 1
        member.applied = place
        if self._questions:
            self._check_answers()

    def installed(self, member: Member) -> None:
        known = min(len(member.view), len(self.committed))
        demand(member.view[:known] == self.committed[:known], "%d gets another history's snapshot", member.id)

    def disk_changed(self) -> None:
        """Something was taken from a disk, or may have been: a quorum still holds what is committed."""
        known = len(self.committed)
        holders = [one.id for one in self._members if one.disk.history[:known] == self.committed]
        demand(self._enough(holders), "only %s still hold what is committed", holders)
        for one in self._members:
            least = self._established.get(one.disk.saved.current, 0)
            demand(one.disk.last_zxid >= least, "%d has an epoch on disk ahead of its history", one.id)

    def asks(self, member: Member) -> None:
        """A linearizable read begins at this leader."""
        role = member.peer.role
        assert isinstance(role, Leading)
        self._questions.append((member, role, role.ask_quorum(), self._committed_zxid))

    # -- what is demanded -----------------------------------------------------------------------------

    def _enough(self, holders: Sequence[int]) -> bool:
        """Is there no quorum without them? (A blank member is in no quorum, whatever it held.)"""
        blank = [one.id for one in self._members if one.disk.saved.blank]
        return self._quorum.reached([*holders, *blank])

    def _on_disk(self, member: Member, zxid: int) -> bool:
        """Epoch by epoch the first acknowledged zxid may be that of no proposal: a history without any."""
        return member.disk.last_zxid >= zxid and (zxid == 0 or member.disk.holds(self._proposals[zxid]))

    def _leads(self, member: Member, epoch: int) -> None:
        role = member.peer.role
        if self.epochs.get(epoch) is role:
            return
        demand(epoch not in self.epochs, "epoch %d has two leaders; one is %d", epoch, member.id)
        self.epochs[epoch] = role
        accepted = [  # a disk that was wiped since then counts: its member does not accept another
            one.id
            for one in self._members
            if one.disk.saved.accepted >= epoch or (one.id, epoch) in self._supported
        ]
        demand(self._quorum.reached(accepted), "epoch %d is used, but only %s accepted it", epoch, accepted)
        supporters = [
            one for one in accepted if one == member.id or self._supported.get((one, epoch)) == member.id
        ]
        demand(
            self._quorum.reached(supporters),
            "epoch %d: only %s accepted it for %d",
            epoch,
            supporters,
            member.id,
        )
        # A leader may get its quorum so late that a newer one has committed: it cannot get any further.
        older = self.committed[: bisect_left(self.committed, epoch << 32, key=lambda one: one.last_zxid)]
        known = min(len(member.view), len(older))
        demand(member.view[:known] == older[:known], "%d leads without what is committed", member.id)
        last = older[-1].last_zxid if older else 0
        demand(
            member.peer.history.logged >= last,
            "%d leads with %s, but %s is committed",
            *(member.id, name(member.peer.history.logged), name(last)),
        )

    def _commit(self, zxid: int) -> None:
        holders = [one.id for one in self._members if one.disk.holds(self._proposals[zxid])]
        demand(self._enough(holders), "%s is committed, but only %s have it on disk", name(zxid), holders)
        current = [one.id for one in self._members if one.disk.epochs.current >= epoch_of(zxid)]
        demand(self._enough(current), "epoch %d is current only at %s", epoch_of(zxid), current)
        self._committed_zxid = zxid

    def _apply(self, member: Member, place: int, proposal: Proposal) -> None:
        if place < len(self.committed):
            mine, ours = name(proposal.last_zxid), name(self.committed[place].last_zxid)
            demand(proposal == self.committed[place], "%d applies %s in place of %s", member.id, mine, ours)
            return
        previous = self.committed[-1].last_zxid if self.committed else 0
        demand(follows(previous, proposal.first_zxid), "%d applies %s after a gap", member.id, proposal)
        self.committed.append(proposal)

    def _check_answers(self) -> None:
        waiting = []
        for member, role, number, known in self._questions:
            if not member.up or member.peer.role is not role:
                continue
            if role.quorum_answered(number):
                demand(member.peer.committed >= known, "%d would answer a read with the past", member.id)
            else:
                waiting.append((member, role, number, known))
        self._questions = waiting
