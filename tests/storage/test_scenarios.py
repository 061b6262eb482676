"""The named bug scenarios of other implementations that concern the disk, each with the right outcome.

Each test is named after its scenario, and works on real files: `disk.write` writes them, `recover` reads
them. Agreement's part of S04 to S06 and S15 is in `tests/zab/test_scenarios.py`. S16 to S18 need the log
alone, and are where it is tested (`test_log.py`, `test_log_damage.py`).

What differs by design:

- S05: a snapshot is never made of the live state. It is folded from the log, or comes whole from a leader
  who folded it, so that its label is where its log ended.
- S19: there is no flag that trusts an empty folder. `snapshot.trust.empty` has no effect, since a log from
  the first zxid on is a whole database, with snapshots or without.
- S21: a member whose history has a hole does not start, and says which file is at fault. It does not repair
  itself from the others: what else that disk has lost only an operator can judge. (Wiped, it is given
  everything anew.)

A zxid stands here for an entry that creates a znode of its name, so a state shows what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coord.config import Config
from coord.server.disk import write
from coord.server.fold import fold
from coord.server.recovery import Recovered, newest_state, recover
from coord.state.machine import Machine
from coord.storage import snapshots
from coord.storage.files import StorageDamaged, delete_files
from coord.storage.log import Log
from coord.wire.ensemble import Batch
from coord.wire.members import Append, Install, NewEpoch, NewLeader, Proposal
from coord.wire.records import ACL, CreateRequest, CreateSessionRequest, Id, Op
from coord.zab.following import Following
from coord.zab.links import Link
from coord.zab.peer import Epochs, Peer, Work
from coord.zab.quorum import Majority
from tests.storage.crashes import Crashes

SESSION = 7
OPEN = [ACL(31, Id("world", "anyone"))]


def zxid(epoch: int, counter: int) -> int:
    return epoch << 32 | counter


def zxids(epoch: int, first: int, last: int) -> list[int]:
    return [zxid(epoch, counter) for counter in range(first, last + 1)]


def proposal(number: int) -> Proposal:
    op, body = Op.CREATE, CreateRequest(f"/{number:x}", b"", OPEN, 0).encode()
    if number == zxid(1, 1):
        op, body = Op.CREATE_SESSION, CreateSessionRequest(4000).encode()
    batch = Batch(number, 0, [(SESSION, 0, op, (), body)])
    return Proposal(number, number, batch.encode())


def proposals(numbers: Iterable[int]) -> list[Proposal]:
    return [proposal(number) for number in numbers]


def apply(machine: Machine, batch: Batch) -> None:
    for number, session_id, _, op, who, body in batch.entries():
        assert machine.apply(number, batch.time_ms, session_id, op, who, body)[0] == 0


def state(numbers: Iterable[int]) -> Machine:
    machine = Machine()
    for one in proposals(numbers):
        apply(machine, Batch.decode(one.payload))
    return machine


def install_of(numbers: list[int]) -> Install:
    return Install(numbers[-1], tuple(state(numbers).snapshot()))


def save_snapshot(home: Path, numbers: list[int]) -> Path:
    machine = state(numbers)
    return snapshots.save(home / "coord" / "snapshots", machine.zxid, machine.digest, machine.snapshot())


@contextmanager
def disk(home: Path) -> Iterator[Callable[[Work, bool], None]]:
    """The member's disk as the server has it: takes works, in order."""
    directory = home / "coord"
    log = Log.open(directory / "log", after_zxid=newest_state(directory / "snapshots").zxid)
    yield lambda work, roll: write(log, directory, work, roll=roll)
    log.close()


def write_segments(home: Path, *segments: list[int]) -> list[Path]:
    """The log's files, one for each of these."""
    with disk(home) as do:
        for numbers in segments:
            do(Work(1, proposals=proposals(numbers), epochs=Epochs(1, 1)), True)
    return sorted((home / "coord" / "log").iterdir())


@contextmanager
def started(home: Path) -> Iterator[Recovered]:
    with recover(Config(data_dir=home)) as recovered:
        yield recovered


def held(home: Path) -> list[int]:
    """Of which entries a start finds the effect, or the entry; each once."""
    with started(home) as recovered:
        machine = recovered.machine
        built_in = {"zookeeper", "zookeeper/config", "zookeeper/quota", ""}
        in_state = [int(path[1:], 16) for path in machine.tree.nodes if path[1:] not in built_in]
        in_state += [zxid(1, 1)] * (SESSION in machine.sessions)
        assert max(in_state, default=0) == machine.zxid
        return sorted(in_state) + [batch.first_zxid for batch in recovered.history]


def refusal(home: Path) -> StorageDamaged:
    with pytest.raises(StorageDamaged) as caught, started(home):
        pass
    return caught.value


OLD = zxids(1, 1, 3)
"""what a follower holds; the last of it is nobody else's"""
NEW = [*zxids(1, 1, 2), *zxids(2, 1, 2)]
"""what its leader has in a snapshot"""
LATER = zxid(2, 3)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A follower's folder, with `OLD` in it."""
    path = tmp_path / "home"
    write_segments(path, OLD)
    return path


