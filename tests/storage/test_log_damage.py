"""The log's files cut at every byte and with every bit flipped: a torn end is dropped, damage is said."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from coord.storage.appender import Appender
from coord.storage.files import StorageDamaged
from coord.storage.log import Log
from coord.storage.segments import HEADER_BYTES, MARKER, RECORD_HEADER_BYTES, pack_record, segment_path

Record = tuple[int, int, bytes]
Files = dict[str, bytes]

GROUPS = [
    [(1, 1, b"a"), (2, 4, b"bcd")],
    [(5, 5, b"e" * 9)],
    [((1 << 32) + 1, (1 << 32) + 1, b"f"), ((1 << 32) + 2, (1 << 32) + 2, b"g")],
]
"""records by sync"""
RECORDS = [record for group in GROUPS for record in group]


def write_log(directory: Path, *, close: bool, roll_after: int = 99) -> Files:
    """The files of a log of `GROUPS`; not closed: as a crash leaves them, without the room at the end."""
    log = Log.open(directory)
    for index, group in enumerate(GROUPS, 1):
        for record in group:
            log.append(*record)
        log.sync()
        if index == roll_after:
            log.roll()
    if close:
        log.close()
    elif log._appender is not None:
        end = log._appender.durable
        log._appender.release()
        path = log._appender.path
        path.write_bytes(path.read_bytes()[:end])
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def restore(directory: Path, files: Files) -> None:
    for path in directory.iterdir():
        path.unlink()
    for name, data in files.items():
        (directory / name).write_bytes(data)


def read_log(directory: Path) -> tuple[list[Record], str | None]:
    log = Log.open(directory)
    try:
        return list(log.records(0)), log.dropped
    finally:
        log.close()


def ends_of_records(data: bytes) -> Iterator[int]:
    offset = HEADER_BYTES
    while data.startswith(MARKER, offset):
        offset += RECORD_HEADER_BYTES + int.from_bytes(data[offset + 8 : offset + 12], "big")
        yield offset


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(changed)


def test_the_newest_segment_cut_anywhere_keeps_every_whole_record(tmp_path: Path) -> None:
    ((name, data),) = write_log(tmp_path, close=True).items()
    ends = list(ends_of_records(data))
    assert len(ends) == len(RECORDS) + 1  # and the mark of a closed log
    for size in range(len(data) + 1):
        restore(tmp_path, {name: data[:size]})
        records, dropped = read_log(tmp_path)
        whole = sum(end <= size for end in ends)
        assert records == RECORDS[:whole]
        at_an_end = size in (HEADER_BYTES, *ends)
        assert (dropped is None) == at_an_end, size
        if whole and not at_an_end:
            assert dropped == (
                f"{tmp_path / name}: dropped {size - ends[whole - 1]} bytes from byte {ends[whole - 1]} on, "
                "the torn end of a write"
            )


def test_an_older_segment_cut_anywhere_is_damage(tmp_path: Path) -> None:
    files = write_log(tmp_path, close=True, roll_after=1)
    older = min(files)
    *ends, _ = ends_of_records(files[older])
    for size in range(len(files[older])):
        restore(tmp_path, files | {older: files[older][:size]})
        if size == ends[-1]:  # only the mark is gone
            assert read_log(tmp_path) == (RECORDS, None)
            continue
        with pytest.raises(StorageDamaged) as caught:
            read_log(tmp_path)
        assert caught.value.file == tmp_path / older
        assert caught.value.offset <= size


def test_every_bit_of_a_closed_log(tmp_path: Path) -> None:
    """After an orderly end the mark proves every record, so none is ever lost in silence."""
    files = write_log(tmp_path, close=True, roll_after=2)
    for name, data in files.items():
        *_, last_record, _ = ends_of_records(data)
        for position, changed in flips(data):
            restore(tmp_path, files | {name: changed})
            if position >= last_record and name == max(files):
                records, dropped = read_log(tmp_path)
                assert records == RECORDS
                assert dropped
                continue
            with pytest.raises(StorageDamaged) as caught:
                read_log(tmp_path)
            assert caught.value.file == tmp_path / name
            assert caught.value.offset <= position


def test_every_bit_of_a_log_that_crashed(tmp_path: Path) -> None:
    """Of the last sync nothing is proven; everything before it is."""
    ((name, data),) = write_log(tmp_path, close=False).items()
    proven = len(RECORDS) - len(GROUPS[-1])
    unproven_from = list(ends_of_records(data))[proven - 1]
    for position, changed in flips(data):
        restore(tmp_path, {name: changed})
        if position < unproven_from:
            with pytest.raises(StorageDamaged) as caught:
                read_log(tmp_path)
            assert caught.value.offset <= position
            continue
        records, dropped = read_log(tmp_path)
        assert dropped
        assert proven <= len(records) < len(RECORDS)
        assert records == RECORDS[: len(records)]


@pytest.mark.parametrize("remnant", [b"", b"coordlog", bytes(HEADER_BYTES), bytes(4096)])
def test_s17_a_segment_that_was_only_begun_counts_as_absent(tmp_path: Path, remnant: bytes) -> None:
    """ZOOKEEPER-1621, -2332: a crash or a full disk right after the file was created."""
    files = write_log(tmp_path, close=True)
    restore(tmp_path, files | {segment_path(tmp_path, RECORDS[-1][1] + 1).name: remnant})
    assert read_log(tmp_path)[0] == RECORDS
    log = Log.open(tmp_path)
    log.append(RECORDS[-1][1] + 1, RECORDS[-1][1] + 1, b"next")
    log.close()
    assert len(read_log(tmp_path)[0]) == len(RECORDS) + 1


def test_a_begun_segment_proves_that_the_one_before_was_durable(tmp_path: Path) -> None:
    ((name, data),) = write_log(tmp_path, close=False).items()
    restore(tmp_path, {name: data[:-1], "log.0000000200000001": b""})
    with pytest.raises(StorageDamaged, match="a later segment exists"):
        Log.open(tmp_path)


def test_s18_the_middle_of_a_write_may_be_lost_while_its_end_is_not(tmp_path: Path) -> None:
    """ZOOKEEPER-2560: several blocks, one fdatasync, and a crash that kept only the last block."""
    ((name, data),) = write_log(tmp_path, close=False).items()
    ends = list(ends_of_records(data))
    first_of_last_group = ends[-3]
    torn = data[:first_of_last_group] + bytes(ends[-2] - first_of_last_group) + data[ends[-2] :]
    restore(tmp_path, {name: torn})
    records, dropped = read_log(tmp_path)
    assert records == RECORDS[:-2]
    assert dropped


def test_a_copy_of_a_log_inside_a_payload_proves_nothing(tmp_path: Path) -> None:
    """A znode may hold anything, records of a log included; they must not look like evidence."""
    log = Log.open(tmp_path)
    log.append(1, 1, pack_record(1, 0, 1 << 40, 7, 7, b"looks like a later, durable record"))
    log.append(2, 2, b"x")
    log.sync()
    assert log._appender is not None
    path = log._appender.path
    log._appender.release()
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES] ^= 1
    path.write_bytes(data)
    records, dropped = read_log(tmp_path)
    assert records == []
    assert dropped


def test_a_missing_segment_is_a_gap(tmp_path: Path) -> None:
    """See S21: another implementation replayed over the hole without a word."""
    log = Log.open(tmp_path)
    for zxid in range(1, 7):
        log.append(zxid, zxid, b"x")
        if zxid % 2 == 0:
            log.roll()
    middle = log.closed_segments()[1].path
    log.close()
    middle.unlink()
    log = Log.open(tmp_path)
    with pytest.raises(StorageDamaged, match="it must have held 0x4") as caught:
        list(log.records(0))
    assert caught.value.file == segment_path(tmp_path, 1)
    assert [first for first, _, _ in log.records(4)] == [5, 6]
    log.close()


def test_the_first_segment_missing_is_a_gap(tmp_path: Path) -> None:
    """ZOOKEEPER-2325: logs without the snapshot they begin with are not an empty database."""
    log = Log.open(tmp_path, after_zxid=41)
    log.append(42, 42, b"x")
    log.close()
    log = Log.open(tmp_path)
    for after_zxid in (0, 40):
        with pytest.raises(StorageDamaged, match="it follows zxid 0x29"):
            list(log.records(after_zxid))
    assert list(log.records(41)) == [(42, 42, b"x")]
    assert list(log.records(99)) == []
    log.close()


def test_a_zxid_the_log_never_held_is_not_skipped(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    log.append(1, 3, b"x")
    log.append((1 << 32) + 1, (1 << 32) + 1, b"y")
    log.sync()
    with pytest.raises(StorageDamaged, match="past 0x5"):
        list(log.records(5))
    log.close()


def test_records_out_of_order_are_damage(tmp_path: Path) -> None:
    appender = Appender(tmp_path, 1, 0)
    appender.append(1, 1, b"x")
    appender.append(3, 3, b"z")
    appender.seal()
    with pytest.raises(StorageDamaged, match="0x3 does not follow 0x1"):
        Log.open(tmp_path)


def test_a_renamed_segment_does_not_verify(tmp_path: Path) -> None:
    files = write_log(tmp_path, close=True, roll_after=1)
    older, newer = files
    restore(tmp_path, {older: files[older], "log.00000000000000ff": files[newer]})
    with pytest.raises(StorageDamaged, match="begins with zxid 0x5"):
        read_log(tmp_path)


def test_a_newer_format_is_refused_not_dropped(tmp_path: Path) -> None:
    ((name, data),) = write_log(tmp_path, close=False).items()
    head = struct.pack(">8sHQQ", b"coordlog", 2, 1, 0)
    restore(tmp_path, {name: head + struct.pack(">I", crc32(head)) + data[HEADER_BYTES:]})
    with pytest.raises(StorageDamaged, match="version 2; this is version 1"):
        Log.open(tmp_path)


def test_evidence_is_found_wherever_it_begins(tmp_path: Path) -> None:
    """Also where its marker lies across the end of what is read at a time."""
    for distance in range((1 << 20) - 3, (1 << 20) + 3):
        log = Log.open(tmp_path)
        log.append(1, 1, bytes(distance - RECORD_HEADER_BYTES))
        log.sync()
        log.append(2, 2, b"x")
        log.close()
        path = segment_path(tmp_path, 1)
        data = bytearray(path.read_bytes())
        data[HEADER_BYTES] ^= 1
        path.write_bytes(data)
        with pytest.raises(StorageDamaged, match=f"one at byte {HEADER_BYTES + distance} proves"):
            Log.open(tmp_path)
        path.unlink()


def test_a_log_that_a_snapshot_was_to_replace_goes_when_it_is_opened(tmp_path: Path) -> None:
    """A crash came between the two. What comes next follows the snapshot, and nothing else."""
    for _ in range(2):
        log = Log.open(tmp_path)
        log.append(log.last_zxid + 1, log.last_zxid + 2, b"x")
        log.close()
    log = Log.open(tmp_path, after_zxid=10)
    assert log.last_zxid == 10
    assert list(tmp_path.iterdir()) == []
    log.append(11, 11, b"y")
    log.sync()
    for _ in range(2):
        assert list(log.records(10)) == [(11, 11, b"y")]
        for after_zxid in (0, 1, 2, 9):
            with pytest.raises(StorageDamaged):
                list(log.records(after_zxid))
        log.close()
        log = Log.open(tmp_path, after_zxid=10)
    log.truncate(10)
    assert log.last_zxid == 10
    log.close()
