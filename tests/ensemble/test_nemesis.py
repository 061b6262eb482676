"""The nemesis for twenty seconds; `make nemesis` has more patience."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ensemble.nemesis import Nemesis

SECONDS = 20.0


@pytest.mark.trio
async def test_some_trouble(tmp_path: Path) -> None:
    nemesis = Nemesis(tmp_path, 1, 3, print)
    await nemesis.run(SECONDS)
    print(nemesis.summary())
    assert nemesis.journal.done["writes"] > 100
