"""kazoo's own Counter on the same path, in threads beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from kazoo.client import KazooClient

import coord
from recipes import INT32, TEXT, Counter
from recipes.counter import Codec
from tests.servers import ServerProcess

TIMES = 25


@pytest.mark.trio
@pytest.mark.parametrize(
    ("codec", "step", "options"),
    [
        (TEXT, 3, {}),
        (TEXT, 0.25, {"default": 0.0}),
        (INT32, 3, {"support_curator": True}),
    ],
)
async def test_both_count_on_one_path(
    server: ServerProcess,
    kazoo: KazooClient,
    tmp_path: Path,
    codec: Codec,
    step: float,
    options: dict[str, Any],
) -> None:
    path = f"/counters/{tmp_path.name}"
    theirs = kazoo.Counter(path, **options)

    def add() -> None:
        for _ in range(TIMES):
            theirs.__add__(step)
            theirs.__sub__(-step)

    async with coord.connect(server.hosts) as zk:
        ours = Counter(zk, path, type(step)(0), codec=codec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, add)
            for _ in range(TIMES):
                await ours.add(step)
        expected = 3 * TIMES * step
        assert await ours.value(linearizable=True) == expected
        assert await trio.to_thread.run_sync(lambda: theirs.value) == expected
        await ours.set(-step)
        assert await trio.to_thread.run_sync(lambda: theirs.value) == -step
