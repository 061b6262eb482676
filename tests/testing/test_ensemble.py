"""`coord.testing.embedded_ensemble`: elections, partitions and restarts in one trio loop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import coord
from coord.testing import EmbeddedEnsemble, embedded_ensemble


@pytest.fixture
async def ensemble() -> AsyncIterator[EmbeddedEnsemble]:
    async with embedded_ensemble() as ensemble:
        yield ensemble


@pytest.mark.trio
async def test_it_serves_when_the_block_begins(autojump_clock: MockClock, ensemble: EmbeddedEnsemble) -> None:
    assert ensemble.leader in ensemble.members
    assert [member.id for member in ensemble.members] == [1, 2, 3]
    for member in ensemble.members:
        async with coord.connect(member.connect_string) as zk:
            await zk.create(f"/{member.id}")
    async with coord.connect(ensemble.connect_string) as zk:
        await zk.sync("/")
        assert await zk.children("/") == ["zookeeper", "1", "2", "3"]


@pytest.mark.trio
async def test_a_leader_that_was_killed_comes_back_as_a_follower(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    async with coord.connect(ensemble.connect_string) as zk:
        await zk.create("/before", ephemeral=True)
        old = await ensemble.kill_leader()
        assert not old.running
        new = await ensemble.wait_leader()
        assert new is not old
        await zk.ensure_path("/after")
        await old.start()
        assert await ensemble.wait_leader() is new
        assert old.serves
        assert not old.leads
        async with coord.connect(old.connect_string) as other:
            await other.sync("/")
            assert await other.children("/") == ["zookeeper", "before", "after"]


@pytest.mark.trio
async def test_all_of_them_stop_and_start_with_their_data_and_sessions(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    async with coord.connect(ensemble.connect_string) as zk:
        await zk.create("/e", b"1", ephemeral=True)
        session = zk.session.id
        for member in ensemble.members:
            await member.kill()
        assert ensemble.leader is None
        with pytest.raises(RuntimeError, match="no leader now"):
            ensemble.sessions()
        for member in ensemble.members:
            await member.start()
        await ensemble.wait_leader()
        assert (await zk.get("/e"))[0] == b"1"
        assert ensemble.sessions() == (session,)


@pytest.mark.trio
async def test_a_leader_without_a_majority_is_none(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    old = await ensemble.wait_leader()
    with ensemble.partition(old):
        assert ensemble.leader is not old
        new = await ensemble.wait_leader()
        assert new is not old
        async with coord.connect(new.connect_string) as zk:
            await zk.create("/meanwhile")
        await trio.sleep(1)
        assert not old.serves
    await trio.sleep(1)
    assert await ensemble.wait_leader() is new
    async with coord.connect(old.connect_string) as zk:
        assert await zk.exists("/meanwhile")


@pytest.mark.trio
async def test_a_majority_apart_from_nobody_is_a_mistake(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    with pytest.raises(ValueError, match="has members 1 to 3, not 4"):
        ensemble.partition(4)
    with pytest.raises(ValueError, match="not nobody"):
        ensemble.partition()
    with ensemble.partition(1, ensemble.members[1]):
        leader = await ensemble.wait_leader()
        assert leader.id in (1, 2)
    with ensemble.partition(1), ensemble.partition(2), pytest.raises(trio.TooSlowError), trio.fail_after(5):
        await ensemble.wait_leader()


@pytest.mark.trio
async def test_a_session_ends_at_every_member(autojump_clock: MockClock, ensemble: EmbeddedEnsemble) -> None:
    one, other, _ = ensemble.members
    async with coord.connect(one.connect_string) as zk, coord.connect(other.connect_string) as looker:
        await zk.create("/e", ephemeral=True)
        await ensemble.expire_session(zk)
        assert await looker.exists("/e") is None
        with pytest.raises(LookupError, match="there is no session 0x5"):
            await ensemble.expire_session(5)


@pytest.mark.trio
async def test_a_leader_that_loses_its_majority_cannot_end_a_session(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    leader = await ensemble.wait_leader()
    async with coord.connect(leader.connect_string) as zk:
        ensemble.partition(leader)
        with trio.fail_after(10), pytest.raises(RuntimeError, match="does not lead: ask the ensemble"):
            await leader.expire_session(zk)


@pytest.mark.trio
async def test_a_client_that_is_cut_off_expires_and_others_do_not(
    autojump_clock: MockClock, ensemble: EmbeddedEnsemble
) -> None:
    one, other, _ = ensemble.members
    async with (
        coord.connect(one.connect_string, timeout=6) as zk,
        coord.connect(other.connect_string, timeout=6) as connected,
    ):
        with one.partition():
            await ensemble.advance(6 * 7 / 6 + 1)
            assert ensemble.sessions() == (connected.session.id,)
        ensemble.drop_connections()
        with pytest.raises(coord.SessionExpired):
            await zk.exists("/")


@pytest.mark.trio
async def test_five_survive_two(autojump_clock: MockClock) -> None:
    async with embedded_ensemble(5, tick_time=0.2) as ensemble:
        await ensemble.kill_leader()
        await ensemble.kill_leader()
        async with coord.connect(ensemble.connect_string) as zk:
            await zk.create("/a")


@pytest.mark.trio
async def test_members_on_disk_have_a_directory_each(tmp_path: Path) -> None:
    async with (
        embedded_ensemble(data_dir=tmp_path) as ensemble,
        coord.connect(ensemble.connect_string) as zk,
    ):
        await zk.create("/kept")
        old = await ensemble.kill_leader()
        await ensemble.wait_leader()
        assert await zk.exists("/kept")
        await old.start()
        await ensemble.wait_leader()
        assert old.serves
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]


@pytest.mark.trio
async def test_one_is_no_ensemble() -> None:
    with pytest.raises(ValueError, match="at least two members, not 1"):
        async with embedded_ensemble(1):
            pass
