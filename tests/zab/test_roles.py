"""Elections, following, leading, observers: a few peers around a table, each case a thing that once went
wrong, or might."""

from __future__ import annotations

import pytest

from coord.wire.members import (
    Ack,
    AckEpoch,
    AckNewLeader,
    Append,
    Commit,
    HandOver,
    Hello,
    Install,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Ping,
    Pong,
    Proposal,
    Standing,
    Truncate,
    Vote,
)
from coord.zab.election import Looking
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Addressee, Epochs, Peer
from coord.zab.quorum import Hierarchical, Majority
from coord.zab.timing import Timing
from tests.zab.table import Table

FRESH = Epochs(0, 0)


def zxid(epoch: int, counter: int) -> int:
    return epoch << 32 | counter


def serving(voters: int = 3, observers: tuple[int, ...] = ()) -> Table:
    """The voter with the largest id leads."""
    table = Table(range(1, voters + 1), observers)
    table.start(*range(1, voters + 1), *observers)
    table.run_until(table.serves)
    assert table.leader == voters
    return table


def persist(peer: Peer) -> None:
    while (work := peer.take_work()) is not None:
        peer.persisted(work.ticket)


def said(peer: Peer) -> list[tuple[Addressee, LinkMessage | Vote]]:
    """What it has said on links."""
    return [(to, message) for to, message in peer.take_messages() if not isinstance(message, Vote)]


# -- elections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Vote(1, 1, 5, zxid(1, 1), Standing.LOOKING), Vote(1, 9, 4, zxid(4, 9), Standing.LOOKING)),
        (Vote(1, 1, 5, zxid(5, 2), Standing.LOOKING), Vote(1, 9, 5, zxid(5, 1), Standing.LOOKING)),
        (Vote(1, 2, 5, zxid(5, 2), Standing.LOOKING), Vote(1, 1, 5, zxid(5, 2), Standing.LOOKING)),
    ],
    ids=["epoch before zxid", "zxid before id", "id breaks ties"],
)
def test_merit(better: Vote, worse: Vote) -> None:
    assert better.merit > worse.merit


def test_the_longest_history_wins_whatever_the_ids() -> None:
    table = serving()
    table.crash(1)
    table.propose(3, b"a")
    table.run()
    table.crash(2, 3)
    table.start(1, 2)
    table.run_until(table.serves)
    assert table.leader == 2
    table.crash(1, 2)
    table.start(1, 3)
    table.run_until(table.serves)
    assert table.leader == 1


def test_a_candidate_without_a_quorum_leads_nothing() -> None:
    table = Table([1, 2, 3])
    table.start(3)
    table.run(100)
    assert isinstance(table.peer(3).role, Looking)


def test_a_leader_waits_a_moment_for_better_votes_unless_everybody_has_voted() -> None:
    table = Table([1, 2, 3], timing=Timing(settle=3))
    table.start(1, 2)
    table.tick(times=2)
    table.quiet()
    assert table.peer(2).leader is None
    table.tick()
    table.quiet()
    table.tick()
    table.quiet()
    assert table.peer(2).leader is not None


def test_who_was_chosen_and_heard_of_it_late_leads() -> None:
    """1 and 2 have chosen 3 before anything of theirs reached it."""
    table = Table([1, 2, 3])
    table.held = lambda sender, to, message: to == 3
    table.start(1, 2, 3)
    table.tick(1, 2, times=3)
    table.quiet()
    assert {table.peer(member).leader for member in (1, 2)} == {3}
    table.votes.clear()
    table.held = lambda sender, to, message: False
    table.run_until(table.serves, ticks=table.peer(3).timing.revote + 1)
    assert table.leading(3).epoch == 1


def test_a_vote_of_an_older_round_is_answered_and_not_counted() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(0, 0))
    peer.step_down()
    peer.take_messages()
    peer.hear(3, Vote(1, 3, 9, zxid(9, 9), Standing.LOOKING))
    assert peer.take_messages() == [(3, Vote(2, 1, 0, 0, Standing.LOOKING, fresh=True))]


