"""The named bug scenarios of other implementations that concern agreement, each with the right outcome.

Each test is named after its scenario. Those that are not here, or only in part:

- S04, S05, S06 (a snapshot that was acknowledged is not on disk, or is labelled wrongly): agreement's part,
  nothing acknowledged before the snapshot is durable, is `test_s04_…`; the disk's part of it, and all of S16
  to S21, is in `tests/storage/`.
- S11, S12 (a commit whose proposal was consumed, a cache with a hole): there are no two queues. Proposals
  enter one history, in order, asserted; commits only move a mark in it (`test_s11_s12_…`).
- S14 (a stale queue writes into the log after its role ended): a role owns no queue. Work is the peer's own,
  in one order across roles (`test_s14_…`).
- S22 (a voter restarted with a wiped disk votes): see `test_blank`, and `tests/ensemble` for real disks.
- S31 (a leader that may not commit, since it takes itself for somebody else): there is no such state. A
  leader that is established commits; one that is not steps down (`test_s31_…`).
- S26, S33, S34 and S36 concern the replica above (`tests/server/`), S27, S28 and S37 the state
  (`tests/state/`), S38 a client (`tests/recipes/`).

"Written" means: on the disk of that member, which is what it would find at its next start.
"""

from __future__ import annotations

import pytest

from coord.wire.members import (
    Ack,
    AckEpoch,
    AckNewLeader,
    Append,
    Commit,
    Hello,
    Install,
    LinkMessage,
    NewEpoch,
    NewLeader,
    Proposal,
    Standing,
    Truncate,
    Vote,
)
from coord.zab.election import Looking
from coord.zab.following import Following
from coord.zab.history import COUNTER_MAX
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer, Work
from coord.zab.quorum import Majority
from tests.simulation.disk import encode
from tests.zab.table import Table


def zxid(epoch: int, counter: int) -> int:
    return epoch << 32 | counter


def one(epoch: int, counter: int, payload: bytes = b"x") -> Proposal:
    return Proposal(zxid(epoch, counter), zxid(epoch, counter), payload)


def serving(voters: int = 3, observers: tuple[int, ...] = (), recent_bytes: int = 1 << 20) -> Table:
    """The voter with the largest id leads, and `a` is committed everywhere."""
    table = Table(range(1, voters + 1), observers, recent_bytes=recent_bytes)
    table.start(*range(1, voters + 1), *observers)
    table.run_until(table.serves)
    table.propose(voters, b"a")
    table.quiet()
    assert all(table.log(member) == [b"a"] for member in table.seats)
    return table


def hold(table: Table, *kinds: type) -> None:
    table.held = lambda sender, to, message: isinstance(message, kinds)


def release(table: Table) -> None:
    table.held = lambda sender, to, message: False


def stopped(table: Table) -> None:
    table.crash(*table.running)
    release(table)


def logs_are(table: Table, *payloads: bytes) -> None:
    assert {member: table.log(member) for member in table.seats} == {
        member: list(payloads) for member in table.seats
    }


def synchronising(last: int = 0, ends: tuple[int, ...] = (), current: int = 0) -> tuple[Peer, Link]:
    """1 has acknowledged epoch 5 to 2, and waits for its history."""
    epochs = Epochs(4, current)
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=last, epochs=epochs, ends=ends)
    peer.become(Following(peer, 2))
    link = Link(2, 1)
    assert peer.linked(link)
    peer.receive(link, NewEpoch(5))
    persist(peer)
    peer.take_messages()
    return peer, link


def persist(peer: Peer) -> None:
    while (work := peer.take_work()) is not None:
        peer.persisted(work.ticket)


def said(peer: Peer) -> list[LinkMessage | Vote]:
    return [message for _, message in peer.take_messages()]


def test_s01_a_lost_truncation() -> None:
    """3 alone has x, whose zxid lies within what the others have (see scripts/divergent_histories.txt)."""
    table = serving()
    hold(table, Append)
    table.propose(3, b"x")
    table.quiet()
    stopped(table)
    table.start(1, 2)
    table.run_until(table.serves)
    table.propose(table.leader, b"b")
    table.quiet()
    table.start(3)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


def test_s02_a_leader_that_lost_its_quorum_votes_with_what_is_on_its_disk() -> None:
    """It keeps its memory across the election; memory and disk agree, and nothing uncommitted stays."""
    table = serving()
    hold(table, Append)
    table.propose(3, b"x")
    table.quiet()
    table.cut(1, 3)
    table.cut(2, 3)
    release(table)
    assert isinstance(table.peer(3).role, Looking)
    votes = [vote for vote in said_by_looking(table, 3) if vote.leader == 3]
    assert {vote.zxid for vote in votes} == {table.seats[3].disk.last_zxid}
    table.run_until(lambda: table.serves([1, 2]))
    table.propose(table.leader, b"b")
    table.quiet()
    table.mend(1, 3)
    table.mend(2, 3)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


