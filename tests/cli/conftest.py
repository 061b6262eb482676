"""A server in a thread, which all tests of the command line share, and ways to run a command against it."""

from __future__ import annotations

import queue
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import trio

from coord.__main__ import main
from coord.testing import embedded_server

Coord = Callable[[str], str]
Refused = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Where a server listens that runs in a thread of its own, since each command is a `trio.run`."""
    started: queue.Queue[tuple[str, Callable[[], object]]] = queue.Queue()

    async def serve() -> None:
        async with embedded_server() as running:
            token, end = trio.lowlevel.current_trio_token(), trio.Event()
            started.put((running.connect_string, lambda: token.run_sync_soon(end.set)))
            await end.wait()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    address, stop = started.get(timeout=10)
    yield address
    stop()
    thread.join()


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(server: str, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Ran]:
    def run(line: str) -> Ran:
        code = main(["--server", server, *shlex.split(line)])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def ok(run: Callable[[str], Ran]) -> Coord:
    """Runs a command that must succeed; returns what it printed."""

    def run_well(line: str) -> str:
        ran = run(line)
        assert (ran.code, ran.err) == (0, "")
        return ran.out

    return run_well


@pytest.fixture
def refused(run: Callable[[str], Ran]) -> Refused:
    """Runs a command that must fail; returns the exit code and its one line."""

    def run_badly(line: str) -> tuple[int, str]:
        ran = run(line)
        assert ran.out == ""
        assert re.fullmatch(r"coord: [^\n]+\n", ran.err)
        return ran.code, ran.err.removeprefix("coord: ").rstrip()

    return run_badly


@pytest.fixture
def command(server: str) -> list[str]:
    """How a process of its own is begun: ``[*command, "get", "/a"]``."""
    return [sys.executable, "-m", "coord", "--server", server]