def test_a_newer_round_forgets_the_votes_of_the_older() -> None:
    peer = Peer(1, Majority(range(1, 6)), last_zxid=0, epochs=Epochs(0, 0))
    peer.hear(2, Vote(1, 5, 0, 0, Standing.LOOKING))
    peer.hear(3, Vote(1, 5, 0, 0, Standing.LOOKING))
    peer.hear(4, Vote(7, 4, 0, 0, Standing.LOOKING))
    assert peer.round == 7
    for _ in range(10):
        peer.tick()
    assert isinstance(peer.role, Looking), "the votes of round 1 would have made it follow 5"


def test_a_returning_member_does_not_disturb_a_leader_that_works() -> None:
    table = serving()
    for _ in range(3):
        table.crash(1)
        table.start(1)
        table.run_until(table.serves)
    assert table.leading(3).epoch == 1


def test_a_leader_is_joined_only_on_the_word_of_a_quorum_and_of_itself() -> None:
    peer = Peer(1, Majority(range(1, 6)), last_zxid=0, epochs=Epochs(0, 0))
    for follower in (2, 3, 4):
        peer.hear(follower, Vote(5, 5, 2, 0, Standing.FOLLOWING))
    assert isinstance(peer.role, Looking)
    peer.hear(5, Vote(5, 5, 2, 0, Standing.LEADING))
    assert peer.leader == 5


def test_the_word_of_followers_of_another_epoch_does_not_count() -> None:
    peer = Peer(1, Majority(range(1, 6)), last_zxid=0, epochs=Epochs(0, 0))
    for follower in (2, 3, 4):
        peer.hear(follower, Vote(5, 5, 1, 0, Standing.FOLLOWING))
    peer.hear(5, Vote(5, 5, 2, 0, Standing.LEADING))
    assert isinstance(peer.role, Looking)


def test_strangers_are_not_heard() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(0, 0))
    peer.hear(9, Vote(50, 9, 9, zxid(9, 9), Standing.LOOKING))
    assert peer.round == 1


def test_who_missed_the_vote_of_the_new_leader_is_told_again() -> None:
    """With weights nobody decides without it; and the leader waits for them, looking no more."""
    table = Table([1, 2, 3], quorum=Hierarchical({1: [1, 2, 3]}, {3: 2}))
    table.start(1, 3)
    table.held = lambda sender, to, message: True
    table.tick(times=1)
    table.held = lambda sender, to, message: to == 1 and isinstance(message, Vote)
    table.quiet()
    table.votes.clear()
    table.peer(3).hear(1, Vote(1, 3, 0, 0, Standing.LOOKING))
    for _ in range(4):
        table.peer(3).tick()
    assert isinstance(table.peer(3).role, Leading)
    table.peer(3).take_messages()
    table.held = lambda sender, to, message: False
    table.run_until(lambda: table.serves([1, 3]), ticks=20)


# -- following ----------------------------------------------------------------------------------------