def said_by_looking(table: Table, member: int) -> list[Vote]:
    peer = table.peer(member)
    while not peer.take_messages():
        peer.tick()
    peer.step_down()
    return [message for message in said(peer) if isinstance(message, Vote)]


def test_s03_what_was_not_read_from_a_broken_link_is_sent_again() -> None:
    """The link dies after the follower knows how far the leader is, and before the proposals came."""
    table = serving()
    table.crash(1)
    table.propose(3, b"b", b"c")
    table.quiet()
    table.start(1)
    hold(table, Append, NewLeader)
    table.run(3)
    assert table.peer(1).history.logged == zxid(1, 1)
    table.break_links(1, 3)
    release(table)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b", b"c")
    assert table.peer(1).committed == zxid(1, 3)


def test_s04_a_snapshot_is_durable_before_it_is_acknowledged() -> None:
    peer, link = synchronising()
    proposals = [one(3, 1), one(3, 2)]
    peer.receive(link, Install(zxid(3, 2), tuple(map(encode, proposals))))
    peer.receive(link, NewLeader(5, zxid(3, 2)))
    assert said(peer) == []
    work = peer.take_work()
    assert work is not None
    assert work.install is not None
    assert work.epochs == Epochs(5, 5), "in the same work, which is written in order"
    assert said(peer) == []
    peer.persisted(work.ticket)
    assert said(peer) == [AckNewLeader(5, zxid(3, 2))]


def test_s05_s06_what_follows_a_snapshot_follows_its_zxid() -> None:
    table = serving(recent_bytes=1)
    table.crash(1)
    table.propose(3, b"b", b"c")
    table.quiet()
    table.snapshot(3)
    table.propose(3, b"d")
    table.quiet()
    table.start(1)
    table.seats[1].disk_waits = True
    table.run(4)
    table.crash(1, survive=0)  # the snapshot came, and never reached the disk
    assert table.log(1) == [b"a"]
    table.seats[1].disk_waits = False
    table.start(1)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b", b"c", b"d")


@pytest.mark.parametrize("survive", range(4))
def test_s07_s08_what_a_new_leader_serves_is_on_a_quorum_of_disks(survive: int) -> None:
    """1 alone has b. 2 and 3 take it over, and crash before, between and after their writes."""
    table = serving()
    stopped(table)
    table.seats[1].disk.write(Work(0, proposals=[one(1, 2, b"b")]))
    table.seats[2].disk_waits = table.seats[3].disk_waits = True
    table.start(1, 2)
    table.run()
    table.start(3)
    for _ in range(4):
        table.run(3)
        if len(table.seats[2].work) > 1 or any(work.proposals for work in table.seats[2].work):
            break
        table.write(2)
        table.write(3)
    assert table.log(2) == table.log(3) == [b"a"]
    assert not table.peer(1).leading, "b is on one disk only"
    assert table.peer(1).committed == 0
    stopped_disks = [2, 3]
    table.crash(*stopped_disks, survive=survive)
    for member in stopped_disks:
        table.seats[member].disk_waits = False
    table.crash(1)
    table.start(2, 3)
    table.run_until(table.serves)
    table.start(1)
    table.run_until(table.serves)
    table.quiet()
    assert table.log(1) == table.log(2) == table.log(3)


@pytest.mark.parametrize("survive", [0, 1, 2])
def test_s09_an_epoch_is_not_ahead_of_its_history(survive: int) -> None:
    """1 lags by b and c; it crashes while 3, in epoch 2, synchronises it; then it elects with 2."""
    table = serving()
    table.crash(1)
    table.propose(3, b"b", b"c")
    table.quiet()
    table.crash(2, 3)
    table.start(1, 3)
    table.seats[1].disk_waits = True
    table.run(6)
    table.write(1)  # the accepted epoch
    table.run(3)
    assert len(table.seats[1].work) >= 1
    table.crash(1, 3, survive=survive)
    table.seats[1].disk_waits = False
    table.start(1, 2)
    table.run_until(table.serves)
    table.propose(table.leader, b"d")
    table.quiet()
    table.start(3)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b", b"c", b"d")


def test_s10_an_acknowledgement_of_a_proposal_may_come_before_the_quorum_for_the_leader() -> None:
    peer = Peer(1, Majority(range(1, 6)), last_zxid=zxid(1, 1), epochs=Epochs(1, 1))
    peer.become(Leading(peer))
    links = [Link(member, member) for member in (2, 3)]
    for link in links:
        peer.linked(link)
        peer.receive(link, Hello(1))
    for link in links:
        peer.receive(link, AckEpoch(2, 1, (zxid(1, 1),)))
    persist(peer)
    for link in links:
        peer.receive(link, Ack(zxid(1, 1)))
        peer.receive(link, AckNewLeader(2, zxid(1, 1)))
    assert peer.leading
    assert peer.committed == zxid(1, 1)


