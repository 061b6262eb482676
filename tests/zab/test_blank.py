"""Voters whose disks are empty: they found an ensemble together, or wait until a leader admits them."""

from __future__ import annotations

from coord.wire.members import (
    Ack,
    AckEpoch,
    Admit,
    Append,
    Commit,
    HandOver,
    Hello,
    NewEpoch,
    NewLeader,
    Standing,
    Vote,
)
from coord.zab.election import Looking
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Hierarchical, Majority
from tests.zab.table import Table

BLANK = Epochs(0, 0, blank=True)


def blank_table(voters: int = 3) -> Table:
    table = Table(range(1, voters + 1))
    for seat in table.seats.values():
        seat.disk.wipe()
    return table


def with_a_wiped_follower(*others: bytes) -> Table:
    """3 leads, with `a` everywhere; then 1 has lost its disk, and is back."""
    table = Table([1, 2, 3])
    table.start(1, 2, 3)
    table.run_until(table.serves)
    table.propose(3, b"a", *others)
    table.quiet()
    table.crash(1)
    table.seats[1].disk.wipe()
    table.start(1)
    table.run_until(table.serves)
    return table


def is_blank(table: Table, member: int) -> bool:
    return table.seats[member].disk.saved.blank


# -- a new ensemble ---------------------------------------------------------------------------------------


def test_voters_that_are_all_blank_found_an_ensemble() -> None:
    table = blank_table()
    table.start(1, 2, 3)
    table.run_until(table.serves)
    assert not any(is_blank(table, member) for member in (1, 2, 3))


def test_blank_voters_wait_for_the_last_one() -> None:
    """It may be the only one with a history."""
    table = blank_table()
    table.start(1, 2)
    table.run(ticks=200)
    assert all(isinstance(table.peer(member).role, Looking) for member in (1, 2))
    table.start(3)
    table.run_until(table.serves)


def test_one_with_a_history_is_not_overruled_by_two_that_are_blank() -> None:
    table = Table([1, 2, 3])
    table.start(1, 2, 3)
    table.run_until(table.serves)
    table.propose(3, b"a")
    table.quiet()
    table.crash(1, 2, 3)
    table.seats[2].disk.wipe()
    table.seats[3].disk.wipe()
    table.start(1, 2, 3)
    table.run(ticks=300)
    assert all(isinstance(table.peer(member).role, Looking) for member in (1, 2, 3))


