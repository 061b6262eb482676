"""One voter of three as a replica with its clients; the test plays the other two, message by message.

Synopsis::

    voter = Voter()
    link = voter.follow(3, epoch=1, history=[batch(1, 1, (0, 0, Op.SET_SECRET, bytes(32)))])
    ann = voter.talker()
    ann.say(Op.CREATE, request)
    proposal = voter.proposed(link, 1, 3)  # what a leader would make of what was forwarded to it
    voter.hear(link, Append(proposal), Commit(proposal.last_zxid))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coord import config as settings_of
from coord.config import Config
from coord.server.disk import write
from coord.server.pending import member_of
from coord.server.replica import Replica
from coord.server.replica_messages import Forward, decode
from coord.server.tracker import new_session_id
from coord.state.machine import Machine
from coord.storage.memory import MemoryLog
from coord.wire.ensemble import Batch, Request
from coord.wire.members import (
    AckEpoch,
    AckNewLeader,
    Append,
    Commit,
    Hello,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Payload,
    Proposal,
    Vote,
)
from coord.wire.records import Op
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Majority
from tests.server.member import Member, Talker

ME = 1


def batch(epoch: int, counter: int, *entries: tuple[int, int, int, bytes]) -> Proposal:
    """One proposal; an entry is (session id, request number, opcode, body)."""
    first = epoch << 32 | counter
    made = Batch(
        first, 0, [(session_id, number, int(op), (), body) for session_id, number, op, body in entries]
    )
    return Proposal(first, made.last_zxid, made.encode())


FOUNDING = batch(1, 1, (0, 0, Op.SET_SECRET, bytes(32)), (0, 0, Op.ENABLE_TTL, b"\1"))
"""What each history begins with."""


class Voter(Member):
    """Its disk is durable at once; `journal` is what is on it."""

    def __init__(self, **settings: Any) -> None:
        peer = Peer(ME, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(0, 0))
        members = {one: settings_of.Member("127.0.0.1", 1000 + one, 2000 + one) for one in (1, 2, 3)}
        defaults: dict[str, Any] = {"tick_time_ms": 1000, "extended_types_enabled": True}
        defaults |= {"members": members, "my_id": ME}
        self.replica = Replica(Config(**(defaults | settings)), peer, Machine(), secret=b"s" * 32)
        self.replica.wall_ms = 1_700_000_000_000
        self.journal = MemoryLog()
        self.writing = None
        self._links = 0
        self._said: list[tuple[int | Link, LinkMessage | Vote]] = []

    @property
    def peer(self) -> Peer:
        return self.replica.peer

    def settle(self) -> None:
        while True:
            self.replica.exchange()
            self.propose()
            if self.writing is not None:
                self.persist()
            elif not self.replica.apply_committed():
                break
        self.replica.exchange()
        self.flush()
        self._said += self.peer.take_messages()

    def persist(self) -> None:
        assert self.writing is not None
        work, self.writing = self.writing, None
        write(self.journal, None, work, roll=self.replica.segment_ends.due())
        self.peer.persisted(work.ticket)
        self.replica.apply_committed()

    def said(self, link: Link) -> list[LinkMessage]:
        """Over this link since the last call."""
        ours = [message for to, message in self._said if to == link and not isinstance(message, Vote)]
        self._said = [one for one in self._said if one[0] != link]
        return ours

    def hear(self, link: Link, *messages: LinkMessage) -> None:
        for message in messages:
            self.peer.receive(link, message)
            self.settle()

    # -- roles ----------------------------------------------------------------------------------------

    def follow(self, leader: int, epoch: int, history: Sequence[LinkMessage | Proposal] = ()) -> Link:
        """Takes over a leader's history (proposals, or what else it says), all of it committed."""
        self.peer.become(Following(self.peer, leader))
        link = self._link(leader)
        self.hear(link, NewEpoch(epoch))
        self.hear(link, *(Append(one) if isinstance(one, Proposal) else one for one in history))
        last = self.peer.history.logged
        self.hear(link, NewLeader(epoch, last), Commit(last))
        assert self.replica.serving
        return link

    def lead(self) -> dict[int, Link]:
        """Takes over with the two others, which have the very same history."""
        peer = self.peer
        peer.become(Leading(peer))
        links = {member: self._link(member) for member in (2, 3)}
        for link in links.values():
            self.hear(link, Hello(peer.epochs.accepted, observer=False))
        epoch = peer.epochs.accepted
        for link in links.values():
            self.hear(link, AckEpoch(epoch, peer.epochs.current, peer.history.ends))
        for link in links.values():
            self.hear(link, AckNewLeader(epoch, peer.history.logged))
        assert self.replica.serving
        return links

    def lose(self, link: Link) -> None:
        """The link breaks."""
        self.peer.unlinked(link)
        self.settle()

    def _link(self, member: int) -> Link:
        self._links += 1
        link = Link(member, self._links)
        assert self.peer.linked(link)
        self.settle()
        return link

    # -- clients --------------------------------------------------------------------------------------

    def talker(self, timeout_ms: int = 5000) -> Talker:
        """A client with a session, opened through the leader that is followed."""
        link = self.peer.role.link if isinstance(self.peer.role, Following) else None
        assert link is not None
        talker = Talker(self)
        talker.greet(timeout_ms=timeout_ms)
        self.commit(link, self.proposed(link))
        assert talker.greeted().session_id
        return talker

    def proposed(self, link: Link) -> Proposal:
        """What its leader makes of the requests that were forwarded since the last call."""
        self.settle()
        requests: list[Request] = []
        for message in self.said(link):
            if isinstance(message, Payload) and isinstance(forward := decode(message.data), Forward):
                requests += forward.requests
        first = max(self.peer.history.logged, self.peer.epochs.current << 32) + 1
        for index, (_, number, op, who, body) in enumerate(requests):
            if op == Op.CREATE_SESSION:
                requests[index] = new_session_id(member_of(number), first + index), number, op, who, body
        made = Batch(first, 0, requests)
        return Proposal(first, made.last_zxid, made.encode())

    def commit(self, link: Link, proposal: Proposal) -> None:
        self.hear(link, Append(proposal), Commit(proposal.last_zxid))
