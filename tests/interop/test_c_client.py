"""ZooKeeper's C client: the little shell `cli_mt` of Debian's zookeeper-bin, in one session on a real server.

``COORD_TEST_ZOOKEEPER=1`` runs the same session against Apache ZooKeeper.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ServerProcess, skip_without_its_server

_DEBIAN = "/usr/lib/zookeeper/bin/cli_mt"
CLI = shutil.which("cli_mt") or (_DEBIAN if Path(_DEBIAN).exists() else "")

pytestmark = pytest.mark.skipif(not CLI, reason="cli_mt is not installed (apt-get install zookeeper-bin)")

COMMANDS = """create /c
create +e /c/eph
create +s /c/seq
set /c hello
get /c
ls /c
exists /c/missing
set /c again
delete /c/missing
sync /c
delete /c/eph
exists /the/end
"""
PRINTED = """[/c]: rc = 0
name = /c
[/c/eph]: rc = 0
name = /c/eph
[/c/seq]: rc = 0
name = /c/seq0000000001
/c: rc = 0 Stat:
czxid=#
mzxid=#
version=1 aversion=0
ephemeralOwner = 0
/c: rc = 0
value_len = 5
hello
Stat:
czxid=#
mzxid=#
version=1 aversion=0
ephemeralOwner = 0
/c: rc = 0
eph
seq0000000001
Error -101 for /c/missing
/c: rc = 0 Stat:
czxid=#
mzxid=#
version=2 aversion=0
ephemeralOwner = 0
/c/missing: rc = -101
[/c]: rc = 0
name = /c
/c/eph: rc = 0
Error -101 for /the/end
Watcher CHANGED_EVENT state = CONNECTED_STATE for path /c
Watcher CHILD_EVENT state = CONNECTED_STATE for path /c"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    skip_without_its_server()
    with ServerProcess(tmp_path_factory.mktemp("cli")) as process:
        yield process


def printed(server: ServerProcess) -> list[str]:
    """What cli_mt prints: as many lines as are expected, or all it prints within 20 s."""
    with subprocess.Popen(
        [CLI, server.hosts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        impatience = threading.Timer(20.0, process.kill)
        impatience.start()
        process.stdin.write(COMMANDS)
        process.stdin.flush()
        lines: list[str] = []
        for line in process.stdout:
            lines += normalised(line)
            if len(lines) == PRINTED.count("\n") + 1:
                break
        process.stdin.write("quit\n")
        process.stdin.close()
        process.stdout.read()
        impatience.cancel()
    return lines


def normalised(line: str) -> list[str]:
    """The line without what differs from run to run; nothing if the client says it of its own accord."""
    line = " ".join(line.split())
    noise = r"$|Creating |Watcher SESSION_EVENT|Got a new session|[cm]time ?=|time = |\d{4}-"
    return [] if re.match(noise, line) else [re.sub(r"([cm]zxid=)[0-9a-f]+", r"\1#", line)]


def test_a_session_of_the_c_client(server: ServerProcess) -> None:
    # Synchronous calls, completions and watches print from three threads: what is printed counts, not when.
    assert sorted(printed(server)) == sorted(PRINTED.split("\n"))
