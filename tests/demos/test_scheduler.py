"""The scheduler demo, and the store that it shows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from demos.scheduler import SCHEMA, Result, StaleToken, results, write
from tests.demos.playing import play, proven


def test_the_late_write_is_refused() -> None:
    lines = play("scheduler")
    claims = proven(lines)
    assert "nobody else leads" in claims
    assert "has a higher token" in claims
    assert "the late write was refused" in claims
    assert "each job is there once, and no token is older than one before" in claims
    assert any("job 2 was refused by the store" in line for line in lines)
    assert any("leads no more" in line for line in lines)


def test_the_store_takes_a_token_again_and_newer_ones_but_none_older(tmp_path: Path) -> None:
    store = tmp_path / "results.db"
    db = sqlite3.connect(store)
    db.executescript(SCHEMA)
    db.close()
    write(store, 1, "anna", 5)
    write(store, 2, "anna", 5)
    write(store, 3, "bert", 1 << 62)
    with pytest.raises(StaleToken, match="0x5 is older than 0x4000000000000000"):
        write(store, 4, "anna", 5)
    write(store, 5, "bert", 1 << 62)
    assert [result.job for result in results(store)] == [1, 2, 3, 5]
    assert results(store)[2] == Result(3, "bert", 1 << 62)