def with_snapshot() -> Work:
    install, digest = install_of(NEW), state(NEW).digest
    return Work(2, None, install, digest, [proposal(LATER)], Epochs(3, 3))


def test_s04_a_crash_around_a_leaders_snapshot_leaves_no_hole(home: Path, tmp_path: Path) -> None:
    """The snapshot, or the former history: whatever was synced. And the epoch is not ahead of it."""
    with Crashes(home, tmp_path / "crashed") as crashes, disk(home) as do:
        do(with_snapshot(), False)
    found = set()
    for left in crashes.left:
        with started(left) as recovered:
            epochs = recovered.peer.epochs
        entries = held(left)
        found.add(tuple(entries))
        assert epochs.current < 3 or entries == [*NEW, LATER]
    assert found == {tuple(OLD), tuple(NEW), (*NEW, LATER)}
    assert held(home) == [*NEW, LATER], "it was acknowledged"


def test_s04_s06_a_member_goes_on_wherever_a_crash_left_it(home: Path, tmp_path: Path) -> None:
    """The old log that the snapshot replaces may still be there, or some of it. Nothing ever follows it, even
    when what came after the snapshot is taken back."""
    with Crashes(home, tmp_path / "crashed") as crashes, disk(home) as do:
        do(with_snapshot(), True)
    for left in crashes.left:
        with disk(left) as do:
            if held(left) == OLD:
                do(with_snapshot(), False)
        with disk(left) as do:
            number = held(left)[-1]
            do(Work(1, proposals=[proposal(number + 1), proposal(number + 2)]), False)
            do(Work(2, truncate=NEW[-1], proposals=[proposal(zxid(4, 1))]), False)
        assert held(left) == [*NEW, zxid(4, 1)]


def test_s05_a_snapshot_holds_the_state_at_its_label_and_nothing_else(home: Path) -> None:
    """It is made while the log goes on; what comes after it in the log is applied after it."""
    numbers = zxids(1, 1, 9)
    with disk(home) as do:
        do(Work(1, proposals=proposals(zxids(1, 4, 6))), True)
        log = Log.open(home / "coord" / "log")
        segments = log.closed_segments()
        do(Work(2, proposals=proposals(zxids(1, 7, 9))), False)
        expected = zxid(1, 6), state(zxids(1, 1, 6)).digest
        made = fold(home / "coord" / "snapshots", segments, expected, keep=1)
    assert (made["zxid"], made["digest"]) == expected
    assert made["oldest"] == zxid(1, 6)
    with started(home) as recovered:
        assert recovered.machine.zxid == zxid(1, 6)
        for batch in recovered.history:
            apply(recovered.machine, batch)
        assert recovered.machine.digest == state(numbers).digest


def test_a_snapshot_that_is_not_as_expected_takes_the_place_of_none(home: Path) -> None:
    """Memory or determinism has failed: what there was before may be needed to find out how."""
    older = save_snapshot(home, zxids(1, 1, 3))
    with disk(home) as do:
        do(Work(1, proposals=proposals(zxids(1, 4, 6))), True)
        segments = Log.open(home / "coord" / "log").closed_segments()
    made = fold(home / "coord" / "snapshots", segments, (zxid(1, 6), 1), keep=1)
    assert made["zxid"] == zxid(1, 6)
    assert made["oldest"] == 0
    assert older.exists()


def test_s05_a_snapshot_with_the_label_of_another_state_is_refused(home: Path) -> None:
    """Its label is above what it holds: what is in between would be missing, and nobody would know."""
    machine = state(zxids(1, 1, 2))
    path = snapshots.save(home / "coord" / "snapshots", zxid(1, 3), machine.digest, machine.snapshot())
    damage = refusal(home)
    assert damage.file == path
    assert "0x100000002" in damage.why


@pytest.mark.parametrize("under_way", [False, True], ids=["not begun", "on its way to the disk"])
def test_s06_a_snapshot_that_was_not_acknowledged_does_not_stay_in_memory_alone(
    home: Path, tmp_path: Path, under_way: bool
) -> None:
    """Its leader dies before it is on disk; the next leader sends what follows: the disk has both."""
    peer = Peer(1, Majority({1, 2, 3}), last_zxid=OLD[-1], epochs=Epochs(1, 1), ends=[OLD[-1]])
    works: list[Work] = []

    def take() -> None:
        while (work := peer.take_work()) is not None:
            work.install_digest = state(NEW).digest
            works.append(work)

    first, second = Link(2, 1), Link(3, 2)
    peer.become(Following(peer, 2))
    peer.linked(first)
    peer.receive(first, NewEpoch(3))
    peer.receive(first, install_of(NEW))
    if under_way:
        take()
    peer.unlinked(first)
    peer.become(Following(peer, 3))
    peer.linked(second)
    peer.receive(second, NewEpoch(4))
    peer.receive(second, Append(proposal(LATER)))
    peer.receive(second, NewLeader(4, LATER))
    take()
    assert len(works) == 1 + under_way
    with Crashes(home, tmp_path / "crashed") as crashes, disk(home) as do:
        for work in works:
            do(work, False)
    assert {tuple(held(left)) for left in crashes.left} == {tuple(OLD), tuple(NEW), (*NEW, LATER)}
    assert held(home) == [*NEW, LATER]


