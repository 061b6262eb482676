"""ZooKeeper's own command line, from Debian's package, in one session against a real server.

`SESSION` pairs each command with what zkCli prints when Apache ZooKeeper 3.8 answers it; zxids and times are
blotted out. ``COORD_TEST_ZOOKEEPER=1`` runs the same session against Apache ZooKeeper. All commands go to
one JVM; after each comes a ``stat`` without a path, for which zkCli prints its usage, and so ends the answer.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from benchmarks.java import missing_zookeeper
from tests.servers import ServerProcess, java_command

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(bool(missing_zookeeper()), reason=missing_zookeeper() or "Apache ZooKeeper is here"),
]

STAT = """cZxid = #
ctime = #
mZxid = #
mtime = #
pZxid = #
cversion = {cversion}
dataVersion = {version}
aclVersion = {aversion}
ephemeralOwner = {owner}
dataLength = {length}
numChildren = {children}"""


def stat(
    cversion: int = 0,
    version: int = 0,
    aversion: int = 0,
    length: int = 0,
    children: int = 0,
    owner: str = "0x0",
) -> str:
    return STAT.format(**locals())


SESSION: list[tuple[str, str]] = [
    ("create /t data", "Created /t"),
    ("create /t data", "Node already exists: /t"),
    ("create -s /t/seq- x", "Created /t/seq-0000000000"),
    ("create -e /t/eph y", "Created /t/eph"),
    ("create -e -s /t/es- z", "Created /t/es-0000000002"),
    ("create -c /t/cont", "Created /t/cont"),
    ("create -t 60000 /t/ttl v", "Created /t/ttl"),
    ("create -s -t 60000 /t/ttl- v", "Created /t/ttl-0000000005"),
    ("create /t/none", "Created /t/none"),
    ("create /t/eph/child", "Ephemerals cannot have children: /t/eph/child"),
    ("create /nope/x", "Node does not exist: /nope/x"),
    ("get /t", "data"),
    ("get -s /t", "data\n" + stat(7, length=4, children=7)),
    ("get /t/none", "null"),
    ("get /nope", "Node does not exist: /nope"),
    ("set -s /t new", stat(7, version=1, length=3, children=7)),
    ("set -v 0 /t wrong", "version No is not valid : /t"),
    ("set -v 1 /t right", ""),
    ("ls /t", "[cont, eph, es-0000000002, none, seq-0000000000, ttl, ttl-0000000005]"),
    ("ls -s /t/none", "[]\n" + stat()),
    ("ls /nope", "Node does not exist: /nope"),
    (
        "ls -R /t",
        "/t\n/t/cont\n/t/eph\n/t/es-0000000002\n/t/none\n/t/seq-0000000000\n/t/ttl\n/t/ttl-0000000005",
    ),
    ("stat /t", stat(7, version=2, length=5, children=7)),
    ("stat /t/eph", stat(length=1, owner="#")),
    ("stat /t/cont", stat()),
    ("getAcl /t", "'world,'anyone\n: cdrwa"),
    ("getAcl -s /t/none", "'world,'anyone\n: cdrwa\n" + stat()),
    ("create /t/mine x auth::cdrwa", "KeeperErrorCode = InvalidACL for /t/mine\nAcl is not valid : /t/mine"),
    ("addauth digest ann:secret", ""),
    ("create /t/mine x auth::cdrwa", "Created /t/mine"),
    ("getAcl /t/mine", "'digest,'ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM=\n: cdrwa"),
    ("setAcl -s /t/none world:anyone:cdrwa,ip:127.0.0.1:r", stat(aversion=1)),
    ("getAcl /t/none", "'world,'anyone\n: cdrwa\n'ip,'127.0.0.1\n: r"),
    ("setAcl -v 9 /t/none world:anyone:r", "version No is not valid : /t/none"),
    ("whoami", "Auth scheme: User\ndigest: ann\nip: 127.0.0.1"),
    ("sync /t", "Sync is OK"),
    ("getEphemerals /t/eph", "[/t/eph]"),
    ("getAllChildrenNumber /t", "8"),
    ("addWatch /t", ""),
    ("create /t/watched", "Created /t/watched"),
    ("create /t/watched/deep", "Created /t/watched/deep"),
    ("removewatches /t", ""),
    ("get -w /t/none", "null"),
    ("set /t/none x", ""),
    ("ls -w /t/watched", "[deep]"),
    ("delete /t/watched/deep", ""),
    ("delete /t", "Node not empty: /t"),
    ("delete -v 9 /t/none", "version No is not valid : /t/none"),
    ("delete /t/none", ""),
    ("delete /t/none", "Node does not exist: /t/none"),
    ("deleteall /t", ""),
    ("ls /", "[zookeeper]"),
    ("ls /zookeeper", "[config, quota]"),
]
EVENTS = [
    ("SyncConnected", "None", "null"),
    ("SyncConnected", "NodeCreated", "/t/watched"),
    ("SyncConnected", "NodeCreated", "/t/watched/deep"),
    ("SyncConnected", "PersistentWatchRemoved", "/t"),
    ("SyncConnected", "NodeDataChanged", "/t/none"),
    ("SyncConnected", "NodeChildrenChanged", "/t/watched"),
    ("Closed", "None", "null"),
]
MARK = "stat [-w] path\n"
_EVENT = re.compile(r"WatchedEvent state:(\w+) type:(\w+) path:(\S+)\n")
_EVENT_LINES = re.compile(r"(?m)^(WATCHER::|WatchedEvent .*|)\n")
"""zkCli prints an event on a thread of its own, so these lines (and empty ones) may stand anywhere."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    properties = {"extendedTypesEnabled": "true"}
    with ServerProcess(tmp_path_factory.mktemp("zkcli"), properties=properties) as process:
        yield process


def printed(server: ServerProcess) -> str:
    """All that zkCli prints during the session; standard error comes in its place."""
    lines = [f"{command}\nstat" for command, _ in SESSION]
    command = java_command(server.directory, "org.apache.zookeeper.ZooKeeperMain")
    return subprocess.run(
        [*command, "-server", server.hosts, "-timeout", "20000"],
        input="\n".join([*lines, "quit", ""]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def normalised(text: str) -> str:
    text = re.sub(r"(?m)^(cZxid|mZxid|pZxid|ctime|mtime) = .*$", r"\1 = #", text)
    text = text.replace("ip: 127.0.0.1\ndigest: ann\n", "digest: ann\nip: 127.0.0.1\n")  # a set: in any order
    return re.sub(r"(?m)^ephemeralOwner = 0x[0-9a-f]{2,}$", "ephemeralOwner = #", text)


def test_a_session_of_zkcli(server: ServerProcess) -> None:
    text = printed(server)
    answers = normalised(_EVENT_LINES.sub("", text)).split(MARK)
    answers[0] = answers[0].partition("JLine support is disabled\n")[2]
    told = dict(enumerate(answer.strip() for answer in answers))
    wrong = [
        f"{command}\n  expected: {expected!r}\n  printed:  {told.get(number)!r}"
        for number, (command, expected) in enumerate(SESSION)
        if told.get(number) != expected
    ]
    assert not wrong, "\n".join([*wrong, text])
    assert _EVENT.findall(text) == EVENTS