def test_who_has_promised_an_epoch_is_not_fresh() -> None:
    """Nothing is in its history, but another leader may count on it already."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=BLANK)
    peer.hear(2, Vote(1, 0, -1, -1, Standing.LOOKING, fresh=True))
    peer.hear(3, Vote(1, 3, 0, 0, Standing.LOOKING, fresh=False))
    assert peer.epochs.blank
    promised = Peer(2, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(1, 0))
    votes = [message for _, message in promised.take_messages() if isinstance(message, Vote)]
    assert votes
    assert not any(vote.fresh for vote in votes)


def test_who_is_fresh_no_more_is_not_remembered_as_fresh() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=BLANK)
    peer.hear(2, Vote(1, 0, -1, -1, Standing.LOOKING, fresh=True))
    peer.hear(2, Vote(1, 2, 0, 0, Standing.LOOKING))
    peer.hear(3, Vote(1, 0, -1, -1, Standing.LOOKING, fresh=True))
    assert peer.epochs.blank


def test_a_blank_voter_alone_founds_an_ensemble_of_one() -> None:
    peer = Peer(1, Majority({1}), last_zxid=0, epochs=BLANK)
    founding = peer.take_work()
    assert founding is not None
    assert founding.epochs == Epochs(0, 0)
    peer.persisted(founding.ticket)
    peer.tick()
    assert isinstance(peer.role, Leading)
    work = peer.take_work()
    assert work is not None
    assert work.epochs == Epochs(1, 0)


def test_founders_promise_nothing_before_enough_of_them_have_a_vote_on_disk() -> None:
    """Else a crash leaves one that has promised an epoch, and two that are blank for ever."""
    table = blank_table()
    for member in (1, 2):
        table.seats[member].disk_waits = True
    table.start(1, 2, 3)
    table.run(ticks=50)
    table.crash(1, 2, 3)
    for member in (1, 2):
        table.seats[member].disk_waits = False
    table.start(1, 2, 3)
    table.run_until(table.serves)


def test_who_was_admitted_a_moment_ago_looks_on_if_it_is_told_to_lead() -> None:
    follower = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=BLANK)
    follower.become(Following(follower, 3))
    assert isinstance(follower.role, Following)
    follower.linked(Link(3, 1))
    for message in (NewEpoch(1), NewLeader(1, 0), Commit(0), Admit(), HandOver(1)):
        follower.receive(Link(3, 1), message)
    assert isinstance(follower.role, Looking)


def test_one_that_may_vote_at_once_makes_an_ensemble_of_a_server_that_was_alone() -> None:
    """Of two new ones: both together could begin without the old one."""
    alone = Table([1])
    alone.start(1)
    alone.run_until(alone.serves)
    alone.propose(1, b"a")
    alone.quiet()
    table = Table([1, 2, 3])
    table.seats[1].disk = alone.seats[1].disk
    table.seats[3].disk.wipe()
    table.start(2, 3)
    table.run(ticks=100)
    assert not any(table.peer(member).in_touch for member in (2, 3))
    table.start(1)
    table.run_until(table.serves)
    table.propose(table.leader, b"b")
    table.run_until(lambda: not is_blank(table, 3))
    assert table.log(2) == table.log(3) == [b"a", b"b"]


def test_a_founder_that_comes_late_is_admitted() -> None:
    """2 and 3 have heard all blank votes and gone on; 1 has missed one."""
    table = blank_table()
    table.held = lambda sender, to, message: to == 1 and isinstance(message, Vote) and message.fresh
    table.start(1, 2, 3)
    table.run_until(lambda: table.serves([2, 3]))
    table.held = lambda sender, to, message: False
    table.run_until(table.serves)
    table.propose(table.leader, b"a")
    table.run_until(lambda: not is_blank(table, 1))


# -- a wiped voter ----------------------------------------------------------------------------------------


def test_a_wiped_voter_has_no_voice() -> None:
    table = with_a_wiped_follower()
    table.crash(2)
    table.run(ticks=100)
    assert not table.peer(3).in_touch, "1 alone makes no quorum with it"
    assert table.log(1) == [b"a"]
    assert is_blank(table, 1)


def test_a_wiped_voter_is_admitted_once_others_have_committed_something_new() -> None:
    table = with_a_wiped_follower()
    assert table.peer(3).entry_wanted
    assert is_blank(table, 1)
    table.propose(3, b"b")
    assert not table.peer(3).entry_wanted
    table.quiet()
    assert not is_blank(table, 1)
    assert table.peer(1).may_vote
    table.crash(2)
    table.propose(3, b"c")
    table.run(ticks=100)
    assert table.peer(3).in_touch
    assert table.log(1) == table.log(3) == [b"a", b"b", b"c"]


def test_what_only_the_wiped_voter_acknowledges_is_not_committed() -> None:
    table = with_a_wiped_follower()
    table.held = lambda sender, to, message: sender == 2 and isinstance(message, Ack)
    table.propose(3, b"b")
    table.quiet()
    assert table.log(1) == [b"a", b"b"]
    assert table.peer(3).committed < table.peer(3).history.logged
    assert is_blank(table, 1)


def test_what_was_under_way_when_it_came_does_not_admit_it() -> None:
    table = Table([1, 2, 3])
    table.start(1, 2, 3)
    table.run_until(table.serves)
    table.crash(1)
    table.seats[1].disk.wipe()
    table.held = lambda sender, to, message: sender == 2 and isinstance(message, Ack)
    table.propose(3, b"a")
    table.quiet()
    table.start(1)
    table.run_until(table.serves)
    table.held = lambda sender, to, message: False
    table.quiet()
    assert table.peer(1).committed == table.peer(3).committed == table.peer(3).history.logged
    assert is_blank(table, 1)


def test_it_stays_blank_until_the_admission_is_on_its_disk() -> None:
    table = with_a_wiped_follower()
    table.held = lambda sender, to, message: isinstance(message, Admit)
    table.propose(3, b"b")
    table.quiet()
    table.crash(1)
    table.held = lambda sender, to, message: False
    table.start(1)
    table.run_until(table.serves)
    assert is_blank(table, 1)
    table.propose(3, b"c")
    table.quiet()
    assert not is_blank(table, 1)


def test_it_says_so_when_it_follows() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=BLANK)
    peer.become(Following(peer, 3))
    peer.linked(Link(3, 1))
    assert (Link(3, 1), Hello(0, observer=False, blank=True)) in peer.take_messages()


def test_an_observer_needs_no_admission() -> None:
    table = Table([1, 2, 3], [4])
    table.seats[4].disk.wipe()
    table.start(1, 2, 3, 4)
    table.run_until(table.serves)
    table.run(ticks=30)
    assert not table.peer(3).entry_wanted


def test_no_wiped_voter_is_handed_the_lead() -> None:
    table = Table([1, 2, 3, 4, 5])
    table.start(1, 2, 3, 4, 5)
    table.run_until(table.serves)
    table.crash(4)
    table.seats[4].disk.wipe()
    table.start(4)
    table.run_until(table.serves)
    table.peer(5).leave()
    table.run_until(lambda: table.peer(3).leading)
    assert "5 -> 3  HandOver leader=3" in table.heard


def test_a_promise_from_before_the_wipe_is_of_no_use_to_an_older_leader() -> None:
    """X has the promise of a disk that is lost since. Its member, admitted by another leader, commits with it
    what X has never heard of; then X gets the last promise that it needs."""
    table = Table([1, 2, 3, 4, 5])
    table.start(1, 2, 3, 4, 5)
    table.run_until(table.serves)
    table.propose(5, b"a")
    table.quiet()
    for other in (2, 3, 4, 5):
        table.cut(1, other)
    table.crash(2)
    x = table.peer(1)
    x.become(Leading(x))
    for link, accepted in ((Link(2, 99), 1), (Link(3, 98), 1)):
        x.linked(link)
        x.receive(link, Hello(accepted))
    promises = [(to, message) for to, message in x.take_messages() if isinstance(message, NewEpoch)]
    assert [to for to, _ in promises] == [Link(2, 99), Link(3, 98)]
    table.write(1)  # X's own promise, and 2's, before its disk is lost
    assert isinstance(x.role, Leading)
    epoch, a = x.role.epoch, x.history.ends
    x.receive(Link(2, 99), AckEpoch(epoch, 1, a))
    table.seats[2].disk.wipe()
    table.start(2)
    table.run_until(lambda: table.serves([2, 3, 4, 5]))
    table.propose(5, b"b")
    table.quiet()
    assert not is_blank(table, 2)
    table.crash(3)
    table.propose(5, b"c")
    table.quiet()
    assert table.peer(5).committed == table.peer(5).history.logged, "2 counts again"
    x.receive(Link(3, 98), AckEpoch(epoch, 1, tuple(table.seats[3].disk.ends())))
    assert isinstance(x.role, Looking)


# -- voters without weight --------------------------------------------------------------------------------


def test_a_voter_without_weight_does_not_lead() -> None:
    table = Table([1, 2, 3, 4, 5], quorum=Hierarchical({1: [1, 2, 3, 4], 2: [5]}, {4: 0, 5: 0}))
    table.start(1, 2, 3, 4, 5)
    table.run_until(table.serves)
    assert table.leader == 3
    table.propose(3, b"a")
    table.quiet()
    table.peer(3).leave()
    table.run_until(lambda: table.peer(2).leading)


def test_what_only_a_voter_without_weight_has_holds_up_nobody() -> None:
    """It is always faster to greet a new leader than the one whose voice is needed."""
    table = Table([1, 2, 3, 4], quorum=Hierarchical({1: [1, 2, 3, 4]}, {4: 0}))
    table.start(1, 2, 3, 4)
    table.run_until(table.serves)
    table.held = lambda sender, to, message: to in (1, 2) and isinstance(message, Append)
    table.propose(3, b"a")
    table.quiet()
    assert table.log(4) == [b"a"]
    table.crash(3)
    table.held = lambda sender, to, message: False
    table.seats[1].disk_waits = True
    for _ in range(300):
        table.run(ticks=1)
        table.write(1)
    assert table.serves()
    assert table.log(4) == []
