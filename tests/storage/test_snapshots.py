"""Snapshots: all there and right, or not there."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.storage.files import StorageDamaged, StorageFailed
from coord.storage.snapshots import load, newest, purge, save, verified

CHUNKS = [b"alpha", b"b", b"gamma" * 5]


def read(path: Path) -> tuple[int, int, list[bytes]]:
    zxid, digest, chunks = load(path)
    return zxid, digest, list(chunks)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(-(1 << 127), (1 << 127) - 1),
    st.lists(st.binary(min_size=1, max_size=300)),
)
def test_what_is_saved_is_loaded(zxid: int, digest: int, chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        assert read(save(Path(directory), zxid, digest, chunks)) == (zxid, digest, chunks)


def test_saving_makes_the_directory_and_leaves_only_the_snapshot(tmp_path: Path) -> None:
    path = save(tmp_path / "deep" / "snapshots", 0x100000002, 7, CHUNKS)
    assert path == tmp_path / "deep" / "snapshots" / "snapshot.0000000100000002"
    assert list(path.parent.iterdir()) == [path]


def test_a_snapshot_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, 9, 7, CHUNKS)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(StorageDamaged) as caught:
            read(path)
        assert caught.value.file == path
        assert caught.value.offset <= size
        assert verified(tmp_path) == []
    path.write_bytes(data + b"\0")
    with pytest.raises(StorageDamaged):
        read(path)


def test_a_snapshot_with_any_bit_flipped_is_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, 9, 7, CHUNKS)
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(StorageDamaged) as caught:
            read(path)
        assert caught.value.offset <= bit // 8


def test_chunks_of_equal_size_cannot_change_places(tmp_path: Path) -> None:
    path = save(tmp_path, 9, 7, [b"one", b"two"])
    data = path.read_bytes()
    first = data.index(b"one") - 8
    path.write_bytes(
        data[:first] + data[first + 11 : first + 22] + data[first : first + 11] + data[first + 22 :]
    )
    with pytest.raises(StorageDamaged):
        read(path)


def test_a_renamed_snapshot_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 9, 7, CHUNKS)
    path.rename(tmp_path / "snapshot.0000000000000010")
    with pytest.raises(StorageDamaged, match="zxid 0x9"):
        load(tmp_path / "snapshot.0000000000000010")


def test_a_maker_that_fails_leaves_the_former_snapshot(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("no more")

    path = save(tmp_path, 9, 7, CHUNKS)
    with pytest.raises(RuntimeError, match="no more"):
        save(tmp_path, 9, 8, chunks())
    with pytest.raises(ValueError, match="empty"):
        save(tmp_path, 9, 8, [b""])
    assert list(tmp_path.iterdir()) == [path]
    assert read(path) == (9, 7, CHUNKS)


def test_the_newest_that_verifies(tmp_path: Path) -> None:
    assert newest(tmp_path / "absent") is None
    assert verified(tmp_path / "absent") == []
    paths = [save(tmp_path, zxid, zxid * 10, CHUNKS) for zxid in (1, 2, 3)]
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    assert [(one.zxid, one.digest, one.path) for one in verified(tmp_path)] == [
        (2, 20, paths[1]),
        (1, 10, paths[0]),
    ]
    found = newest(tmp_path)
    assert found is not None
    assert found.zxid == 2


def test_purge_counts_only_what_verifies(tmp_path: Path) -> None:
    """ZOOKEEPER-3231: the newest were kept, all damaged, and what could be restored was deleted."""
    paths = [save(tmp_path, zxid, 0, CHUNKS) for zxid in range(1, 7)]
    for damaged in (paths[1], paths[4], paths[5]):
        damaged.write_bytes(b"")
    assert purge(tmp_path, 4) == 1  # there are only three: nothing goes
    assert sorted(tmp_path.iterdir()) == paths
    assert purge(tmp_path, 2) == 3
    assert sorted(tmp_path.iterdir()) == paths[2:]
    assert purge(tmp_path, 1) == 4
    assert [one.zxid for one in verified(tmp_path)] == [4]


def test_purge_with_nothing_to_restore_deletes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, 5, 0, CHUNKS)
    path.write_bytes(b"")
    assert purge(tmp_path, 1) == 0
    assert path.exists()
    with pytest.raises(ValueError, match="at least one"):
        purge(tmp_path, 0)


def test_a_snapshot_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"snapshot\.0000000000000009"):
        load(tmp_path / "snapshot.0000000000000009")


def test_a_trailer_that_counts_wrongly_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 9, 7, [b"one"])
    data = path.read_bytes()
    of_chunks = int.from_bytes(data[data.index(b"one") - 4 : data.index(b"one")], "big")
    trailer = struct.pack(">IQ16s", 0, 2, bytes(16))
    path.write_bytes(data[:-32] + trailer + struct.pack(">I", crc32(trailer, of_chunks)))
    with pytest.raises(StorageDamaged, match="the snapshot's end"):
        read(path)
