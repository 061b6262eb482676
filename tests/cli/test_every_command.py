"""What holds for each command: JSON that a script can read, one object a line, and a help of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coord.__main__ import main
from coord.cli.app import GRAMMAR
from coord.cli.grammar import cli
from tests.cli.conftest import Coord, Ran

LINES = {
    "create": ["create /json/new x", "create -s /json/n-"],
    "get": ["get /json", "get -s /json", "get --raw /json"],
    "set": ["set -s /json x"],
    "ls": ["ls /json", "ls -s /json", "ls -R /json"],
    "stat": ["stat /json"],
    "delete": [],
    "deleteall": [],
    "getAcl": ["getAcl /json", "getAcl -s /json"],
    "setAcl": ["setAcl -s /json world:anyone:cdrwa", "setAcl -s -R /json world:anyone:cdrwa"],
    "sync": ["sync /json"],
    "getEphemerals": ["getEphemerals /"],
    "getAllChildrenNumber": ["getAllChildrenNumber /json"],
    "whoami": ["whoami"],
    "addauth": [],
    "multi": ["multi 'set -s /json y; check /json'"],
    "tree": ["tree /json"],
    "export": ["export /json"],
    "import": ["import -n --on-conflict skip {file}"],
    "members": ["members"],
    "yield": [],
    "config": [],
    "version": ["version"],
}
"""Those without a line print nothing, or nothing at a server that is alone."""
PROGRAMS = {"serve", "ensemble", "demo"}
COMMANDS = sorted(set(cli.commands) - PROGRAMS) if GRAMMAR else []


@pytest.mark.parametrize("command", sorted(LINES))
def test_json_is_one_object_a_line(command: str, ok: Coord, tmp_path_factory: pytest.TempPathFactory) -> None:
    if "json" not in ok("ls /"):
        ok("create /json data")
    file = tmp_path_factory.mktemp("json") / "file"
    ok(f"export -o {file} /json")
    for line in LINES[command]:
        printed = ok(f"--json {line.format(file=file)}").splitlines()
        assert printed
        assert all(isinstance(json.loads(one), dict) for one in printed)
    ok("deleteall /json")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_first_line_that_is_not_cut_off(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: coord {command}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"  {command} "))
    assert not line.endswith("...")


def test_sections_of_the_help_are_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    places = [text.index(f"\n{section}:") for section in ("Znodes", "Subtrees", "Servers", "Programs")]
    assert places == sorted(places)


def test_a_server_that_is_alone_tells_of_no_members(run: Callable[[str], Ran], server: str) -> None:
    ran = run("config")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"coord: {server} tells of no members: a server that is alone has none\n"


def test_the_client_tells_its_version_where_no_server_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "127.0.0.1:1", "--json", "version"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["version"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize(
    "words", [["--server", "127.0.0.1:1", "get", "/"], ["set", "-f", "-", "/a"], ["import", "-"]]
)
def test_ctrl_c_while_it_waits(command: list[str], words: list[str]) -> None:
    """For a server, or for what is written to its standard input."""
    with subprocess.Popen(
        [*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        while not _catches_sigterm(process.pid):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


def _catches_sigterm(pid: int) -> bool:
    """Python itself does not: the work has begun."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGTERM - 1))
