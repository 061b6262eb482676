"""kazoo's own NonBlockingLease and MultiNonBlockingLease on the same paths."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from kazoo.client import KazooClient

import coord
from recipes import Lease, MultiLease
from tests.servers import ServerProcess

NOW = datetime(2030, 1, 1, 12, 0, 0, 300_000, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"/leases/{tmp_path.name}"


def at(seconds: float) -> Callable[[], datetime]:
    return lambda: NOW + timedelta(seconds=seconds)


async def theirs(kazoo: KazooClient, path: str, seconds: float, who: str = "kazoo") -> bool:
    """kazoo takes the lease for a minute, so many seconds from NOW."""

    def take() -> bool:
        clock = (NOW + timedelta(seconds=seconds)).replace(tzinfo=None)
        return bool(kazoo.NonBlockingLease(path, timedelta(seconds=60), who, utcnow=lambda: clock))

    return await trio.to_thread.run_sync(take)


@pytest.mark.trio
async def test_one_lease_for_both(server: ServerProcess, kazoo: KazooClient, path: str) -> None:
    async with coord.connect(server.hosts) as zk:

        def ours(seconds: float, who: str = "ours") -> Lease:
            return Lease(zk, path, 60, who, clock=at(seconds))

        assert await ours(0).take() is not None
        assert not await theirs(kazoo, path, 59.6)
        assert await theirs(kazoo, path, 59.7)  # whole seconds: it ends at 12:01:00
        assert await ours(100).take() is None
        held = await ours(100).current()
        assert held is not None
        assert held.holder == "kazoo"
        assert await theirs(kazoo, path, 110)  # theirs, extended
        assert await ours(169).take() is None
        assert await ours(169, "kazoo").take() is not None  # the holder is a name, whoever comes with it
        await ours(170, "kazoo").release()
        assert await theirs(kazoo, path, 171, "another")


@pytest.mark.trio
async def test_they_exclude_each_other_while_they_take_it(
    server: ServerProcess, kazoo: KazooClient, path: str
) -> None:
    got: list[str] = []

    async def kazoos(who: str) -> None:
        if await theirs(kazoo, path, 0, who):
            got.append(who)

    async def ours(who: str) -> None:
        if await Lease(zk, path, 60, who, clock=at(0)).take() is not None:
            got.append(who)

    async with coord.connect(server.hosts) as zk, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(kazoos, f"kazoo {number}")
            nursery.start_soon(ours, f"ours {number}")
    assert len(got) == 1


@pytest.mark.trio
async def test_several_leases(server: ServerProcess, kazoo: KazooClient, path: str) -> None:
    def take() -> bool:
        clock = NOW.replace(tzinfo=None)
        lease = kazoo.MultiNonBlockingLease(2, path, timedelta(seconds=60), "kazoo", utcnow=lambda: clock)
        return bool(lease)

    async with coord.connect(server.hosts) as zk:
        one, two = (MultiLease(zk, 2, path, 60, who, clock=at(0)) for who in ("one", "two"))
        assert await one.take() is not None
        assert await trio.to_thread.run_sync(take)
        assert await two.take() is None
        assert [held.holder for held in await two.holders()] == ["one", "kazoo"]