def follower(last: int = 0, epochs: Epochs = FRESH, ends: tuple[int, ...] = ()) -> tuple[Peer, Link]:
    """1 follows 2 and has greeted it."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=last, epochs=epochs, ends=ends)
    peer.become(Following(peer, 2))
    link = Link(2, 1)
    assert peer.linked(link)
    assert said(peer) == [(link, Hello(epochs.accepted))]
    return peer, link


def test_an_epoch_is_acknowledged_when_it_is_durable() -> None:
    peer, link = follower(zxid(3, 4), Epochs(3, 3), (zxid(2, 2), zxid(3, 4)))
    peer.receive(link, NewEpoch(5))
    assert said(peer) == []
    persist(peer)
    assert said(peer) == [(link, AckEpoch(5, 3, (zxid(2, 2), zxid(3, 4))))]


def test_an_epoch_accepted_before_does_not_count_again() -> None:
    peer, link = follower(epochs=Epochs(5, 0))
    peer.receive(link, NewEpoch(5))
    assert said(peer) == [(link, AckEpoch(5, 0, (0,), counts=False))]


def test_an_older_epoch_is_not_accepted() -> None:
    peer, link = follower(epochs=Epochs(6, 0))
    peer.receive(link, NewEpoch(5))
    assert isinstance(peer.role, Looking)


def test_the_epoch_is_current_after_the_history_is_durable() -> None:
    """One work, whose fields are written in order (ZOOKEEPER-4643)."""
    peer, link = follower()
    peer.receive(link, NewEpoch(1))
    persist(peer)
    proposal = Proposal(zxid(1, 1), zxid(1, 1), b"a")
    peer.receive(link, Append(proposal))
    peer.receive(link, NewLeader(1, zxid(1, 1)))
    work = peer.take_work()
    assert work is not None
    assert (work.proposals, work.epochs) == ([proposal], Epochs(1, 1))
    said(peer)
    peer.persisted(work.ticket)
    assert said(peer) == [(link, AckNewLeader(1, zxid(1, 1)))]


def test_a_history_that_is_not_the_leaders_is_not_acknowledged() -> None:
    peer, link = follower()
    peer.receive(link, NewEpoch(1))
    persist(peer)
    peer.receive(link, NewLeader(1, zxid(1, 7)))
    assert isinstance(peer.role, Looking)


def test_a_gap_is_never_logged() -> None:
    peer, link = follower()
    peer.receive(link, NewEpoch(1))
    peer.receive(link, Append(Proposal(zxid(1, 2), zxid(1, 2), b"")))
    assert isinstance(peer.role, Looking)
    assert peer.history.logged == 0


def test_the_leader_hands_over_to_a_follower_that_has_everything() -> None:
    peer, link = follower()
    peer.receive(link, NewEpoch(1))
    persist(peer)
    peer.receive(link, NewLeader(1, 0))
    persist(peer)
    peer.receive(link, HandOver(peer.my_id))
    assert isinstance(peer.role, Following), "not before it is established"
    peer.receive(link, Commit(0))
    peer.receive(link, HandOver(peer.my_id))
    assert isinstance(peer.role, Leading)


def test_who_does_not_follow_yet_confirms_nothing() -> None:
    """It may have accepted a newer epoch, and only not said so yet."""
    table = serving()
    table.crash(1)
    leader, link = table.peer(3), Link(1, 77)
    assert leader.linked(link)
    number = table.leading(3).ask_quorum()
    leader.receive(link, Pong(number))
    assert not table.leading(3).quorum_answered(number)
    table.tick(3)
    table.quiet()
    assert table.leading(3).quorum_answered(number)


def test_who_has_handed_over_follows_its_heir() -> None:
    table = serving()
    table.peer(3).leave()
    assert not table.peer(3).leading, "it proposes no more"
    table.run_until(lambda: table.serves() and table.peer(2).leading, ticks=2)
    assert table.peer(3).leader == table.peer(1).leader == 2
    table.propose(2, b"a")
    table.run_until(lambda: all(table.log(member) == [b"a"] for member in table.seats))


def test_the_lead_is_handed_over_to_one_that_was_heard_a_moment_ago() -> None:
    """2 has everything, and may be gone."""
    table = serving()
    table.held = lambda sender, to, message: sender == 2
    table.run(ticks=3 * table.peer(3).timing.ping)
    table.peer(3).leave()
    table.run(ticks=1)
    assert "3 -> 1  HandOver leader=1" in table.heard


def test_a_leader_that_is_told_to_leave_before_it_leads_hands_over_when_it_does() -> None:
    table = Table([1, 2, 3])
    table.held = lambda sender, to, message: isinstance(message, AckNewLeader)
    table.start(1, 2, 3)
    table.run()
    table.peer(3).leave()
    table.held = lambda sender, to, message: False
    table.run_until(lambda: table.serves() and table.peer(2).leading, ticks=3)


def test_a_leader_that_nobody_can_follow_stays() -> None:
    """Who could take over does not acknowledge what is under way."""
    table = serving()
    table.held = lambda sender, to, message: isinstance(message, Ack)
    table.propose(3, b"b")
    table.peer(3).leave()
    table.run(ticks=table.peer(3).timing.silence)
    assert not table.peer(3).leading
    table.run(ticks=2)
    assert table.peer(3).leading
    table.held = lambda sender, to, message: False
    table.propose(3, b"c")
    table.quiet()
    assert table.peer(3).committed == table.peer(3).history.logged


def test_an_heir_that_is_gone_does_not_hold_the_others_up() -> None:
    table = serving()
    table.held = lambda sender, to, message: to == 2 and isinstance(message, HandOver)
    table.peer(3).leave()
    table.tick(3)
    table.crash(2)
    table.run_until(lambda: table.serves([1, 3]))


def test_a_link_of_somebody_else_is_not_wanted() -> None:
    peer, _ = follower()
    assert not peer.linked(Link(3, 2))
    assert not peer.linked(Link(2, 3)), "one is enough"


def test_messages_of_an_older_link_are_not_heard() -> None:
    peer, _ = follower()
    peer.receive(Link(2, 77), NewEpoch(9))
    assert peer.epochs.accepted == 0


def test_a_silent_leader_is_left() -> None:
    table = serving()
    table.held = lambda sender, to, message: sender == 3
    table.run(25)
    assert table.peer(1).leader != 3
    assert not table.peer(3).leading


def test_a_follower_out_of_touch_knows_it() -> None:
    table = serving()
    assert table.peer(1).in_touch
    table.crash(2, 3)
    assert not table.peer(1).in_touch


# -- leading ------------------------------------------------------------------------------------------


def candidate(accepted: int = 0, voters: int = 3, last: int = 0) -> Peer:
    current = last >> 32
    epochs = Epochs(max(accepted, current), current)
    peer = Peer(1, Majority(range(1, voters + 1)), last_zxid=last, epochs=epochs)
    peer.become(Leading(peer))
    return peer


def greet(peer: Peer, member: int, accepted: int = 0) -> Link:
    link = Link(member, member)
    assert peer.linked(link)
    peer.receive(link, Hello(accepted))
    return link


def test_the_epoch_is_newer_than_any_that_a_quorum_has_accepted() -> None:
    peer = candidate(accepted=4)
    assert said(peer) == []
    link = greet(peer, 2, accepted=7)
    assert said(peer) == [(link, NewEpoch(8))]


def test_acknowledgements_that_do_not_count_make_no_quorum() -> None:
    peer = candidate()
    link = greet(peer, 2)
    persist(peer)
    peer.receive(link, AckEpoch(1, 0, (0,), counts=False))
    said(peer)
    persist(peer)
    assert peer.epochs.current == 0
    third = greet(peer, 3)
    peer.receive(third, AckEpoch(1, 0, (0,)))
    assert peer.epochs.current == 1


def test_observers_make_no_quorum() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(0, 0), observers=[4, 5])
    peer.become(Leading(peer))
    for observer in (4, 5):
        link = Link(observer, observer)
        assert peer.linked(link)
        peer.receive(link, Hello(0, observer=True))
    assert peer.epochs.accepted == 0


def test_nobody_follows_whom_only_another_configuration_knows() -> None:
    """There is no address to connect to."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(0, 0))
    for sender in (2, 3):
        peer.hear(sender, Vote(1, 9, 5, zxid(5, 1), Standing.LOOKING))
    for _ in range(10):
        peer.tick()
    assert isinstance(peer.role, Looking)
    peer.become(Following(peer, 3))
    peer.linked(Link(3, 1))
    for message in (NewEpoch(6), NewLeader(6, 0), Commit(0), HandOver(9)):
        peer.receive(Link(3, 1), message)
    assert isinstance(peer.role, Looking)


