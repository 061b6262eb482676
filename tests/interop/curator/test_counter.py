"""Our counters and Curator's SharedCount, DistributedAtomicInteger and DistributedAtomicLong at one path."""

from __future__ import annotations

import pytest
import trio

from coord import Client
from recipes import INT32, INT64, Counter
from recipes.counter import Codec
from tests.interop.curator.driver import Curator, CuratorClient, needs_curator

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/stats/hits"


@pytest.mark.parametrize(("kind", "codec", "much"), [("integer", INT32, 2**30), ("long", INT64, 2**62)])
async def test_both_add(zk: Client, curator: Curator, hosts: str, kind: str, codec: Codec, much: int) -> None:
    async def we() -> None:
        for _ in range(20):
            await Counter(zk, PATH, codec=codec).add(3)

    async def they() -> None:
        async with curator.client(hosts) as java:
            number = await (java.atomic_integer if kind == "integer" else java.atomic_long)(PATH)
            added = 0
            while added < 20:
                added += await number.add(-1) is not None

    await Counter(zk, PATH, codec=codec).set(much)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(we)
            nursery.start_soon(they)
    assert await Counter(zk, PATH, codec=codec).value() == much + 2 * 20 * 2


async def test_a_shared_count_and_we_hear_of_each_other(zk: Client, java: CuratorClient) -> None:
    shared, ours = await java.shared_count(PATH, 7), Counter(zk, PATH, codec=INT32)
    await shared.start()
    async with ours.watch() as values:
        assert await values.receive() == 7
        await shared.set(-8)
        assert await values.receive() == -8
        while await shared.event() != ["count", "-8"]:
            pass
        assert not await ours.compare_and_set(7, 9)
        assert await ours.compare_and_set(-8, 9)
        assert await values.receive() == 9
        assert await shared.event() == ["count", "9"]
        assert await shared.add(1)
        assert await values.receive() == 10
    await shared.close()
