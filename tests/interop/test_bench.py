"""`coord bench` against Apache ZooKeeper: every operation, its errors, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.java import missing_zookeeper
from coord.cli.bench.workload import OPERATIONS
from tests.servers import Flavour, ServerProcess

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(bool(missing_zookeeper()), reason=missing_zookeeper() or "Apache ZooKeeper is here"),
]


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("zookeeper"), flavour=Flavour.ZOOKEEPER) as process:
        yield process


def begun(server: ServerProcess, line: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coord", "--server", server.hosts, *line.split()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(server: ServerProcess, line: str) -> str:
    with begun(server, line) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_every_operation(zookeeper: ServerProcess) -> None:
    operations = " ".join(f"--op {operation}" for operation in OPERATIONS)
    out = done(zookeeper, f"--json bench -c 10 -p 8 -n 2000 --warm-up 0.05 {operations}")
    *found, _summary = map(json.loads, out.splitlines())
    assert [one["operation"] for one in found] == list(OPERATIONS)
    assert all((one["replies"], one["errors"], one["ended_early"]) == (2000, {}, False) for one in found)
    assert done(zookeeper, "ls /") == "[zookeeper]\n"


def test_ctrl_c(zookeeper: ServerProcess) -> None:
    with begun(zookeeper, "bench -c 5 -t 60 --op create --op set -n 3000") as refused:
        assert refused.wait(20) == 2
    with begun(zookeeper, "bench -c 5 --op get --op create -n 300 --rate 600 --warm-up 0") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("get: 300 replies")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "(ended early)" in out
    assert done(zookeeper, "ls /") == "[zookeeper]\n"
