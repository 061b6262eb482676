"""The demo as its user runs it: a process, its output, its exit status, and nothing left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STEPS = 8


def brokers_of(server: str) -> list[int]:
    """The processes that run a broker of the demo at `server`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "broker" in words and server in words:
            found.append(int(entry.name))
    return found


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "coord", "demo", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def server_of(line: str) -> str:
    match = re.fullmatch(r"server: (127\.0\.0\.1:\d+)\n", line)
    assert match is not None, line
    return match[1]


def test_every_step_is_observed() -> None:
    process = start()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert errors == ""
    lines = output.splitlines()
    assert sum(line.startswith("✓") for line in lines) == STEPS
    assert "late write was refused" in output
    assert re.search(r"controller \d in epoch 3 after \d in epoch 2", output)
    assert brokers_of(server_of(lines[0] + "\n")) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_however_it_ends_its_brokers_end_with_it(how: signal.Signals) -> None:
    process = start("--serve")
    assert process.stdout is not None
    server = server_of(process.stdout.readline())
    for line in process.stdout:
        if "is the controller" in line:
            break
    os.kill(brokers_of(server)[0], signal.SIGSTOP)  # one cannot even notice
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    for broker in brokers_of(server):  # without us they notice that their input has ended
        wait_for_end(broker)
    assert brokers_of(server) == []


def wait_for_end(pid: int) -> None:
    try:
        waiting = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([waiting], [], [], 30)
    os.close(waiting)
