"""Real processes: Ctrl-C, forks, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import coord
from coord import aio, blocking
from coord.blocking import Client, connect
from coord.bridge.portal import CLOSE_SECONDS, Portal
from coord.bridge.process import as_default
from coord.bridge.threads import hold
from coord.testing import EmbeddedServer, embedded_server

ROOT = Path(__file__).parent.parent.parent

BEGIN = """
import os, sys, threading, time
from coord import blocking
from coord.blocking import Lock, connect
HOSTS = sys.argv[1]
def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """In real time, for other processes. No thread of it is left behind for other tests to see."""
    with Portal() as portal, as_default(portal), hold(portal, embedded_server) as server:
        yield server


@pytest.fixture
def zk(server: EmbeddedServer) -> Iterator[Client]:
    with connect(server.connect_string) as zk:
        yield zk
        for name in zk.children("/"):
            if name != "zookeeper":
                zk.delete_recursive(f"/{name}")


class Script:
    """A Python program, and what it says."""

    def __init__(self, text: str, hosts: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN + text, hosts],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def says(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == line + "\n"

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def ends(self) -> tuple[int, str, str]:
        """Status, output, errors."""
        try:
            out, errors = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, errors = self._process.communicate()
            pytest.fail(f"it hangs: {out}{errors}")
        return self._process.returncode, out, errors


def until_waiting(zk: Client, path: str, count: int) -> None:
    with zk.watch_children(path) as states, blocking.fail_after(10):
        for names in states:
            if names is not None and len(names) == count:
                return


# -- Ctrl-C -------------------------------------------------------------------------------------------


def test_ctrl_c_while_waiting_for_a_lock(server: EmbeddedServer, zk: Client) -> None:
    text = """
with connect(HOSTS) as zk:
    try:
        with Lock(zk, "/lock"):
            say("never")
    except KeyboardInterrupt:
        zk.janitor.idle()
        say("interrupted", len(zk.children("/lock")))
"""
    with blocking.Lock(zk, "/lock"):
        script = Script(text, server.connect_string)
        until_waiting(zk, "/lock", 2)
        script.interrupt()
        assert script.ends() == (0, "interrupted 1\n", "")


def test_ctrl_c_while_iterating_over_a_watch(server: EmbeddedServer, zk: Client) -> None:
    text = """
with connect(HOSTS) as zk:
    try:
        for names in zk.watch_children("/"):
            say("iterating")
    except KeyboardInterrupt:
        say("interrupted", zk.get("/")[0])
"""
    script = Script(text, server.connect_string)
    script.says("iterating")
    script.interrupt()
    assert script.ends() == (0, "interrupted b''\n", "")


def test_ctrl_c_ends_what_an_elected_function_waits_for(server: EmbeddedServer, zk: Client) -> None:
    text = """
with connect(HOSTS) as zk:
    def lead(term):
        while not term.lost:
            for names in zk.watch_children("/"):
                say("leading")
    try:
        blocking.Election(zk, "/lead").run(lead)
    except KeyboardInterrupt:
        say("interrupted", zk.children("/lead"))
"""
    script = Script(text, server.connect_string)
    script.says("leading")
    script.interrupt()
    assert script.ends() == (0, "interrupted []\n", "")


def test_ctrl_c_inside_a_block_releases_it(server: EmbeddedServer, zk: Client) -> None:
    text = """
with connect(HOSTS) as zk, Lock(zk, "/lock"):
    say("inside")
    while True:
        time.sleep(1)
"""
    script = Script(text, server.connect_string)
    script.says("inside")
    script.interrupt()
    status, _, errors = script.ends()
    assert status == -signal.SIGINT
    assert errors.endswith("KeyboardInterrupt\n")
    assert zk.children("/lock") == []


def test_ctrl_c_again_and_again_acquires_nothing_for_good(server: EmbeddedServer, zk: Client) -> None:
    """Wherever it comes: before, while, and after the lock is acquired; but for the moment before the first
    step of `__exit__`, at which Python lets no `with` block be left."""
    text = """
import random, signal, traceback
random.seed(1)
signal.signal(signal.SIGALRM, signal.default_int_handler)
def interrupted(lock):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.004))
        with lock:
            time.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt as error:
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        if frame.f_code.co_name == "_exit" and line == frame.f_code.co_firstlineno:
            lock.__exit__(None, None, None)
        return True
    return False
with connect(HOSTS) as zk:
    lock = Lock(zk, "/lock")
    times = sum(interrupted(lock) for _ in range(150))
    zk.janitor.idle()
    say(times > 10, zk.children("/lock"), lock._blocks)
"""
    script = Script(text, server.connect_string)
    assert script.ends() == (0, "True [] []\n", "")


# -- the end of the process -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT)],
)
@pytest.mark.parametrize("busy", [False, True])
def test_forgotten_clients_are_closed(
    server: EmbeddedServer, zk: Client, end: str, status: int, busy: bool
) -> None:
    text = """
zk = connect(HOSTS, timeout=60).start()
zk.create("/me", b"", ephemeral=True)
inside = threading.Event()
def wait():
    with Lock(zk, "/lock"):
        inside.set()
        for _ in zk.watch_data("/me"):
            pass
if BUSY:
    for _ in range(3):
        threading.Thread(target=wait, daemon=True).start()
    inside.wait()
END
"""
    script = Script(text.replace("BUSY", str(busy)).replace("END", end), server.connect_string)
    got, _, errors = script.ends()
    assert got == status
    assert errors.count("Traceback") == (status in (1, -signal.SIGINT))
    assert "coord" not in errors
    assert zk.exists("/me") is None
    assert not busy or zk.children("/lock") == []


