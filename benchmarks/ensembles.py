"""Servers as processes, coord's or Apache ZooKeeper's, alone or three that agree: both from one zoo.cfg.

Owns the processes and their directory, and what an operator can see of them: who leads, their memory and
their processor time. Both kinds write to the disk before they acknowledge, as they do in production.

The ports are not of the range from which the system takes those of outgoing connections: a member that keeps
trying the port of one that is away would sooner or later be given that very port, and be connected to itself.

Synopsis::

    with Ensemble.temporary("coord", 3) as ensemble:
        ensemble.hosts  # "127.0.0.1:12001,127.0.0.1:12002,127.0.0.1:12003"
        ensemble.leader().kill()
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from benchmarks.java import ZOOKEEPER, java_command, missing_zookeeper
from benchmarks.raw import HOST, serves, word

START_SECONDS: Final = 60.0
END_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.01
QUIET_PORTS: Final = range(10_000, 32_000)
JAVA_OPTIONS: Final = ("-Xmx1000m",)
"""ZooKeeper's own zkServer.sh starts it so."""

COORD, APACHE = "coord", "zookeeper"
COORD_COMMAND: Final = (sys.executable, "-m", "coord", "serve")


class Member:
    """One server: its directory, its port, and its process while it runs."""

    def __init__(
        self,
        kind: str,
        directory: Path,
        port: int,
        command: Sequence[str] = COORD_COMMAND,
        java_options: Sequence[str] = JAVA_OPTIONS,
    ) -> None:
        self.port = port
        self.config = directory / "zoo.cfg"
        self._kind, self._directory, self._command = kind, directory, command
        self._java_options = java_options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> None:
        """Returns before it serves."""
        command = [*self._command, str(self.config)]
        if self._kind == APACHE:
            command = [
                *java_command(self._directory, ZOOKEEPER, options=self._java_options),
                str(self.config),
            ]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log().splitlines()
        return lines[-1] if lines else "no log"

    def log(self) -> str:
        return (self._directory / "server.log").read_text(encoding="utf-8", errors="replace")

    def leads(self) -> bool:
        """By its own word; a single server does."""
        return re.search(r"^Mode: (leader|standalone)$", word(self.port, "srvr"), re.MULTILINE) is not None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Returns when no thread of it runs any more."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """That its process has used, all threads; with what it left to the system to do."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


class Ensemble:
    """`size` members on free ports; started on entering the block, and gone when it ends."""

    def __init__(
        self,
        kind: str,
        size: int,
        directory: Path,
        *,
        config: Mapping[str, str] | None = None,
        command: Sequence[str] = COORD_COMMAND,
    ) -> None:
        """`config` adds to each zoo.cfg, or overrides. `command` starts coord's, if need be otherwise than
        as it is started in production. Raises `OSError` where this kind cannot run."""
        if kind == APACHE and (reason := missing_zookeeper()):
            raise OSError(f"Apache ZooKeeper cannot run: {reason}")
        self.started_in = 0.0
        """seconds until all members served"""
        ports = quiet_ports(3 * size)
        self.members = []
        voters = {
            f"server.{number + 1}": f"{HOST}:{ports[size + number]}:{ports[2 * size + number]}"
            for number in range(size if size > 1 else 0)
        }
        for number in range(size):
            home = directory / f"{kind}{number + 1}"
            (home / "data").mkdir(parents=True)
            (home / "data" / "myid").write_text(f"{number + 1}\n")
            keys = _keys(home / "data", ports[number]) | voters | dict(config or {})
            (home / "zoo.cfg").write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
            self.members.append(Member(kind, home, ports[number], command))
        self.hosts = ",".join(f"{HOST}:{member.port}" for member in self.members)

    @classmethod
    @contextmanager
    def temporary(
        cls,
        kind: str,
        size: int,
        *,
        config: Mapping[str, str] | None = None,
        command: Sequence[str] = COORD_COMMAND,
    ) -> Iterator[Self]:
        """One that runs in the block, in a directory of its own that goes with it."""
        with tempfile.TemporaryDirectory(prefix=f"{kind}-") as directory:
            ensemble = cls(kind, size, Path(directory), config=config, command=command)
            try:
                ensemble.start()
                yield ensemble
            finally:
                for member in ensemble.members:
                    member.kill()

    def start(self) -> None:
        """Returns when every member serves; raises `OSError` if one does not."""
        began = time.monotonic()
        for member in self.members:
            member.start()
        self.until_all_serve()
        self.started_in = time.monotonic() - began

    def until_all_serve(self) -> None:
        """A session opens at each. Raises `OSError` if one has ended, or takes too long."""
        ends = time.monotonic() + START_SECONDS
        for member in self.members:
            while not serves(member.port):
                if member.has_ended() or time.monotonic() > ends:
                    raise OSError(f"a server does not serve: {member.last_words()}")
                time.sleep(POLL_SECONDS)

    def leader(self) -> Member:
        """Who leads; waits until somebody does. Raises `OSError` if that takes too long."""
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            for member in self.members:
                if not member.has_ended() and member.leads():
                    return member
            time.sleep(POLL_SECONDS)
        raise OSError("nobody leads")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody runs in the block; what is sent to them meanwhile waits in their sockets."""
        try:
            for member in self.members:
                member.pause()
            yield
        finally:
            for member in self.members:
                member.resume()

    def cpu_seconds(self) -> float:
        return sum(member.cpu_seconds() for member in self.members)

    def memory_bytes(self) -> int:
        """Of the largest member."""
        return max(member.memory_bytes() for member in self.members)


def _keys(data: Path, port: int) -> dict[str, str]:
    return {
        "tickTime": "2000",
        "initLimit": "10",
        "syncLimit": "5",
        "dataDir": str(data),
        "clientPort": str(port),
        "clientPortAddress": HOST,
        "maxClientCnxns": "0",
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
    }


def quiet_ports(count: int) -> list[int]:
    """So many different free ones: each is held until the last is found."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.sample(QUIET_PORTS, len(QUIET_PORTS)):
            with suppress(OSError):
                probe = stack.enter_context(socket.socket())
                probe.bind((HOST, port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} ports of {HOST} are free")
