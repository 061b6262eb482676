"""The interactive shell as a person meets it: on a real pseudo-terminal, by what the screen shows."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coord import Client, NoNode
from tests.cli.running import Running
from tests.cli.terminal import CTRL_C, CTRL_D, CTRL_R, CTRL_Z, ENTER, TAB, UP, Terminal

OpenShell = Callable[..., Terminal]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "data") as server:
        yield server


@pytest.fixture
def impatient() -> Iterator[Running]:
    """Its sessions last a second."""
    with Running(max_session_timeout_ms=1000) as server:
        yield server


@pytest.fixture
def open_shell(tmp_path: Path) -> Iterator[OpenShell]:
    with ExitStack() as stack:

        def open_shell(address: str, *options: str, **environment: str) -> Terminal:
            environment = {"XDG_STATE_HOME": str(tmp_path / "state"), **environment}
            command = [sys.executable, "-m", "coord", "--server", address, *options, "shell"]
            terminal = stack.enter_context(Terminal(command, columns=100, lines=30, environment=environment))
            terminal.wait_for("(CONNECTED) 0]")
            return terminal

        yield open_shell


def say(terminal: Terminal, line: str, shows: str | re.Pattern[str]) -> None:
    """Types the line at an empty prompt and waits for what comes of it, and for the next prompt."""
    terminal.wait_for(re.compile(r"\) \d+\]$", re.MULTILINE))
    number = int(re.findall(r"\) (\d+)\]", terminal.text)[-1])
    terminal.type(line + ENTER)
    terminal.wait_for(shows)
    terminal.wait_for(re.compile(rf" {number + 1}\]$", re.MULTILINE))


def session_of(terminal: Terminal) -> str:
    terminal.wait_for("  session 0x")
    found: list[str] = re.findall(r"  session (0x\w+)", terminal.text)
    return found[-1]


def rows_with(terminal: Terminal, pattern: str) -> list[str]:
    return [row for row in terminal.rows if re.search(pattern, row)]


def test_a_first_session(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    assert f"[coord: {server.address}(CONNECTED) 0]" in shell.text
    say(shell, "create /znode_test 'two words'  # a comment", "\n/znode_test\n")
    say(shell, "get /znode_test", "\ntwo words\n")
    say(shell, "ls /nowhere", "/nowhere: there is no such znode")
    say(shell, "lss /", "did you mean ls?")
    shell.type("create '/a b" + ENTER)
    shell.wait_for("the quote ' in column 8 is not closed")
    say(shell, "--json get /znode_test", '{"path": "/znode_test", "data": "two words"}')
    shell.type("quit" + ENTER)
    assert shell.wait_end() == 0


def say_unfinished(terminal: Terminal, text: str) -> None:
    terminal.type(text)
    terminal.wait_for(text)


def test_commands_options_and_live_paths_are_completed(server: Running, open_shell: OpenShell) -> None:
    server.do(lambda zk: zk.create("/jobs/nightly run", b"", make_parents=True))
    shell = open_shell(server.address)
    shell.type("getAl")
    shell.wait_for("Count the znodes below a path")
    shell.type(TAB)
    shell.wait_for("getAllChildrenNumber")
    shell.type(" /jo")
    shell.wait_for(lambda: bool(rows_with(shell, r"^ +/jobs/")))
    shell.type(TAB + TAB)
    shell.wait_for("getAllChildrenNumber /jobs/")
    shell.type("ni")
    shell.wait_for(lambda: bool(rows_with(shell, r"^ +'/jobs/nightly run'")))
    shell.type(TAB + ENTER)
    shell.wait_for("\n0\n")
    shell.type("set -")
    shell.wait_for("Only if the znode has this version")


def test_no_answer_does_not_hold_up_the_line(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    server.stop()
    shell.wait_for("connection lost; session")
    shell.wait_for("(SUSPENDED) 0]")
    say_unfinished(shell, "get /znode_with_a_long_name")
    shell.type(TAB + CTRL_C)
    shell.wait_for(lambda: shell.text.count("(SUSPENDED) 0]") == 2)


def test_an_event_is_told_above_the_line_that_is_typed(server: Running, open_shell: OpenShell) -> None:
    server.do(lambda zk: zk.create("/config", b"1"))
    shell = open_shell(server.address)
    say(shell, "get -w /config", "\n1\n")
    say(shell, "ls -w /config", "[]")
    say(shell, "stat -w /not_yet", "/not_yet does not exist")
    say(shell, "get -w /config", "watches 3")
    say_unfinished(shell, "set /config 'unfin")
    server.do(lambda zk: zk.set("/config", b"2"))
    shell.wait_for("WATCHER:: WatchedEvent state:SyncConnected type:NodeDataChanged path:/config")
    server.do(lambda zk: zk.create("/not_yet", b""))
    shell.wait_for("NodeCreated path:/not_yet")
    shell.wait_for(lambda: "set /config 'unfin" in [row for row in shell.rows if row][-2])
    shell.type("ished'" + ENTER)
    shell.wait_for("5]")
    say(shell, "get /config", "\nunfinished\n")
    assert shell.text.count("NodeDataChanged") == 1  # watched twice is watched once, and once only
    say(shell, "removewatches /config -c", "7]")
    say(shell, "removewatches /config", "there is no such watch")


def test_persistent_watches_last_until_they_are_removed(server: Running, open_shell: OpenShell) -> None:
    server.do(lambda zk: zk.create("/jobs", b""))
    shell = open_shell(server.address)
    say(shell, "addWatch -m PERSISTENT /jobs", "watches 1")
    say(shell, "addWatch /jobs", "watches 1")  # the newer mode replaces the older
    server.do(lambda zk: zk.create("/jobs/a", b""))
    shell.wait_for("NodeCreated path:/jobs/a")
    server.do(lambda zk: zk.set("/jobs/a", b"x"))
    shell.wait_for("NodeDataChanged path:/jobs/a")
    say(shell, "printwatches off", "2]")
    server.do(lambda zk: zk.set("/jobs/a", b"y"))
    say(shell, "get /jobs/a", "\ny\n")
    say(shell, "printwatches on", "4]")
    server.stop()
    shell.wait_for("(SUSPENDED) 5]")
    server.start()
    shell.wait_for("WATCHER:: events of /jobs may have been missed")
    shell.wait_for("(CONNECTED) 5]")
    say(shell, "removewatches /jobs", "6]")
    server.do(lambda zk: zk.delete("/jobs/a"))
    say(shell, "ls /jobs", "[]")
    assert shell.text.count("WatchedEvent") == 2


def test_a_transaction_is_typed_line_by_line(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    shell.type("multi" + ENTER)
    shell.wait_for("multi 1>")
    shell.type("create /state on" + ENTER + "create /state/by me" + ENTER)
    shell.wait_for("multi 3>")
    shell.type("ls /" + ENTER)
    shell.wait_for("'ls' cannot be in a transaction; there are create, set, delete, ")
    with pytest.raises(NoNode):
        server.do(lambda zk: zk.get("/state"))
    shell.type("commit" + ENTER)
    shell.wait_for("(CONNECTED) 5]")
    assert server.do(lambda zk: zk.get("/state/by"))[0] == b"me"
    shell.type("multi" + ENTER + "delete /state/by" + ENTER + CTRL_D)
    shell.wait_for("the transaction has no `commit`; nothing of it was done")
    shell.type("multi" + ENTER + "delete /state/by" + ENTER + "abort" + ENTER)
    shell.wait_for("(CONNECTED) 10]")
    say(shell, "ls /state", "[by]")


def test_ctrl_c_ends_a_line_or_a_command_and_nothing_else(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    session = session_of(shell)
    say(shell, "create -e /here", "\n/here\n")
    say_unfinished(shell, "delete /here")
    shell.type(CTRL_C)
    shell.wait_for(lambda: shell.text.count("(CONNECTED) 1]") == 2)
    server.stop()
    shell.wait_for("(SUSPENDED)")
    shell.type("sync /" + ENTER)
    shell.wait_for(lambda: shell.cooked)  # no line is typed any more
    shell.type(CTRL_C)
    shell.wait_for("interrupted")
    server.start()
    shell.wait_for(re.compile(r"\(CONNECTED\) [12]\]$", re.MULTILINE))  # interrupted, or not even begun
    assert session_of(shell) == session
    say(shell, "ls /", "[here, zookeeper]")


async def gone(zk: Client, path: str) -> None:
    async with zk.watch_exists(path) as states:
        async for state in states:
            if state is None:
                return


def test_an_expired_session_is_told_and_followed_by_another(
    impatient: Running, open_shell: OpenShell
) -> None:
    shell = open_shell(impatient.address)
    session = session_of(shell)
    say(shell, "create -e /here", "\n/here\n")
    say(shell, "stat -w /gone", "watches 1")
    os.kill(shell.pid, signal.SIGSTOP)
    impatient.do(lambda zk: gone(zk, "/here"))
    os.kill(shell.pid, signal.SIGCONT)
    shell.wait_for(f"session {session} has expired: its ephemeral znodes and one-shot watches are gone")
    shell.wait_for("(CONNECTED) 2]")
    say(shell, "ls /", "[zookeeper]")
    assert "watches" not in shell.rows[-1]


def test_close_and_connect(server: Running, impatient: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    say(shell, "create -e /here", "\n/here\n")
    say(shell, "close", "(CLOSED) 2]")
    assert server.do(lambda zk: zk.exists("/here")) is None
    say(shell, "ls /", "not connected; `connect HOST:PORT` opens a session")
    say(shell, "connect nowhere:0", "is not host:port")
    say(shell, f"connect {impatient.address}/chroot", f"{impatient.address}/chroot(CONNECTED) 5]")
    say(shell, f"connect {impatient.address}", "(CONNECTED) 6]")
    say(shell, "addauth digest ann:secret", "7]")
    say(shell, "whoami", "digest: ann")
    say(shell, "addauth nonsense x", "the server refused the credentials; the session is over")
    shell.wait_for("(CLOSED) 9]")
    say(shell, "connect", "(CONNECTED) 10]")


def test_history_is_kept_without_secrets(server: Running, open_shell: OpenShell, tmp_path: Path) -> None:
    first = open_shell(server.address)
    say(first, "create /first line", "\n/first\n")
    say(first, "addauth digest ann:secret", "2]")
    say(first, "get /first", "\nline\n")
    say(first, "history", "0 - create /first line")
    say(first, "redo 2", "\nline\n")
    say(first, "redo 99", "there is no line 99")
    first.type(CTRL_D)
    assert first.wait_end() == 0

    kept = tmp_path / "state" / "coord" / "shell_history"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert "secret" not in kept.read_text()

    second = open_shell(server.address)
    second.type(UP)
    second.wait_for("0] redo 99")
    second.type(CTRL_C + CTRL_R + "first l")
    second.wait_for("create /first line")
    second.type(CTRL_C + "ge")
    second.wait_for("0] get /first")  # suggested
    os.kill(second.pid, signal.SIGHUP)
    assert second.wait_end() == 128 + signal.SIGHUP


def test_sigterm_closes_the_session(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    say(shell, "create -e /here", "\n/here\n")
    say_unfinished(shell, "delete /here")
    os.kill(shell.pid, signal.SIGTERM)
    assert shell.wait_end() == 128 + signal.SIGTERM
    assert server.do(lambda zk: zk.exists("/here")) is None


def test_a_terminal_that_goes_away_takes_the_shell_with_it(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    say(shell, "create -e /here", "\n/here\n")
    shell.hang_up()
    server.do(lambda zk: gone(zk, "/here"))


def test_several_lines_are_pasted_at_once(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    shell.type("\x1b[200~create /a 1\r\n# nothing\r\n\r\nget /nope\nget /a\x1b[201~" + ENTER)
    shell.wait_for("get /nope: there is no such znode")
    shell.wait_for("\n1\n")
    shell.wait_for("(CONNECTED) 3]")


def test_ctrl_z_stops_it_and_fg_goes_on_with_the_line(server: Running, tmp_path: Path) -> None:
    environment = {"PS1": "bash>", "XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal(["bash", "--norc", "-i"], environment=environment) as terminal:
        terminal.type(f"{sys.executable} -m coord --server {server.address} shell" + ENTER)
        terminal.wait_for("(CONNECTED) 0]")
        terminal.type("create /suspended")
        for turn in range(1, 6):
            terminal.wait_for(lambda: not terminal.cooked)
            terminal.type(CTRL_Z)
            terminal.wait_for(re.compile(rf"(?s)(.*?Stopped.*?bash>){{{turn}}}"))
            terminal.type("fg" + ENTER)
        terminal.wait_for(lambda: not terminal.cooked)
        terminal.type(ENTER)
        terminal.wait_for("(CONNECTED) 1]")
        terminal.type(CTRL_D)
        terminal.wait_for(re.compile("bash>$", re.MULTILINE))


def test_the_window_may_change(server: Running, open_shell: OpenShell) -> None:
    shell = open_shell(server.address)
    shell.resize(60, 15)
    shell.type("create /wide 01234567890123456789")
    shell.wait_for(lambda: "\n90123456789\n" in shell.text and "session" in shell.rows[14])
    shell.type(ENTER)
    shell.wait_for("1]")
    shell.resize(120, 40)
    say(shell, "get /wide", "\n01234567890123456789\n")


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_enough(server: Running, open_shell: OpenShell, term: str) -> None:
    shell = open_shell(server.address, TERM=term)
    say(shell, "create /plain text", "\n/plain\n")
    shell.type("delete /plain" + CTRL_C)
    shell.wait_for(lambda: shell.text.count("(CONNECTED) 1]") == 2)
    say(shell, "get -w /plain", "\ntext\n")
    server.do(lambda zk: zk.set("/plain", b"new"))
    shell.wait_for("NodeDataChanged path:/plain")
    shell.type(CTRL_D)
    assert shell.wait_end() == 0


def test_no_color_means_no_color(server: Running, open_shell: OpenShell) -> None:
    def colours(terminal: Terminal) -> set[str]:
        buffer = terminal.screen.buffer
        return {buffer[y][x].fg for y in range(30) for x in range(100)}

    assert "green" in colours(open_shell(server.address))
    assert colours(open_shell(server.address, NO_COLOR="1")) == {"default"}
