"""From files to a member: what a disk that is empty, or was never empty, makes of its voter."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from coord.config import Config, Member
from coord.server.blank import INITIALIZE
from coord.server.recovery import recover
from coord.storage import epochs as epoch_file
from coord.storage.epochs import Epochs
from coord.storage.files import StorageDamaged

MEMBERS = {
    1: Member("127.0.0.1", 1001, 2001),
    2: Member("127.0.0.1", 1002, 2002),
    3: Member("127.0.0.1", 1003, 2003, "observer"),
}


def config(directory: Path, my_id: int = 1, *, db_autocreate: bool = False) -> Config:
    return Config(members=MEMBERS, my_id=my_id, data_dir=directory, db_autocreate=db_autocreate)


def is_blank(config: Config) -> bool:
    """As it starts; what it says is durable then."""
    with recover(config) as recovered:
        blank = recovered.peer.epochs.blank
    assert config.data_dir is not None
    saved = epoch_file.load(config.data_dir / "coord")
    assert (saved is not None and saved.blank) == blank
    return blank


def test_a_voter_with_an_empty_disk_is_blank_until_it_is_admitted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_blank(config(tmp_path))
    assert "has no vote until" in caplog.text
    assert is_blank(config(tmp_path)), "it was not admitted by starting once more"
    epoch_file.save(tmp_path / "coord", Epochs(3, 3))
    caplog.clear()
    assert not is_blank(config(tmp_path))
    assert caplog.text == ""


def test_a_wiped_voter_is_blank(tmp_path: Path) -> None:
    with recover(config(tmp_path)):
        epoch_file.save(tmp_path / "coord", Epochs(3, 3))
    assert not is_blank(config(tmp_path))
    shutil.rmtree(tmp_path / "coord")
    assert is_blank(config(tmp_path))


@pytest.mark.parametrize("started_before", [False, True])
def test_the_marker_lets_it_vote_and_is_obeyed_once(tmp_path: Path, started_before: bool) -> None:
    if started_before:
        assert is_blank(config(tmp_path))
    marker = tmp_path / INITIALIZE
    marker.touch()
    assert not is_blank(config(tmp_path))
    assert not marker.exists()
    assert not is_blank(config(tmp_path))
    shutil.rmtree(tmp_path / "coord")
    assert is_blank(config(tmp_path))


def test_a_marker_that_came_too_late_trusts_no_later_disk(tmp_path: Path) -> None:
    with recover(config(tmp_path)):
        epoch_file.save(tmp_path / "coord", Epochs(3, 3))
    (tmp_path / INITIALIZE).touch()
    assert not is_blank(config(tmp_path))
    shutil.rmtree(tmp_path / "coord")
    assert is_blank(config(tmp_path))


def test_a_voter_that_has_lost_its_log_is_blank(tmp_path: Path) -> None:
    two_disks = replace(config(tmp_path / "data"), data_log_dir=tmp_path / "log")
    with recover(two_disks):
        epoch_file.save(tmp_path / "data" / "coord", Epochs(5, 4))
    assert not is_blank(two_disks)
    shutil.rmtree(tmp_path / "log")
    with recover(two_disks) as recovered:
        assert recovered.peer.epochs == (5, 0, True), "what it has accepted is still accepted"
    assert is_blank(two_disks)


def test_a_server_alone_that_has_lost_its_log_does_not_begin_anew(tmp_path: Path) -> None:
    alone = Config(data_dir=tmp_path / "data", data_log_dir=tmp_path / "log")
    observed = replace(alone, members={one: replace_role(member) for one, member in MEMBERS.items()}, my_id=1)
    for only_voter in (alone, observed):
        with recover(only_voter):
            epoch_file.save(tmp_path / "data" / "coord", Epochs(1, 1))
        shutil.rmtree(tmp_path / "log")
        for _ in ("now", "and when it is started again"):
            with pytest.raises(StorageDamaged, match="the folder is gone"), recover(only_voter):
                pass
        shutil.rmtree(tmp_path / "data")


def test_a_start_that_fails_does_not_hide_that_the_log_was_lost(tmp_path: Path) -> None:
    two_disks = replace(config(tmp_path / "data"), data_log_dir=tmp_path / "log")
    with recover(two_disks):
        epoch_file.save(tmp_path / "data" / "coord", Epochs(5, 4))
    shutil.rmtree(tmp_path / "log")
    damaged = tmp_path / "data" / "coord" / "snapshots" / f"snapshot.{4 << 32 | 1:016x}"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"damaged")
    with pytest.raises(StorageDamaged), recover(two_disks):
        pass
    damaged.unlink()
    assert is_blank(two_disks)


def test_whom_an_empty_disk_does_not_concern(tmp_path: Path) -> None:
    assert not is_blank(config(tmp_path / "trusted", db_autocreate=True))
    assert not is_blank(config(tmp_path / "observer", my_id=3))
    assert not is_blank(Config(data_dir=tmp_path / "alone"))
    two = {one: replace_role(member) for one, member in MEMBERS.items()}
    assert not is_blank(replace(config(tmp_path / "only voter"), members=two)), "it asks nobody"


def replace_role(member: Member) -> Member:
    return member if member.peer_port == 1001 else member._replace(role="observer")
