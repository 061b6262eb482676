"""The demo as its user runs it: a process, its output, its exit status, and nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
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
    stop(brokers_of(server)[0])  # one cannot even notice
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    for broker in brokers_of(server):  # without us they notice that their input has ended
        wait_for_end(broker)
    assert brokers_of(server) == []


def test_the_live_view_gives_the_terminal_back() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "coord", "demo"],
        cwd=ROOT,
        stdout=theirs,
        stderr=theirs,
        env={**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = until(ours, "registered")
    assert OTHER_SCREEN in shown
    server = re.search(r"127\.0\.0\.1:\d+", re.sub(r"\x1b\[[\d;]*m", "", shown))
    process.send_signal(signal.SIGINT)
    after = until(ours, None)
    assert process.wait(60) == 130
    assert FIRST_SCREEN in after
    assert after.rindex(CURSOR_SHOWN) > after.rfind(CURSOR_HIDDEN)
    assert "proven by watching the znodes" in after[after.index(FIRST_SCREEN) :]
    assert server is not None
    assert brokers_of(server[0]) == []


OTHER_SCREEN, FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
CURSOR_SHOWN, CURSOR_HIDDEN = "\x1b[?25h", "\x1b[?25l"


def until(terminal: int, text: str | None) -> str:
    """What is shown there until `text` is, or until the end, which Linux tells by an error."""
    shown = b""
    while text is None or text.encode() not in shown:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            assert text is None, shown.decode(errors="replace")
            break
        shown += data
    return shown.decode(errors="replace")


def test_the_folder_it_is_started_in_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from coord.__main__ import main; main(['demo'])"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert any("is the controller" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]))
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.fullmatch(r"coord demo: .*in use.*\n", errors)


def stop(pid: int) -> None:
    """Returns when it has stopped: one that has not yet would stop after its demo had ended, and stay."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()


def wait_for_end(pid: int) -> None:
    try:
        waiting = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([waiting], [], [], 30)
    os.close(waiting)
