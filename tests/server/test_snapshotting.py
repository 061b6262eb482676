"""When a snapshot is not to be made after all. (That they are made: `test_process`, `tests/crash`.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from coord.server.disk import MemoryDisk
from coord.server.snapshotting import _make
from coord.state.machine import Machine
from coord.storage import snapshots
from coord.storage.memory import MemoryLog


@pytest.mark.trio
async def test_a_snapshot_that_was_installed_meanwhile_takes_its_place(tmp_path: Path) -> None:
    machine = Machine()
    machine.zxid = 10
    snapshots.save(tmp_path, machine.zxid, machine.digest, machine.snapshot())
    digest_before = machine.digest + 1
    assert not await _make(MemoryDisk(MemoryLog()), tmp_path, 5, digest_before, keep=1)
