"""Looking: the role of a member that knows no leader.

Owns the votes of one election. A vote is (current epoch, last logged zxid, member id), and the largest wins:
the member with the most complete history, so that nothing committed is lost. Here, with one voter, that
voter's own vote is a quorum at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.zab.leading import Leading
from coord.zab.messages import Message

if TYPE_CHECKING:
    from coord.zab.peer import Peer


class Looking:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._votes = {peer.my_id: (peer.epochs.current, peer.history.logged, peer.my_id)}

    def begin(self) -> None:
        peer = self._peer
        _, _, leader = max(self._votes.values())
        supporters = [voter for voter, vote in self._votes.items() if vote[2] == leader]
        if leader == peer.my_id and peer.quorum.reached(supporters):
            peer.become(Leading(peer))

    def receive(self, sender: int, message: Message) -> None:
        """Acknowledgements meant for a leader this member no longer is (or follows): of no consequence."""
