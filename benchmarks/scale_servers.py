"""The servers whose scale is measured: processes that can be killed and started again on the same data.

Owns the processes, their zoo.cfg, and what the system tells of them: resident memory, processor time, the
files they have written. coord is started through `benchmarks.watched`, which notes how long its garbage
collector stops it and is ``coord serve`` otherwise. Linux only: it reads /proc.

Synopsis::

    with servers("coord", 1, directory, ["snapCount=20000"]) as (server,):
        server.wait()
        server.kill()
        server.start()
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from benchmarks.java import ZOOKEEPER, java_command, missing_zookeeper
from benchmarks.wire import Refused, Wire

Flavour = Literal["coord", "zookeeper"]
START_SECONDS: Final = 120.0
END_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
_TICK: Final = os.sysconf("SC_CLK_TCK")
_QUIET_PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections."""


class ServerProcess:
    def __init__(self, flavour: Flavour, home: Path, port: int) -> None:
        self.flavour = flavour
        self.home = home
        self.address = ("127.0.0.1", port)
        self.pauses_file = home / "pauses"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it (again); does not wait."""
        assert self._process is None
        config = self.home / "zoo.cfg"
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _java(self.home, config)
                if self.flavour == "zookeeper"
                else [sys.executable, "-m", "benchmarks.watched", str(self.pauses_file), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def configure(self, line: str) -> None:
        """One more line of zoo.cfg, for the next start."""
        with (self.home / "zoo.cfg").open("a", encoding="utf-8") as config:
            config.write(line + "\n")

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until a session opens. Raises `OSError` if that does not come."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                Wire(self.address, seconds=5).close()
            except (OSError, Refused):
                time.sleep(POLL_SECONDS)
            else:
                return
        raise OSError(f"the server does not serve: {''.join(self.log().splitlines()[-1:]) or 'no log'}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- what the system tells ------------------------------------------------------------------------

    def memory(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self) -> float:
        """Of the process, without its children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def log(self) -> str:
        return (self.home / "server.log").read_text(encoding="utf-8", errors="replace")

    def pauses(self, since: float, until: float) -> list[float]:
        """Seconds of each pause of the garbage collector that began in between, on the monotonic clock."""
        try:
            lines = self.pauses_file.read_text(encoding="ascii").splitlines()
        except OSError:
            return []
        pairs = [(float(at), float(length)) for at, length in map(str.split, lines)]
        return [length for at, length in pairs if since <= at < until]


@contextmanager
def servers(
    flavour: Flavour, count: int, directory: Path, more: Sequence[str] = (), observers: int = 0
) -> Iterator[list[ServerProcess]]:
    """`count` members (the last `observers` of them do not vote), started; `more` are lines of zoo.cfg."""
    ports = _free_ports(3 * count)
    members = []
    for index in range(count):
        home = directory / f"{flavour}-{index + 1}"
        home.mkdir(parents=True)
        lines = [
            *("tickTime=2000", "initLimit=30", "syncLimit=15", f"dataDir={home / 'data'}"),
            *(f"clientPort={ports[index]}", "clientPortAddress=127.0.0.1", "maxClientCnxns=0"),
            *("admin.enableServer=false", "4lw.commands.whitelist=*", *more),
        ]
        if count > 1:
            lines += ["peerType=observer"] if index >= count - observers else []
            for one in range(count):
                role = ":observer" if one >= count - observers else ""
                lines.append(
                    f"server.{one + 1}=127.0.0.1:{ports[count + one]}:{ports[2 * count + one]}{role}"
                )
        (home / "data").mkdir()
        (home / "data" / "myid").write_text(f"{index + 1}\n", encoding="ascii")
        (home / "zoo.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
        members.append(ServerProcess(flavour, home, ports[index]))
    try:
        for member in members:
            member.start()
        yield members
    finally:
        for member in members:
            member.kill()


def is_installed(flavour: Flavour) -> bool:
    return flavour == "coord" or (not missing_zookeeper())


def _java(home: Path, config: Path) -> list[str]:
    return [*java_command(home, ZOOKEEPER, options=["-Xmx3g"]), str(config)]


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in _QUIET_PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("not enough free ports on 127.0.0.1")
