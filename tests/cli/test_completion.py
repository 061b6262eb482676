"""Completion of `coord` in the shells that people use, in real ones: commands, options, and live paths."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from coord.cli.app import GRAMMAR
from coord.cli.completion import ANSWER_SECONDS, ask, matching
from coord.cli.grammar import cli
from tests.cli.conftest import Coord, Refused
from tests.cli.running import Running
from tests.cli.terminal import CTRL_U, ENTER, TAB, Terminal

Open = Callable[[str, Sequence[str], str], Terminal]


def _path_of(command: click.Command) -> bool:
    return any(param.name == "path" for param in command.params)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as server:
        server.do(lambda zk: zk.create("/brokers/ids/1", b"", make_parents=True))
        server.do(lambda zk: zk.create("/brokers/topics", b""))
        server.do(lambda zk: zk.create("/brokers/ids/it is", b""))
        yield server


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    """A shell whose prompt is ``> ``, after `first`."""
    with ExitStack() as stack:

        def open_terminal(shell: str, arguments: Sequence[str], first: str) -> Terminal:
            if shutil.which(shell) is None:
                pytest.skip(f"{shell} is not installed")
            path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
            environment = {"HOME": str(tmp_path), "PATH": path, "PS1": "> ", "XDG_DATA_HOME": str(tmp_path)}
            opened = Terminal([shell, *arguments], columns=100, lines=30, environment=environment)
            stack.enter_context(opened)
            opened.type(first + ENTER)
            opened.type("echo rea''dy" + ENTER)
            opened.wait_for("\nready\n>")
            return opened

        yield open_terminal


def complete(terminal: Terminal, server: Running) -> None:
    """What is typed with Tabs in between becomes the whole."""
    terminal.type(f"coord --server {server.address} getAllCh{TAB}")
    terminal.wait_for("getAllChildrenNumber")
    terminal.type(f"/bro{TAB}")
    terminal.wait_for("getAllChildrenNumber /brokers")
    terminal.type(f"/ids/1{TAB}{ENTER}")
    terminal.wait_for("\n0\n")  # the children of /brokers/ids/1


def test_in_bash(terminal: Open, server: Running) -> None:
    bash = terminal("bash", ["--norc", "--noprofile", "-i"], 'eval "$(coord completion bash)"')
    complete(bash, server)
    bash.type(f"coord --server {server.address} ls /brokers/{TAB}{TAB}")
    bash.wait_for("/brokers/topics")  # both are listed
    bash.type(f"ids/i{TAB}")
    bash.wait_for("'/brokers/ids/it is'")
    bash.type(CTRL_U + f"coord completion f{TAB}")
    bash.wait_for("coord completion fish")
    bash.type(CTRL_U + f"coord --ti{TAB}")
    bash.wait_for("coord --timeout")
    bash.type(CTRL_U + f"coord --timeout 0.2 --server 127.0.0.1:1 ls /bro{TAB}" + "there" + ENTER)
    bash.wait_for("coord: no answer from 127.0.0.1:1")
    assert "/brothere" in bash.text


def test_in_zsh(terminal: Open, server: Running) -> None:
    start = 'PS1="> "; autoload -U compinit; compinit -u; eval "$(coord completion zsh)"'
    complete(terminal("zsh", ["-f", "-i"], start), server)


def test_in_fish(terminal: Open, server: Running) -> None:
    start = "function fish_prompt; echo '> '; end; coord completion fish | source"
    complete(terminal("fish", ["--no-config"], start), server)


def test_other_shells_are_not_there(ok: Coord, refused: Refused) -> None:
    assert "coord" in ok("completion zsh")
    assert refused("completion tcsh")[0] == 2


@pytest.mark.parametrize("name", [name for name, one in cli.commands.items() if GRAMMAR and _path_of(one)])
def test_every_path_is_completed(name: str) -> None:
    before = ["file"] if name == "import" else []
    finder = ShellComplete(
        cli, {"obj": lambda path: ["brokers", "config"] if path == "/" else []}, "coord", ""
    )
    assert [item.value for item in finder.get_completions([name, *before], "/b")] == ["/brokers"]


def test_the_only_path_is_offered_with_what_is_below_it() -> None:
    tree = {"/": ["a", "ab", "c"], "/c": ["d"], "/c/d": []}

    def find(path: str) -> Sequence[str]:
        return tree.get(path, [])

    assert matching("", find) == matching("/", find) == ["/a", "/ab", "/c"]
    assert matching("/a", find) == ["/a", "/ab"]
    assert matching("/c", find) == ["/c", "/c/"]
    assert matching("/c/", find) == ["/c/d"]
    assert matching("/nope/x", find) == matching("relative", find) == []


def test_whatever_goes_wrong_there_is_no_completion(
    server: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ANSWER_SECONDS <= 1
    assert ask("127.0.0.1:1", (), "/") == ()
    assert ask("not/a:host", (), "/") == ask(":", (), "/") == ()
    assert ask(server.address, (), "/nope") == ask(server.address, (), "//") == ()
    assert ask(server.address, [("nonsense", "x")], "/") == ()
    assert "brokers" in ask(server.address, (), "/")
    assert capfd.readouterr() == ("", "")
