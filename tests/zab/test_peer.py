"""The peer of an ensemble of one: epochs before use, promises after the disk, commits in order; and what a
role leaves behind."""

from __future__ import annotations

import pytest

from coord.wire.members import Ack, Install, Proposal, Vote
from coord.zab.election import Looking
from coord.zab.history import COUNTER_MAX
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer, Work
from coord.zab.quorum import Majority

FRESH = Epochs(0, 0)


def a_peer(last_zxid: int = 0, epochs: Epochs = FRESH) -> Peer:
    return Peer(1, Majority({1}), last_zxid=last_zxid, epochs=epochs)


def take(peer: Peer) -> Work:
    work = peer.take_work()
    assert work is not None
    return work


def establish(peer: Peer) -> None:
    while (work := peer.take_work()) is not None:
        peer.persisted(work.ticket)
    assert peer.leading


def propose(peer: Peer, count: int = 1) -> Proposal:
    first = peer.next_zxid
    proposal = Proposal(first, first + count - 1, b"payload")
    peer.propose(proposal)
    return proposal


def test_an_epoch_is_accepted_then_current_each_durable_before_the_next_step() -> None:
    peer = a_peer(last_zxid=5 << 32 | 7, epochs=Epochs(5, 5))
    first = take(peer)
    assert first.epochs == Epochs(6, 5)
    assert peer.take_work() is None, "nothing more before the accepted epoch is durable"
    assert not peer.leading
    peer.persisted(first.ticket)
    second = take(peer)
    assert second.epochs == Epochs(6, 6)
    assert not peer.leading
    assert peer.committed == 0
    peer.persisted(second.ticket)
    assert peer.leading
    assert peer.committed == 5 << 32 | 7, "the history of an established leader is committed"
    assert peer.next_zxid == 6 << 32 | 1


def test_a_proposal_is_committed_when_the_disk_has_it_and_not_before() -> None:
    peer = a_peer()
    establish(peer)
    before = peer.committed
    proposal = propose(peer, count=3)
    assert peer.committed == before
    work = take(peer)
    assert work.proposals == [proposal]
    assert peer.committed == before, "taken is not persisted"
    peer.persisted(work.ticket)
    assert peer.committed == proposal.last_zxid


def test_a_later_proposal_does_not_ride_on_an_earlier_ticket() -> None:
    peer = a_peer()
    establish(peer)
    first = propose(peer)
    work = take(peer)
    second = propose(peer)
    peer.persisted(work.ticket)
    assert peer.committed == first.last_zxid
    peer.persisted(take(peer).ticket)
    assert peer.committed == second.last_zxid


def test_tickets_are_reported_in_the_order_they_were_taken() -> None:
    peer = a_peer()
    establish(peer)
    propose(peer)
    first = take(peer)
    propose(peer)
    second = take(peer)
    with pytest.raises(AssertionError, match="order"):
        peer.persisted(second.ticket)
    assert first.ticket < second.ticket


def test_every_start_begins_a_new_epoch_even_if_the_last_one_was_never_used() -> None:
    """ZOOKEEPER-335: an epoch that was durable is never given out again."""
    peer = a_peer(last_zxid=1 << 32 | 4, epochs=Epochs(accepted=3, current=1))
    establish(peer)
    assert peer.next_zxid == 4 << 32 | 1


def test_used_up_zxids_force_a_new_epoch_and_lose_nothing() -> None:
    """ZOOKEEPER-1277: the counter never carries into the epoch; what was in flight stays in the history."""
    peer = a_peer()
    establish(peer)
    assert isinstance(peer.role, Leading)
    peer.role._last_zxid = peer.history.logged = peer.history.durable = 1 << 32 | (COUNTER_MAX - 2)
    in_flight = propose(peer, count=1)
    assert peer.room == 1
    work = take(peer)
    peer.step_down()
    assert not peer.leading
    peer.persisted(work.ticket)
    establish(peer)
    assert peer.next_zxid == 2 << 32 | 1
    assert peer.committed == in_flight.last_zxid


