"""`coord.testing.local_ensemble`: processes that are killed, come back, and are gone in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import coord
from coord.server.ensemble import prepare, start_process, status_of
from coord.testing import LocalServer, Status, local_ensemble


async def until(server: LocalServer, mode: str) -> Status:
    while (status := await server.status()).mode != mode:
        await trio.sleep(0.02)
    return status


@pytest.mark.trio
async def test_a_leader_is_killed_and_comes_back_as_a_follower() -> None:
    with trio.fail_after(60):
        async with local_ensemble() as ensemble, coord.connect(ensemble.connect_string) as zk:
            modes = {server.id: (await server.status()).mode for server in ensemble.servers}
            assert sorted(modes.values()) == ["follower", "follower", "leader"]
            leader = next(server for server in ensemble.servers if modes[server.id] == "leader")
            await zk.create("/before")
            await leader.kill()
            assert not leader.alive
            assert await leader.status() == ("silent", 0)
            while not await zk.exists("/after"):
                try:
                    await zk.create("/after")
                except (coord.ConnectionLost, coord.NodeExists):
                    continue  # done or not: the next look tells
            await leader.start()
            await until(leader, "follower")
            async with coord.connect(f"127.0.0.1:{leader.port}") as other:
                assert sorted(await other.children("/"))[:2] == ["after", "before"]
    assert not any(server.alive for server in ensemble.servers)


@pytest.mark.trio
async def test_a_member_ends_when_its_input_does(tmp_path: Path) -> None:
    (member,) = prepare(tmp_path, 1)
    process = await start_process(member)
    assert process.stdin is not None
    try:
        with trio.fail_after(60):
            while (await status_of(member.client_port)).mode != "standalone":
                await trio.sleep(0.02)
            await process.stdin.aclose()
            assert await process.wait() == 0
    finally:
        process.kill()
    assert "ending with standard input" in member.log_file.read_text()


@pytest.mark.trio
async def test_a_server_that_does_not_start_says_why() -> None:
    async with local_ensemble(1) as ensemble:
        with pytest.raises(OSError, match="in use"):
            async with local_ensemble(port=ensemble.servers[0].port):
                pass
