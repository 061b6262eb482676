"""`coord multi`: all or nothing, told operation by operation; and data that comes from files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Coord, Ran, Refused


def test_all_of_it_is_done_and_told(ok: Coord) -> None:
    ok("create /multi old")
    text = ok(
        "multi 'check -v 0 /multi; create -s /multi/n- \"a b\"' 'set -s /multi new; create -e /multi/e'"
    )
    lines = text.splitlines()
    assert lines[:3] == [
        "1. check /multi: done",
        "2. create /multi/n-0000000000: done",
        "3. set /multi: done",
    ]
    assert "dataVersion = 1" in lines
    assert lines[-1] == "4. create /multi/e: done"
    assert ok("get /multi/n-0000000000") == "a b\n"
    assert ok("get /multi") == "new\n"
    ok("multi 'delete /multi/n-0000000000; delete -v 1 /multi'")
    assert "multi" not in ok("ls /")


def test_of_a_failed_one_nothing_is_done_and_the_operation_at_fault_is_named(
    run: Callable[[str], Ran], ok: Coord
) -> None:
    ok("create /fault")
    ran = run("multi 'create /fault/a; check -v 3 /fault; delete /fault'")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "1. create /fault/a: not done",
        "2. check /fault: the znode has another version",
        "3. delete /fault: not done",
    ]
    assert ran.err == "coord: nothing was done: operation 2, check /fault: the znode has another version\n"
    assert ok("ls /fault") == "[]\n"
    ran = run("--json multi 'set /fault x; delete /fault/nope'")
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"number": 1, "operation": "set", "path": "/fault", "done": False, "error": "not done"},
        {
            "number": 2,
            "operation": "delete",
            "path": "/fault/nope",
            "done": False,
            "error": "there is no such znode",
        },
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("multi", "either OPERATIONS or --file is needed"),
        ("multi ' ; # nothing'", "there is no operation in it"),
        (
            "multi 'delete /a; frobnicate /b'",
            "operation 2 (line 1), frobnicate: No such command 'frobnicate'.",
        ),
        ("multi 'ls /'", "operation 1 (line 1), ls: No such command 'ls'."),
        ("multi 'delete /a\ncreate'", "operation 2 (line 2), create: Missing argument 'PATH'."),
        ("multi 'set /a \"x'", "line 1, column 8: the quote is not closed"),
        ("multi 'create no/slash'", "create no/slash: not a path: it must begin with a slash"),
        ("multi -f /nope/nope", "/nope/nope: No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_sent(
    refused: Refused, line: str, message: str
) -> None:
    code, text = refused(line)
    assert (code, text.partition(" (see ")[0]) == (2, message)


def test_a_file_may_have_lines_and_comments(ok: Coord, refused: Refused, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("# of a file\ncreate /noted 'two\nlines'  # with data\ndelete /noted\n")
    assert ok(f"multi -f {script}") == "1. create /noted: done\n2. delete /noted: done\n"
    script.write_text("delete /noted\nset /noted 'x\n")
    assert refused(f"multi -f {script}") == (2, f"{script}: line 2, column 12: the quote is not closed")


def test_operations_from_standard_input_and_data_from_files(command: list[str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"\xff\x00;")
    text = f"create /stdin; set /stdin -f '{data}'".encode()
    subprocess.run([*command, "multi", "-f", "-"], input=text, check=True, stdout=subprocess.DEVNULL)
    got = subprocess.run([*command, "get", "--raw", "/stdin"], check=True, capture_output=True)
    assert got.stdout == b"\xff\x00;"


def test_data_from_standard_input_untouched(command: list[str]) -> None:
    data = bytes(range(256)) * 100
    for line in ("create -f - /binary", "set --file - /binary"):
        subprocess.run([*command, *line.split()], input=data, check=True, stdout=subprocess.DEVNULL)
        got = subprocess.run([*command, "get", "--raw", "/binary"], check=True, capture_output=True)
        assert got.stdout == data


def test_data_from_a_file_takes_the_place_of_a_word(ok: Coord, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("-")
    assert ok(f"create -f {tmp_path}/data /filed world:anyone:rwd") == "/filed\n"
    assert ok("getAcl /filed") == "'world,'anyone\n: drw\n"
    assert ok("get --raw /filed") == "-"
    assert refused(f"set -f {tmp_path}/data /filed x")[0] == 2
    assert refused("set /filed")[0] == 2
    assert refused(f"set -f {tmp_path}/none /filed") == (2, f"{tmp_path}/none: No such file or directory")
    assert refused("get -s --raw /filed")[0] == 2


def test_slow_input_is_not_bounded_by_the_time_out_for_servers(command: list[str]) -> None:
    with subprocess.Popen(
        [*command, "--timeout", "0.4", "create", "-f", "-", "/slow"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.2)
        process.stdin.write(b"at last")
        process.stdin.close()
        assert process.wait(10) == 0
