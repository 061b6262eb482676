"""A short run of the simulator, and proof that it looks; ``make sim`` is the long one."""

from __future__ import annotations

import pytest

from coord.wire.members import Ack, Proposal
from coord.zab.links import Link
from tests.simulation.__main__ import outcomes, play
from tests.simulation.chronicle import Violation
from tests.simulation.cluster import Cluster
from tests.simulation.disk import Disk, decode, encode
from tests.simulation.mutants import ROOT, mutants, mutated

SEEDS = 80


def test_no_seed_fails() -> None:
    kinds: set[str] = set()
    for outcome in outcomes("peers", range(SEEDS)):
        assert outcome.failure is None, f"{outcome.failure}; replay: {outcome.replay}"
        kinds |= outcome.messages.keys()
    assert {"Truncate", "Install", "AckNewLeader", "Commit"} <= kinds, "the runs are too calm"


def test_a_seed_says_it_all() -> None:
    first: list[str] = []
    second: list[str] = []
    Cluster(3, first.append).run()
    Cluster(3, second.append).run()
    assert first == second
    assert play("peers", 3) == play("peers", 3)


def test_every_mutant_has_its_place() -> None:
    for mutant in mutants():
        file, text = mutated(mutant, ROOT)
        compile(text, file, "exec")


def test_the_checkers_look() -> None:
    """Each breach is told, seen at a cluster that has come to rest."""
    cluster = Cluster(5)
    cluster.run()
    chronicle, members = cluster.chronicle, list(cluster.members.values())
    assert len(chronicle.committed) > 10
    ahead = Proposal(1 << 40, 1 << 40, b"")
    chronicle.proposed(members[0], ahead)
    with pytest.raises(Violation, match="not on its disk"):
        chronicle.sent(members[0], Link(2, 1), Ack(ahead.last_zxid))
    with pytest.raises(Violation, match="a second time"):
        chronicle.proposed(members[0], Proposal(1 << 40, 1 << 40, b"other"))
    for member in members:
        del member.disk.history[3:]
    with pytest.raises(Violation, match="still hold"):
        chronicle.disk_changed()


def test_histories_that_differ_are_noticed() -> None:
    cluster = Cluster(5)
    cluster.run()
    member = next(iter(cluster.members.values()))
    true = member.view[4]
    member.view[4] = Proposal(true.first_zxid, true.last_zxid, b"other")
    member.applied = 4
    with pytest.raises(Violation, match="in place of"):
        cluster.chronicle.progress(member)


def test_a_disk_reads_from_its_log_as_far_as_that_goes_back() -> None:
    disk = Disk()
    disk.history = [Proposal(zxid, zxid, b"%d" % zxid) for zxid in range(1, 8)]
    assert disk.read(3) == (None, disk.history[3:])
    disk.snapshot = disk.purged = 5
    snapshot, proposals = disk.read(3)
    assert snapshot is not None
    assert [decode(chunk) for chunk in snapshot.chunks] == disk.history[:5]
    assert proposals == disk.history[5:]
    assert decode(encode(disk.history[0])) == disk.history[0]