def test_a_leader_gives_way_to_a_longer_history() -> None:
    peer = candidate(last=zxid(2, 3))
    link = greet(peer, 2, accepted=2)
    peer.receive(link, AckEpoch(3, 2, (zxid(1, 1), zxid(2, 4))))
    assert isinstance(peer.role, Looking)


def test_a_leader_does_not_give_way_to_who_can_not_lead() -> None:
    """Else it might do so for ever, since nobody who can has more."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=zxid(2, 3), epochs=Epochs(2, 2), observers=[4])
    peer.become(Leading(peer))
    link = greet(peer, 2, accepted=2)
    for other, hello in ((3, Hello(2, blank=True)), (4, Hello(2, observer=True))):
        assert peer.linked(Link(other, other))
        peer.receive(Link(other, other), hello)
        peer.receive(Link(other, other), AckEpoch(3, 2, (zxid(2, 4),)))
    persist(peer)
    peer.receive(link, AckEpoch(3, 2, (zxid(2, 3),)))
    assert peer.epochs.current == 3
    assert (Link(4, 4), Truncate(zxid(2, 3))) in said(peer)


def test_a_leader_gives_way_to_a_newer_epoch_though_its_last_zxid_is_smaller() -> None:
    """Epoch 3 began, perhaps, without what this one has of epoch 2: that is not committed."""
    peer = candidate(accepted=3, last=zxid(2, 3))
    link = greet(peer, 2, accepted=3)
    peer.receive(link, AckEpoch(4, 3, (zxid(1, 1),)))
    assert isinstance(peer.role, Looking)


def test_a_leader_truncated_before_reads_no_further_than_its_history_goes() -> None:
    """What is in memory begins where the truncation ended, and not where the history ended once."""
    peer = Peer(1, Majority(range(1, 4)), last_zxid=zxid(2, 9), epochs=Epochs(2, 2))
    peer.truncate(zxid(2, 4))
    persist(peer)
    peer.become(Leading(peer))
    link = greet(peer, 2, 2)
    persist(peer)
    peer.receive(link, AckEpoch(3, 2, (zxid(2, 4),)))
    persist(peer)
    assert peer.fetches == []
    assert NewLeader(3, zxid(2, 4)) in [message for _, message in said(peer)]


def test_a_leader_without_company_gives_up() -> None:
    peer = candidate()
    for _ in range(2 * peer.timing.greet):
        peer.tick()
    assert isinstance(peer.role, Looking)


def test_a_leader_that_loses_its_quorum_steps_down_at_once() -> None:
    table = serving()
    table.cut(1, 3)
    assert table.peer(3).leading
    table.cut(2, 3)
    assert not table.peer(3).leading


def test_a_disk_that_hangs_does_not_hold_up_the_others() -> None:
    table = serving()
    table.seats[3].disk_waits = True
    table.propose(3, b"a")
    table.quiet()
    assert table.peer(3).committed == zxid(1, 1), "two followers are a quorum"
    assert table.log(3) == []


def test_what_a_reconnected_follower_brings_is_counted_though_nothing_new_is_proposed() -> None:
    """Its acknowledgements were lost with its link; the one of its synchronisation stands for them."""
    table = serving()
    table.crash(1)
    table.held = lambda sender, to, message: sender == 2 and type(message).__name__ == "Ack"
    table.propose(3, b"a")
    table.quiet()
    assert table.peer(3).committed == 0
    peer, again = table.peer(3), Link(2, 99)
    assert peer.linked(again)
    peer.receive(again, Hello(1))
    peer.receive(again, AckEpoch(1, 1, (0, zxid(1, 1)), counts=False))
    peer.receive(again, AckNewLeader(1, zxid(1, 1)))
    assert peer.committed == zxid(1, 1)


def test_a_quorum_is_not_asked_of_members_that_do_not_follow_yet() -> None:
    """A member whose link is new may have accepted a newer epoch since: its answer proves nothing."""
    table = serving()
    peer, leading = table.peer(3), table.leading(3)
    for member in (1, 2):
        assert peer.linked(Link(member, 90 + member))
    number = leading.ask_quorum()
    for member in (1, 2):
        peer.receive(Link(member, 90 + member), Pong(number))
    assert not leading.quorum_answered(number)


def test_a_quorum_answers() -> None:
    table = serving()
    leading = table.leading(3)
    number = leading.ask_quorum()
    assert not leading.quorum_answered(number)
    table.peer(3).tick()
    table._settle(3)
    table.quiet()
    assert leading.quorum_answered(number)


@pytest.mark.parametrize(
    "message",
    [NewEpoch(9), Truncate(0), Install(9, ()), NewLeader(9, 9), Ping(1), Append(Proposal(9, 9, b""))],
    ids=lambda message: type(message).__name__,
)
def test_a_leader_takes_no_orders(message: LinkMessage) -> None:
    table = serving()
    leader = table.peer(3)
    link = next(iter(table.leading(3).learners))
    before = leader.history.logged, leader.epochs
    leader.receive(link, message)
    assert leader.leading
    assert (leader.history.logged, leader.epochs) == before


def test_a_member_that_accepted_a_newer_epoch_is_not_shut_out_for_ever() -> None:
    """It may not follow an older one: the leader, who is told so by its greeting, begins a newer epoch."""
    table = serving()
    table.propose(3, b"a")
    table.quiet()
    table.crash(1)
    table.seats[1].disk.saved = Epochs(accepted=7, current=1)
    table.start(1)
    table.run_until(table.serves)
    assert table.leading(table.leader).epoch == 8


def test_history_is_asked_of_the_disk_when_the_disk_has_it() -> None:
    """A truncation that is not on disk yet: what is read there would not be this member's history."""
    epochs, ends = Epochs(7, 7), (zxid(5, 3), zxid(7, 3))
    peer = Peer(1, Majority(range(1, 6)), last_zxid=zxid(7, 3), epochs=epochs, ends=ends)
    peer.become(Following(peer, 2))
    link = Link(2, 1)
    peer.linked(link)
    peer.receive(link, NewEpoch(8))
    persist(peer)
    peer.receive(link, Truncate(zxid(7, 1)))
    hanging = peer.take_work()
    assert hanging is not None
    peer.become(Leading(peer))
    for member in (3, 4, 5):
        peer.receive(greet(peer, member, 8), AckEpoch(9, 5, (zxid(5, 2),)))
    assert peer.fetches == []
    peer.persisted(hanging.ticket)
    persist(peer)
    assert {fetch.after for fetch in peer.fetches} == {zxid(5, 2)}


