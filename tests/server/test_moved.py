"""Sessions that leave a member unnoticed: what is still under way there must not come after what they do
elsewhere. (The simulation plays it through: `tests/simulation`.)"""

from __future__ import annotations

from coord import config as settings
from coord.server.carrier import Phase
from coord.server.moved import Moved
from coord.server.tracker import SessionTracker
from tests.server.member import Member, Talker

ELSEWHERE = 2 << 56 | 1
HERE = 1 << 56 | 1


def config(my_id: int) -> settings.Config:
    members = {one: settings.Member("127.0.0.1", 1000 + one, 2000 + one) for one in (1, 2, 3)}
    return settings.Config(members=members, my_id=my_id)


def test_a_move_that_the_leader_knows_of_outweighs_older_claims() -> None:
    tracker = SessionTracker(config(1), 1)
    tracker.lead({7: 4000, 8: 4000})
    tracker.connected(7, 3)
    tracker.kept([7, 8], 2)
    assert tracker.may_ask(7, 3)
    assert not tracker.may_ask(7, 2)
    assert tracker.may_ask(8, 2)
    assert not tracker.may_ask(8, 3)
    tracker.connected(8, 3)
    assert tracker.may_ask(8, 3)


def test_a_connection_that_was_overtaken_is_closed_when_the_leader_changes() -> None:
    member = Member()
    gone, stays = member.talker(), member.talker()
    moved = Moved(member.replica.lobby, 1)
    moved.applied(gone.connection.session_id, ELSEWHERE)
    moved.applied(stays.connection.session_id, HERE)
    assert moved.leave_overtaken() == (stays.connection.session_id,)
    assert gone.connection.phase is Phase.CLOSING
    assert stays.connection.phase is Phase.OPEN
    assert moved.leave_overtaken() == (stays.connection.session_id,)


def test_a_client_that_came_back_is_not_taken_for_gone() -> None:
    member = Member()
    first = member.talker()
    session_id = first.connection.session_id
    moved = Moved(member.replica.lobby, 1)
    moved.applied(session_id, ELSEWHERE)
    second = Talker(member)
    second.greet(session_id, member.replica.lobby.password_of(session_id))
    member.settle()
    assert second.greeted().session_id == session_id
    assert moved.leave_overtaken() == (session_id,)
    assert second.connection.phase is Phase.OPEN


def test_a_session_that_is_over_is_forgotten() -> None:
    member = Member()
    talker = member.talker()
    moved = Moved(member.replica.lobby, 1)
    moved.applied(talker.connection.session_id, ELSEWHERE)
    moved.ended(talker.connection.session_id)
    assert moved.leave_overtaken() == (talker.connection.session_id,)


def test_a_follower_does_not_answer_for_who_was_silent_too_long() -> None:
    tracker = SessionTracker(config(2), 2)
    tracker.follow([7], 1000)
    assert tracker.heard(7, 4000, 5000)
    assert tracker.heard(7, 4000, 9000)
    assert not tracker.heard(7, 4000, 13_001)
    assert 7 in tracker.to_report()
    tracker.connected(7, 2)  # it came back, and the leader knows
    assert tracker.heard(7, 4000, 13_001)


def test_a_leader_says_whose_session_is_not_over() -> None:
    tracker = SessionTracker(config(1), 1)
    tracker.lead({7: 4000, 8: 4000})
    tracker.forget(8)
    assert tracker.reported([7, 8]) == (7,)
    tracker.follow([], 0)
    assert tracker.reported([7]) == ()