def test_s11_s12_commits_around_the_end_of_synchronisation_lose_nothing() -> None:
    """Proposals before and after `NewLeader`, commits before and after its acknowledgement."""
    peer, link = synchronising()
    peer.receive(link, Append(one(5, 1)))
    peer.receive(link, NewLeader(5, zxid(5, 1)))
    peer.receive(link, Append(one(5, 2)))
    peer.receive(link, Commit(zxid(5, 1)))
    persist(peer)
    peer.receive(link, Commit(zxid(5, 2)))
    assert peer.committed == zxid(5, 2)
    assert [proposal.first_zxid for proposal in peer.history.since(0)] == [zxid(5, 1), zxid(5, 2)]


def test_s13_a_disk_that_failed_for_a_while_leaves_no_hole() -> None:
    """A failed write is the end of the process; it begins again from what is on its disk."""
    table = serving()
    table.seats[1].disk_waits = True
    table.propose(3, b"b")
    table.quiet()
    assert table.peer(3).committed == zxid(1, 2), "committed without 1"
    table.crash(1)
    table.seats[1].disk_waits = False
    table.propose(3, b"c")
    table.quiet()
    table.start(1)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b", b"c")


def test_s14_work_of_an_older_role_stays_in_its_order() -> None:
    """3 has proposals of its lost epoch in its queue: they are written, and then forgotten, in that order."""
    table = serving()
    hold(table, Append)
    table.seats[3].disk_waits = True
    table.propose(3, b"x", b"y")
    table.quiet()
    table.cut(1, 3)
    table.cut(2, 3)
    release(table)
    table.run_until(lambda: table.serves([1, 2]))
    table.propose(table.leader, b"b")
    table.mend(1, 3)
    table.mend(2, 3)
    table.run(10)
    assert table.log(3) == [b"a"]
    table.seats[3].disk_waits = False
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


@pytest.mark.parametrize("survive", [0, 1, 2, 3])
def test_s15_a_truncation_is_durable_before_the_member_joins(survive: int) -> None:
    table = serving()
    hold(table, Append)
    table.propose(3, b"x", b"y")
    table.quiet()
    stopped(table)
    table.start(1, 2)
    table.run_until(table.serves)
    leader = table.leader
    table.propose(leader, b"b")
    table.quiet()
    table.start(3)
    table.seats[3].disk_waits = True
    table.run(6)
    table.write(3)  # the accepted epoch; what comes next is the truncation
    table.run(3)
    assert not table.peer(3).in_touch
    table.crash(3, survive=survive)
    assert table.log(3) in ([b"a", b"x", b"y"], [b"a"], [b"a", b"b"])
    table.seats[3].disk_waits = False
    table.start(3)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


def test_s23_an_epoch_that_was_never_used_is_not_given_again() -> None:
    """2 begins epoch 2, logs one proposal alone, and crashes; 3, unaware, begins another epoch."""
    table = serving()
    table.crash(3)
    table.run_until(table.serves)
    assert table.leader == 2
    hold(table, Append)
    table.propose(2, b"x")
    table.quiet()
    table.crash(2)
    release(table)
    table.start(3)
    table.run_until(table.serves)
    leader = table.leader
    assert table.leading(leader).epoch == 3
    table.propose(leader, b"b")
    table.quiet()
    table.start(2)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


@pytest.mark.parametrize("saved", [Epochs(0, 0), Epochs(2, 0), Epochs(2, 1), Epochs(1, 1)])
def test_s24_a_member_starts_from_what_a_crash_left_between_history_and_epochs(saved: Epochs) -> None:
    """The epochs may lag behind the log: they are never below the epoch of its last zxid."""
    table = serving()
    table.crash(1)
    table.propose(3, b"b")
    table.quiet()
    table.seats[1].disk.saved = saved
    table.start(1)
    table.run_until(table.serves)
    table.quiet()
    logs_are(table, b"a", b"b")


@pytest.mark.parametrize("restart", [(), (1,), (3,), (1, 2, 3)], ids=["nobody", "follower", "leader", "all"])
def test_s25_the_counter_does_not_carry_into_the_epoch(restart: tuple[int, ...]) -> None:
    table = Table([1, 2, 3])
    nearly = Proposal(zxid(1, 1), zxid(1, COUNTER_MAX - 1), b"a")  # one batch, to be quick
    for seat in table.seats.values():
        seat.disk.history.append(nearly)
        seat.disk.saved = Epochs(1, 1)
    table.start(1, 2, 3)
    table.run_until(table.serves)
    leading = table.leading(3)
    leading._last_zxid = zxid(2, COUNTER_MAX - 1)
    assert table.peer(3).room == 1
    table.step_down(3)
    table.crash(*restart)
    table.start(*restart)
    table.run_until(table.serves)
    assert table.leading(table.leader).epoch == 3
    table.propose(table.leader, b"b")
    table.quiet()
    logs_are(table, b"a", b"b")


