"""What a member of an ensemble tells monitoring of its role, in ZooKeeper's names."""

from __future__ import annotations

from coord.config import Member as ServerLine
from coord.server.four_letter import answer
from coord.server.inspection import Inspection
from coord.server.standing import metrics_of, phase_of
from coord.wire.members import AckEpoch, AckNewLeader, Hello
from coord.wire.records import Op, SetDataRequest
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.quorum import Majority
from tests.server.member import Member

MEMBERS = {one: ServerLine("127.0.0.1", 3000 + one, 4000 + one) for one in (1, 2, 3)}


def a_member() -> Member:
    return Member(members=MEMBERS, my_id=1, four_letter_whitelist=frozenset("*"))


def sizes(member: Member) -> list[int]:
    """last, min, max of the proposals, as srvr has them."""
    line = answer("srvr", Inspection(member.replica)).splitlines()[-1]
    assert line.startswith("Proposal sizes last/min/max: ")
    return list(map(int, line.rpartition(" ")[2].split("/")))


def join(member: Member, other: int, *, observer: bool = False, until: str = "active") -> None:
    """Another member links, and goes through the phases."""
    peer = member.replica.peer
    role = peer.role
    assert isinstance(role, Leading)
    link = Link(other, other)
    peer.linked(link)
    peer.receive(link, Hello(0, observer))
    if until == "active":
        peer.receive(link, AckEpoch(role.epoch, role.epoch, peer.history.ends))
        peer.receive(link, AckNewLeader(role.epoch, peer.history.logged))


def test_a_leader_counts_who_follows_it() -> None:
    member = a_member()
    member.replica.peer.quorum = Majority({1, 2, 3})
    join(member, 2)
    join(member, 3, until="greeted")
    join(member, 4, observer=True)
    metrics = metrics_of(member.replica, now_ms=member.replica.joined_ms + 1234)
    assert {key: metrics[key] for key in metrics if not key.endswith("_size")} == {
        "peer_state": "leading - broadcast",
        "leader_id": 1,
        "learners": 3,
        "synced_followers": 1,
        "synced_non_voting_followers": 0,
        "synced_observers": 1,
        "pending_syncs": 0,
        "leader_uptime": 1234,
    }
    assert metrics["quorum_size"] == 3


def test_a_sync_pends_until_the_quorum_has_answered() -> None:
    member = a_member()
    ann = member.talker()
    member.replica.peer.quorum = Majority({1, 2, 3})
    join(member, 2)
    ann.say(Op.SYNC)
    assert metrics_of(member.replica, 0)["pending_syncs"] == 1


def test_proposal_sizes_are_those_of_the_proposals() -> None:
    member = a_member()
    member.talker()
    answer("srst", Inspection(member.replica))
    assert sizes(member) == [-1, -1, -1]
    ann = member.talker()
    lengths = []
    for length in (10, 1000, 100):
        ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", bytes(length), -1))
        member.settle()
        lengths.append(len(member.log[-1]))
    assert lengths[1] > 1000 > lengths[2] > 100 > lengths[0] > 10
    answer("srst", Inspection(member.replica))
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", bytes(10), -1))
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", bytes(10), -1))
    member.settle()
    only = len(member.log[-1])
    assert sizes(member) == [only, only, only], "two requests of one turn are one proposal"
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", bytes(5000), -1))
    member.settle()
    assert sizes(member) == [len(member.log[-1]), only, len(member.log[-1])]


def test_one_that_looks_has_no_leader() -> None:
    member = a_member()
    member.lose_quorum()
    assert metrics_of(member.replica, 0) == {"peer_state": "looking", "quorum_size": 3}
    assert phase_of(member.replica.peer) == "looking"
