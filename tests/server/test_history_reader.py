"""What a follower that was away for long is given: the log while it goes back far enough, else a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from coord.server.disk import Disk, MemoryDisk, ThreadedDisk
from coord.server.history_reader import read_history
from coord.storage import snapshots
from coord.storage.files import StorageDamaged
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.wire.members import Install, Proposal
from coord.zab.learner import FROM_A_SNAPSHOT, Fetch
from coord.zab.links import Link
from coord.zab.peer import Epochs, Work

LINK = Link(2, 1)
CHUNKS = (b"one chunk", b"another")


def proposals(first: int, last: int) -> list[Proposal]:
    return [Proposal(zxid, zxid, b"%d" % zxid) for zxid in range(first, last + 1)]


def fill(log: Log | MemoryLog, last: int = 30, rolled_at: tuple[int, ...] = (10, 20)) -> None:
    for proposal in proposals(1, last):
        log.append(proposal.first_zxid, proposal.last_zxid, proposal.payload)
        if proposal.last_zxid in rolled_at:
            log.roll()
    log.sync()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log.open(tmp_path / "log")
    fill(log)
    return log


def test_the_log_alone_if_it_goes_back_far_enough(tmp_path: Path, log: Log) -> None:
    snapshots.save(tmp_path / "snapshots", 20, 1, CHUNKS)
    for after in (0, 5, 10, 25):
        found = read_history(log, tmp_path / "snapshots", Fetch(LINK, after, 30))
        assert found == (None, proposals(after + 1, 30))
    log.close()


def test_no_more_than_what_memory_lacks(tmp_path: Path, log: Log) -> None:
    assert read_history(log, tmp_path, Fetch(LINK, 5, 12)) == (None, proposals(6, 12))
    log.close()


@pytest.mark.parametrize("after", [0, 5, 9, FROM_A_SNAPSHOT])
def test_a_snapshot_and_the_log_behind_it_otherwise(tmp_path: Path, log: Log, after: int) -> None:
    snapshots.save(tmp_path / "snapshots", 20, 1, CHUNKS)
    log.purge(10)
    found = read_history(log, tmp_path / "snapshots", Fetch(LINK, after, 30))
    assert found == (Install(20, CHUNKS), proposals(21, 30))
    assert read_history(log, tmp_path / "snapshots", Fetch(LINK, 10, 30)) == (None, proposals(11, 30))
    log.close()


def test_a_damaged_log_does_no_harm_where_a_snapshot_has_taken_its_place(tmp_path: Path, log: Log) -> None:
    snapshots.save(tmp_path / "snapshots", 20, 1, CHUNKS)
    first = sorted((tmp_path / "log").iterdir())[0]
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    found = read_history(log, tmp_path / "snapshots", Fetch(LINK, 0, 30))
    assert found == (Install(20, CHUNKS), proposals(21, 30))
    log.close()


def test_a_log_that_was_purged_to_its_end(tmp_path: Path, log: Log) -> None:
    """No record is left that could show that something is missing."""
    log.roll()
    log.purge(30)
    with pytest.raises(StorageDamaged):
        read_history(log, tmp_path / "snapshots", Fetch(LINK, 5, 30))
    snapshots.save(tmp_path / "snapshots", 30, 1, CHUNKS)
    for after in (5, FROM_A_SNAPSHOT):
        found = read_history(log, tmp_path / "snapshots", Fetch(LINK, after, 30))
        assert found == (Install(30, CHUNKS), [])
    assert read_history(log, tmp_path / "snapshots", Fetch(LINK, 30, 31)) == (None, [])
    log.close()


def test_what_nothing_holds_is_damage(tmp_path: Path, log: Log) -> None:
    log.purge(10)
    with pytest.raises(StorageDamaged, match="there is no snapshot"):
        read_history(log, tmp_path / "snapshots", Fetch(LINK, 0, 30))
    snapshots.save(tmp_path / "snapshots", 5, 1, CHUNKS)
    with pytest.raises(StorageDamaged):
        read_history(log, tmp_path / "snapshots", Fetch(LINK, 0, 30))
    log.close()


def test_a_log_in_memory(tmp_path: Path) -> None:
    log = MemoryLog()
    fill(log)
    assert read_history(log, None, Fetch(LINK, 5, 30)) == (None, proposals(6, 30))
    log.purge(10)
    with pytest.raises(StorageDamaged):
        read_history(log, None, Fetch(LINK, 5, 30))


@pytest.mark.trio
async def test_a_disk_reads_while_it_writes(tmp_path: Path, log: Log) -> None:
    """Not at the same moment: the log takes one call at a time."""
    disk: Disk = ThreadedDisk(log, tmp_path)
    persisted: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.run, persisted.append)
        for ticket in range(1, 20):
            first = 31 + 10 * (ticket - 1)
            disk.begin(Work(ticket, proposals=proposals(first, first + 9), epochs=Epochs(1, 1)), roll=True)
            disk.finish()
            while disk.busy:
                _, found = await disk.read_history(Fetch(LINK, 5, 1000))
                assert found == proposals(6, found[-1].last_zxid)
                assert found[-1].last_zxid >= first - 1
        nursery.cancel_scope.cancel()
    assert persisted == list(range(1, 20))
    log.close()


@pytest.mark.trio
async def test_a_disk_in_memory_keeps_what_an_ensemble_needs() -> None:
    for keep in (True, False):
        disk: Disk = MemoryDisk(MemoryLog(), keep=keep)
        disk.begin(Work(1, proposals=proposals(1, 9)), roll=True)
        if keep:
            assert await disk.read_history(Fetch(LINK, 0, 9)) == (None, proposals(1, 9))
        else:
            with pytest.raises(StorageDamaged):
                await disk.read_history(Fetch(LINK, 0, 9))
