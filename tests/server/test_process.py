"""The server as a process: signals, a disk that fails, damaged files, exit statuses and last words."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from coord.server.clients import ACCEPT_AGAIN_SECONDS
from coord.server.snapshotting import fold_environment
from coord.wire.frames import pack_frame
from coord.wire.records import GOODBYE_ERROR, ChildrenReply, CreateRequest, Op, Xid
from tests.rawclient import OPEN, Closed, RawClient
from tests.servers import Flavour, ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    return ServerProcess(tmp_path / "server", flavour=Flavour.COORD)


def test_sigterm_ends_it_cleanly(server: ServerProcess) -> None:
    with server:
        with RawClient.open(server.port) as zk:
            assert zk.create("/a", b"x").err == 0
        assert server.stop() == 0
        assert "ending on SIGTERM" in server.tail()
        server.start()
        with RawClient.open(server.port) as zk:
            assert zk.exists("/a").err == 0


def test_sigterm_answers_what_it_was_heard_to_be_asked_and_says_goodbye(server: ServerProcess) -> None:
    """Of a pipeline, a first part is answered, and done; the rest was never taken."""
    count = 30_000
    with server, RawClient.open(server.port) as zk:
        assert zk.create("/log").err == 0
        body = CreateRequest("/log/", b"", [*OPEN], 2).encode()
        frames = b"".join(pack_frame(struct.pack(">ii", xid, Op.CREATE), body) for xid in range(count))
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_all, zk, frames)
            answered = 0
            reply = zk.receive()
            os.kill(server.pid, signal.SIGTERM)
            while reply.xid != Xid.PING:
                assert (reply.xid, reply.err) == (answered, 0)
                answered += 1
                reply = zk.receive()
            sending.result()
        assert reply.err == GOODBYE_ERROR
        assert zk.expect_end() == b""
        zk.close()
        assert 0 < answered < count, "the end comes too early, or too late, to be seen"
        assert server.process is not None
        assert server.process.wait(10) == 0
        server.kill()
        server.start()
        with RawClient.open(server.port) as again:
            assert len(ChildrenReply.from_bytes(again.children("/log").body).children) == answered


def send_all(zk: RawClient, data: bytes) -> None:
    try:
        zk.send_bytes(data)
    except OSError:
        pass  # the server is gone


def create_for_ever(zk: RawClient, acknowledged: list[str]) -> None:
    while True:
        path = f"/n{len(acknowledged)}"
        assert zk.create(path, bytes(5000)).err == 0
        acknowledged.append(path)


def test_a_disk_that_takes_no_more_ends_it_and_nothing_is_acknowledged_after(server: ServerProcess) -> None:
    """A file-size limit stands in for the full disk: the write fails halfway, as on one."""
    acknowledged: list[str] = []
    with server:
        with RawClient.open(server.port) as zk:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))
            with pytest.raises((Closed, OSError)):
                create_for_ever(zk, acknowledged)
        assert server.process is not None
        assert server.process.wait(10) == 1
        last = server.tail(3)
        assert "the server ends" in last
        assert "log." in last, "the message names the file"
        assert "Traceback" not in server.tail(100)
        server.kill()
        assert 10 < len(acknowledged) < 60
        server.start()
        with RawClient.open(server.port) as zk:
            for path in acknowledged:
                assert zk.exists(path).err == 0, f"{path} was acknowledged and is lost"


def allow_files(server: ServerProcess, count: int) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (count, count))


def wait_for(server: ServerProcess, words: str) -> None:
    deadline = time.monotonic() + 20
    while words not in server.tail(1000):
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.02)


def test_clients_leave_file_descriptors_for_the_log_and_its_snapshots(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"snapCount": "50"}, flavour=Flavour.COORD) as server, ExitStack() as stack:
        zk = stack.enter_context(RawClient.open(server.port))
        allow_files(server, 100)
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        wait_for(server, "too many connections")
        for number in range(120):
            assert zk.create(f"/n{number}").err == 0
        wait_for(server, "snapshot made")


def test_without_file_descriptors_it_serves_on_and_waits_for_one(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, flavour=Flavour.COORD) as server, ExitStack() as stack:
        zk = stack.enter_context(RawClient.open(server.port))
        allow_files(server, len(os.listdir(f"/proc/{server.pid}/fd")) + 2)
        began = time.monotonic()
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
        for client in clients:
            stack.enter_context(client)
        wait_for(server, "cannot accept")
        for _ in range(200):
            assert zk.exists("/").err == 0
        tries = server.tail(1000).count("cannot accept")
        assert tries <= 1 + (time.monotonic() - began) / ACCEPT_AGAIN_SECONDS
        clients[0].close()
        clients[1].close()
        clients[3].sendall(b"ruok")
        assert clients[3].recv(4) == b"imok", "those that waited are served once there is room"


def test_a_snapshot_whose_process_cannot_start_ends_nothing(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {"snapCount": "50"}, flavour=Flavour.COORD)
    with server, RawClient.open(server.port) as zk:
        # Enough for the log's next segment, not for the pipes to another process.
        allow_files(server, len(os.listdir(f"/proc/{server.pid}/fd")) + 2)
        for number in range(60):
            assert zk.create(f"/n{number}").err == 0
        wait_for(server, "the snapshot failed")
        assert zk.exists("/n59").err == 0


def test_the_words_are_answered_wherever_it_was_started(tmp_path: Path) -> None:
    """In a directory whose name is not Unicode; and, for the second server, that is gone."""
    here = Path.cwd()
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    odd.mkdir()
    for gone in (False, True):
        server = ServerProcess(tmp_path / f"server-{gone}", flavour=Flavour.COORD)
        os.chdir(odd)
        try:
            server.spawn()
        finally:
            os.chdir(here)
        if gone:
            odd.rmdir()
        wait_for(server, "serving clients")
        try:
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(b"envi")
                assert b"zookeeper.version=3.8" in sock.recv(4096)
        finally:
            server.kill()


def test_damage_in_the_middle_of_the_log_stops_it_naming_file_and_offset(server: ServerProcess) -> None:
    with server:
        with RawClient.open(server.port) as zk:
            for number in range(50):
                assert zk.create(f"/n{number}", bytes(500)).err == 0
        server.kill()
        [segment] = (server.directory / "data" / "coord" / "log").iterdir()
        content = bytearray(segment.read_bytes())
        content[5000] ^= 1
        segment.write_bytes(content)
        with pytest.raises(RuntimeError, match="did not start"):
            server.start()
        assert f"{segment} is damaged at byte" in server.tail()


def test_a_torn_end_of_the_log_is_dropped_and_said(server: ServerProcess) -> None:
    with server:
        with RawClient.open(server.port) as zk:
            assert zk.create("/a").err == 0
        server.kill()
        [segment] = (server.directory / "data" / "coord" / "log").iterdir()
        with segment.open("ab") as log:
            log.write(b"half a rec")
        server.start()
        assert "dropped" in server.tail()
        with RawClient.open(server.port) as zk:
            assert zk.exists("/a").err == 0


def test_zookeepers_own_files_in_the_directory_are_left_alone(server: ServerProcess) -> None:
    theirs = server.directory / "data" / "version-2"
    theirs.mkdir(parents=True)
    (theirs / "log.1").write_bytes(b"ZKLG")
    with server, RawClient.open(server.port) as zk:
        assert zk.create("/a").err == 0
    assert [path.name for path in theirs.iterdir()] == ["log.1"]
    assert (theirs / "log.1").read_bytes() == b"ZKLG"


def test_the_log_can_be_json_and_never_holds_data_or_passwords(server: ServerProcess, tmp_path: Path) -> None:
    with server:
        server.stop()
        command = [sys.executable, "-m", "coord", "serve", "--log-format", "json", "--log-level", "debug"]
        command.append(str(server.directory / "zoo.cfg"))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(json.loads(line))
                if lines[-1]["message"].startswith("serving"):
                    break
            with RawClient.open(server.port) as zk:
                zk.create("/a", b"very-private")
            process.terminate()
            rest = process.stderr.read()
        assert process.returncode == 0
    lines += [json.loads(line) for line in rest.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "very-private" not in rest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tickTime=x\n", "zoo.cfg:1: tickTime"),
        ("dataDir=/nowhere\nclientPort=2181\nclientPrt=1\n", "zoo.cfg:3"),
    ],
)
def test_a_bad_configuration_is_explained_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "zoo.cfg").write_text(text)
    command = [sys.executable, "-m", "coord", "serve", str(tmp_path / "zoo.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coord", "serve", "--help"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0
    assert "dataDir=" in done.stdout


def test_the_snapshot_s_process_runs_nothing_from_the_folder_the_server_is_in(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "coord.server.fold"],
        env=fold_environment(),
        cwd=tmp_path,
        input=json.dumps(
            {"directory": str(tmp_path / "snapshots"), "segments": [], "expected": [0, 0], "keep": 1}
        ),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["zxid"] == 0
