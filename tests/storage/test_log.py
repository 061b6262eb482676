"""What the log promises when nothing breaks, and what it does when the system refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coord.limits import RECORD_BYTES_MAX
from coord.storage.appender import ROOM_BYTES
from coord.storage.files import StorageFailed, delete_files
from coord.storage.journal import Journal, follows
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.storage.segments import read_records


def fill(log: Journal, first: int, last: int) -> None:
    for zxid in range(first, last + 1):
        log.append(zxid, zxid, b"%d" % zxid)
    log.sync()


@pytest.mark.parametrize(
    ("previous", "first", "expected"),
    [
        (0, 1, True),
        (0, 2, False),
        (0, (1 << 32) + 1, True),
        (7, 8, True),
        (7, 7, False),
        (7, 9, False),
        ((1 << 32) + 7, (3 << 32) + 1, True),
        ((1 << 32) + 7, (3 << 32) + 2, False),
        ((1 << 32) + 7, (2 << 32), False),
        ((2 << 32) + 7, (1 << 32) + 1, False),
        ((1 << 32) + 0xFFFFFFFF, 2 << 32, False),
    ],
)
def test_which_zxid_follows(previous: int, first: int, expected: bool) -> None:
    assert follows(previous, first) is expected


@pytest.mark.parametrize("log", [Log.open, lambda _: MemoryLog()], ids=["disk", "memory"])
def test_a_record_that_cannot_be_is_the_callers_fault(log: object, tmp_path: Path) -> None:
    assert callable(log)
    journal: Journal = log(tmp_path)
    for first, last, payload in [
        (2, 2, b"x"),
        (1, 0, b"x"),
        (1, 1 << 32, b"x"),
        (1, 1, b""),
        (1, 1, bytes(RECORD_BYTES_MAX + 1)),
    ]:
        with pytest.raises(ValueError):
            journal.append(first, last, payload)
    fill(journal, 1, 1)  # none of it did harm
    assert [record[0] for record in journal.records(0)] == [1]
    journal.close()


def test_records_come_as_of_the_call(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    fill(log, 1, 2)
    log.append(3, 3, b"not durable yet")
    before = log.records(0)
    log.sync()
    fill(log, 4, 4)
    assert [first for first, _, _ in before] == [1, 2]
    assert [first for first, _, _ in log.records(0)] == [1, 2, 3, 4]
    log.close()


def test_a_sync_in_another_thread(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    log.append(1, 1, b"x")
    thread = threading.Thread(target=log.sync)
    thread.start()
    thread.join()
    assert list(log.records(0)) == [(1, 1, b"x")]
    log.close()


def test_nothing_is_written_before_sync(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    log.append(1, 1, b"x")
    assert list(tmp_path.iterdir()) == []
    log.sync()
    assert [path.name for path in tmp_path.iterdir()] == ["log.0000000000000001"]
    log.close()


def test_the_file_grows_in_steps_and_is_trimmed_at_the_end(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    fill(log, 1, 1)
    path = tmp_path / "log.0000000000000001"
    assert path.stat().st_size == ROOM_BYTES
    log.append(2, 2, bytes(ROOM_BYTES))
    log.sync()
    assert path.stat().st_size == 2 * ROOM_BYTES
    fill(log, 3, 3)
    log.close()
    assert ROOM_BYTES < path.stat().st_size < 2 * ROOM_BYTES
    log = Log.open(tmp_path)
    assert [first for first, _, _ in log.records(0)] == [1, 2, 3]
    log.close()


def test_roll_and_purge(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    fill(log, 1, 2)
    log.roll()
    log.roll()  # nothing to close
    fill(log, 3, 4)
    log.roll()
    fill(log, 5, 5)
    first, second = log.closed_segments()
    assert (first.first_zxid, first.last_zxid) == (1, 2)
    assert (second.first_zxid, second.last_zxid) == (3, 4)
    assert [record[0] for record in read_records([first, second], 1)] == [2, 3, 4]
    assert log.purge(1) == []
    assert log.purge(3) == [first.path]
    assert log.purge(5) == [second.path]  # never the one that is written
    assert log.closed_segments() == []
    assert [record[0] for record in log.records(4)] == [5]
    log.close()

    log = Log.open(tmp_path)  # a crash came before they were deleted
    assert log.closed_segments()[:2] == [first, second]
    assert [record[0] for record in log.records(4)] == [5]
    delete_files(log.purge(4))
    assert not first.path.exists()
    assert [record[0] for record in log.records(4)] == [5]
    log.close()


def test_s16_truncation_is_durable_and_the_log_goes_on(tmp_path: Path) -> None:
    """ZOOKEEPER-1489: an appender that kept its old offset left a hole."""
    log = Log.open(tmp_path)
    fill(log, 1, 3)
    log.roll()
    fill(log, 4, 9)
    log.truncate(2)
    assert log.last_zxid == 2
    log.append((1 << 32) + 1, (1 << 32) + 1, b"other")
    log.sync()
    log.close()
    log = Log.open(tmp_path)
    assert [first for first, _, _ in log.records(0)] == [1, 2, (1 << 32) + 1]
    log.close()


def test_truncation_to_before_the_log_begins(tmp_path: Path) -> None:
    log = Log.open(tmp_path, after_zxid=5)
    with pytest.raises(ValueError, match="begins after zxid 0x5"):
        log.truncate(4)
    fill(log, 6, 7)
    with pytest.raises(ValueError, match="begins after zxid 0x5"):
        log.truncate(4)
    log.truncate(5)
    assert log.last_zxid == 5
    assert list(tmp_path.iterdir()) == []
    log.close()


def test_clear_begins_again_after_a_snapshot(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    fill(log, 1, 3)
    log.append(4, 4, b"x")
    log.clear(900)
    assert list(tmp_path.iterdir()) == []
    fill(log, 901, 902)
    log.close()
    log = Log.open(tmp_path, after_zxid=900)
    assert [first for first, _, _ in log.records(900)] == [901, 902]
    log.close()


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    for name in ("log.1", "log.000000000000000g", "notes"):
        (tmp_path / name).write_text("mine")
    log = Log.open(tmp_path)
    fill(log, 1, 1)
    log.close()
    assert (tmp_path / "log.1").read_text() == "mine"


# -- the system refuses -----------------------------------------------------------------------------------


def test_a_full_disk_poisons_the_log(tmp_path: Path) -> None:
    """The segment's descriptor is made to lead to /dev/full, so the kernel itself says ENOSPC."""
    log = Log.open(tmp_path)
    fill(log, 1, 1)
    assert log._appender is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._appender._fd)
    os.close(full)
    log.append(2, 2, b"x")
    with pytest.raises(StorageFailed, match=r"log\.0000000000000001: the disk is full"):
        log.sync()
    for call in (
        lambda: log.append(3, 3, b"y"),
        log.sync,
        log.roll,
        lambda: log.truncate(1),
        lambda: log.purge(1),
        lambda: log.clear(1),
        lambda: log.records(0),
    ):
        with pytest.raises(StorageFailed, match="the disk is full"):
            call()
    log.close()
    log = Log.open(tmp_path)
    assert list(log.records(0)) == [(1, 1, b"1")]
    log.close()


