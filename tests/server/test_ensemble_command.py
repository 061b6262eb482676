"""`coord ensemble 3`: the folders it makes, and its processes from the first line to the last."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from coord.config import Config
from coord.errors import ConfigError
from coord.server import ensemble as ensembles
from coord.server.ensemble import connect_string, main, prepare, status_of
from tests.rawclient import RawClient
from tests.servers import free_port


def test_the_folders_hold_an_ensemble(tmp_path: Path) -> None:
    members = prepare(tmp_path / "new", 3)
    configs = [Config.from_file(member.config_file) for member in members]
    assert [config.my_id for config in configs] == [1, 2, 3]
    assert configs[0].members == configs[1].members == configs[2].members
    assert len({config.data_dir for config in configs}) == 3
    ports = [port for one in configs[0].members.values() for port in (one.peer_port, one.election_port)]
    assert len({*ports, *(member.client_port for member in members)}) == 9
    assert connect_string(members) == ",".join(f"127.0.0.1:{config.client_port}" for config in configs)


def test_no_port_is_drawn_twice_however_few_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensembles, "QUIET_PORTS", range(28_000, 28_040))
    for number in range(20):
        prepare(tmp_path / str(number), 5)  # reads the files, which would be refused


def test_the_same_folders_are_the_same_ensemble(tmp_path: Path) -> None:
    assert prepare(tmp_path, 3) == prepare(tmp_path, 3)
    with pytest.raises(ConfigError, match="an ensemble of 3 members, not of 5"):
        prepare(tmp_path, 5)


def test_arguments_that_make_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tmp_path, 3)
    assert main(["5", "--dir", str(tmp_path)]) == 2
    assert "an ensemble of 3 members" in capsys.readouterr().err
    for arguments in ([], ["0"], ["three"]):
        with pytest.raises(SystemExit):
            main(arguments)


@pytest.mark.trio
async def test_a_port_where_nobody_listens_is_silent() -> None:
    assert await status_of(free_port()) == ("silent", 0)


class Command:
    """The command as a process, and what it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = ""

    async def until(self, condition: Callable[[], object]) -> None:
        assert self.process.stdout is not None
        while not condition():
            data = await self.process.stdout.receive_some()
            assert data, self.said
            self.said += data.decode()

    def modes(self) -> dict[str, str]:
        """The latest that was said of each member."""
        return dict(re.findall(r"^member (\d): ((?!pid)\w+)", self.said, re.MULTILINE))

    def settled(self, members: int = 3) -> bool:
        modes = list(self.modes().values())
        return modes.count("leader") == 1 and modes.count("follower") == members - 1

    def pids(self) -> dict[str, int]:
        return {
            member: int(pid)
            for member, pid in re.findall(r"^member (\d): pid (\d+)", self.said, re.MULTILINE)
        }


@pytest.mark.trio
async def test_an_ensemble_starts_loses_its_leader_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coord", "ensemble", "3", "--dir", str(tmp_path)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    ensemble = Command(process)
    try:
        with trio.fail_after(60):
            await ensemble.until(ensemble.settled)
            ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", ensemble.said)]
            write_and_read_elsewhere(ports)
            leader = next(member for member, mode in ensemble.modes().items() if mode == "leader")
            os.kill(ensemble.pids()[leader], signal.SIGKILL)
            await ensemble.until(lambda: f"member {leader}: ended by SIGKILL" in ensemble.said)
            await ensemble.until(
                lambda: (
                    sorted(mode for one, mode in ensemble.modes().items() if one != leader)
                    == ["follower", "leader"]
                )
            )
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            for pid in ensemble.pids().values():
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
            for pid in ensemble.pids().values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert process.stdout is not None
        await process.stdout.aclose()


def write_and_read_elsewhere(ports: list[int]) -> None:
    for index, port in enumerate(ports):
        with RawClient.open(port) as zk:
            assert zk.create(f"/n{index}", b"x").err == 0
            for other in range(index):
                assert zk.exists(f"/n{other}").err == 0, "what was written before is seen after a write"
