"""Following: the role of a member that has found its leader. Observers follow, too, without a voice.

Owns one link to the leader, from the greeting to its loss: discovery (accept the leader's epoch, durably,
then say what our history is), synchronisation (forget, take over, append; make it durable; make the epoch
current; only then acknowledge), broadcast (log, make durable, acknowledge; apply what is committed).

Knows nothing of what is proposed. Everything that comes before `NewLeader` is durable before its
acknowledgement, since the acknowledgement is a promise (ZOOKEEPER-3911, -4646, -4643).
"""

from __future__ import annotations

from collections.abc import Callable
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
    Standing,
    Truncate,
    Vote,
)
from coord.zab.history import follows
from coord.zab.links import Link

if TYPE_CHECKING:
    from coord.zab.peer import Peer


class Following:
    def __init__(self, peer: Peer, leader: int) -> None:
        self._peer = peer
        self.leader = leader
        self.link: Link | None = None
        self.established = False
        self.joined_zxid = 0
        """what was the leader's history when this member had it"""
        self._epoch = 0
        self._ticks_left = peer.timing.greet
        self._synchronised = False  # NewLeader has come: what follows is broadcast

    @property
    def fresh(self) -> bool:
        """Has the leader been heard lately?"""
        return self._ticks_left > 0

    @property
    def epoch(self) -> int:
        return self._epoch

    def begin(self) -> None:
        """The caller opens a link to `leader`, and tries again until this role ends."""

    def tick(self) -> None:
        self._ticks_left -= 1
        if self._ticks_left <= 0:
            self._look()

    def hear(self, sender: int, vote: Vote) -> None:
        if vote.standing is not Standing.LOOKING:
            return
        peer = self._peer
        standing = Standing.FOLLOWING if peer.is_voter else Standing.OBSERVING
        if self.established:
            peer.say(sender, Vote(peer.round, self.leader, self._epoch, peer.history.durable, standing))
        else:
            peer.repeat_ballot(sender, standing)

    def linked(self, link: Link) -> bool:
        if link.member != self.leader or self.link is not None:
            return False
        self.link = link
        peer = self._peer
        peer.say(link, Hello(peer.epochs.accepted, not peer.is_voter, peer.durable_epochs.blank))
        return True

    def unlinked(self, link: Link) -> None:
        if link != self.link:
            return
        self.link = None
        if self._epoch:
            self._look()  # before, it may be a leader that does not know yet that it leads: try again

    def receive(self, link: Link, message: LinkMessage) -> None:
        if link != self.link:
            return
        if self.established:
            self._ticks_left = self._peer.timing.silence
        elif self._epoch:
            self._ticks_left = self._peer.timing.join  # however long the history is: it goes on
        _RECEIVE[type(message)](self, message)

    def receive_own(self, message: LinkMessage) -> None:
        pass

    def _look(self) -> None:
        from coord.zab.election import Looking

        self._peer.become(Looking(self._peer))

    def _answer(self, message: LinkMessage) -> None:
        """A promise: it leaves when everything before it is durable."""
        assert self.link is not None
        self._peer.promise(self.link, message)

    # -- discovery ------------------------------------------------------------------------------------

    def _on_new_epoch(self, message: NewEpoch) -> None:
        peer = self._peer
        if message.epoch < peer.epochs.accepted:
            self._look()
            return
        counts = message.epoch > peer.epochs.accepted
        if counts:
            peer.set_epochs(peer.epochs._replace(accepted=message.epoch))
        self._epoch = message.epoch
        self._ticks_left = peer.timing.join
        self._answer(AckEpoch(message.epoch, peer.epochs.current, peer.history.ends, counts))

    # -- synchronisation ------------------------------------------------------------------------------

    def _on_truncate(self, message: Truncate) -> None:
        self._peer.truncate(message.zxid)

    def _on_install(self, message: Install) -> None:
        self._peer.install(message)

    def _on_append(self, message: Append) -> None:
        peer, proposal = self._peer, message.proposal
        if proposal.last_zxid <= peer.history.logged:
            return  # it was part of the history already (the paper's second hole)
        if not follows(peer.history.logged, proposal.first_zxid):
            self._look()  # something between is missing: to be synchronised anew
            return
        peer.log(proposal)
        if self._synchronised:
            self._answer(Ack(proposal.last_zxid))

    def _on_new_leader(self, message: NewLeader) -> None:
        peer = self._peer
        if message.epoch != self._epoch or message.zxid != peer.history.logged:
            self._look()
            return
        self._synchronised = True
        self.joined_zxid = message.zxid
        peer.set_epochs(peer.epochs._replace(current=message.epoch))
        self._answer(AckNewLeader(message.epoch, message.zxid))

    # -- broadcast ------------------------------------------------------------------------------------

    def _on_commit(self, message: Commit) -> None:
        if message.zxid > self._peer.history.logged:
            self._look()
            return
        self._peer.history.commit(message.zxid)
        if self._synchronised and not self.established:
            self.established = True
            self._ticks_left = self._peer.timing.silence

    def _on_ping(self, message: Ping) -> None:
        assert self.link is not None
        self._peer.say(self.link, Pong(message.number))

    def _on_admit(self, message: Admit) -> None:
        self._peer.set_epochs(self._peer.epochs._replace(blank=False))

    def _on_hand_over(self, message: HandOver) -> None:
        """A short cut past the election. The one named leads only if a quorum lets it, as ever."""
        from coord.zab.leading import Leading

        peer = self._peer
        if not self.established:
            return
        if message.leader == peer.my_id and peer.may_lead:
            peer.become(Leading(peer))
        elif message.leader in peer.quorum.voters - {peer.my_id}:
            peer.become(Following(peer, message.leader))
        else:
            self._look()

    def _on_payload(self, message: Payload) -> None:
        assert self.link is not None
        self._peer.payloads.append((self.link, message.data))

    def _ignore(self, message: LinkMessage) -> None:
        """What only a leader is told: the sender takes us for one, and will notice."""


_RECEIVE: Final[dict[type, Callable[[Following, Any], None]]] = {
    NewEpoch: Following._on_new_epoch,
    Truncate: Following._on_truncate,
    Install: Following._on_install,
    Append: Following._on_append,
    NewLeader: Following._on_new_leader,
    Commit: Following._on_commit,
    Ping: Following._on_ping,
    Admit: Following._on_admit,
    HandOver: Following._on_hand_over,
    Payload: Following._on_payload,
    Hello: Following._ignore,
    AckEpoch: Following._ignore,
    AckNewLeader: Following._ignore,
    Ack: Following._ignore,
    Pong: Following._ignore,
}
