"""The shell without a person: lines of -c, a pipe or a file, and its exit code; and the history's file."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import coord
from coord.cli.shell.history import KEPT_BYTES, remembered
from tests.cli.conftest import Coord, Ran, Refused

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(server: str) -> Script:
    """Runs `coord shell` as a process, with these lines on standard input."""

    def run(lines: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "coord", "--server", server, "shell", *options]
        return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)

    return run


def test_a_script_ends_with_its_first_failure(script: Script) -> None:
    done = script("create /script 1\n# nothing\nget /nope\ncreate /script/never\n")
    assert (done.returncode, done.stdout) == (1, "/script\n")
    assert done.stderr == "coord: line 3: get /nope: there is no such znode\n"


def test_a_script_may_keep_going(script: Script) -> None:
    done = script("get /nope\nls '/\nls /nope -z\nsync /", "--keep-going")
    assert (done.returncode, done.stdout) == (1, "Sync is OK\n")  # the exit code of the first failure
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["line 1", "line 2", "line 3"]


def test_a_command_run_under_a_lock_has_its_exit_code(script: Script) -> None:
    done = script("lock /held -- sh -c 'echo inside; exit 3'\ncreate /never\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "inside\n", "")
    done = script("lock /held -- true\nlock -n /held -- nonsense-here\nsync /", "--keep-going")
    assert (done.returncode, done.stdout) == (127, "Sync is OK\n")


def test_lines_and_data_do_not_both_come_from_standard_input(server: str, script: Script) -> None:
    done = script("create /input -f -\nls /\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "coord: line 1: lines come from standard input: there is no file `-` (see create --help)\n"
    )
    assert script("some data", "-c", "create /input -f -; get /input").stdout == "/input\nsome data\n"


def test_lines_of_a_file_share_a_session(server: str, tmp_path: Path, run: Callable[[str], Ran]) -> None:
    file = tmp_path / "script"
    file.write_text("create -e /one\r\nls /one\nquit\nget /never")
    with file.open() as lines:
        command = [sys.executable, "-m", "coord", "--server", server, "shell"]
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "/one\n[]\n", "")
    assert run("stat /one").code == 1


def test_what_runs_under_a_lock_has_a_session_of_its_own(script: Script, server: str) -> None:
    """With the timeout that was asked for, the shell's credentials, and the exit codes of `coord lock`."""
    lock = "lock --session-timeout 4"
    done = script(
        "create -e /owned\n"
        "stat /owned\n"
        f"{lock} /own/lock -- sh -c 'echo $COORD_SESSION'\n"
        f"{lock} --grace 1.5 /own/lock -- true\n"
    )
    lines = done.stdout.splitlines()
    shells = next(line.split()[-1] for line in lines if line.startswith("ephemeralOwner"))
    assert int(lines[-1], 16) not in (0, int(shells, 16))
    assert done.returncode == 125
    assert "the server grants 4 s" in done.stderr

    guarded = (
        "create /guarded-lock",
        "addauth digest ann:secret",
        "setAcl /guarded-lock auth::cdrwa",
        f"{lock} /guarded-lock -- echo had",
        "deleteall /guarded-lock",
    )
    assert "had" in script("\n".join(guarded)).stdout


def test_lines_of_the_command_line(ok: Coord, refused: Refused) -> None:
    assert ok("shell -c 'create /given x; get /given' -c 'ls /given\ndelete /given'") == "/given\nx\n[]\n"
    assert refused("shell -c 'get /given; ls /'") == (1, "get /given: there is no such znode")
    assert refused("shell -c 'ls \"/'") == (2, 'the quote " in column 4 is not closed')
    assert refused("shell -c 'multi; create /given'") == (
        2,
        "the transaction has no `commit`; nothing of it was done",
    )
    assert refused("shell -c 'addauth nonsense x'")[0] == 4
    assert refused("--auth nonsense:x shell -c 'ls /'")[0] == 4
    assert ok("shell -c ' # nothing'") == ""


def test_a_line_is_the_command_line_without_coord(ok: Coord) -> None:
    assert ok("shell -c 'get --help'").startswith("Usage: get [OPTIONS] PATH\n")
    assert ok("shell -c 'help get'") == ok("shell -c '? get'")
    listed = ok("shell -c help")
    for command in ("addWatch", "getAllChildrenNumber", "redo", "multi"):
        assert f"\n  {command} " in listed
    assert "\n  serve " not in listed


@pytest.mark.parametrize("lines", ["redo 0\n", "--json redo 0\n", "redo 1\n're'do 0\n"])
def test_a_redo_is_not_done_again(script: Script, lines: str) -> None:
    ran = script(lines, "--keep-going")
    assert ran.returncode != 0
    assert ran.stderr.endswith(": redo: the line is a redo itself\n")
    assert "Traceback" not in ran.stderr


def test_json_goes_for_the_shell_or_for_a_line(ok: Coord) -> None:
    everything = ok("--json shell -c 'create /json 1; get -w /json; set /json 2; sync /; delete /json'")
    created, data, event, _ = map(json.loads, everything.splitlines())
    assert (created, data) == ({"path": "/json"}, {"path": "/json", "data": "1"})
    assert (event["event"], event["path"]) == ("NodeDataChanged", "/json")
    assert ok("shell -c '--json ls /zookeeper; ls /zookeeper'").startswith('{"path": "/zookeeper", ')


def test_no_server_is_told_once_with_the_reason(run: Callable[[str], Ran]) -> None:
    ran = run("--server 127.0.0.1:1 --timeout 0.3 shell -c 'ls /'")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        "coord: no answer from 127.0.0.1:1 within 0.3 s: no connection to 127.0.0.1:1: "
    )
    assert run("--server 127.0.0.1:x shell -c 'ls /'").code == 2


def test_a_reader_that_has_had_enough_ends_the_shell(server: str) -> None:
    lines = "\\n".join(["ls /"] * 20000)
    coord_shell = f"{sys.executable} -m coord --server {server} shell"
    done = subprocess.run(
        f"printf '{lines}' | {coord_shell} | head -1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("[")
    assert done.stderr == ""


def test_signals_end_a_script_in_good_order(server: str) -> None:
    command = [sys.executable, "-m", "coord", "--server", server, "shell"]
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.write("create -e /signalled\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == "/signalled\n"
            os.kill(shell.pid, number)
            assert shell.wait(timeout=30) == 128 + number
        trio.run(_is_gone, server)


async def _is_gone(server: str) -> None:
    async with coord.connect(server) as zk:
        assert await zk.exists("/signalled") is None


# -- the history's file -------------------------------------------------------------------------------


def test_the_file_is_private_and_stays_small(tmp_path: Path) -> None:
    file = tmp_path / "state" / "coord" / "history"
    remembered(file).store_string("get /a")
    remembered(file).store_string("addauth digest ann:secret")
    assert list(remembered(file).load_history_strings()) == ["get /a"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(file.read_bytes() * (KEPT_BYTES // file.stat().st_size + 1))
    again = remembered(file)
    assert file.stat().st_size < KEPT_BYTES
    assert set(again.load_history_strings()) == {"get /a"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_file_there_is_a_history_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = remembered(tmp_path / "file" / "history")
    history.append_string("get /a")
    assert list(history.get_strings()) == ["get /a"]