# -- learners -----------------------------------------------------------------------------------------


def test_proposals_under_way_reach_a_learner_that_is_being_synchronised() -> None:
    """S29, S35 (1): what is proposed after its history was sent follows without a gap."""
    table = serving()
    table.crash(1)
    table.propose(3, b"a")
    table.quiet()
    table.start(1)
    table.held = lambda sender, to, message: (sender, to) == (1, 3) and isinstance(message, AckNewLeader)
    table.run(4)
    table.propose(3, b"b")
    table.quiet()
    assert table.log(1) == [b"a", b"b"]
    assert table.peer(1).committed == 0
    table.held = lambda sender, to, message: False
    table.run(1)
    assert table.peer(1).committed == table.peer(3).committed == zxid(1, 2)


def test_a_proposal_that_the_disk_lacks_when_it_is_read_comes_from_memory() -> None:
    table = Table([1, 2, 3], recent_bytes=2)
    table.start(1, 2, 3)
    table.run_until(table.serves)
    table.propose(3, b"a")
    table.quiet()
    table.crash(1)
    table.propose(3, b"b", b"c", b"d")
    table.quiet()
    table.start(1)
    table.run_until(lambda: bool(table.seats[3].fetches) or table.serves())
    table.propose(3, b"e", b"f", b"g")
    table.run_until(table.serves)
    table.quiet()
    assert table.log(1) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


