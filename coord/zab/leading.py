"""Leading: the role of the member that orders all requests.

Owns one epoch from its discovery to its end, in Zab's three phases (Junqueira, Reed, Serafini 2011):

1. discovery: choose an epoch above every epoch a quorum has accepted; a quorum acknowledges it;
2. synchronisation: a quorum has the leader's history and has made the epoch its current one; everything in
   that history is then committed, and the leader is *established*;
3. broadcast: proposals get zxids in order, and are committed once a quorum has them on disk.

Knows nothing of what it orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.zab.history import COUNTER_MAX, Proposal, counter_of
from coord.zab.messages import Ack, AckEpoch, AckNewLeader, Message

if TYPE_CHECKING:
    from coord.zab.peer import Peer


class Leading:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.epoch = peer.epochs.accepted + 1
        self.established = False
        self._epoch_acks: set[int] = set()
        self._leader_acks: set[int] = set()
        self._acknowledged: dict[int, int] = {}
        self._last_zxid = self.epoch << 32

    def begin(self) -> None:
        """Discovery: the epoch is durable here before it counts as accepted."""
        peer = self._peer
        peer.set_epochs(peer.epochs._replace(accepted=self.epoch))
        peer.promise(AckEpoch(self.epoch))

    @property
    def next_zxid(self) -> int:
        return self._last_zxid + 1

    @property
    def room(self) -> int:
        return COUNTER_MAX - counter_of(self._last_zxid)

    def propose(self, proposal: Proposal) -> None:
        assert self.established, "a leader proposes only in an established epoch"
        assert proposal.first_zxid == self.next_zxid
        assert proposal.last_zxid - proposal.first_zxid < self.room
        self._last_zxid = proposal.last_zxid
        self._peer.log(proposal)
        self._peer.promise(Ack(proposal.last_zxid))

    def receive(self, sender: int, message: Message) -> None:
        match message:
            case AckEpoch(epoch) if epoch == self.epoch:
                self._on_ack_epoch(sender)
            case AckNewLeader(epoch) if epoch == self.epoch:
                self._on_ack_new_leader(sender)
            case Ack(zxid):
                self._on_ack(sender, zxid)

    def _on_ack_epoch(self, sender: int) -> None:
        self._epoch_acks.add(sender)
        if self._leader_acks or not self._peer.quorum.reached(self._epoch_acks):
            return
        peer = self._peer
        peer.set_epochs(peer.epochs._replace(current=self.epoch))
        peer.promise(AckNewLeader(self.epoch, peer.history.logged))

    def _on_ack_new_leader(self, sender: int) -> None:
        self._leader_acks.add(sender)
        if not self.established and self._peer.quorum.reached(self._leader_acks):
            self.established = True
            self._peer.history.commit(self._peer.history.logged)

    def _on_ack(self, sender: int, zxid: int) -> None:
        assert zxid > self._acknowledged.get(sender, 0)
        assert self.established
        self._acknowledged[sender] = zxid
        self._peer.history.commit(self._peer.quorum.agreed(self._acknowledged))
