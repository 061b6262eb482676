"""`coord lock` and `coord elect` as real processes: what their commands see, and that these end in time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

import coord
from recipes import Election, Lock
from tests.cli.terminal import CTRL_C, Terminal
from tests.servers import Flavour, ServerProcess

SECONDS = 30.0
SESSION_SECONDS = 3.0

HEARTBEAT = """
import os, signal, subprocess, sys, time
name, stubborn = sys.argv[1], "stubborn" in sys.argv[2:]
if stubborn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
if "family" in sys.argv[2:]:
    rest = ["stubborn"] if stubborn else []
    subprocess.Popen([sys.executable, "-IS", __file__, name + "-child", *rest])
    subprocess.Popen([sys.executable, "-IS", __file__, name + "-job", *rest], process_group=0)
with open(name, "w") as file:
    while True:
        file.seek(0)
        file.write(f"{time.monotonic():.6f} {os.getpid():>9}")
        file.flush()
        time.sleep(0.005)
"""
"""A command that leaves in a file when it has last been alive; with a family, a child and a job do so too."""


class Beating:
    """Such a command, by its file."""

    def __init__(self, directory: Path, name: str) -> None:
        self.program = directory / "heartbeat.py"
        self.program.write_text(HEARTBEAT)
        self.name = name
        self.file = directory / name

    def command(self, *manner: str) -> list[str]:
        return [sys.executable, "-IS", str(self.program), str(self.file), *manner]

    def last(self, which: str = "") -> float:
        return float(Path(f"{self.file}{which}").read_text().split()[0])

    def pid(self, which: str = "") -> int:
        return int(Path(f"{self.file}{which}").read_text().split()[1])

    def beats(self, which: str = "") -> bool:
        file = Path(f"{self.file}{which}")
        return file.exists() and len(file.read_text().split()) == 2

    def is_dead(self, which: str = "") -> bool:
        return self._state(which) in "ZX"

    def is_stopped(self) -> bool:
        return self._state("") == "T"

    def _state(self, which: str) -> str:
        try:
            return Path(f"/proc/{self.pid(which)}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "X"


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="other groups are found by /proc"
)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that no test harms."""
    with ServerProcess(tmp_path_factory.mktemp("holding"), CONFIG, flavour=Flavour.COORD) as server:
        yield server


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for one test."""
    with ServerProcess(tmp_path / "server", CONFIG, flavour=Flavour.COORD) as server:
        yield server


CONFIG = {"tickTime": "100", "minSessionTimeout": "100", "maxSessionTimeout": "60000"}


def begin(server: ServerProcess, *arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coord", "--server", server.hosts, *arguments]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]  # options are Popen's


def ran(server: ServerProcess, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error."""
    process = begin(server, *arguments, stdout=subprocess.DEVNULL)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, err


