"""`coord bench` as a command: what it prints, what it leaves, and how it ends when something goes wrong."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import coord
from coord.__main__ import main
from coord.cli.bench.workload import OPERATIONS
from coord.client.words import ask
from tests.cli.conftest import Coord, Ran, Refused
from tests.cli.running import Running
from tests.cli.terminal import CTRL_C, Terminal
from tests.ensemble.processes import EnsembleProcesses
from tests.servers import Flavour, ServerProcess, free_port

QUICK = "bench -c 4 -p 5 -n 300 --warm-up 0 --keys 120"
ALL = " ".join(f"--op {operation}" for operation in OPERATIONS)


def test_each_operation_has_its_numbers_and_its_histogram(run: Callable[[str], Ran]) -> None:
    ran = run(f"{QUICK} {ALL} --size 10")
    assert ran.code == 0
    assert re.fullmatch(
        r"127.0.0.1:\d+: 4 clients, 5 requests in flight each\n"
        r"writes below /coord-bench-[0-9a-f]{8}, deleted at the end:\n"
        r"  120 znodes of 10 bytes, then set, create, mixed: 300 requests each\n",
        ran.err,
    )
    for operation in OPERATIONS:
        assert f"{operation}: 300 replies in " in ran.out
        assert len(re.findall(rf"^{operation} +[\d,]+ ", ran.out, re.MULTILINE)) == 2  # and in the summary
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert sum(int(times) for times in re.findall(r" (\d+) +[\d.]+%$", ran.out, re.MULTILINE)) == 1800


def test_nothing_is_left_behind(run: Callable[[str], Ran], ok: Coord) -> None:
    before = ok("ls /")
    assert run(f"{QUICK} --op create --op set").code == 0
    assert ok("ls /") == before


def test_what_was_there_before_is_not_deleted(
    run: Callable[[str], Ran], ok: Coord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has the name that was drawn."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "0badcafe")
    ok("create /coord-bench-0badcafe")
    ok("create /coord-bench-0badcafe/precious")
    ran = run(QUICK)
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("coord: create /coord-bench-0badcafe: ")
    assert ok("ls /coord-bench-0badcafe") == "[precious]\n"
    ok("deleteall /coord-bench-0badcafe")


def test_json_is_an_object_for_each_operation(ok: Coord, run: Callable[[str], Ran]) -> None:
    for line in (f"--json {QUICK} --op get --op mixed", f"{QUICK} --json --op get --op mixed"):
        get, mixed, summary = map(json.loads, run(line).out.splitlines())
        assert (get["operation"], get["replies"], get["errors"]) == ("get", 300, {})
        assert sum(count for _, _, count in get["histogram_us"]) == 300
        assert sum(part["replies"] for part in mixed["of"].values()) == 300
        assert set(summary["summary_ops_per_s"]) == {"get", "mixed"}


def test_for_so_many_seconds_and_at_a_rate(run: Callable[[str], Ran]) -> None:
    ran = run("--json bench --op get -c 2 -t 0.3 --warm-up 0.05 --rate 400")
    (found,) = map(json.loads, ran.out.splitlines())
    assert 110 <= found["replies"] <= 121
    assert found["never_sent"] == 0


def test_the_servers_may_stand_behind_the_command(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = QUICK.split()
    assert main(["--server", "127.0.0.1:1", *words, "--op", "get", "--server", server]) == 0
    assert "get: 300 replies" in capsys.readouterr().out


def test_below_a_chroot_and_with_credentials(server: str, ok: Coord, run: Callable[[str], Ran]) -> None:
    ok("create /private")
    ok("--auth digest:ann:secret setAcl /private auth::cdrwa")
    ran = run(f"--auth digest:ann:secret --server {server}/private {QUICK} {ALL}")
    assert ran.code == 0
    assert "writes below /private/coord-bench-" in ran.err
    assert ok("--auth digest:ann:secret ls /private") == "[]\n"
    refused = run(f"--server {server}/private {QUICK}")
    assert refused.code == 4
    assert refused.err.splitlines()[-1].startswith("coord: create /coord-bench-")
    ok("--auth digest:ann:secret deleteall /private")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--op delete", "Invalid value for '--op'"),
        ("--clients 0", "Invalid value for '-c' / '--clients'"),
        ("--outstanding 1001", "Invalid value for '-p' / '--outstanding'"),
        ("--size -1", "Invalid value for '--size'"),
        ("--read-percent 101", "Invalid value for '--read-percent'"),
        ("--rate 0", "Invalid value for '--rate'"),
        ("--rate 1e-300", "Invalid value for '--rate'"),
        ("--rate 1e308", "Invalid value for '--rate'"),
        ("-t 1e400", "Invalid value for '-t' / '--seconds'"),
        ("--warm-up nan", "Invalid value for '--warm-up'"),
        ("-n 10 -t 5", "--requests and --seconds exclude each other"),
        ("--server host:port", "'host:port' in the connect string 'host:port' is not host:port"),
    ],
)
def test_a_wrong_command_line(words: str, complaint: str, refused: Refused) -> None:
    code, message = refused(f"bench {words}")
    assert code == 2
    assert message.startswith(complaint)


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["--server", f"127.0.0.1:{port}", "--timeout", "0.2", "bench"]) == 3
    assert capsys.readouterr().err.startswith(f"coord: no answer from 127.0.0.1:{port} within 0.2 s")


def test_more_clients_than_the_server_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with Running(max_client_cnxns=3) as server:
        assert main(["--server", server.address, *QUICK.split()]) == 3
        message = capsys.readouterr().err.splitlines()[-1]
        assert f"{server.address} closed the connection of a new client" in message
        assert "2 of 4 clients were connected (maxClientCnxns may limit them)" in message
        assert server.do(lambda zk: zk.children("/")) == ["zookeeper"]


@pytest.mark.parametrize("said", [b"\0\0\0\3abc", b"HTTP/1.1 400 Bad Request\r\n", b"\xff\xff\xff\xff"])
def test_one_of_the_servers_is_no_zookeeper(
    said: bytes, server: str, ok: Coord, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ok("ls /")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_say_to_everybody, args=(listener, said), daemon=True)
        thread.start()
        other = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["--server", f"{server},{other}", *QUICK.split()]) == 3
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"coord: {other} greets as no ZooKeeper")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert ok("ls /") == before


def _say_to_everybody(listener: socket.socket, said: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(said)


def test_what_a_server_refuses_is_counted_by_kind(
    command: list[str], run: Callable[[str], Ran], ok: Coord
) -> None:
    """The znodes are deleted under it."""
    words = "bench --op get -n 1500 --rate 1000 --warm-up 0"
    with subprocess.Popen(
        [*command, *words.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        root = re.findall(r"/coord-bench-\w+", process.stderr.readline())[0]
        while run(f"stat {root}/keys/9/999").code:
            assert process.poll() is None
        ok(f"deleteall {root}")
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    times = re.findall(r"^  ([\d,]+) x no node$", out, re.MULTILINE)[0]
    assert err.splitlines()[-1] == f"coord: requests failed: {times} x no node"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_shows_what_was_measured_and_deletes_everything(
    command: list[str], ok: Coord, number: signal.Signals, code: int
) -> None:
    before = ok("ls /")
    words = ["bench", "--op", "get", "--op", "create", "-n", "200", "--warm-up", "0"]
    with subprocess.Popen(
        [*command, *words, "--op", "set", "--rate", "300", "-c", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("get: 200 replies")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.startswith("127.0.0.1:")
    assert len(err.splitlines()) == 3
    assert re.search(r"^create: \d+ replies in [\d.]+ s \(ended early\)", out, re.MULTILINE)
    assert ok("ls /") == before


def test_a_server_that_dies(tmp_path: Path) -> None:
    """What was measured is shown, and that the znodes are still there."""
    with ServerProcess(tmp_path, flavour=Flavour.COORD) as server:
        command = [sys.executable, "-m", "coord", "bench", "--server", server.hosts, "-c", "3", "-n", "200"]
        with subprocess.Popen(
            [*command, "--op", "get", "--op", "set", "--rate", "300", "--warm-up", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("get: 200 replies")
            server.kill()
            out, err = process.communicate(timeout=30)
        assert process.returncode == 3
        assert re.search(r"^set: \d+ replies in [\d.]+ s \(ended early\)", out, re.MULTILINE)
        root = re.findall(r"/coord-bench-\w+", err)[0]
        assert err.splitlines()[3:] == [
            f"{root} may be left behind, to be deleted: coord deleteall {root}",
            f"coord: 3 of 3 clients lost their connection ({server.hosts}: 3)",
        ]


@pytest.mark.trio
async def test_one_server_of_several_dies(tmp_path: Path) -> None:
    """The clients of the others go on to the end, and everything is deleted."""
    async with EnsembleProcesses(tmp_path) as ensemble:
        leader = await ensemble.leader()
        follower = next(one for one in ensemble.ids if one != leader)
        line = f"bench -c 6 -n 900 --op get --rate 300 --warm-up 0 --server {ensemble.hosts()}"
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "coord", *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(60):
            while await _sessions(ensemble.port(follower)) < 2:
                pass
            ensemble.kill(follower)
            out = b"".join([bytes(chunk) async for chunk in process.stdout]).decode()
            err = b"".join([bytes(chunk) async for chunk in process.stderr]).decode()
            assert await process.wait() == 3
        assert re.match(r"get: (89\d|900) replies in [\d.]+ s;", out)
        assert re.search(r"^  [12] x connection lost$", out, re.MULTILINE) or "900 replies" in out
        lost = f"coord: 2 of 6 clients lost their connection ({ensemble.hosts(follower)}: 2)"
        assert err.splitlines()[3:] == [lost]
        async with coord.connect(ensemble.hosts(leader)) as zk:
            assert await zk.children("/") == ["zookeeper"]


async def _sessions(port: int) -> int:
    """How many of the load's clients a server has: they ask for znodes."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        return (await ask(stream, "cons")).count("lop=GETD")


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, flavour=Flavour.COORD) as server:
        command = [sys.executable, "-m", "coord", "--timeout", "0.5", "bench", "--server", server.hosts]
        with subprocess.Popen(
            [
                *command,
                "-c",
                "2",
                "-n",
                "200",
                "--op",
                "get",
                "--op",
                "set",
                "--rate",
                "300",
                "--warm-up",
                "0",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("get: 200 replies")
            server.pause()
            out, err = process.communicate(timeout=60)
            server.resume()
        assert process.returncode == 3
        assert re.search(r"^  \d+ x no answer$", out, re.MULTILINE)
        assert f"coord: no answer from {server.hosts} within 0.5 s" in err


def test_on_a_terminal_there_is_a_bar_with_the_rate_and_colours(command: list[str], server: str) -> None:
    words = [*command, "bench", "--op", "get", "--op", "set", "-t", "30", "-c", "3"]
    with Terminal(words, columns=80) as terminal:
        terminal.wait_for(re.compile(r"get \(warm-up\) +█.* [\d,]+ ops/s"))
        terminal.wait_for(re.compile(r"get +▏?█* +\d+% +[\d,]+ ops/s"))
        terminal.type(CTRL_C)
        assert terminal.wait_end() == 130
        assert "ops/s      min      p50" in terminal.text
        assert "warm-up" not in terminal.text.partition("get: ")[2]


def test_ascii_where_the_locale_has_no_more(command: list[str]) -> None:
    words = [*command, "bench", "--op", "get", "-n", "200", "-c", "2", "--warm-up", "0"]
    with Terminal(words, columns=80, environment={"LC_ALL": "C"}) as terminal:
        assert terminal.wait_end() == 0
        assert "##" in terminal.text
        assert " us " in terminal.text
        assert terminal.text.isascii()