_FILL_UNTIL_REFUSED = """
import resource, sys
from pathlib import Path
from coord.storage.files import StorageFailed
from coord.storage.log import Log

resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))
log = Log.open(Path(sys.argv[1]))
zxid = 0
try:
    while True:
        log.append(zxid + 1, zxid + 1, bytes(10_000))
        log.sync()
        zxid += 1
except StorageFailed as error:
    print(zxid, error.file, error.reason, sep="\\n")
try:
    log.append(zxid + 2, zxid + 2, b"x")
except StorageFailed:
    print("poisoned")
"""


def test_every_synced_record_is_there_after_a_file_could_not_grow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILL_UNTIL_REFUSED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    synced, file, reason, poisoned = done.stdout.splitlines()
    assert Path(file) == tmp_path / "log.0000000000000001"
    assert reason.startswith("the file reached the largest size allowed")
    assert poisoned == "poisoned"
    assert int(synced) > 10
    log = Log.open(tmp_path)
    held = [first for first, _, _ in log.records(0)]
    assert len(held) >= int(synced)
    assert held == list(range(1, len(held) + 1))
    log.close()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="file"):
        Log.open(tmp_path / "file" / "log")


def test_a_segment_purged_while_it_is_read(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    fill(log, 1, 1)
    log.roll()
    records = log.records(0)
    delete_files(log.purge(1))
    with pytest.raises(StorageFailed, match=r"log\.0000000000000001"):
        next(records)
    log.close()
