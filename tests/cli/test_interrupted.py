"""Work that is stopped: by Ctrl-C, by a reader that has had enough or takes its time, by servers that go."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
import trio

from coord.client.words import ask
from coord.testing import embedded_server
from tests.cli.conftest import Coord
from tests.cli.many import create_many
from tests.servers import Flavour, ServerProcess

COUNT = 6000
"""Too many for the buffers between a command and who does not read it."""


@pytest.fixture(scope="module")
def large(server: str) -> str:
    """A subtree whose export is 3 MB."""
    create_many(server, "/large", COUNT, b"x" * 400)
    return "/large"


@contextmanager
def running(command: list[str], *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has begun to print, and whose output nobody reads."""
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1)
        try:
            yield process
        finally:
            process.kill()


def last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("before", [[], ["shell", "-c"]])
def test_a_signal_ends_the_work_and_says_how_far_it_came(
    command: list[str], large: str, number: signal.Signals, code: int, before: list[str]
) -> None:
    words = [*before, f"export {large}"] if before else ["export", large]
    with running(command, *words) as process:
        process.send_signal(number)
        assert process.wait(10) == code
        label, _, done = last_words(process).rpartition(" ")
        assert label == "coord: interrupted; exporting:"
        assert 0 < int(done) < COUNT


def test_ctrl_c_on_a_terminal(command: list[str], large: str) -> None:
    child = pexpect.spawn(command[0], [*command[1:], "export", large], timeout=20, encoding="utf-8")
    child.expect('"path": "/large/000"')
    child.sendintr()
    child.expect("coord: interrupted; exporting: [0-9]+\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in (child.before or "")


def test_who_writes_to_head_ends_with_it(command: list[str], large: str) -> None:
    line = f"{' '.join(command)} ls -R {large} | head -n 2"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, timeout=20, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"/large\n/large/000\n", b"")


def test_a_progress_bar_is_shown_on_a_terminal_only(
    command: list[str], ok: Coord, server: str, tmp_path: Path
) -> None:
    create_many(server, "/barred", 1500)
    export = [*command, "export", "-o", str(tmp_path / "file"), "/barred"]
    child = pexpect.spawn(export[0], export[1:], timeout=20, encoding="utf-8")
    child.expect(r"exporting .*/\?")
    child.expect("1500 znodes exported")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    ran = subprocess.run(export, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=True)
    assert ran.stderr == b""
    ok("deleteall /barred")


def test_a_pager_is_not_disturbed_by_a_bar(command: list[str], large: str) -> None:
    line = f"{' '.join(command)} ls -R {large} | (read first; echo got $first; cat >/dev/null)"
    child = pexpect.spawn("bash", ["-c", line], timeout=20, encoding="utf-8")
    child.expect("got /large")
    child.expect(pexpect.EOF)
    assert child.before is not None
    assert child.before.strip() == ""


def test_a_tree_is_drawn_by_rich_on_a_terminal(command: list[str], ok: Coord) -> None:
    ok("create /rich")
    ok("create /rich/child x")
    child = pexpect.spawn(command[0], [*command[1:], "tree", "/rich"], timeout=20, encoding="utf-8")
    child.expect("└── ")
    child.expect("child")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.trio
async def test_a_slow_reader_costs_no_session() -> None:
    """The session lives for a second without a sign of life; the command pings four times and more."""
    async with embedded_server(max_session_timeout_ms=1000) as server:
        await trio.to_thread.run_sync(create_many, server.connect_string, "/slow", COUNT, b"x" * 400)
        command = [sys.executable, "-m", "coord", "--server", server.connect_string, "export", "/slow"]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with trio.fail_after(30):
            content = bytes(await process.stdout.receive_some(1))
            pings: set[str] = set()
            while len(pings) < 4:
                async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                    pings.update(re.findall(r"recved=(\d+),.*lop=PING", await ask(stream, "cons")))
            while more := await process.stdout.receive_some(1 << 20):
                content += bytes(more)
            assert await process.wait() == 0
        assert content.endswith(b'{"end": true, "znodes": %d}\n' % COUNT)


def test_work_takes_longer_than_the_time_out_and_ends_without_a_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, flavour=Flavour.COORD) as server:
        create_many(server.hosts, "/gone", COUNT, b"x" * 400)
        command = [sys.executable, "-m", "coord", "--server", server.hosts, "--timeout", "1"]
        with running(command, "export", "/gone") as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.5)
            server.kill()
            assert process.stdout is not None
            exported = process.stdout.read()
            assert process.wait(10) == 3
            error = last_words(process)
        assert error.startswith(f"coord: no answer from {server.hosts} within 1 s: ")
        assert "; exporting: " in error
        assert b'"end"' not in exported


def test_a_failure_is_told_even_if_nobody_reads_the_results(command: list[str]) -> None:
    line = f"{' '.join(command)} multi 'check /none; delete /none' | true"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, timeout=20, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == b"coord: nothing was done: operation 1, check /none: there is no such znode\n"
