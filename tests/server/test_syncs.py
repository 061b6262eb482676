"""Many syncs share a question, and a round; each is answered, in its place."""

from __future__ import annotations

from coord.server.replica_messages import Sync, Synced, decode, encode
from coord.wire.members import LinkMessage, Payload, Ping, Pong
from coord.wire.records import Op, PathRequest, SetDataRequest
from tests.server.member import Talker
from tests.server.voter import FOUNDING, Voter


def questions(messages: list[LinkMessage]) -> list[int]:
    """The tokens that were sent to a leader."""
    told = [decode(message.data) for message in messages if isinstance(message, Payload)]
    return [message.token for message in told if isinstance(message, Sync)]


def sync(talker: Talker) -> int:
    return talker.say(Op.SYNC, PathRequest("/"))


def test_all_syncs_of_a_turn_are_one_question() -> None:
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    talkers = [voter.talker() for _ in range(5)]
    late = voter.talker()
    voter.said(link)
    xids = [sync(talker) for talker in talkers]
    voter.settle()
    (token,) = questions(voter.said(link))
    later = sync(late)
    voter.settle()
    (another,) = questions(voter.said(link))
    voter.hear(link, Payload(encode(Synced(token, 0))))
    assert [[header.xid for header, _ in talker.hear()] for talker in talkers] == [[xid] for xid in xids]
    voter.hear(link, Payload(encode(Synced(another, 0))))
    assert [header.xid for header, _ in late.hear()] == [later]


def test_questions_of_a_turn_share_a_round() -> None:
    voter = Voter()
    voter.follow(3, epoch=1, history=[FOUNDING])
    links = voter.lead()
    for link in links.values():
        voter.said(link)
    for member, link in links.items():
        for token in (1, 2):
            voter.peer.receive(link, Payload(encode(Sync(10 * member + token))))
    voter.settle()
    (ping,) = [message for message in voter.said(links[2]) if isinstance(message, Ping)]
    voter.hear(links[2], Pong(ping.number))
    for member, link in links.items():
        answers = [decode(message.data) for message in voter.said(link) if isinstance(message, Payload)]
        tokens = [answer.token for answer in answers if isinstance(answer, Synced)]
        assert tokens == [10 * member + 1, 10 * member + 2]


def test_what_was_in_line_when_the_question_left_is_answered_with_it() -> None:
    """Also what stands behind a write; not what came later: of that the answer says nothing."""
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    voter.said(link)
    first, second = sync(ann), sync(ann)
    write = ann.say(Op.SET_DATA, SetDataRequest("/", b"", -1))
    behind = sync(ann)
    voter.settle()
    (token,) = questions(voter.said(link))
    later = sync(ann)
    voter.hear(link, Payload(encode(Synced(token, 0))))
    assert [header.xid for header, _ in ann.hear()] == [first, second]
    voter.commit(link, voter.proposed(link))
    assert [header.xid for header, _ in ann.hear()] == [write, behind]
    (another,) = questions(voter.said(link))
    assert another != token
    voter.hear(link, Payload(encode(Synced(another, 0))))
    assert [header.xid for header, _ in ann.hear()] == [later]