def test_a_proposal_that_does_not_follow_is_our_own_bug() -> None:
    peer = a_peer()
    establish(peer)
    with pytest.raises(AssertionError):
        peer.propose(Proposal(peer.next_zxid + 1, peer.next_zxid + 1, b""))


def test_a_member_that_looks_for_a_leader_ignores_acknowledgements() -> None:
    peer = a_peer()
    looking = Looking(peer)
    looking.receive(Link(2, 1), Ack(5))
    assert peer.committed == 0


def test_work_that_is_not_durable_speaks_of_nothing_in_a_vote() -> None:
    """The history and the epoch of a vote are what a restart would find (ZOOKEEPER-2845)."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=1 << 32 | 4, epochs=Epochs(1, 1))
    peer.log(Proposal(2 << 32 | 1, 2 << 32 | 1, b""))
    peer.set_epochs(Epochs(2, 2))
    peer.take_messages()
    peer.step_down()
    votes = [message for _, message in peer.take_messages()]
    assert {(vote.epoch, vote.zxid) for vote in votes if isinstance(vote, Vote)} == {(1, 1 << 32 | 4)}
    peer.persisted(take(peer).ticket)
    peer.step_down()
    votes = [message for _, message in peer.take_messages()]
    assert {(vote.epoch, vote.zxid) for vote in votes if isinstance(vote, Vote)} == {(2, 2 << 32 | 1)}


def test_what_was_truncated_before_it_was_written_is_not_written() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(1, 1))
    for counter in (1, 2, 3):
        peer.log(Proposal(1 << 32 | counter, 1 << 32 | counter, b"%d" % counter))
    peer.truncate(1 << 32 | 2)
    work = take(peer)
    assert work.truncate == 1 << 32 | 2
    assert [proposal.payload for proposal in work.proposals] == [b"1", b"2"]


def test_a_ticket_does_not_make_durable_what_was_truncated_meanwhile() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(1, 1))
    peer.log(Proposal(1 << 32 | 1, 1 << 32 | 5, b"old"))
    first = take(peer)
    peer.truncate(0)
    peer.log(Proposal(2 << 32 | 1, 2 << 32 | 1, b"new"))
    peer.persisted(first.ticket)
    assert peer.history.durable == 0
    peer.persisted(take(peer).ticket)
    assert peer.history.durable == 2 << 32 | 1


def test_a_promise_of_an_old_role_is_not_said() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=0, epochs=Epochs(1, 1))
    peer.log(Proposal(1 << 32 | 1, 1 << 32 | 1, b""))
    peer.promise(Link(2, 1), Ack(1 << 32 | 1))
    peer.step_down()
    peer.take_messages()
    peer.persisted(take(peer).ticket)
    assert peer.take_messages() == []


def test_two_truncations_in_one_work_reach_as_far_back_as_the_further_one() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=1 << 32 | 9, epochs=Epochs(2, 2))
    peer.truncate(1 << 32 | 3)
    for counter in (1, 2):
        peer.log(Proposal(2 << 32 | counter, 2 << 32 | counter, b""))
    peer.truncate(2 << 32 | 1)
    work = take(peer)
    assert work.truncate == 1 << 32 | 3
    assert [proposal.last_zxid for proposal in work.proposals] == [2 << 32 | 1]


def test_a_snapshot_takes_the_place_of_work_that_came_before_it() -> None:
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=1 << 32 | 9, epochs=Epochs(2, 2))
    peer.truncate(1 << 32 | 3)
    peer.log(Proposal(2 << 32 | 1, 2 << 32 | 1, b""))
    snapshot = Install(2 << 32 | 7, ())
    peer.install(snapshot)
    work = take(peer)
    assert (work.truncate, work.install, work.proposals) == (None, snapshot, [])
