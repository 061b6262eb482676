"""A real server as a process on a free port of 127.0.0.1: coord's, or Apache ZooKeeper's from Debian.

Synopsis::

    with ServerProcess(tmp_path, {"snapCount": "200"}) as server:
        server.hosts  # "127.0.0.1:40123"
        server.kill()  # SIGKILL; start() or restart() brings it back on the same port and data

`start` returns once a session could be opened, not when the port is open. The flavour is coord's unless the
environment says ``COORD_TEST_ZOOKEEPER=1`` or the caller names one: the same tests then run against Apache
ZooKeeper, which is how the tests themselves are checked. Output goes to ``server.log`` in the directory.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

import benchmarks.java
from benchmarks.java import ZOOKEEPER, missing_zookeeper

START_SECONDS = 60.0
STOP_SECONDS = 15.0
QUICK_TO_START = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


class Flavour(Enum):
    COORD = "coord"
    ZOOKEEPER = "zookeeper"


def chosen_flavour() -> Flavour:
    """Which server the tests run against, as the environment chooses."""
    return Flavour.ZOOKEEPER if os.environ.get("COORD_TEST_ZOOKEEPER") == "1" else Flavour.COORD


def skip_without_its_server() -> None:
    """Skips the test, with the reason, where it is to run against Apache ZooKeeper and that is missing."""
    if chosen_flavour() is Flavour.ZOOKEEPER and (reason := missing_zookeeper()):
        pytest.skip(reason)


def java_command(
    directory: Path, main_class: str, *properties: str, jars: Sequence[str] = (), classes: Path | None = None
) -> list[str]:
    """The command line that runs `main_class` off Debian's jars (`jars` beside ZooKeeper's) and the folder
    `classes`, with a quiet log on standard error."""
    return benchmarks.java.java_command(
        directory, main_class, *properties, options=QUICK_TO_START, jars=jars, classes=classes
    )


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones: each is held until the last is found."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def serves(port: int, timeout: float = 2.0) -> bool:
    """Does a new session open there? It is closed again at once."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as sock:
            sock.settimeout(timeout)
            sock.sendall(struct.pack(">iiqiqi16sb", 45, 0, 0, 30000, 0, 16, bytes(16), 0))
            reply = sock.recv(41)
            if len(reply) < 20 or struct.unpack_from(">i", reply, 8)[0] <= 0:
                return False
            sock.sendall(struct.pack(">iii", 8, 1, -11))
            return len(sock.recv(20)) > 0
    except OSError:
        return False


class ServerProcess:
    """One standalone server: its directory, its zoo.cfg, its port, and the process while it runs."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, str] | None = None,
        *,
        flavour: Flavour | None = None,
        properties: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        """`config` adds to (or overrides) the keys of zoo.cfg; `properties` are those that Apache ZooKeeper
        reads from Java's system properties only (without "zookeeper."); coord gets them in zoo.cfg. `text` is
        all of zoo.cfg, instead."""
        self.flavour = flavour or chosen_flavour()
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.hosts = f"127.0.0.1:{self.port}"
        self.log = directory / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.started_in = 0.0
        self._text = text
        self._properties = dict(properties or {})
        self.config = {
            "tickTime": "2000",
            "dataDir": str(directory / "data"),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            "maxClientCnxns": "0",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            **(config or {}),
        }

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server is not running"
        return self.process.pid

    def start(self) -> Self:
        """Returns when a session can be opened; raises `RuntimeError` with the end of the log otherwise."""
        began = time.monotonic()
        process = self.spawn()
        while not serves(self.port):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                self.kill()
                raise RuntimeError(f"the {self.flavour.value} server did not start:\n{self.tail()}")
            time.sleep(0.02)
        self.started_in = time.monotonic() - began
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Starts the process, with zoo.cfg as `config` is now, and waits for nothing."""
        assert self.process is None, "the server is running already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def stop(self) -> int:
        """SIGTERM, then waits (SIGKILL if it does not come to an end); returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: what a crash of the process leaves behind."""
        return self._end(signal.SIGKILL)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"the {self.flavour.value} server did not stop:\n{self.tail()}") from None

    def _command(self) -> list[str]:
        lines = dict(self.config)
        if self.flavour is Flavour.COORD:
            lines |= self._properties
        path = self.directory / "zoo.cfg"
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        path.write_text(text if self._text is None else self._text)
        (self.directory / "data").mkdir(exist_ok=True)
        if self.flavour is Flavour.COORD:
            return [sys.executable, "-m", "coord", "serve", str(path)]
        # Most of them begin with "zookeeper."; a few forgot.
        properties = [
            f"-D{prefix}{key}={value}"
            for key, value in self._properties.items()
            for prefix in ("zookeeper.", "")
        ]
        return [*java_command(self.directory, ZOOKEEPER, *properties), str(path)]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
