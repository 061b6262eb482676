"""Leading: the role of the member that orders all requests.

Owns one epoch from its discovery to its end, in Zab's three phases (Junqueira, Reed, Serafini 2011):

1. discovery: a quorum says which epochs it has accepted; the leader chooses a newer one, and a quorum
   acknowledges it, each with its history. If one that may lead has more than the leader, the leader gives
   up (what only others have is not committed, and to give way to them might never end);
2. synchronisation: each follower's history is made the leader's (`Learner`); when a quorum has it, and the
   epoch, on disk, everything in it is committed, and the leader is *established*;
3. broadcast: proposals get zxids in order, and are committed once a quorum has them on disk.

The leader acknowledges to itself what it asks of its followers, and its own acknowledgements wait for its own
disk. It gives up when it has no quorum in touch. Knows nothing of what it orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from coord.wire.members import (
    Ack,
    AckEpoch,
    AckNewLeader,
    Admit,
    Append,
    Commit,
    HandOver,
    Hello,
    Install,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Payload,
    Ping,
    Pong,
    Proposal,
    Standing,
    Truncate,
    Vote,
)
from coord.zab.following import Following
from coord.zab.history import COUNTER_MAX, counter_of
from coord.zab.learner import Learner, Phase
from coord.zab.links import Link
from coord.zab.quorum import agreed

if TYPE_CHECKING:
    from coord.zab.learner import Fetch
    from coord.zab.peer import Peer


class Leading:
    def __init__(self, peer: Peer) -> None:
        assert peer.may_vote, "who has no vote does not lead"
        self._peer = peer
        self.leader = peer.my_id
        self.epoch = 0
        self.established = False
        self.joined_zxid = 0
        """what was the history when the epoch was established"""
        self.learners: dict[Link, Learner] = {}
        self._accepted: dict[int, int] = {peer.my_id: peer.epochs.accepted}
        self._epoch_acks: set[int] = set()
        self._epoch_agreed = False
        self._leader_acks: set[int] = set()
        self._acknowledged: dict[int, int] = {}
        self._last_zxid = 0
        self._ticks = 0
        self._pings = 0
        self.leaving = False
        """takes no more proposals; hands over as soon as a follower has everything"""
        self._leaving_ticks = 0
        self._heir: int | None = None
        """who was told to lead"""

    def begin(self) -> None:
        self._choose_epoch()

    # -- what the caller asks -------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """A leader without a quorum in touch has given up already."""
        return True

    @property
    def next_zxid(self) -> int:
        return self._last_zxid + 1

    @property
    def room(self) -> int:
        return COUNTER_MAX - counter_of(self._last_zxid)

    @property
    def entry_wanted(self) -> bool:
        """Does a blank follower wait for a proposal, and there is none?"""
        logged = self._peer.history.logged
        return (
            self.established
            and not self.leaving
            and any(
                learner.blank and learner.phase is Phase.ACTIVE and learner.came_at >= logged
                for learner in self.learners.values()
            )
        )

    def propose(self, proposal: Proposal) -> None:
        assert self.established, "a leader proposes only in an established epoch"
        assert not self.leaving
        assert proposal.first_zxid == self.next_zxid
        assert proposal.last_zxid - proposal.first_zxid < self.room
        self._last_zxid = proposal.last_zxid
        previous = self._peer.history.logged
        self._peer.log(proposal)
        self._peer.promise_myself(Ack(proposal.last_zxid))
        for learner in self.learners.values():
            if learner.takes_proposals:
                learner.offer(self._peer, proposal, previous)

    def leave(self) -> None:
        """Propose no more, and let the best follower lead once it has everything; then follow it, too. If
        none takes over for as long as a leader may be silent, this member goes on leading."""
        self.leaving = True
        self._leaving_ticks = 0
        self._hand_over()

    def _hand_over(self) -> None:
        if not self.leaving or self._heir is not None or not self.established:
            return
        heirs = [
            learner.member
            for learner in self.learners.values()
            if learner.phase is Phase.ACTIVE
            and learner.votes
            and learner.silent <= 2 * self._peer.timing.ping  # it is there, and not only on paper
            and learner.member in self._peer.quorum.electable
            and self._acknowledged.get(learner.member, 0) >= self._peer.history.logged
        ]
        if heirs:
            self._heir = max(heirs)
            for link, learner in self.learners.items():
                if learner.phase is Phase.ACTIVE:
                    self._peer.say(link, HandOver(self._heir))

    def ask_quorum(self) -> int:
        """Begins a round of pings; once `quorum_answered` it, this member was the leader after the call."""
        self._ping()
        return self._pings

    def quorum_answered(self, number: int) -> bool:
        # One that has not greeted yet may have accepted a newer epoch: it has no vote before it has.
        answered = [one.member for one in self.learners.values() if one.votes and one.ponged >= number]
        return self._peer.quorum.reached([*answered, self._peer.my_id])

    # -- what comes in --------------------------------------------------------------------------------

    def tick(self) -> None:
        peer, timing = self._peer, self._peer.timing
        self._ticks += 1
        for link, learner in list(self.learners.items()):
            learner.silent += 1
            if learner.silent > (timing.silence if learner.phase is Phase.ACTIVE else timing.join):
                self._drop(link)
        if self.leaving:
            self._leaving_ticks += 1
            if self._leaving_ticks > timing.silence:
                self.leaving, self._heir = False, None
            self._hand_over()
        if self.established:
            if not self._quorum_in_touch():
                peer.step_down()
            elif self._ticks % timing.ping == 0:
                self._ping()
        elif self._ticks >= (timing.join if self._epoch_agreed else 2 * timing.greet):
            peer.step_down()

    def hear(self, sender: int, vote: Vote) -> None:
        if vote.standing is not Standing.LOOKING:
            return
        peer = self._peer
        if self.established or self._epoch_agreed:
            mine = Vote(peer.round, peer.my_id, self.epoch, peer.history.durable, Standing.LEADING)
            peer.say(sender, mine)
        else:
            peer.repeat_ballot(sender, Standing.LEADING)

    def linked(self, link: Link) -> bool:
        for older in [other for other in self.learners if other.member == link.member]:
            self._drop(older)
        self.learners[link] = Learner(link)
        return True

    def unlinked(self, link: Link) -> None:
        if link not in self.learners:
            return
        self._drop(link)
        if self._heir is not None:
            # The others go as they were told. Once the heir has gone, it was told, too: links end with us.
            if link.member == self._heir:
                self._peer.become(Following(self._peer, self._heir))
        elif self.established and not self._quorum_in_touch():
            self._peer.step_down()

    def receive(self, link: Link, message: LinkMessage) -> None:
        learner = self.learners.get(link)
        if learner is None:
            return
        learner.silent = 0
        _RECEIVE[type(message)](self, learner, message)

    def receive_own(self, message: LinkMessage) -> None:
        """What this member has promised to itself."""
        match message:
            case AckEpoch(epoch) if epoch == self.epoch:
                self._count_epoch(self._peer.my_id)
            case AckNewLeader(epoch) if epoch == self.epoch:
                self._count_leader(self._peer.my_id)
            case Ack(zxid):
                self._count_ack(self._peer.my_id, zxid)

    def fetched(self, fetch: Fetch, snapshot: Install | None, proposals: Sequence[Proposal]) -> None:
        learner = self.learners.get(fetch.link)
        if learner is None or learner.phase is not Phase.FETCHING:
            return
        if snapshot is not None:
            self._peer.say(fetch.link, snapshot)
            learner.sent = snapshot.zxid
        for proposal in proposals:
            if proposal.first_zxid > learner.sent:
                self._peer.say(fetch.link, Append(proposal))
                learner.sent = proposal.last_zxid
        learner.continue_synchronisation(self._peer, self.epoch)

    # -- discovery ------------------------------------------------------------------------------------

    def _choose_epoch(self) -> None:
        peer = self._peer
        if not peer.quorum.reached(self._accepted):
            return
        self.epoch = max(peer.epoch_heard, *self._accepted.values()) + 1
        peer.set_epochs(peer.epochs._replace(accepted=self.epoch))
        peer.promise_myself(AckEpoch(self.epoch, peer.epochs.current, peer.history.ends))
        for link, learner in self.learners.items():
            if learner.phase is Phase.GREETED:
                self._propose_epoch(link, learner)

    def _propose_epoch(self, link: Link, learner: Learner) -> None:
        learner.phase = Phase.DISCOVERY
        self._peer.say(link, NewEpoch(self.epoch))

    def _on_hello(self, learner: Learner, message: Hello) -> None:
        if learner.phase is not Phase.CONNECTED:
            return
        learner.phase = Phase.GREETED
        is_voter = not message.observer and learner.member in self._peer.quorum.voters
        learner.blank = is_voter and message.blank
        learner.votes = is_voter and not message.blank
        learner.came_at = self._peer.history.logged
        if message.accepted > self.epoch > 0:
            # It may never follow this epoch, and would stay outside for ever: begin a newer one, with it.
            self._peer.epoch_heard = max(self._peer.epoch_heard, message.accepted)
            self._peer.step_down()
        elif self.epoch:
            self._propose_epoch(learner.link, learner)
        elif learner.votes:
            self._accepted[learner.member] = message.accepted
            self._choose_epoch()

    def _on_ack_epoch(self, learner: Learner, message: AckEpoch) -> None:
        peer = self._peer
        if learner.phase is not Phase.DISCOVERY or message.epoch != self.epoch:
            return
        theirs = (message.current, message.ends[-1] if message.ends else 0)
        may_lead = learner.votes and learner.member in peer.quorum.electable
        if not self._epoch_agreed and may_lead and theirs > (peer.epochs.current, peer.history.logged):
            peer.step_down()  # it has more than I: another must lead
            return
        learner.ends = message.ends
        learner.phase = Phase.WAITING
        if self._epoch_agreed:
            learner.synchronise(peer, self.epoch)
        elif learner.votes and message.counts:
            self._count_epoch(learner.member)

    def _count_epoch(self, member: int) -> None:
        peer = self._peer
        self._epoch_acks.add(member)
        if self._epoch_agreed or not peer.quorum.reached(self._epoch_acks):
            return
        self._epoch_agreed = True
        self._last_zxid = self.epoch << 32
        peer.set_epochs(peer.epochs._replace(current=self.epoch))
        peer.promise_myself(AckNewLeader(self.epoch, peer.history.logged))
        for learner in self.learners.values():
            if learner.phase is Phase.WAITING:
                learner.synchronise(peer, self.epoch)

    # -- synchronisation ------------------------------------------------------------------------------

    def _on_ack_new_leader(self, learner: Learner, message: AckNewLeader) -> None:
        if learner.phase is not Phase.SYNCHRONISED or message.epoch != self.epoch:
            return
        learner.phase = Phase.ACTIVE
        established_before = self.established
        if learner.votes:
            # It acknowledges proposals, too: those under way when it came may wait for nobody else.
            self._count_ack(learner.member, message.zxid)
            self._count_leader(learner.member)
        if established_before:
            # The latest, not that of the acknowledgement: else what was committed meanwhile never would be
            # at this follower (the paper's third hole).
            self._say_committed_to(learner)

    def _count_leader(self, member: int) -> None:
        peer = self._peer
        self._leader_acks.add(member)
        if self.established or not peer.quorum.reached(self._leader_acks):
            return
        self.established = True
        self.joined_zxid = peer.history.logged
        peer.history.commit(peer.history.logged)
        self._say_committed()

    # -- broadcast ------------------------------------------------------------------------------------

    def _on_ack(self, learner: Learner, message: Ack) -> None:
        if learner.votes and message.zxid > self._acknowledged.get(learner.member, 0):
            self._count_ack(learner.member, message.zxid)
        sent_before = learner.sent
        if not learner.acknowledged(self._peer, message.zxid):
            self._drop(learner.link)
        elif learner.sent > sent_before and learner.phase is Phase.ACTIVE:
            self._say_committed_to(learner)  # what it gets now may be committed long since
        self._hand_over()

    def _count_ack(self, member: int, zxid: int) -> None:
        peer = self._peer
        self._acknowledged[member] = zxid
        if not self.established:
            return
        before = peer.committed
        peer.history.commit(min(agreed(peer.quorum, self._acknowledged), peer.history.logged))
        if peer.committed > before:
            self._say_committed()

    def _say_committed(self) -> None:
        for learner in self.learners.values():
            if learner.phase is Phase.ACTIVE:
                self._say_committed_to(learner)

    def _say_committed_to(self, learner: Learner) -> None:
        self._peer.say(learner.link, Commit(min(self._peer.committed, learner.sent)))
        if learner.blank and self._peer.committed > learner.came_at:
            learner.blank, learner.votes = False, True
            self._peer.say(learner.link, Admit())

    def _on_pong(self, learner: Learner, message: Pong) -> None:
        learner.ponged = max(learner.ponged, message.number)

    def _on_payload(self, learner: Learner, message: Payload) -> None:
        self._peer.payloads.append((learner.link, message.data))

    def _ignore(self, learner: Learner, message: LinkMessage) -> None:
        """What only a follower is told: the sender takes itself for our leader, and will notice."""

    # -- company --------------------------------------------------------------------------------------

    def _ping(self) -> None:
        self._pings += 1
        for link in self.learners:
            self._peer.say(link, Ping(self._pings))

    def _quorum_in_touch(self) -> bool:
        present = [one.member for one in self.learners.values() if one.votes and one.phase is Phase.ACTIVE]
        return self._peer.quorum.reached([*present, self._peer.my_id])

    def _drop(self, link: Link) -> None:
        """What it has acknowledged stays true: that is on its disk."""
        del self.learners[link]


_RECEIVE: Final[dict[type, Callable[[Leading, Learner, Any], None]]] = {
    Hello: Leading._on_hello,
    AckEpoch: Leading._on_ack_epoch,
    AckNewLeader: Leading._on_ack_new_leader,
    Ack: Leading._on_ack,
    Pong: Leading._on_pong,
    Payload: Leading._on_payload,
    NewEpoch: Leading._ignore,
    Truncate: Leading._ignore,
    Install: Leading._ignore,
    Append: Leading._ignore,
    NewLeader: Leading._ignore,
    Commit: Leading._ignore,
    Ping: Leading._ignore,
    Admit: Leading._ignore,
    HandOver: Leading._ignore,
}
