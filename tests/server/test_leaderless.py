"""A member without a leader: whom it still answers, and in which order when there is one again."""

from __future__ import annotations

from coord.wire.members import Append, Commit
from coord.wire.records import GetDataReply, Op, PathWatchRequest, SetDataRequest
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from tests.server.member import Talker
from tests.server.voter import FOUNDING, Voter

READ = PathWatchRequest("/zookeeper", False)


def without_a_leader(voter: Voter, link: Link, beats: int) -> None:
    voter.lose(link)
    for _ in range(beats):
        voter.replica.beat()
        voter.settle()


def xids(talker: Talker) -> list[int]:
    return [header.xid for header, _ in talker.hear()]


def test_for_a_short_while_everything_that_needs_no_leader_is_answered() -> None:
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    without_a_leader(voter, link, voter.replica.config.fresh_beats)
    read = ann.say(Op.GET_DATA, READ)
    ann.say(Op.PING, xid=-2)
    assert xids(ann) == [read, -2]


def test_then_nothing_is_until_there_is_a_leader_again() -> None:
    """Each answer would tell the client that its session lives."""
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    without_a_leader(voter, link, voter.replica.config.fresh_beats + 1)
    first = ann.say(Op.GET_DATA, READ)
    ann.say(Op.PING, xid=-2)
    second = ann.say(Op.GET_DATA, READ)
    assert xids(ann) == []
    voter.follow(2, epoch=2)
    assert xids(ann) == [first, -2, second]


def test_a_read_that_waited_does_not_see_the_write_behind_it() -> None:
    """The write is found in the next leader's history, and applied before that leader is joined."""
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", b"first", -1))
    voter.commit(link, voter.proposed(link))
    ann.hear()
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", b"lost on the way", -1))
    voter.settle()
    ahead = voter.proposed(link)
    without_a_leader(voter, link, voter.replica.config.fresh_beats + 1)
    between = ann.say(Op.GET_DATA, READ)
    behind = ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", b"second", -1))
    after = ann.say(Op.GET_DATA, READ)
    link = voter.follow(2, epoch=2, history=[ahead])
    voter.commit(link, voter.proposed(link))
    replies = ann.hear()
    assert [header.xid for header, _ in replies][1:] == [between, behind, after]
    data = [GetDataReply.from_bytes(body).data for header, body in replies if header.xid in (between, after)]
    assert data == [b"lost on the way", b"second"]


def test_who_was_stopped_for_too_long_answers_nobody_from_the_past() -> None:
    voter = Voter()
    voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    links = voter.lead()
    ann.hear()
    voter.replica.woke()
    assert not isinstance(voter.peer.role, Leading)
    read = ann.say(Op.GET_DATA, READ)
    ann.say(Op.PING, xid=-2)
    voter.settle()
    assert xids(ann) == []
    assert links
    link = voter.follow(2, epoch=voter.peer.epochs.accepted + 1)
    assert isinstance(voter.peer.role, Following)
    assert xids(ann) == [read, -2]
    ann.say(Op.SET_DATA, SetDataRequest("/zookeeper", b"", -1))
    proposal = voter.proposed(link)
    voter.hear(link, Append(proposal), Commit(proposal.last_zxid))
    assert len(ann.hear()) == 1
