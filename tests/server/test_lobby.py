"""Clients that come from elsewhere: ahead of this member, or of its leader's knowledge."""

from __future__ import annotations

from coord.limits import CATCH_UP_SECONDS
from coord.server.carrier import Phase
from coord.server.replica_messages import Forward, encode
from coord.wire.members import Payload
from coord.wire.records import Op, SetDataRequest
from tests.server.member import Talker
from tests.server.voter import FOUNDING, Voter, batch


def test_a_client_that_is_ahead_by_a_moment_waits_for_what_it_has_seen() -> None:
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = Talker(voter)
    ann.greet(zxid=FOUNDING.last_zxid + 1)
    voter.settle()
    assert ann.connection.phase is Phase.OPENING
    assert ann.hear() == []
    voter.commit(link, batch(1, 3, (0, 0, Op.NOTHING, b"")))
    voter.commit(link, voter.proposed(link))
    assert ann.greeted().session_id


def test_one_that_has_seen_what_does_not_come_is_sent_elsewhere() -> None:
    voter = Voter()
    voter.follow(3, epoch=1, history=[FOUNDING])
    ann = Talker(voter)
    ann.greet(zxid=FOUNDING.last_zxid + 1)
    for _ in range(int(CATCH_UP_SECONDS * 1000 / voter.replica.beat_ms) + 1):
        voter.replica.beat()
        voter.settle()
    assert ann.connection.phase is Phase.CLOSED
    assert "does not come to this server" in ann.connection.close_reason


def test_a_request_that_another_member_forwards_is_a_sign_of_life() -> None:
    voter = Voter()
    voter.follow(3, epoch=1, history=[FOUNDING])
    session_id = voter.talker(timeout_ms=4000).connection.session_id
    links = voter.lead()
    touched = voter.replica.sessions
    left = 0
    while touched.beat() == []:
        left += 1
    touched.lead({session_id: 4000})
    for _ in range(left):
        assert touched.beat() == []
    write = session_id, 1 << 33, int(Op.SET_DATA), (), SetDataRequest("/", b"", -1).encode()
    voter.peer.receive(links[2], Payload(encode(Forward([write]))))
    voter.settle()
    assert touched.beat() == []