# -- other ensembles ----------------------------------------------------------------------------------


def test_groups_elect_and_commit_by_weight() -> None:
    groups = {1: [1, 2, 3], 2: [4, 5, 6], 3: [7, 8, 9]}
    table = Table(range(1, 10), quorum=Hierarchical(groups, {}))
    table.start(1, 2, 4, 5)
    table.run_until(table.serves)
    table.propose(table.leader, b"a")
    table.quiet()
    assert table.peer(table.leader).committed == zxid(1, 1)
    table.crash(1)
    table.run(100)
    assert not any(table.peer(member).leading for member in table.running), (
        "one group is not a majority of three"
    )


def test_an_observer_follows_and_is_not_needed() -> None:
    table = serving(observers=(4, 5))
    table.propose(3, b"a")
    table.quiet()
    table.run(4)
    assert table.log(4) == table.log(5) == [b"a"]
    assert table.peer(4).committed == zxid(1, 1)
    table.crash(4, 5)
    assert table.peer(3).leading
    table.crash(1, 2)
    table.start(4, 5)
    table.run(100)
    assert not table.peer(3).leading, "observers are no quorum"


def test_an_observer_finds_the_next_leader() -> None:
    table = serving(observers=(4,))
    table.crash(3)
    table.run_until(table.serves)
    assert table.peer(4).leader == 2


def test_two_who_have_decided_do_not_answer_each_other_without_end() -> None:
    """Only who is still looking is answered."""
    peers = {one: Peer(one, Majority(range(1, 6)), last_zxid=0, epochs=FRESH) for one in (1, 2)}
    for one, peer in peers.items():
        peer.ballot = Vote(1, 3 if one == 1 else 2, 0, 0, Standing.LOOKING)
        peer.become(Following(peer, 3) if one == 1 else Leading(peer))
        peer.take_messages()
    peers[1].hear(2, Vote(1, 2, 0, 0, Standing.LOOKING))
    spoken = 0
    for turn in (1, 2) * 5:
        for to, message in peers[turn].take_messages():
            assert isinstance(to, int)
            assert isinstance(message, Vote)
            spoken += 1
            peers[to].hear(turn, message)
    assert spoken == 1