def until(holds: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what or "it does not come"
        time.sleep(0.005)


def in_session(server: ServerProcess, work: Callable[[coord.Client], object]) -> object:
    async def run() -> object:
        with trio.fail_after(SECONDS):
            async with coord.connect(server.hosts) as zk:
                return await work(zk)  # type: ignore[misc]  # a coroutine function

    return trio.run(run)


# -- the command's end, and what it sees -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_status_is_the_commands(lasting: ServerProcess, command: list[str], code: int) -> None:
    found, err = ran(lasting, "lock", "/status", "--", *command)
    assert found == code
    assert (err == "") == (code < 126 or code > 128)


def test_a_script_without_an_interpreter_lets_the_lock_go(lasting: ServerProcess, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert ran(lasting, "lock", "/script", "--", str(script))[0] == 127
    assert ran(lasting, "lock", "-n", "/script", "--", "true") == (0, "")


def test_the_environment_tells_what_is_held(lasting: ServerProcess) -> None:
    process = begin(lasting, "lock", "/seen", "--", "env", stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=SECONDS)
    seen = dict(line.split("=", 1) for line in out.splitlines() if line.startswith("COORD_"))
    assert seen["COORD_LOCK_PATH"] == "/seen"
    assert seen["COORD_ZNODE"].startswith("/seen/")
    assert seen["COORD_SERVER"] == lasting.hosts
    assert int(seen["COORD_TOKEN"]) > 0
    assert int(seen["COORD_SESSION"], 16) > 0
    process = begin(lasting, "elect", "/seen-too", "--", "sh", "-c", "echo $COORD_ELECTION_PATH")
    assert ended(process) == (0, "")


def test_standard_streams_and_open_files_are_the_commands(lasting: ServerProcess) -> None:
    line = f"{sys.executable} -m coord --server {lasting.hosts} lock /streams -- cat - <(echo two)"
    done = subprocess.run(
        ["bash", "-c", line], input="one\n", capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout == "one\ntwo\n"


def test_wrong_words_are_told_before_anything_is_asked() -> None:
    nobody = [sys.executable, "-m", "coord", "--server", "127.0.0.1:1", "--timeout", "0.2"]
    done = subprocess.run([*nobody, "lock", "/x"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Missing argument" in done.stderr) == (2, True)
    done = subprocess.run([*nobody, "lock", "/x", "--", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("coord: no answer from 127.0.0.1:1 within 0.2 s")


def test_a_grace_that_the_session_has_no_room_for(lasting: ServerProcess) -> None:
    found, err = ran(lasting, "lock", "--session-timeout", "4", "--grace", "2", "/grace", "--", "true")
    assert found == 125
    assert err == (
        "coord: a grace of 2 s needs a session timeout of 8 s at least, and the server grants 4 s\n"
    )


# -- several ---------------------------------------------------------------------------------------------


def test_never_two_at_a_time_in_order_and_tokens_rise(lasting: ServerProcess, tmp_path: Path) -> None:
    script = "mkdir held || echo both >> bad; echo $COORD_TOKEN >> tokens; rmdir held"
    several = [begin(lasting, "lock", "/busy", "--", "sh", "-c", script, cwd=tmp_path) for _ in range(4)]
    assert [ended(process) for process in several] == [(0, "")] * 4
    assert not (tmp_path / "bad").exists()
    tokens = list(map(int, (tmp_path / "tokens").read_text().split()))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 4
    assert ran(lasting, "lock", "-n", "/busy", "--", "true") == (0, "")  # free right after


def test_who_does_not_wait_is_told_who_has_it(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    holder = begin(lasting, "lock", "/taken", "--data", "ann", "--", *one.command())
    until(one.beats)
    taken = "coord: lock /taken is not free: ann has it\n"
    assert ran(lasting, "lock", "-n", "/taken", "--", "true") == (124, taken)
    assert ran(lasting, "lock", "-w", "0.1", "-E", "9", "/taken", "--", "true") == (9, taken)
    assert ran(lasting, "elect", "-w", "0.1", "/taken", "--", "true") == (
        124,
        "coord: not elected within 0.1 s: ann has it\n",
    )
    shown = subprocess.run(
        [sys.executable, "-m", "coord", "--server", lasting.hosts, "locks", "/taken"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.match(r"holds   exclusive  .*  session 0x[0-9a-f]+  ann\n\Z", shown.stdout)
    holder.send_signal(signal.SIGTERM)
    assert ended(holder)[0] == 143


def test_those_who_share_hold_it_together(lasting: ServerProcess, tmp_path: Path) -> None:
    one, two = Beating(tmp_path, "one"), Beating(tmp_path, "two")
    both = [begin(lasting, "lock", "-s", "/shared", "--", *each.command()) for each in (one, two)]
    until(lambda: one.beats() and two.beats())
    assert ran(lasting, "lock", "-n", "/shared", "--", "true")[0] == 124
    for process in both:
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 143


# -- signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_sent_to_us_is_the_commands(
    lasting: ServerProcess, tmp_path: Path, number: signal.Signals
) -> None:
    script = f"trap 'exit 5' {number.value}; echo > ready; while :; do sleep 0.01; done"
    process = begin(lasting, "lock", "/signals", "--", "sh", "-c", script, cwd=tmp_path)
    until((tmp_path / "ready").exists)
    process.send_signal(number)
    found, err = ended(process)
    assert (found, "coord:" in err) == (5, False)
    assert ran(lasting, "lock", "-n", "/signals", "--", "true") == (0, "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what is ignored from /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(lasting: ServerProcess, number: signal.Signals) -> None:
    """As `nohup` and a script's background jobs have it."""
    lock = f"{sys.executable} -m coord --server {lasting.hosts} lock /ignored -- cat /proc/self/status"
    done = subprocess.run(
        ["sh", "-c", f"trap '' {number.value}; {lock}"], capture_output=True, text=True, check=True
    )
    (ignored,) = re.findall(r"^SigIgn:\s+(\w+)$", done.stdout, re.MULTILINE)
    standard = (1 << 31) - 1  # whoever runs the tests may ignore some of the other signals
    assert int(ignored, 16) & standard == 1 << (number - 1)


def test_while_waiting_it_ends_the_waiting(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    holder = begin(lasting, "lock", "/waiting", "--", *one.command())
    until(one.beats)
    waiter = begin(lasting, "lock", "/waiting", "--", "true")

    async def in_line(zk: coord.Client) -> None:
        while len(await Lock(zk, "/waiting").contenders()) < 2:
            await trio.sleep(0.01)

    async def alone(zk: coord.Client) -> int:
        return len(await Lock(zk, "/waiting").contenders())

    in_session(lasting, in_line)
    waiter.send_signal(signal.SIGHUP)
    assert ended(waiter) == (129, "")
    assert in_session(lasting, alone) == 1
    holder.send_signal(signal.SIGTERM)
    assert ended(holder)[0] == 143


# -- lost ------------------------------------------------------------------------------------------------


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stubborn_family_is_dead_within_the_session_timeout(
    mortal: ServerProcess, tmp_path: Path, how: signal.Signals
) -> None:
    one = Beating(tmp_path, "one")
    lock = ["lock", "--session-timeout", str(SESSION_SECONDS), "/lost"]
    process = begin(mortal, *lock, "--", *one.command("family", "stubborn"))
    until(lambda: all(one.beats(which) for which in ("", "-child", "-job")))
    os.kill(mortal.pid, how)
    silent_since = time.monotonic()
    found, err = ended(process)
    assert found == 123
    assert re.fullmatch(r"coord: .*lock /lost lost: .*; the command was ended\n", err)
    for which in ("", "-child", "-job"):
        assert one.is_dead(which)
        assert one.last(which) < silent_since + SESSION_SECONDS
    print(f"dead {one.last() - silent_since:.2f} s after the server, of {SESSION_SECONDS}")


def test_a_server_that_returns_in_time_disturbs_nobody(mortal: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    process = begin(mortal, "lock", "--session-timeout", "20", "/short", "--", *one.command())
    until(one.beats)
    pid = one.pid()
    mortal.kill()
    mortal.start()
    assert ran(mortal, "lock", "-n", "/short", "--", "true")[0] == 124
    returned = time.monotonic()
    until(lambda: one.last() > returned)
    assert one.pid() == pid
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130


def test_a_command_that_listens_has_its_grace(mortal: ServerProcess, tmp_path: Path) -> None:
    script = "trap 'echo bye > said; exit 0' TERM; echo > ready; while :; do sleep 0.01; done"
    lock = ["lock", "--session-timeout", str(SESSION_SECONDS), "--grace", str(SESSION_SECONDS / 4), "/grace"]
    process = begin(mortal, *lock, "--", "sh", "-c", script, cwd=tmp_path)
    until((tmp_path / "ready").exists)
    mortal.kill()
    assert ended(process)[0] == 123
    assert (tmp_path / "said").read_text() == "bye\n"


def test_frozen_the_command_has_ended_before_the_next_one_begins(
    lasting: ServerProcess, tmp_path: Path
) -> None:
    one, two = Beating(tmp_path, "one"), Beating(tmp_path, "two")
    lock = ["lock", "--session-timeout", str(SESSION_SECONDS), "/frozen"]
    frozen = begin(lasting, *lock, "--", *one.command("stubborn"))
    until(one.beats)
    begin_stamp = f"echo > {tmp_path}/next; exec cat /proc/uptime"
    os.kill(frozen.pid, signal.SIGSTOP)
    following = begin(lasting, *lock, "--", "sh", "-c", begin_stamp, stdout=subprocess.PIPE)
    out, _ = following.communicate(timeout=SECONDS)
    assert following.returncode == 0
    assert one.is_dead()
    began = float(out.split()[0]) + 0.01  # it has hundredths
    assert one.last() < began + (
        time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_BOOTTIME)
    )
    assert not two.beats()
    os.kill(frozen.pid, signal.SIGCONT)
    assert ended(frozen)[0] == 123


def test_killed_it_takes_the_command_along(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    process = begin(
        lasting, "lock", "--session-timeout", "1", "/killed", "--", *one.command("family", "stubborn")
    )
    until(lambda: all(one.beats(which) for which in ("", "-child", "-job")))
    process.kill()
    killed = time.monotonic()
    ended(process)
    for which in ("", "-child", "-job"):
        until(lambda which=which: one.is_dead(which))  # type: ignore[misc]  # a default binds it
        assert one.last(which) < killed + 1.0
    assert ran(lasting, "lock", "/killed", "--", "true") == (0, "")


def test_without_its_guardian_nothing_runs(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    process = begin(lasting, "lock", "/unguarded", "--", *one.command("stubborn"))
    until(one.beats)
    os.kill(guardian_of(process, one), signal.SIGKILL)
    assert ended(process)[0] == 123
    assert one.is_dead()


def guardian_of(process: subprocess.Popen[str], one: Beating) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (guardian,) = (int(pid) for pid in children if int(pid) != one.pid())
    return guardian


@needs_proc
def test_a_guardian_that_was_stopped_is_done_without(mortal: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    lock = ["lock", "--session-timeout", str(SESSION_SECONDS), "/stopped-guardian"]
    process = begin(mortal, *lock, "--", *one.command("family", "stubborn"))
    until(lambda: all(one.beats(which) for which in ("", "-child", "-job")))
    os.kill(guardian_of(process, one), signal.SIGSTOP)
    mortal.kill()
    silent_since = time.monotonic()
    assert ended(process)[0] == 123
    for which in ("", "-child", "-job"):
        assert one.is_dead(which)
        assert one.last(which) < silent_since + SESSION_SECONDS


@needs_proc
def test_what_is_sent_to_the_whole_service_leaves_the_command_its_time(
    lasting: ServerProcess, tmp_path: Path
) -> None:
    """As a service manager, or the end of a container, does it."""
    script = "trap 'sleep 0.2; echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    process = begin(lasting, "lock", "/service", "--", "bash", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGTERM)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (7, "bye\n")
    assert "coord:" not in err


def test_told_to_end_it_holds_until_the_last_has_cleaned_up(lasting: ServerProcess, tmp_path: Path) -> None:
    """The shell is gone at once; its child takes a moment."""
    worker = (
        "trap 'sleep 0.3; cat /proc/uptime > cleaned; exit' TERM; echo > up; while :; do sleep 0.01; done"
    )
    script = f"bash -c '{worker.replace(chr(39), chr(34))}'; true"
    process = begin(lasting, "lock", "/cleaned", "--", "sh", "-c", script, cwd=tmp_path)
    until((tmp_path / "up").exists)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    assert (tmp_path / "cleaned").exists()


def test_a_lock_whose_znode_is_deleted_is_lost_at_once(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    process = begin(lasting, "lock", "/deleted", "--", *one.command("stubborn"))
    until(one.beats)

    async def break_lock(zk: coord.Client) -> None:
        await zk.delete((await Lock(zk, "/deleted").contenders())[0].path)

    in_session(lasting, break_lock)
    found, err = ended(process)
    assert (found, "its znode is gone; the command was ended" in err) == (123, True)
    assert one.is_dead()


def test_asked_to_let_go_it_ends_the_command_in_order(lasting: ServerProcess, tmp_path: Path) -> None:
    script = "trap 'exit 3' TERM; echo > ready; while :; do sleep 0.01; done"
    process = begin(lasting, "lock", "--revocable", "/asked", "--", "sh", "-c", script, cwd=tmp_path)
    until((tmp_path / "ready").exists)

    async def ask(zk: coord.Client) -> int:
        return await Lock(zk, "/asked").request_release()

    assert in_session(lasting, ask) == 1
    found, err = ended(process)
    assert (found, "coord:" in err) == (3, False)
    assert ran(lasting, "lock", "-n", "/asked", "--", "true") == (0, "")


def test_who_keeps_standing_runs_the_command_anew(lasting: ServerProcess, tmp_path: Path) -> None:
    script = "echo $COORD_TOKEN >> tokens; [ -e again ] && exit 6; echo > again; while :; do sleep 0.01; done"
    elect = ["elect", "--keep-standing", "/service"]
    process = begin(lasting, *elect, "--", "sh", "-c", script, cwd=tmp_path)
    until((tmp_path / "again").exists)

    async def depose(zk: coord.Client) -> None:
        await zk.delete((await Election(zk, "/service").contenders())[0].path)

    in_session(lasting, depose)
    found, err = ended(process)
    assert found == 6
    assert err.count("\n") == 1
    assert "leadership of /service lost" in err
    first, second = map(int, (tmp_path / "tokens").read_text().split())
    assert first < second


# -- at a terminal -----------------------------------------------------------------------------------------


def test_an_interactive_shell_has_the_terminal(lasting: ServerProcess) -> None:
    lock = [sys.executable, "-m", "coord", "--server", lasting.hosts, "lock", "/shell", "--"]
    with Terminal([*lock, "bash", "--norc", "--noprofile", "-i"], environment={"PS1": "held> "}) as terminal:
        terminal.wait_for("held>")
        terminal.type("echo path $COORD_LOCK_PATH\r")
        terminal.wait_for("path /shell")
        terminal.type("sleep 1000\r")
        terminal.wait_for(
            lambda: bool(
                subprocess.run(["pgrep", "-f", "^sleep 1000$"], check=False, capture_output=True).stdout
            )
        )
        terminal.type(CTRL_C)
        terminal.type("echo status $?\r")
        terminal.wait_for("status 130")
        terminal.type("exit 4\r")
        assert terminal.wait_end() == 4
        assert "job control" not in terminal.text


def test_what_cannot_be_executed_leaves_the_terminal_to_us(lasting: ServerProcess, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    lock = f"{sys.executable} -m coord --server {lasting.hosts} lock /script --"
    with Terminal(["sh", "-c", f"{lock} {script}; read answer; echo got $answer"]) as terminal:
        terminal.wait_for("cannot be executed")
        terminal.type("this\r")
        terminal.wait_for("got this")
        assert terminal.wait_end() == 0


def test_ctrl_c_at_the_terminal_is_the_commands(lasting: ServerProcess) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    lock = [sys.executable, "-m", "coord", "--server", lasting.hosts, "lock", "/ctrl-c", "--"]
    with Terminal([*lock, "sh", "-c", script]) as terminal:
        terminal.wait_for("ready")
        terminal.type(CTRL_C)
        assert terminal.wait_end() == 5
        assert terminal.text.count("caught") == 1


@pytest.mark.parametrize("tail", ["", " | cat"])
def test_ctrl_z_stops_it_and_fg_goes_on(lasting: ServerProcess, tmp_path: Path, tail: str) -> None:
    one = Beating(tmp_path, "one")
    line = " ".join(
        [sys.executable, "-m", "coord", "--server", lasting.hosts, "lock", "--session-timeout", "20"]
    )
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment={"PS1": "outer> "}) as terminal:
        terminal.wait_for("outer>")
        terminal.type(f"{line} /ctrl-z -- {' '.join(one.command())}{tail}\r")
        until(one.beats)
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        until(one.is_stopped)  # in a pipeline the shell may know of us before the command has come to a stop
        before = one.last()
        terminal.type("fg\r")
        until(lambda: one.last() > before)
        terminal.type(CTRL_C)
        terminal.type("echo status ${PIPESTATUS[0]}\r")
        terminal.wait_for(re.compile(r"status (130|0)"))
        assert one.is_dead()
        terminal.type("exit\r")
        terminal.wait_end()


def test_stopped_for_too_long_it_is_not_continued(lasting: ServerProcess, tmp_path: Path) -> None:
    one = Beating(tmp_path, "one")
    line = " ".join(
        [sys.executable, "-m", "coord", "--server", lasting.hosts, "lock", "--session-timeout", "1"]
    )
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment={"PS1": "outer> "}) as terminal:
        terminal.wait_for("outer>")
        terminal.type(f"{line} /stopped -- {' '.join(one.command('stubborn'))}\r")
        until(one.beats)
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        until(one.is_dead)
        last = one.last()
        assert ran(lasting, "lock", "/stopped", "--", "true") == (0, "")
        terminal.type("fg\r")
        terminal.wait_for("/stopped lost:")
        terminal.type("echo status $?\r")
        terminal.wait_for("status 123")
        assert one.last() == last
        terminal.type("exit\r")
        terminal.wait_end()