@pytest.mark.parametrize("follower", [1, 4], ids=["voter", "observer"])
@pytest.mark.parametrize("snapshot", [False, True], ids=["log", "snapshot"])
def test_s29_proposals_under_way_while_a_member_is_synchronised(follower: int, snapshot: bool) -> None:
    table = serving(observers=(4,), recent_bytes=1)
    table.crash(follower)
    table.propose(3, b"b", b"c", b"d")
    table.quiet()
    if snapshot:
        table.snapshot(3)
    table.start(follower)
    written = 0
    for _ in range(60):
        if written < 5 and table.seats[3].fetches:
            table.propose(3, b"%d" % written)
            written += 1
        if not table.move():
            table.tick()
    table.run_until(table.serves)
    table.propose(3, b"e")
    table.quiet()
    assert written
    logs_are(table, b"a", b"b", b"c", b"d", *(b"%d" % number for number in range(written)), b"e")


def test_s30_a_returning_member_joins_whatever_its_round_and_its_votes() -> None:
    """The votes of a working ensemble may differ in round and zxid: only leader and epoch are compared."""
    peer = Peer(1, Majority(range(1, 6)), last_zxid=zxid(3, 9), epochs=Epochs(3, 3))
    for _ in range(20):
        peer.step_down()
    peer.hear(2, Vote(4, 5, 3, zxid(3, 7), Standing.FOLLOWING))
    peer.hear(3, Vote(9, 5, 3, zxid(3, 2), Standing.FOLLOWING))
    assert isinstance(peer.role, Looking)
    peer.hear(5, Vote(2, 5, 3, zxid(3, 8), Standing.LEADING))
    assert peer.leader == 5


def test_s30_a_new_member_does_not_lead_while_a_leader_works() -> None:
    table = serving()
    table.crash(1)
    table.seats[1].disk.saved = Epochs(1, 1)
    table.start(1)
    table.run(50)
    assert table.leader == 3
    assert table.leading(3).epoch == 1


def test_s31_a_leader_that_can_not_commit_does_not_stay() -> None:
    table = serving()
    hold(table, AckNewLeader)
    table.step_down(3)
    table.run(20)
    assert [member for member in table.running if isinstance(table.peer(member).role, Leading)]
    assert not any(table.peer(member).leading for member in table.running)
    first = table.peer(3).role
    table.run_until(lambda: table.peer(3).role is not first)


def test_s32_a_leader_whose_disk_fails_leaves_and_the_others_go_on() -> None:
    table = serving()
    table.seats[3].disk_waits = True
    table.propose(3, b"b")
    table.crash(3)  # a failed write ends the process
    table.run_until(table.serves)
    table.propose(table.leader, b"c")
    table.quiet()
    assert table.log(1) == table.log(2) == [b"a", b"c"]


def test_s35_1_proposals_reach_a_member_that_has_not_acknowledged_the_leader_yet() -> None:
    table = serving()
    table.crash(1)
    table.start(1)
    hold(table, AckNewLeader)
    table.run(3)
    table.propose(3, b"b")
    table.quiet()
    assert table.log(1) == [b"a", b"b"]


def test_s35_2_a_proposal_that_is_part_of_the_history_is_not_logged_twice() -> None:
    peer, link = synchronising()
    for _ in range(2):
        peer.receive(link, Append(one(5, 1)))
    work = peer.take_work()
    assert work is not None
    assert work.proposals == [one(5, 1)]


def test_s35_3_a_late_member_is_told_the_latest_commit() -> None:
    table = serving()
    table.crash(1)
    table.start(1)
    hold(table, AckNewLeader)
    table.run(3)
    table.propose(3, b"b")
    table.quiet()
    assert table.peer(3).committed == zxid(1, 2)
    assert table.peer(1).committed < zxid(1, 2)
    release(table)
    table.quiet()
    assert table.peer(1).committed == zxid(1, 2)


def test_truncation_keeps_what_is_committed() -> None:
    """Not one of the list, but all of them end there: a follower refuses to forget what it has applied."""
    peer, link = synchronising(zxid(4, 2), (zxid(4, 2),), current=4)
    peer.history.commit(zxid(4, 2))
    with pytest.raises(AssertionError, match="committed"):
        peer.receive(link, Truncate(zxid(4, 1)))
