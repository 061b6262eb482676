"""Who writes what the peer wants durable: the loop itself while the disk is quick, else the thread."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from coord.server.disk import DEBT, IN_PLACE_BYTES_MAX, QUICK_SECONDS, ThreadedDisk
from coord.storage.files import StorageFailed
from coord.storage.log import Log
from coord.wire.members import Proposal
from coord.zab.peer import Epochs, Work


class Clock:
    """Goes on by `takes` whenever it is asked, as it is before and after each write in place."""

    def __init__(self) -> None:
        self.takes = QUICK_SECONDS / 2
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += self.takes
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log.open(tmp_path / "log")
    yield log
    log.close()


def work(ticket: int, size: int = 10) -> Work:
    return Work(ticket, proposals=[Proposal(ticket, ticket, bytes(size))])


def written(log: Log) -> list[int]:
    return [first for first, _, _ in log.records(0)]


def test_a_small_batch_is_durable_when_the_turn_ends(tmp_path: Path, log: Log) -> None:
    disk = ThreadedDisk(log, tmp_path)
    for ticket in (1, 2, 3):
        assert not disk.begin(work(ticket), roll=False)
        assert written(log) == list(range(1, ticket)), "not before all else of the turn has left"
        assert disk.finish() == ticket
        assert written(log) == list(range(1, ticket + 1))
        assert not disk.busy
        assert disk.finish() is None


@pytest.mark.trio
@pytest.mark.parametrize(
    ("large", "roll"),
    [
        (work(1), True),
        (work(1, IN_PLACE_BYTES_MAX + 1), False),
        (Work(1, proposals=[Proposal(1, 1, b"x")], epochs=Epochs(1, 1)), False),
    ],
    ids=["the end of a segment", "many bytes", "an epoch"],
)
async def test_what_takes_long_goes_to_the_thread(tmp_path: Path, log: Log, large: Work, roll: bool) -> None:
    disk = ThreadedDisk(log, tmp_path)
    disk.begin(large, roll=roll)
    assert disk.finish() is None
    assert disk.busy
    assert disk.finish() is None, "another turn while it is written"
    await reported(disk, 1)
    assert written(log) == [1]


async def reported(disk: ThreadedDisk, ticket: int) -> None:
    """Until the thread has written it."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            def persisted(found: int) -> None:
                assert found == ticket
                nursery.cancel_scope.cancel()

            nursery.start_soon(disk.run, persisted)
    assert not disk.busy


@pytest.mark.trio
async def test_a_disk_in_debt_is_written_by_the_thread_until_it_has_paid(tmp_path: Path, log: Log) -> None:
    clock = Clock()
    disk = ThreadedDisk(log, tmp_path, clock)
    ticket = 0

    def in_place() -> bool:
        nonlocal ticket
        ticket += 1
        disk.begin(work(ticket), roll=False)
        return disk.finish() == ticket

    for _ in range(1000):
        assert in_place(), "as quick as that it costs nothing"
    clock.takes = slow = 10 * QUICK_SECONDS
    assert in_place()
    assert in_place(), "a slow one now and then is no reason"
    assert not in_place()
    await reported(disk, ticket)
    began = clock.now
    while not in_place():
        await reported(disk, ticket)
    assert clock.now - began < 2 * DEBT * slow, "it has paid"
    clock.now += 10 * DEBT * slow
    clock.takes = 2.0
    assert in_place(), "the first stall is not foreseen"
    clock.takes = 0.0
    clock.now += DEBT * 2.0 - 1.5
    assert not in_place(), "and the next one comes no sooner than in fifty times as long"
    await reported(disk, ticket)
    clock.now += 1.0
    assert in_place()


@pytest.mark.trio
async def test_a_failure_in_place_ends_the_server_and_acknowledges_nothing(tmp_path: Path, log: Log) -> None:
    disk = ThreadedDisk(log, tmp_path)
    shutil.rmtree(log.directory)
    disk.begin(work(1), roll=False)
    assert disk.finish() is None
    assert disk.busy, "nothing is begun after it"
    assert disk.finish() is None

    def never(ticket: int) -> None:
        raise AssertionError(ticket)

    with trio.fail_after(5), pytest.raises(StorageFailed):
        await disk.run(never)


@pytest.mark.trio
async def test_a_log_that_is_being_read_is_not_written_in_place(tmp_path: Path, log: Log) -> None:
    disk = ThreadedDisk(log, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.closed_segments)
        await trio.testing.wait_all_tasks_blocked()
        disk.begin(work(1), roll=False)
        found = disk.finish()
        assert found is None or not disk._turn.locked()
    if found is None:
        await reported(disk, 1)
    assert written(log) == [1]
