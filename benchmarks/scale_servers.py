"""The servers whose scale is measured: processes that can be killed and started again on the same data.

Owns their zoo.cfg, and when they serve; the processes are `ensembles.Member`s. coord is started through
`benchmarks.watched`, which notes how long its garbage collector stops it and is ``coord serve`` otherwise.
Linux only: it reads /proc.

Synopsis::

    with servers("coord", 1, directory, ["snapCount=20000"]) as (server,):
        server.wait()
        server.kill()
        server.start()
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from benchmarks.ensembles import Member, quiet_ports
from benchmarks.java import missing_zookeeper
from benchmarks.raw import HOST, serves

Flavour = Literal["coord", "zookeeper"]
START_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.02


class ServerProcess(Member):
    def __init__(self, flavour: Flavour, home: Path, port: int) -> None:
        self.flavour = flavour
        self.address = (HOST, port)
        self.pauses_file = home / "pauses"
        watched = (sys.executable, "-m", "benchmarks.watched", str(self.pauses_file))
        super().__init__(flavour, home, port, watched, java_options=("-Xmx3g",))

    def configure(self, line: str) -> None:
        """One more line of zoo.cfg, for the next start."""
        with self.config.open("a", encoding="utf-8") as config:
            config.write(line + "\n")

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until a session opens. Raises `OSError` if that does not come."""
        ends = time.monotonic() + seconds
        while not serves(self.port):
            if self.has_ended() or time.monotonic() > ends:
                raise OSError(f"the server does not serve: {self.last_words()}")
            time.sleep(POLL_SECONDS)

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
    ports = quiet_ports(3 * count)
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
