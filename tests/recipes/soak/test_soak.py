"""The soak for some seconds; `make recipes-soak` has more patience."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.curator.driver import missing_curator
from tests.recipes.soak.soak import Soak, cast

SECONDS = 7.0


@pytest.mark.trio
async def test_some_seconds_of_trouble(tmp_path: Path) -> None:
    soak = Soak(tmp_path, cast(10, curator=not missing_curator()), seed=5, timeout=2.0)
    await soak.run(SECONDS)
    print(soak.report())
    assert soak.wrong == []
    assert soak.leaders_killed > 0
    assert sum(one.rounds for one in soak.contenders.values()) > 50
