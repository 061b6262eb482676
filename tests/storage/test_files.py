"""Durable replacement, the directory's lock, the epochs, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from coord.storage import epochs as epoch_file
from coord.storage.epochs import Epochs
from coord.storage.files import (
    TEMPORARY,
    DirectoryInUse,
    StorageDamaged,
    StorageFailed,
    lock_directory,
    make_directory,
    naming,
    remove_leftovers,
    replace_durably,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_an_error_names_the_file_and_the_reason(number: int, text: str) -> None:
    with pytest.raises(StorageFailed) as caught, naming(Path("somewhere")):
        raise OSError(number, os.strerror(number))
    assert caught.value.file == Path("somewhere")
    assert text in caught.value.reason
    assert str(caught.value).startswith("somewhere: ")


def test_errors_travel_between_processes() -> None:
    damaged = pickle.loads(pickle.dumps(StorageDamaged(Path("f"), 3, "why")))
    assert (damaged.file, damaged.offset, damaged.why) == (Path("f"), 3, "why")
    failed = pickle.loads(pickle.dumps(StorageFailed(Path("f"), "why")))
    assert (failed.file, failed.reason) == (Path("f"), "why")


def test_replacing_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_durably(path, [b"one"])
    replace_durably(path, [b"t", b"wo"])
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_former_file(tmp_path: Path) -> None:
    """The temporary name leads to /dev/full, so the kernel itself says that there is no space."""
    epoch_file.save(tmp_path, Epochs(2, 1))
    (tmp_path / f"epochs.{os.getpid()}{TEMPORARY}").symlink_to("/dev/full")
    with pytest.raises(StorageFailed, match="epochs: the disk is full"):
        epoch_file.save(tmp_path, Epochs(3, 1))
    assert epoch_file.load(tmp_path) == Epochs(2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["epochs"]


def test_making_directories(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


# -- epochs -----------------------------------------------------------------------------------------------


def test_epochs_are_zero_until_saved(tmp_path: Path) -> None:
    assert epoch_file.load(tmp_path) is None
    epoch_file.save(tmp_path, Epochs(5, 3))
    assert epoch_file.load(tmp_path) == Epochs(5, 3)
    epoch_file.save(tmp_path, Epochs(5, 3, blank=True))
    assert epoch_file.load(tmp_path) == Epochs(5, 3, blank=True)


def test_epochs_that_cannot_be(tmp_path: Path) -> None:
    for impossible in (Epochs(1, 2), Epochs(1, -1)):
        with pytest.raises(ValueError, match="beyond"):
            epoch_file.save(tmp_path, impossible)


def test_damaged_epochs_are_never_believed(tmp_path: Path) -> None:
    epoch_file.save(tmp_path, Epochs(5, 3, blank=True))
    path = tmp_path / "epochs"
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(StorageDamaged, match="epochs is damaged"):
            epoch_file.load(tmp_path)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(StorageDamaged):
            epoch_file.load(tmp_path)


# -- the lock ---------------------------------------------------------------------------------------------

_HOLD = """
import sys
from pathlib import Path
from coord.storage.files import lock_directory

with lock_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_share_a_directory(tmp_path: Path) -> None:
    home = tmp_path / "data" / "coord"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        message = f"in use by process {holder.pid}; a data directory serves one server"
        with pytest.raises(DirectoryInUse, match=message), lock_directory(home):
            pass
        holder.kill()
        holder.wait()
        with lock_directory(home):  # the kernel let go of it
            pass


def test_one_process_cannot_take_it_twice(tmp_path: Path) -> None:
    with lock_directory(tmp_path), pytest.raises(DirectoryInUse), lock_directory(tmp_path):
        pass
    with lock_directory(tmp_path):
        pass


def test_the_lock_removes_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    leftovers = [tmp_path / f"epochs.1{TEMPORARY}", tmp_path / "snapshots" / f"snapshot.1{TEMPORARY}"]
    for path in leftovers:
        path.write_bytes(b"half")
    (tmp_path / "keep").write_bytes(b"")
    with lock_directory(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["keep", "lock", "snapshots"]
    assert remove_leftovers(tmp_path) == []
