"""Looking: the role of a member that knows no leader.

Owns the votes of one election (ZooKeeper's fast leader election). A vote names a candidate and how far its
history has come; the best candidate is the one with the largest (epoch, zxid, id), so that nothing committed
is lost: what is committed is durable at a quorum, and any quorum of votes shares a member with it.

- Elections have rounds. A vote of an older round is answered with ours; one of a newer round makes us join
  that round, with the votes so far forgotten.
- A better candidate is adopted, and said so to everybody.
- The election ends when a quorum supports our candidate and either everybody has voted or nothing better has
  come for a moment.
- Who has decided, and waits for its leader's epoch, says how it decided: who is still looking may have missed
  a vote that it needs for its quorum, and its sender looks no more. That counts as the vote it was, at the
  one who was chosen: nobody else waits for it.
- Members that follow or lead answer a vote with theirs. If a quorum follows one leader in one epoch, and that
  leader itself says so, it works, and we join it, whatever our round and merit: an election never disturbs a
  leader that works.

A vote says what is *durable* (ZOOKEEPER-2845). Observers have no vote; they listen. Nor has a voter whose
disk was empty when it began (`Epochs.blank`): perhaps it was wiped, and has forgotten what a quorum relies on
(ZOOKEEPER-261). If every single voter is as empty as that, nothing can have been forgotten: this is a new
ensemble, and all of them vote, each as soon as its disk says that it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.wire.members import LinkMessage, Standing, Vote
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link

if TYPE_CHECKING:
    from coord.zab.peer import Peer


class Looking:
    leader = None

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        peer.round += 1
        peer.ballot = None
        self._may_vote = peer.may_vote
        self._mine = self._my_vote()
        self._votes: dict[int, Vote] = {}
        self._fresh: set[int] = set()
        """the others that have no history and have promised nothing, as they say themselves"""
        self._settled: dict[int, Vote] = {}
        """the latest of members that are not looking"""
        self._quiet_ticks = 0
        self._revote_in = self._revote_pause = peer.timing.revote

    def begin(self) -> None:
        self._tell_all()
        self._decide()

    def tick(self) -> None:
        self._quiet_ticks += 1
        self._revote_in -= 1
        if self._revote_in <= 0:
            if self._peer.may_vote:  # others wait for an answer only, which costs little
                self._revote_pause = min(self._revote_pause * 2, self._peer.timing.revote_max)
            self._revote_in = self._revote_pause
            self._tell_all()
        self._decide()

    def hear(self, sender: int, vote: Vote) -> None:
        if vote.standing is not Standing.LOOKING:
            self._settled[sender] = vote
            self._join_a_working_leader()
            if (vote.leader, vote.round) == (self._peer.my_id, self._peer.round):
                self._count(sender, vote)
            return
        self._settled.pop(sender, None)
        if vote.fresh:
            self._fresh.add(sender)
        else:
            self._fresh.discard(sender)
        if vote.round < self._peer.round:
            self._peer.say(sender, self._mine)
            self._decide()
            return
        if vote.round > self._peer.round:
            self._peer.round = vote.round
            self._votes.clear()
            self._mine = self._my_vote()
            self._adopt_better(vote)
            self._tell_all()
        elif self._adopt_better(vote):
            self._tell_all()
        self._count(sender, vote)

    def _count(self, sender: int, vote: Vote) -> None:
        if sender in self._peer.quorum.voters:
            self._votes[sender] = vote
        self._decide()

    def linked(self, link: Link) -> bool:
        """Somebody takes us for the leader: not yet, or not any more. It will try again."""
        return False

    def unlinked(self, link: Link) -> None:
        pass

    def receive(self, link: Link, message: LinkMessage) -> None:
        pass

    def receive_own(self, message: LinkMessage) -> None:
        pass

    def _my_vote(self) -> Vote:
        peer = self._peer
        if not peer.may_lead:
            return self._vote_for(0, -1, -1)
        return self._vote_for(peer.my_id, peer.durable_epochs.current, peer.history.durable)

    def _vote_for(self, leader: int, epoch: int, zxid: int) -> Vote:
        peer = self._peer
        fresh = peer.is_voter and peer.epochs.accepted == 0 and peer.history.logged == 0
        return Vote(peer.round, leader, epoch, zxid, Standing.LOOKING, fresh)

    def _adopt_better(self, vote: Vote) -> bool:
        if vote.merit <= self._mine.merit or not self._peer.may_vote:
            return False
        if vote.leader not in self._peer.quorum.voters:
            return False  # the sender is configured otherwise
        self._mine = self._vote_for(vote.leader, vote.epoch, vote.zxid)
        self._quiet_ticks = 0
        return True

    def _tell_all(self) -> None:
        for other in self._peer.others:
            self._peer.say(other, self._mine)

    def _decide(self) -> None:
        peer = self._peer
        if not peer.is_voter or peer.role is not self:
            return
        if not peer.may_vote:
            self._found_an_ensemble()
            return
        if not self._may_vote:
            peer.become(Looking(peer))  # it may now
            return
        votes = self._votes | {peer.my_id: self._mine}
        if self._mine.leader == 0:
            return  # no candidate yet
        supporters = [voter for voter, vote in votes.items() if vote.merit == self._mine.merit]
        everybody = len(supporters) == len(peer.quorum.voters)
        if peer.quorum.reached(supporters) and (everybody or self._quiet_ticks >= peer.timing.settle):
            leader = self._mine.leader
            peer.ballot = self._mine
            peer.become(Leading(peer) if leader == peer.my_id else Following(peer, leader))

    def _found_an_ensemble(self) -> None:
        peer = self._peer
        if peer.epochs.blank and self._mine.fresh and self._fresh >= peer.quorum.voters - {peer.my_id}:
            peer.set_epochs(peer.epochs._replace(blank=False))

    def _join_a_working_leader(self) -> None:
        peer = self._peer
        for leader, claim in self._settled.items():
            if claim.standing is Standing.LEADING and leader != peer.my_id:
                company = [
                    member
                    for member, vote in self._settled.items()
                    if (vote.leader, vote.epoch) == (leader, claim.epoch)
                ]
                if peer.quorum.reached(company) or peer.quorum.reached([*company, peer.my_id]):
                    peer.become(Following(peer, leader))
                    return
