"""What the log says when a member's role changes: which events, with which fields, and nothing twice."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from coord.config import Member as ServerLine
from coord.server.role_log import RoleLog, why_stepped_down
from coord.wire.members import (
    Append,
    Commit,
    HandOver,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Proposal,
    Standing,
    Truncate,
    Vote,
)
from coord.zab.history import COUNTER_MAX
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.quorum import Majority
from tests.server.member import Member

MEMBERS = {one: ServerLine("127.0.0.1", 3000 + one, 4000 + one) for one in (1, 2, 3)}


class Watched:
    """A member of three, and the events that its role log has written since the last look."""

    def __init__(self, caplog: pytest.LogCaptureFixture, log: list[bytes] | None = None) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self.member = Member(log, alone=False, members=MEMBERS, my_id=1)
        self.peer = self.member.replica.peer
        self.peer.others = [2, 3]
        self.parted: dict[int, str] = {}
        self._log = RoleLog(self.member.replica, self.parted)
        self.link = Link(3, 1)

    def said(self) -> list[tuple[str, dict[str, Any]]]:
        self._turn()
        self._log.look()
        self._log.look()
        records, self._caplog.records[:] = list(self._caplog.records), []
        return [
            (record.getMessage(), getattr(record, "fields", {}))
            for record in records
            if record.name == "coord.peers"
        ]

    def receive(self, *messages: LinkMessage) -> None:
        for message in messages:
            self._turn()
            self.peer.receive(self.link, message)
        self._turn()

    def _turn(self) -> None:
        self.member.replica.exchange()
        self.member.settle()

    def elect(self, leader: int) -> None:
        for other in (2, 3):
            self.peer.hear(other, Vote(self.peer.round, leader, 9, 9, Standing.LOOKING))

    def follow(self) -> None:
        """Member 3, in epoch 1, whose history is empty."""
        self.elect(3)
        self.peer.linked(self.link)
        self.receive(NewEpoch(1), NewLeader(1, 0), Commit(0))


def test_a_member_looks_joins_follows_and_loses_its_leader(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    vote = {"vote_epoch": 0, "vote_zxid": "0x0"}
    assert watched.said() == [("looking for a leader", {"round": 1, **vote})]
    assert watched.said() == []
    watched.elect(3)
    assert watched.said() == [("joining a leader", {"leader": 3, "round": 1})]
    watched.peer.linked(watched.link)
    watched.receive(NewEpoch(1), NewLeader(1, 0), Commit(0))
    following = {"leader": 3, "epoch": 1, "zxid": "0x0", "synchronised_by": "diff"}
    assert watched.said() == [("following", following)]
    watched.receive(Append(Proposal(1 << 32 | 1, 1 << 32 | 1, Member().log[0])), Commit(1 << 32 | 1))
    assert watched.said() == []
    watched.peer.unlinked(watched.link)
    lost = {"leader": 3, "epoch": 1, "reason": "the connection has closed"}
    vote = {"vote_epoch": 1, "vote_zxid": "0x100000001"}
    assert watched.said() == [("lost the leader, looking for one", {**lost, "round": 2, **vote})]


def test_the_link_says_why_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    watched.follow()
    watched.said()
    watched.parted[3] = "it does not take what it is sent"
    watched.peer.unlinked(watched.link)
    [(_, what)] = watched.said()
    assert what["reason"] == "it does not take what it is sent"


def test_silence_and_slowness_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    reasons = []
    for known in range(3):
        watched.said()
        watched.elect(3)
        if known:
            watched.peer.linked(watched.link)
            watched.receive(NewEpoch(known))
        if known == 2:
            watched.receive(NewLeader(2, 0), Commit(0))
        watched.said()
        while watched.peer.leader == 3:
            watched.peer.tick()
        [(message, what)] = watched.said()
        reasons.append((message, what["reason"]))
    assert reasons == [
        ("gave up joining a leader, looking for one", "it did not begin to lead in time"),
        ("gave up joining a leader, looking for one", "synchronisation did not end in time"),
        ("lost the leader, looking for one", "it was silent for too long"),
    ]


def test_a_leader_that_does_not_fit_is_left(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    watched.follow()
    watched.said()
    watched.receive(Commit(7 << 32))
    [(_, what)] = watched.said()
    assert what["reason"] == "its history or its epoch does not go together with this member's"


def test_how_it_was_synchronised(caplog: pytest.LogCaptureFixture) -> None:
    before = Member()
    before.talker()
    watched = Watched(caplog, before.log)
    watched.said()
    end = watched.peer.history.logged
    watched.elect(3)
    watched.peer.linked(watched.link)
    watched.receive(NewEpoch(2), Truncate(end - 1), NewLeader(2, end - 1), Commit(end - 1))
    assert watched.said()[-1] == (
        "following",
        {"leader": 3, "epoch": 2, "zxid": f"0x{end - 1:x}", "synchronised_by": "trunc"},
    )


def test_a_leader_that_hands_over_says_so(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    watched.follow()
    watched.said()
    watched.receive(HandOver(2))
    reason = {"reason": "member 3 hands over"}
    assert watched.said() == [("joining a leader", {"leader": 2, "round": 1, **reason})]
    watched = Watched(caplog)
    watched.follow()
    watched.said()
    watched.receive(HandOver(1))
    assert watched.said() == [("elected to lead", {"round": 1, **reason})]


def test_a_member_is_elected_leads_and_steps_down(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    watched.said()
    watched.peer.quorum = Majority({1})
    watched.peer.tick()
    assert watched.said() == [
        ("elected to lead", {"round": 1}),
        ("leading", {"epoch": 1, "zxid": "0x0", "members": "1"}),
    ]
    watched.peer.quorum = Majority({1, 2, 3})
    watched.peer.tick()
    [(message, what)] = watched.said()
    assert message == "stepped down, looking for a leader"
    assert (
        what.items() >= {"epoch": 1, "reason": "no quorum is in touch", "round": 2, "vote_epoch": 1}.items()
    )


def test_a_leader_nobody_follows_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    for other in (2, 3):
        watched.peer.hear(other, Vote(1, 1, 0, 0, Standing.LOOKING))
    assert watched.said()[-1] == ("elected to lead", {"round": 1})
    while watched.peer.leader == 1:
        watched.peer.tick()
    [(message, what)] = watched.said()
    assert message == "gave up leading, looking for a leader"
    assert what["reason"] == "no quorum followed in time, or a member has more history"


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("heard", "a member has accepted epoch 9"),
        ("used", "the epoch's zxids are used up"),
        ("leaves", "it hands over"),
        ("told", "it was told to"),
    ],
)
def test_why_a_leader_steps_down(why: str, reason: str) -> None:
    peer = Member().replica.peer
    role = peer.role
    assert isinstance(role, Leading)
    if why == "heard":
        peer.epoch_heard = 9
    elif why == "used":
        role._last_zxid |= COUNTER_MAX
    elif why == "leaves":
        peer.leave()
    assert why_stepped_down(role, peer) == reason
