"""What is looked at, once or live: locks, leader, brokers, watch, top."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

import coord
from benchmarks.java import missing_zookeeper
from coord import Client
from coord.cli.broker_list import brokers
from coord.cli.changes import Seen, watch
from coord.cli.lines import Standings
from coord.cli.looks import Glance, Look, Rates
from coord.cli.members import name_of
from coord.cli.standings import leader, locks
from coord.cli.top import Manner, picture, top
from coord.client.hosts import Host
from coord.testing import embedded_server
from recipes import (
    CURATOR,
    KAZOO,
    BrokerInfo,
    BrokerRegistry,
    Controller,
    Election,
    Layout,
    Lock,
    ReadWriteLock,
    Semaphore,
    Topics,
)
from tests.cli.conftest import Coord
from tests.cli.recorder import Recorder
from tests.cli.terminal import CTRL_C, Terminal
from tests.servers import Flavour, ServerProcess

SECONDS = 30.0


@asynccontextmanager
async def several(count: int = 3) -> AsyncIterator[list[Client]]:
    """Clients of one server, each with a session of its own."""
    with trio.fail_after(SECONDS):
        async with embedded_server() as server, trio.open_nursery() as nursery:
            clients: list[Client] = []

            async def keep(task_status: trio.TaskStatus[None]) -> None:
                async with coord.connect(server.connect_string) as zk:
                    clients.append(zk)
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(count):
                await nursery.start(keep)
            yield clients
            nursery.cancel_scope.cancel()


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await trio.sleep(0.005)


async def hold(acquire: Callable[[], Any], task_status: trio.TaskStatus[None]) -> None:
    async with acquire():
        task_status.started()
        await trio.sleep_forever()


async def want(acquire: Callable[[], Any]) -> None:
    async with acquire():
        await trio.sleep_forever()


async def in_line(zk: Client, path: str, count: int) -> None:
    while not await zk.exists(path) or len(await zk.children(path)) < count:
        await trio.sleep(0.005)


def seen(out: Recorder) -> list[tuple[str, str, str]]:
    """What the last picture said: what each does, its kind, its data."""
    found = out.results[-1]
    assert isinstance(found, Standings)
    return [("holds" if one.holds else "waits", one.kind, one.who) for one in found.everybody]


# -- locks, leader ---------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_lock_and_those_who_wait() -> None:
    async with several() as (zk, ann, bob), trio.open_nursery() as nursery:
        out = Recorder()
        assert await locks(zk, out, "/job") == 1
        assert out.lines == ["nobody holds /job"]
        assert await zk.exists("/job") is None
        await nursery.start(hold, Lock(ann, "/job", b"ann").acquire)
        nursery.start_soon(want, Lock(bob, "/job", b"b\x1b[2Job\xff").acquire)
        await in_line(zk, "/job", 2)
        assert await locks(zk, out, "/job") == 0
        assert seen(out) == [("holds", "exclusive", "ann"), ("waits", "exclusive", "b·[2Job\\xff")]
        first, second = str(out.lines[-1]).splitlines()
        assert re.match(
            r"holds   exclusive  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+s  session 0x\w+  ann\Z", first
        )
        assert f"session 0x{bob.session.id:x}" in second
        told = out.results[-1].json()
        assert [one["data"] for one in told["holders"]] == ["ann"]
        assert "data_base64" in told["waiting"][0]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_line_of_two_hundred_in_its_order() -> None:
    async with several(1) as (zk,):
        await zk.create("/long")
        for number in range(200):
            await zk.create("/long/x__lock__", str(number).encode(), sequential=True, ephemeral=True)
        out = Recorder()
        assert await locks(zk, out, "/long") == 0
        assert [(does, int(who)) for does, _, who in seen(out)] == [
            ("waits" if number else "holds", number) for number in range(200)
        ]


@pytest.mark.trio
@pytest.mark.parametrize("layout", [KAZOO, CURATOR])
async def test_readers_and_permits(layout: Layout) -> None:
    async with several() as (zk, ann, bob), trio.open_nursery() as nursery:
        out = Recorder()
        for one, data in ((ann, b"ann"), (bob, b"bob")):
            await nursery.start(hold, ReadWriteLock(one, "/rw", data, layout=layout).read.acquire)
        nursery.start_soon(want, ReadWriteLock(zk, "/rw", b"zoe", layout=layout).write.acquire)
        await in_line(zk, "/rw", 3)
        assert await locks(zk, out, "/rw") == 0
        writes = "write" if layout == CURATOR else "exclusive"
        assert seen(out) == [("holds", "read", "ann"), ("holds", "read", "bob"), ("waits", writes, "zoe")]
        await nursery.start(hold, Semaphore(ann, "/s", 1, data=b"ann", layout=layout).acquire)
        nursery.start_soon(want, Semaphore(bob, "/s", 1, data=b"bob", layout=layout).acquire)
        await in_line(zk, "/s/locks" if layout == CURATOR else "/s-__lock__", 1)
        await until_async(partial(_waits, zk, out))
        assert seen(out) == [("holds", "permit", "ann"), ("waits", "exclusive", "bob")]
        nursery.cancel_scope.cancel()


async def _waits(zk: Client, out: Recorder) -> bool:
    await locks(zk, out, "/s")
    return len(seen(out)) == 2


async def until_async(holds: Callable[[], Any]) -> None:
    while not await holds():
        await trio.sleep(0.005)


@pytest.mark.trio
async def test_who_leads_live() -> None:
    async with several() as (zk, ann, bob), trio.open_nursery() as nursery:
        out = Recorder()
        assert await leader(zk, out, "/lead") == 1
        assert out.lines == ["nobody leads /lead"]
        async with trio.open_nursery() as watching:
            watching.start_soon(partial(leader, zk, out, "/lead", watch=True))
            await until(lambda: len(out.lines) == 2)
            async with trio.open_nursery() as terms:
                await terms.start(hold, Election(ann, "/lead", b"ann").lead)
                await until(lambda: seen(out) == [("holds", "exclusive", "ann")])
                nursery.start_soon(want, Election(bob, "/lead", b"bob").lead)
                await until(lambda: len(seen(out)) == 2)
                assert re.match(r"-- \d{4}-.*\nleads   exclusive", str(out.lines[-1]))
                terms.cancel_scope.cancel()
            await until(lambda: seen(out) == [("holds", "exclusive", "bob")])
            watching.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


# -- brokers ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_brokers_and_what_nobody_leads() -> None:
    async with several() as (zk, one, two), trio.open_nursery() as nursery:
        out = Recorder()
        assert await brokers(zk, out, "/kafka") == 1
        assert out.lines == ["0 brokers, no controller, 0 topics, 0 partitions"]
        assert await zk.children("/") == ["zookeeper"]

        for id_, client in ((1, one), (2, two)):
            info = BrokerInfo(id_, [("PLAINTEXT", f"host{id_}", 9092)], rack=f"rack{id_}")
            await nursery.start(hold, partial(BrokerRegistry(client, "/kafka").register, info))
        await Topics(zk, "/kafka").create("orders", {0: [1, 2], 1: [2, 1]})
        assert await brokers(zk, out, "/kafka") == 1
        assert str(out.lines[-1]).endswith("without a leader: orders-0, orders-1")
        nursery.start_soon(BrokerRegistry(one, "/kafka").run_controller, 1, Controller(one, "/kafka").run)

        async def well() -> bool:
            return await brokers(zk, out, "/kafka") == 0

        await until_async(well)
        first, second, summary = map(str, out.lines[-3:])
        assert re.match(r" +1  rack rack1 +leads 1 +epoch \d+  PLAINTEXT://host1:9092  controller\Z", first)
        assert "controller" not in second
        assert summary == "2 brokers, controller 1 (epoch 1), 1 topics, 2 partitions"
        assert out.results[-1].json()["leaderless"] == []
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_what_a_broker_says_of_itself_moves_no_cursor() -> None:
    async with several(1) as (zk,):
        info = BrokerInfo(1, [("PLAINTEXT", "host1", 9092)], rack="r\x1b[2J\n")
        async with BrokerRegistry(zk, "/kafka").register(info):
            out = Recorder()
            await brokers(zk, out, "/kafka")
            assert str(out.lines[0]).startswith("   1  rack r·[2J·")


# -- watch -----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_changes_are_told_over_a_restart_of_the_server(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS):
        async with (
            embedded_server(data_dir=tmp_path, tick_time=1.0) as server,
            coord.connect(server.connect_string) as zk,
            coord.connect(server.connect_string) as writer,
            trio.open_nursery() as nursery,
        ):
            out = Recorder()
            await writer.create("/app")

            def told() -> list[tuple[str, str]]:
                return [(one.what, one.path) for one in out.results if isinstance(one, Seen)]

            nursery.start_soon(partial(watch, zk, out, "/app", with_data=True))
            await until(lambda: told() == [("watching", "/app")])
            await writer.create("/app/a", b"one\n")
            await until(lambda: len(told()) == 2)
            assert re.fullmatch(
                r"\d\d:\d\d:\d\d\.\d{3}  created    /app/a  version 0, 4 bytes  one·", str(out.lines[-1])
            )
            await writer.set("/app/a", b"two")
            await writer.delete("/app/a")
            await until(lambda: told()[-1] == ("deleted", "/app/a"))
            await server.kill()
            await until(lambda: ("no connection", "/app") in told())
            await server.start()
            await until(lambda: ("may have missed changes", "/app") in told())
            await writer.create("/app/b")
            await until(lambda: told()[-1] == ("created", "/app/b"))
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_storm_is_told_in_full_and_in_order() -> None:
    async with several(2) as (zk, writer), trio.open_nursery() as nursery:
        out = Recorder()
        await writer.create("/storm")
        nursery.start_soon(partial(watch, zk, out, "/storm", count=15_000))
        await until(lambda: len(out.lines) == 1)
        for first in range(0, 15_000, 500):
            transaction = writer.transaction()
            for number in range(first, first + 500):
                transaction.create(f"/storm/{number}", b"")
            await transaction.commit()
    told = [one.path for one in out.results[1:] if isinstance(one, Seen)]
    assert told == [f"/storm/{number}" for number in range(15_000)]


def test_as_many_changes_as_asked_for(command: list[str], ok: Coord) -> None:
    ok("create /counted")
    watching = [*command, "--json", "watch", "/counted", "--count", "2"]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "watching"
        ok("create /counted/a x")
        ok("delete /counted/a")
        events = [json.loads(line) for line in process.stdout]
        assert process.wait(SECONDS) == 0
    assert [(one["event"], one["path"]) for one in events] == [
        ("created", "/counted/a"),
        ("deleted", "/counted/a"),
    ]


def test_ctrl_c_ends_it(command: list[str]) -> None:
    with subprocess.Popen([*command, "watch", "/"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130


def test_the_tree_is_drawn_anew(command: list[str], ok: Coord) -> None:
    ok("create /drawn")
    with Terminal([*command, "watch", "--tree", "--data", "/drawn"], columns=60, lines=8) as terminal:
        terminal.wait_for("/drawn: 1 znode")
        ok("create /drawn/a hello")
        terminal.wait_for("a  v0, 5 bytes  hello")
        for name in "bcdefgh":
            ok(f"create /drawn/{name}")
        terminal.wait_for("more below")
        terminal.wait_for("/drawn: 9 znodes")
        terminal.resize(60, 14)
        terminal.wait_for("  h  v0")
        ok("deleteall /drawn")
        terminal.wait_for("/drawn: 0 znodes")
        terminal.type("q")
        assert terminal.wait_end() == 0


def test_the_tree_in_a_terminal_that_does_not_speak_unicode(command: list[str], ok: Coord) -> None:
    ok("create /ascii häuser")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    with Terminal([*command, "watch", "--tree", "--data", "/ascii"], environment=ascii_only) as terminal:
        terminal.wait_for("h?user")
        terminal.type("q")
        assert terminal.wait_end() == 0


# -- top -------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_once_is_a_table(tmp_path: Path) -> None:
    with trio.fail_after(SECONDS):
        async with embedded_server() as server:
            out = Recorder()
            hosts = f"{server.connect_string},127.0.0.1:1"
            assert await top(hosts, out, Manner(once=True), live=False) == 0
            head, first, second = map(str, out.lines)
            assert head.split()[:4] == ["server", "mode", "zxid", "epoch"]
            assert first.startswith(f"{server.connect_string}  standalone  0x")
            assert second.split()[:3] == ["127.0.0.1:1", "silent", "-"]
            assert await top("127.0.0.1:1", Recorder(), Manner(once=True), live=False) == 1


@pytest.mark.trio
async def test_without_a_terminal_lines_follow_with_rates() -> None:
    with trio.fail_after(SECONDS):
        async with embedded_server() as server, trio.open_nursery() as nursery:
            out = Recorder()
            run = partial(top, server.connect_string, out, Manner(interval=0.05), live=False, as_json=True)
            nursery.start_soon(run)
            async with coord.connect(server.connect_string) as zk:
                while not any((one.json()["received_per_s"] or 0) > 10 for one in out.results):
                    await zk.exists("/")
            nursery.cancel_scope.cancel()


def test_a_live_picture_that_fits(server: str) -> None:
    hosts = f"{server},127.0.0.1:1"
    command = [sys.executable, "-m", "coord", "--server", hosts, "top", "--interval", "0.1"]
    with Terminal(command, columns=125, lines=12) as terminal:
        terminal.wait_for("2 servers, 1 silent; nobody leads")
        terminal.wait_for(re.compile(rf"{server} +standalone +0x\w+ +\d+ +\d+"))
        assert "watches" in terminal.text
        line = next(n for n, row in enumerate(terminal.rows) if "silent" in row and "127.0.0.1:1 " in row)
        assert terminal.screen.buffer[line][0].fg == "red"
        terminal.type("s")
        terminal.wait_for("sort by mode")
        terminal.resize(40, 12)
        terminal.wait_for(lambda: "watches" not in terminal.text and "zxid" in terminal.text)
        terminal.resize(125, 12)
        terminal.wait_for("watches")
        terminal.type("q")
        assert terminal.wait_end() == 0


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    odd = Look("[fe80::a:b]:2181", "[/bold] :smile:", 0.0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(picture(Glance(((odd, Rates()),)), Manner(), 80))
    assert re.search(r"\[fe80::a:b\]:2181 +\[/bold\] :smile:", console.export_text())


def test_servers_are_named_as_a_connect_string_has_them() -> None:
    assert name_of(Host("fe80::a", 2181)) == "[fe80::a]:2181"
    assert name_of(Host("zk1", 2181)) == "zk1:2181"


def test_ctrl_c_leaves_the_terminal_as_it_was(server: str) -> None:
    line = f"{sys.executable} -m coord --server {server} top"
    with Terminal(["sh", "-c", f"trap : INT; {line}; echo status $?; stty -a"]) as terminal:
        terminal.wait_for("1 server")
        terminal.type(CTRL_C)
        assert terminal.wait_end() == 0
        assert "status 130" in terminal.text
        assert re.search(r"(?<!-)icanon", terminal.text)


@pytest.mark.java
@pytest.mark.skipif(bool(missing_zookeeper()), reason=missing_zookeeper())
def test_apache_zookeepers_answers_are_read(tmp_path: Path) -> None:
    with ServerProcess(
        tmp_path, {"4lw.commands.whitelist": "srvr,mntr"}, flavour=Flavour.ZOOKEEPER
    ) as server:
        command = [sys.executable, "-m", "coord", "--server", server.hosts, "--json", "top", "--once"]
        told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["mode"] == "standalone"
    assert told["version"].startswith("3.")
    missing = [name for name, value in told.items() if value is None and not name.endswith("_per_s")]
    assert missing == []