def test_s15_s16_a_crash_during_a_truncation_leaves_one_history(tmp_path: Path) -> None:
    """Several files go, one is cut, and other records follow: nothing of before comes after them."""
    home = tmp_path / "home"
    write_segments(home, zxids(1, 1, 4), zxids(1, 5, 6), zxids(1, 7, 9))
    work = Work(1, truncate=zxid(1, 2), proposals=proposals(zxids(2, 1, 2)), epochs=Epochs(2, 2))
    with Crashes(home, tmp_path / "crashed") as crashes, disk(home) as do:
        do(work, False)
    before, after = zxids(1, 1, 9), [*zxids(1, 1, 2), *zxids(2, 1, 2)]
    found = [held(left) for left in crashes.left]
    assert before in found
    assert after in found
    for entries in found:
        assert entries in (before[: len(entries)], after[: len(entries)])
        assert len(entries) >= 2, "what is kept was never touched"
    assert held(home) == after


def test_s19_a_log_from_the_first_zxid_on_needs_no_snapshot(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_segments(home, zxids(1, 1, 4), zxids(1, 5, 6))
    assert held(home) == zxids(1, 1, 6)
    save_snapshot(home, zxids(1, 1, 6)).unlink()
    assert held(home) == zxids(1, 1, 6)


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_s19_a_log_that_begins_later_is_not_an_empty_database(tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    first, second = write_segments(home, zxids(1, 1, 4), zxids(1, 5, 6))
    snapshot = save_snapshot(home, zxids(1, 1, 4))
    first.unlink()
    assert held(home) == zxids(1, 1, 6)
    if damage == "missing":
        snapshot.unlink()
    else:
        snapshot.write_bytes(b"")
    found = refusal(home)
    assert (found.file, found.offset) == (second, 0)


def test_s19_a_damaged_snapshot_that_nothing_makes_up_for_is_not_an_empty_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All of the log was purged when it was made: no record is left to show that something is missing."""
    home = tmp_path / "home"
    (segment,) = write_segments(home, zxids(1, 1, 4))
    snapshot = save_snapshot(home, zxids(1, 1, 4))
    segment.unlink()
    assert held(home) == zxids(1, 1, 4)
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    assert refusal(home).file == snapshot
    older = save_snapshot(home, zxids(1, 1, 2))
    assert refusal(home).file == snapshot, "an older one is not a substitute"
    older.unlink()
    write_segments(home, zxids(1, 1, 4))
    assert caplog.text == ""
    assert held(home) == zxids(1, 1, 4), "a log that goes as far is"
    assert f"make up for it: {snapshot} is damaged" in caplog.text


def test_s20_a_purge_leaves_what_the_snapshots_that_verify_need(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_segments(home, zxids(1, 1, 3), zxids(1, 4, 6), zxids(1, 7, 9), zxids(1, 10, 12))
    made = [save_snapshot(home, zxids(1, 1, last)) for last in (3, 6, 9, 12)]
    made[3].write_bytes(b"")
    made[2].write_bytes(made[2].read_bytes()[:-1])
    log = Log.open(home / "coord" / "log")
    purged = log.purge(snapshots.purge(home / "coord" / "snapshots", 2))
    delete_files(purged)
    log.close()
    assert len(purged) == 1, "up to the second newest that verifies"
    assert [one.path for one in snapshots.verified(home / "coord" / "snapshots")] == [made[1], made[0]]
    assert held(home) == zxids(1, 1, 12)
    made[1].write_bytes(b"")
    assert held(home) == zxids(1, 1, 12), "there is one left, and its log"


def test_s21_a_gap_in_the_log_stops_the_start_and_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, middle, last = write_segments(home, zxids(1, 1, 3), zxids(1, 4, 6), zxids(1, 7, 9))
    middle.unlink()
    found = refusal(home)
    assert (found.file, found.offset) == (first, first.stat().st_size)
    assert "must have held 0x100000006" in found.why
    snapshot = save_snapshot(home, zxids(1, 1, 4))
    found = refusal(home)
    assert (found.file, found.offset) == (first, first.stat().st_size)
    first.unlink()
    found = refusal(home)
    assert (found.file, found.offset) == (last, 0)
    assert "it follows zxid 0x100000006" in found.why
    snapshot.unlink()
    assert refusal(home).file == last


def test_s21_a_gap_that_a_snapshot_has_covered_since_harms_nobody(tmp_path: Path) -> None:
    """Contiguity is asked for where it is needed: a member with an old hole starts."""
    home = tmp_path / "home"
    _, middle, _ = write_segments(home, zxids(1, 1, 3), zxids(1, 4, 6), zxids(1, 7, 9))
    middle.unlink()
    for covered in (6, 8):
        save_snapshot(home, zxids(1, 1, covered))
        assert held(home) == zxids(1, 1, 9)
