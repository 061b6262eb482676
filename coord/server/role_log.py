"""What the log says of a member's role: a line for each change, with what an operator needs to follow it.

Owns the words. Looks at the peer after each turn, since agreement itself logs nothing; why a role was left is
read off what it left behind. Must not change anything, nor know sockets.

An election, at a follower and at the member that it elects::

    lost the leader, looking for one leader=3 epoch=1 reason="the connection has closed" round=2 …
    joining a leader leader=2 round=2
    following leader=2 epoch=2 zxid=0x100000005 synchronised_by=diff

    elected to lead round=2
    leading epoch=2 zxid=0x100000005 members=1,2
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from coord.limits import BATCH_REQUESTS_MAX
from coord.logs import fields
from coord.server.replica import Replica
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.learner import Phase
from coord.zab.peer import Peer, Role

log = logging.getLogger("coord.peers")


class RoleLog:
    def __init__(self, replica: Replica, parted: Mapping[int, str]) -> None:
        """`parted`: why the last link with a member ended, by the member's id."""
        self._replica = replica
        self._peer = replica.peer
        self._parted = parted
        self._role: Role | None = None
        self._established = False
        self._blank = self._peer.epochs.blank

    def look(self) -> None:
        """Says what has changed since the last turn."""
        role = self._peer.role
        if role is not self._role:
            self._begun(self._role, role)
            self._role, self._established = role, False
        if not self._established and isinstance(role, Leading | Following) and role.established:
            self._established = True
            self._is_established(role)
        if self._blank and not self._peer.epochs.blank:
            self._blank = False
            log.info("this member votes from now on")

    def _begun(self, old: Role | None, role: Role) -> None:
        round_ = self._peer.round
        handed_over = {}
        if isinstance(old, Following | Leading):
            whose = "this member" if isinstance(old, Leading) else f"member {old.leader}"
            handed_over = {"reason": f"{whose} hands over"}
        if isinstance(role, Leading):
            log.info("elected to lead", extra=fields(round=round_, **handed_over))
        elif isinstance(role, Following):
            log.info("joining a leader", extra=fields(leader=role.leader, round=round_, **handed_over))
        elif isinstance(old, Following):
            was = "lost the leader" if old.established else "gave up joining a leader"
            reason = why_lost(old, self._parted)
            self._looks(f"{was}, looking for one", leader=old.leader, epoch=old.epoch, reason=reason)
        elif isinstance(old, Leading):
            was = "stepped down" if old.established else "gave up leading"
            reason = why_stepped_down(old, self._peer)
            self._looks(f"{was}, looking for a leader", epoch=old.epoch, reason=reason)
        else:
            self._looks("looking for a leader")

    def _looks(self, message: str, **what: object) -> None:
        peer = self._peer
        what["round"] = peer.round
        if peer.may_vote:
            what |= {"vote_epoch": peer.durable_epochs.current, "vote_zxid": f"0x{peer.history.durable:x}"}
        log.info(message, extra=fields(**what))

    def _is_established(self, role: Leading | Following) -> None:
        epoch, zxid = role.epoch, f"0x{role.joined_zxid:x}"
        if isinstance(role, Leading):
            members = ",".join(map(str, sorted(_company(role, self._peer))))
            log.info("leading", extra=fields(epoch=epoch, zxid=zxid, members=members))
        else:
            way = self._replica.synchronised_by
            leader = role.leader
            log.info("following", extra=fields(leader=leader, epoch=epoch, zxid=zxid, synchronised_by=way))


def why_lost(role: Following, parted: Mapping[int, str]) -> str:
    """Why a member follows no more."""
    if not role.fresh:
        if role.established:
            return "it was silent for too long"
        return "synchronisation did not end in time" if role.epoch else "it did not begin to lead in time"
    if role.link is None:
        return parted.get(role.leader) or "the connection has closed"
    return "its history or its epoch does not go together with this member's"


def why_stepped_down(role: Leading, peer: Peer) -> str:
    """Why a member leads no more."""
    if peer.epoch_heard > role.epoch:
        return f"a member has accepted epoch {peer.epoch_heard}"
    if role.leaving:
        return "it hands over"
    if not role.established:
        return "no quorum followed in time, or a member has more history"
    if not peer.quorum.reached(_company(role, peer)):
        return "no quorum is in touch"
    return "the epoch's zxids are used up" if role.room <= BATCH_REQUESTS_MAX else "it was told to"


def _company(role: Leading, peer: Peer) -> set[int]:
    """The leader, and who follows it."""
    active = {learner.member for learner in role.learners.values() if learner.phase is Phase.ACTIVE}
    return active | {peer.my_id}
