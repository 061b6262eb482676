"""The command line against a server of our own: what it prints, and the exit code it ends with."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from errno import ECONNREFUSED
from pathlib import Path

import pytest

from coord.__main__ import main
from tests.cli.conftest import Coord, Ran, Refused


def test_the_first_steps_of_everybody(ok: Coord) -> None:
    assert ok('create /znode_test "this is the data of the znode_test"') == "/znode_test\n"
    assert ok("get /znode_test") == "this is the data of the znode_test\n"
    assert ok('create /znode_test/child_1 "this is the data of chid_1"') == "/znode_test/child_1\n"
    assert ok("ls /znode_test") == "[child_1]\n"
    assert ok("delete /znode_test/child_1") == ""
    assert ok("getAcl /znode_test") == "'world,'anyone\n: cdrwa\n"


def test_create_has_zkclis_flags(ok: Coord) -> None:
    ok("create /flags")
    assert ok("create -s /flags/n- x") == "/flags/n-0000000000\n"
    assert ok("create -e /flags/gone") == "/flags/gone\n"
    assert ok("create -s -e /flags/n-") == "/flags/n-0000000002\n"
    assert ok("create -c /flags/container") == "/flags/container\n"
    assert ok("create -t 600000 /flags/ttl data world:anyone:r") == "/flags/ttl\n"
    assert ok("getAcl /flags/ttl") == "'world,'anyone\n: r\n"
    assert ok("ls /flags") == "[container, n-0000000000, ttl]\n"


def test_stat_goes_with_most_commands(ok: Coord) -> None:
    ok("create /stat abc")
    stat = ok("stat /stat")
    assert stat.count("\n") == 11
    assert "dataVersion = 0\naclVersion = 0\nephemeralOwner = 0x0\ndataLength = 3\n" in stat
    assert ok("get -s /stat") == "abc\n" + stat
    assert ok("ls -s /stat") == "[]\n" + stat
    assert ok("getAcl -s /stat") == "'world,'anyone\n: cdrwa\n" + stat
    assert "dataVersion = 1\n" in ok("set -s -v 0 /stat abcd")
    assert "aclVersion = 1\n" in ok("setAcl -s -v 0 /stat world:anyone:rw")
    assert ok("set -v -1 /stat ''") == ""


def test_recursion(ok: Coord) -> None:
    for path in ("/tree", "/tree/b", "/tree/a", "/tree/a/x"):
        ok(f"create {path}")
    assert ok("ls -R /tree") == "/tree\n/tree/a\n/tree/b\n/tree/a/x\n"
    assert ok("getAllChildrenNumber /tree") == "3\n"
    ok("setAcl -R /tree world:anyone:cdr")
    assert ok("getAcl /tree/a/x") == "'world,'anyone\n: cdr\n"
    assert ok("deleteall /tree") == ""
    assert "tree" not in ok("ls /")


def test_bytes_that_are_no_text_come_out_as_they_are(server: str) -> None:
    command = [sys.executable, "-m", "coord", "--server", server]
    subprocess.run([*command, "create", "/bytes", b"\xff\xfe"], check=True, stdout=subprocess.DEVNULL)
    assert (
        subprocess.run([*command, "get", "/bytes"], check=True, capture_output=True).stdout == b"\xff\xfe\n"
    )


def test_the_rest(ok: Coord, server: str) -> None:
    assert ok("sync /") == "Sync is OK\n"
    who = ok("--auth digest:ann:secret whoami").splitlines()
    assert who[:2] == ["Auth scheme: User", "ip: 127.0.0.1"]
    assert who[2].startswith("digest: ann")
    assert re.fullmatch(r"coord \d+\.\d+\.\d+\n", ok("--version"))
    assert re.fullmatch(
        re.escape(ok("--version")) + rf"{server}: 3\.8\.0-coord\d+\.\d+\.\d+, built on [\d-]+\n",
        ok("version"),
    )
    assert ok("getEphemerals") == "[]\n"
    assert ok("addauth digest ann:secret") == ""


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("get /missing", 1, "get /missing: there is no such znode"),
        ("stat /missing", 1, "stat /missing: there is no such znode"),
        ("create /zookeeper/quota", 1, "create /zookeeper/quota: the znode exists already"),
        ("delete -v 7 /refused", 1, "delete /refused: the znode has another version"),
        ("deleteall /missing", 1, "there is no such znode"),
        ("get", 2, "Missing argument 'PATH'. (see coord get --help)"),
        ("get /a /b", 2, "Got unexpected extra argument (/b) (see coord get --help)"),
        ("frobnicate", 2, "No such command 'frobnicate'. (see coord --help)"),
        ("get no/slash", 2, "it must begin with a slash"),
        ("create -c -e /a", 2, "-c cannot be combined with -s or -e"),
        ("create -t 5 -e /a", 2, "-t cannot be combined with -e or -c"),
        ("setAcl /a world:r", 2, "expected scheme:id:perms"),
        ("set -v 2147483648 /a x", 2, "Invalid value for '-v'"),
        ("setAcl -v -2147483649 /a world:anyone:r", 2, "Invalid value for '-v'"),
        ("multi 'check -v 9999999999 /a'", 2, "Invalid value for '-v'"),
        ("--timeout 0 get /a", 2, "--timeout"),
        ("--server a:b get /a", 2, "not host:port"),
        ("--auth hunter2 get /a", 2, "expected scheme:credentials"),
        ("--auth nope:x get /", 4, "the server refused the credentials"),
        ("get /locked", 4, "get /locked: the znode's ACL does not allow it"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    ok: Coord, refused: Refused, line: str, code: int, message: str
) -> None:
    if "/locked" in line:
        ok("create /locked x ip:192.0.2.1:cdrwa")
    if "/refused" in line:
        ok("create /refused")
    got, text = refused(line)
    assert got == code
    assert message in text
    assert "hunter2" not in text


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "127.0.0.1:1", "--timeout", "0.2", "get", "/"]) == 3
    assert capsys.readouterr().err == (
        "coord: no answer from 127.0.0.1:1 within 0.2 s: "
        f"no connection to 127.0.0.1:1: {OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))}\n"
    )


def test_a_slow_reader_costs_no_session_and_may_have_enough(server: str, ok: Coord) -> None:
    ok(f"create /long {'x' * 120_000}")
    command = [sys.executable, "-m", "coord", "--server", server, "get", "/long"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as paged:
        assert paged.stdout is not None
        assert paged.stderr is not None
        os.read(paged.stdout.fileno(), 1)  # it prints, more than the pipe takes
        assert four_letter_word(server, b"dump").count("sessionId:") == 1  # our own connection's
        paged.stdout.close()
        assert (paged.wait(10), paged.stderr.read()) == (0, b"")


def four_letter_word(server: str, word: bytes) -> str:
    host, port = server.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(word)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("words", [["ls", "/"], ["--help"], ["get", "--help"], ["--version"]])
def test_output_that_cannot_be_written_is_no_lost_connection(server: str, words: list[str]) -> None:
    command = [sys.executable, "-m", "coord", "--server", server, *words]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "coord: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("get / >&-", 1, "coord: the output cannot be written: Bad file descriptor\n"),
        ("ls -R /zookeeper >&-", 1, "the output cannot be written: Bad file descriptor"),
        ("--help >&-", 1, "coord: the output cannot be written: Bad file descriptor\n"),
        ("get /missing 2>&-", 1, ""),
        ("get /missing <&- >&- 2>&-", 1, ""),
        ("set / -f - <&-", 2, "coord: -: Bad file descriptor\n"),
        ("import - <&-", 2, "coord: -: Bad file descriptor\n"),
        ("shell <&-", 2, "coord: standard input: Bad file descriptor\n"),
        ("shell -c 'get /' <&-", 0, ""),
    ],
)
def test_standard_streams_may_be_closed(command: list[str], line: str, code: int, error: str) -> None:
    """Python has None for them, and the next connection has their number."""
    ran = subprocess.run(f"{shlex.join(command)} {line}", shell=True, capture_output=True, text=True)
    assert ran.returncode == code
    assert error in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_program_needs_no_standard_streams() -> None:
    line = f"{shlex.join([sys.executable, '-m', 'coord', 'demo', '--list'])} <&- >&-"
    ran = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_servers_may_come_from_the_environment(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COORD_SERVER", server)
    assert main(["sync", "/"]) == 0
    assert capsys.readouterr().out == "Sync is OK\n"


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "serve",
        "demo",
        "create",
        "getAcl",
        "Examples:",
        "coord serve zoo.cfg",
        "Exit codes:",
        "zkCli",
    ):
        assert word in text
    assert main([]) == 2
    assert capsys.readouterr() == (text, "")
    assert main(["create", "--help"]) == 0
    assert "when the command ends" in " ".join(capsys.readouterr().out.split())


def test_as_a_process_it_ends_without_a_traceback(server: str) -> None:
    command = [sys.executable, "-m", "coord", "--server", server, "get", "/missing"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "coord: get /missing: there is no such znode\n"


@pytest.mark.parametrize("module", ["coord.cli.app", "click", "coord.server.serve"])
def test_ctrl_c_while_it_starts_is_no_traceback(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "from coord.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"sys.exit(main(['serve' if 'serve' in {module!r} else 'ls', '/']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, "")


# -- without click ------------------------------------------------------------------------------------


def test_without_click_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    assert main(["get", "/a"]) == 2
    assert "pip install 'coord[cli]'" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["serve", "ensemble"])
def test_serve_and_demo_need_no_extra(program: str) -> None:
    code = (
        "import sys; sys.modules['click'] = sys.modules['rich'] = None\n"
        f"from coord.__main__ import main; sys.exit(main(['{program}', '--help']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"coord {program}" in ran.stdout


def test_a_reader_that_has_seen_enough_is_no_error_to_be_traced() -> None:
    command = [sys.executable, "-m", "coord", "demo", "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_lock_needs_no_standard_streams(server: str, closed: str, tmp_path: Path) -> None:
    lock = f"{sys.executable} -m coord --server {server} lock /closed -- touch {tmp_path}/done"
    ran = subprocess.run(["sh", "-c", f"{lock} {closed}"], stderr=subprocess.PIPE, check=True)
    assert ran.stderr == b""
    assert (tmp_path / "done").exists()


def test_members_without_an_ensemble(run: Callable[[str], Ran], server: str) -> None:
    ran = run("members")
    assert ran.code == 0
    assert ran.out.startswith(f"{server}  standalone  zxid 0x")
    ran = run("yield")
    assert (ran.code, ran.err) == (1, f"coord: none of {server} leads an ensemble\n")
