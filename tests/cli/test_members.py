"""What the commands tell of real members, and that one of them can be told to lead no more."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio

import coord
from coord.cli.members import NotDone, client_addresses, config, look, members, yield_leadership
from tests.cli.recorder import Recorder
from tests.ensemble.processes import EnsembleProcesses, longer


@pytest.mark.trio
async def test_members_are_listed_and_the_lead_is_handed_over_while_clients_write(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with EnsembleProcesses(tmp_path) as ensemble, trio.open_nursery() as nursery:
            done: list[float] = []

            async def write(hosts: str, path: str) -> None:
                async with coord.connect(hosts) as zk:
                    await zk.create(path)
                    while True:
                        await zk.set(path, b"x")
                        done.append(trio.current_time())

            for one in ensemble.ids:
                nursery.start_soon(write, ensemble.hosts(one), f"/{one}")
            for _ in range(3):
                await ensemble.until(partial(longer, done, len(done) + 100))
                old = await ensemble.leader()
                said = Recorder()
                await yield_leadership(ensemble.hosts(), said)
                new = await ensemble.until_all_serve()
                assert new != old
                assert said.lines == [f"{ensemble.hosts(new)} leads; it was {ensemble.hosts(old)}"]
            gap = max(after - before for before, after in pairwise(done))
            print(f"longest pause of all clients: {gap * 1000:.0f} ms")
            assert gap < 0.5
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_who_does_not_answer_is_listed_too(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with EnsembleProcesses(tmp_path, config={"4lw.commands.whitelist": "srvr"}) as ensemble:
            leader = await ensemble.leader()
            with pytest.raises(NotDone, match="does not hand over: ydld is not executed because"):
                await yield_leadership(ensemble.hosts(), Recorder())
            ensemble.kill(leader)
            await ensemble.leader(ensemble.running)
            listed = Recorder()
            await members(ensemble.hosts(), listed)
            modes = [str(line).split()[1] for line in listed.lines]
            assert modes[leader - 1] == "silent"
            assert sorted(modes) == ["follower", "leader", "silent"]
            assert [server.name for server in await look(ensemble.hosts())] == ensemble.hosts().split(",")
            ensemble.kill(*ensemble.running)
            with pytest.raises(NotDone, match=r"none of .* leads"):
                await yield_leadership(ensemble.hosts(), Recorder())


@pytest.mark.trio
async def test_the_members_of_the_ensemble_are_those_of_its_configuration(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with EnsembleProcesses(tmp_path) as ensemble:
            await ensemble.until_all_serve()
            said = Recorder()
            await config(f"{ensemble.hosts()}/chroot", said, with_stat=True)
            lines = said.lines[0]
            assert isinstance(lines, bytes)
            assert [line.partition(b"=")[0] for line in lines.splitlines()[:4]] == [
                b"server.1",
                b"server.2",
                b"server.3",
                b"version",
            ]
            assert b"cZxid = " in lines
            with pytest.raises(NotDone, match="no addresses for clients"):
                await config(ensemble.hosts(), said, for_clients=True)


def test_addresses_for_clients_are_those_after_the_semicolon() -> None:
    lines = (
        "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888:participant;b:2182\nversion=1f"
    )
    assert client_addresses(lines) == "1f 0.0.0.0:2181,b:2182"
