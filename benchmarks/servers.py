"""The server that is measured: coord's as a process of its own, Apache ZooKeeper, or one that runs already.

Owns the process, which ends with the block, and its data, which goes with it. Both kinds write to the disk
before they acknowledge, as they do in production. Where to find Apache ZooKeeper is Debian's word: its jars
are in /usr/share/java.

Synopsis::

    async with coord_server() as hosts:  # "127.0.0.1:12345"
        ...
    with zookeeper_server() as hosts:
        ...
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.sample import Counters
from coord.testing import local_ensemble

TICK_SECONDS: Final = 10.0
"""Sessions may last twenty of them: see `recipes.SESSION_SECONDS`."""
START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1

_JAVA: Final = Path("/usr/share/java")
_JARS: Final = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-log4j12", "log4j-1.2", "netty", "netty-all"),
    *(
        "snappy-java",
        "metrics-core",
        "jackson-databind",
        "jackson-core",
        "jackson-annotations",
        "commons-cli",
    ),
)
_LOGGING: Final = """\
log4j.rootLogger=WARN, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d %p %c %m%n
"""


@asynccontextmanager
async def coord_server() -> AsyncIterator[str]:
    """A single coord server, where it listens."""
    async with local_ensemble(1, tick_time=TICK_SECONDS) as ensemble:
        yield ensemble.connect_string


@contextmanager
def zookeeper_server() -> Iterator[str]:
    """A single Apache ZooKeeper, where it listens. Raises `OSError` if it is not installed or does not
    start."""
    if shutil.which("java") is None or not (_JAVA / "zookeeper.jar").exists():
        raise OSError(f"Apache ZooKeeper needs java, and its jars in {_JAVA} (apt-get install zookeeper)")
    with tempfile.TemporaryDirectory(prefix="zookeeper-") as name:
        port, log = _free_port(), Path(name, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(Path(name), port), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            _wait_until_it_serves(process, port, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def zookeeper_classpath() -> str:
    """Its jars; "" where they are not installed."""
    return ":".join(str(_JAVA / f"{jar}.jar") for jar in _JARS) if (_JAVA / "zookeeper.jar").exists() else ""


def _command(directory: Path, port: int) -> list[str]:
    config, logging = directory / "zoo.cfg", directory / "log4j.properties"
    config.write_text(
        f"tickTime={round(TICK_SECONDS * 1000)}\ndataDir={directory / 'data'}\nclientPort={port}\n"
        "clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n"
    )
    logging.write_text(_LOGGING)
    return [
        *("java", "-Xmx512m", f"-Dlog4j.configuration=file:{logging}"),
        *("-cp", zookeeper_classpath()),
        *("org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)),
    ]


def _wait_until_it_serves(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            if Counters(f"127.0.0.1:{port}").read():
                return
        except OSError:
            pass
        time.sleep(POLL_SECONDS)
    last = log.read_text(errors="replace").splitlines()[-1:]
    raise OSError(f"Apache ZooKeeper did not start: {''.join(last) or 'no log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
