"""A short run of the kill loop; ``make crash`` is the long one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.kill_loop import KillLoop
from tests.crash.model import KEYS, Model, Write, Writes
from tests.servers import skip_without_its_server


def test_nothing_acknowledged_is_lost_in_ten_kills(tmp_path: Path) -> None:
    skip_without_its_server()
    loop = KillLoop(tmp_path, seed=1, limit=10.0)  # the machine may be busy with other tests
    loop.run(10, print)
    assert loop.kills >= 10
    assert loop.tally.acknowledged > 100


def planted(seed: int) -> tuple[Model, list[Write]]:
    """A subtree as the loop begins it, and writes under way."""
    model, writes = Model("/w"), Writes(random.Random(seed))
    for number in range(KEYS):
        model.create(f"/w/key{number}", b"")
    pending, ahead = [], model.copy()
    for _ in range(40):
        pending.append(writes.next(ahead))
        pending[-1].change(ahead)
    return model, pending


@pytest.mark.parametrize("seed", range(5))
def test_the_check_takes_any_prefix_of_the_writes_under_way(seed: int) -> None:
    for length in range(41):
        known, pending = planted(seed)
        found = known.copy()
        for write in pending[:length]:
            write.change(found)
        assert 0 <= known.catch_up(found, pending) <= length
        assert known == found


@pytest.mark.parametrize("seed", range(5))
def test_the_check_finds_a_write_that_is_missing_or_cut_in_half(seed: int) -> None:
    for number, write in enumerate(planted(seed)[1]):
        if write.name == "failing multi":
            continue
        known, pending = planted(seed)
        found = known.copy()
        for done in pending[:number]:
            done.change(found)
        if write.name == "multi":
            found.set("/w/key0", b"half")
        else:
            known = found.copy()
            write.change(known)
            pending = pending[number + 1 :]
        assert known.catch_up(found, pending) == -1, write.name
