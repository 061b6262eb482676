"""The demo as its user runs it: a process, its output, its exit status, and nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STEPS = 14
SECONDS_MAX = 40
ADDRESSES = r"127\.0\.0\.1:\d+(?:,127\.0\.0\.1:\d+){2}"


def processes() -> Iterator[tuple[int, list[str]]]:
    """Each process there is, and its command line."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")


def brokers_of(servers: str) -> list[int]:
    """The processes that run a broker of the demo at `servers`."""
    return [pid for pid, words in processes() if "broker" in words and servers in words]


def folder_of(servers: str) -> Path:
    """Where the demo keeps its servers' files, found by a server that is running."""
    for _, words in processes():
        if "serve" in words and words[-2].endswith("zoo.cfg"):
            config = Path(words[-2])
            with suppress(OSError):
                if f"clientPort={servers.rpartition(':')[2]}\n" in config.read_text():
                    return config.parent.parent
    raise AssertionError(f"no server of {servers}")


def servers_in(folder: Path) -> list[int]:
    """The processes that run a server of the demo, whether its files are there or not."""
    return [pid for pid, words in processes() if any(word.startswith(f"{folder}/") for word in words)]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "coord", "demo", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def servers_of(process: subprocess.Popen[str]) -> str:
    """Where its servers are; the line before says what there is to be seen."""
    assert process.stdout is not None
    assert "Brokers and servers leave, hang and die" in process.stdout.readline()
    line = process.stdout.readline()
    match = re.fullmatch(rf"servers: ({ADDRESSES})\n", line)
    assert match is not None, line
    return match[1]


def test_every_step_is_observed() -> None:
    process = start()
    began = time.monotonic()
    servers = servers_of(process)
    folder = folder_of(servers)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert errors == ""
    lines = output.splitlines()
    assert sum(line.startswith("✓") for line in lines) == STEPS
    assert "late write was refused" in output
    assert re.search(r"controller \d in epoch 3 after \d in epoch 2", output)
    (first,) = re.findall(r"server (\d) leads", output)[:1]
    assert f"server {first} is gone" in output
    assert re.search(rf"server [^{first}] leads, zxid 0x", output)  # perhaps seen before that
    said = " ".join(output.split())  # lines are wrapped
    assert "same broker epochs, same controller" in said
    assert "replicas on racks a, b" in said
    assert "after one election each; only then it went" in said
    assert "/brokers/topics/payments, its partitions and the request to delete it are gone" in said
    assert max(map(len, lines)) <= 80
    assert time.monotonic() - began < SECONDS_MAX
    assert brokers_of(servers) + servers_in(folder) == []
    assert not folder.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_however_it_ends_its_processes_end_with_it(how: signal.Signals) -> None:
    process = start("--serve")
    addresses = servers_of(process)
    assert process.stdout is not None
    for line in process.stdout:
        if "is the controller" in line:
            break
    folder = folder_of(addresses)
    assert len(servers_in(folder)) == 3
    children = brokers_of(addresses) + servers_in(folder)
    stop(brokers_of(addresses)[0])  # one cannot even notice
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    for child in children:  # without us they notice that their input has ended
        wait_for_end(child)
    assert brokers_of(addresses) + servers_in(folder) == []
    if how is signal.SIGKILL:
        shutil.rmtree(folder)  # nobody is left to do it


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
    server = re.search(ADDRESSES, re.sub(r"\x1b\[[\d;]*m", "", shown))
    assert server is not None
    folder = folder_of(server[0])
    process.send_signal(signal.SIGINT)
    after = until(ours, None)
    assert process.wait(60) == 130
    assert FIRST_SCREEN in after
    assert after.rindex(CURSOR_SHOWN) > after.rfind(CURSOR_HIDDEN)
    assert "proven by watching the znodes" in after[after.index(FIRST_SCREEN) :]
    assert brokers_of(server[0]) + servers_in(folder) == []


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