def test_the_end_waits_for_no_function_and_for_no_generator(server: EmbeddedServer, zk: Client) -> None:
    text = """
zk = connect(HOSTS, timeout=60).start()
led = threading.Event()
def lead(term):
    led.set()
    list(zk.watch_data("/"))
def generator():
    with Lock(zk, "/lock"):
        yield
threading.Thread(target=blocking.Election(zk, "/lead").run, args=(lead,), daemon=True).start()
led.wait()
unfinished = generator()
next(unfinished)
"""
    begin = time.monotonic()
    assert Script(text, server.connect_string).ends() == (0, "", "")
    assert time.monotonic() - begin < CLOSE_SECONDS
    assert zk.children("/lock") == zk.children("/lead") == []


def test_threads_that_are_no_daemons_are_waited_for(server: EmbeddedServer, zk: Client) -> None:
    text = """
zk = connect(HOSTS).start()
def work():
    for node in zk.watch_data("/go"):
        if node is not None:
            return say("done", zk.get("/go")[0])
        say("waiting")
threading.Thread(target=work).start()
"""
    script = Script(text, server.connect_string)
    script.says("waiting")
    zk.create("/go", b"1")
    assert script.ends() == (0, "done b'1'\n", "")


def test_a_program_for_trio_starts_no_thread() -> None:
    text = "import coord, recipes\nassert not [one for one in sys.modules if 'coord.bridge.portal' in one]\n"
    text = f"import sys\n{text}import coord.blocking, threading\nassert threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT, timeout=20)


# -- forks ----------------------------------------------------------------------------------------------


def test_a_fork_connects_anew(server: EmbeddedServer, zk: Client) -> None:
    """As gunicorn and Celery do it: the parent is connected, and so is each child."""
    text = """
with connect(HOSTS, timeout=60) as zk:
    zk.create("/parent", b"", ephemeral=True)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            for use in (lambda: zk.get("/"), lambda: zk.session.id, lambda: Lock(zk, "/lock").__enter__()):
                try:
                    use()
                except blocking.ForkedClient as error:
                    assert "connect anew" in str(error)
                else:
                    raise AssertionError
            mine = connect(HOSTS, timeout=60).start()
            with Lock(mine, "/lock"):
                mine.create(f"/child{number}", b"", ephemeral=True)
                mine.create(f"/done{number}")
            sys.exit(5)
        children.append(child)
    say([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    say(sorted(zk.children("/")))
"""
    script = Script(text, server.connect_string)
    status, out, errors = script.ends()
    assert (status, errors) == (0, "")
    assert out.splitlines() == [
        "[5, 5, 5]",
        str(["done0", "done1", "done2", "lock", "parent", "zookeeper"]),
    ]


def test_multiprocessing_forks_connect_anew(server: EmbeddedServer, zk: Client) -> None:
    text = """
import multiprocessing
def work(number):
    zk = connect(HOSTS, timeout=60).start()
    zk.create(f"/child{number}", b"", ephemeral=True)
    return zk.session.id
if __name__ == "__main__":
    with connect(HOSTS) as zk:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=work, args=(number,)) for number in range(2)]
        for one in processes:
            one.start()
        for one in processes:
            one.join()
        say([one.exitcode for one in processes], zk.children("/"))
"""
    assert Script(text, server.connect_string).ends() == (0, "[0, 0] ['zookeeper']\n", "")


def test_a_deadline_holds_in_the_child_of_a_fork(server: EmbeddedServer) -> None:
    text = """
zk = connect(HOSTS).start()
with blocking.move_on_after(1) as scope:
    zk.get("/")
    child = os.fork()
    if child == 0:
        with connect(HOSTS) as mine:
            say(mine.get("/")[0])
            list(mine.watch_data("/"))
if child == 0:
    say("moved on", scope.cancelled_caught)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert Script(text, server.connect_string).ends() == (0, "b''\nmoved on True\n", "")


def test_a_fork_under_asyncio(server: EmbeddedServer, zk: Client) -> None:
    text = """
import asyncio
from coord import aio
async def main():
    async with aio.connect(HOSTS) as zk:
        assert await zk.exists("/") is not None
async def parent():
    async with aio.connect(HOSTS) as zk:
        child = os.fork()
        if child == 0:
            try:
                await zk.get("/")
            except aio.ForkedClient:
                os._exit(7)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
asyncio.run(parent())
child = os.fork()
asyncio.run(main())
if child:
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert Script(text, server.connect_string).ends() == (0, "7\n0\n", "")


# -- heartbeats -----------------------------------------------------------------------------------------


def test_a_loop_that_is_blocked_for_longer_than_the_session_lasts_keeps_its_lock(
    server: EmbeddedServer,
) -> None:
    async def main() -> None:
        async with aio.connect(server.connect_string, timeout=0.3) as zk:
            session = zk.session.id
            async with aio.Lock(zk, "/blocked") as grant:
                time.sleep(1)  # what is tested: a loop that does nothing else meanwhile
                grant.ensure()
                await grant.verify()
            assert (zk.session.id, zk.session.generation) == (session, 1)

    asyncio.run(main())


def test_no_descriptor_is_left_behind(server: EmbeddedServer) -> None:
    def use() -> None:
        with Portal() as portal, hold(portal, lambda: coord.connect(server.connect_string)):
            pass

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, pause = count(), threading.Event()
    for _ in range(10):
        use()
    while count() > before:  # the server closes its ends when it hears that they are closed
        pause.wait(0.001)
