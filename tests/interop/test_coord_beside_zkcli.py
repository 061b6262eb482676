"""The commands of coord beside zkCli's: the same text; and exports between the two servers.

Where coord differs it does so for scripts: `create` prints the path alone, `get` prints nothing for null
data, and errors are one line on standard error with an exit code.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.java import missing_zookeeper
from coord.__main__ import main
from tests.cli.many import create_many
from tests.servers import Flavour, ServerProcess, java_command

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(bool(missing_zookeeper()), reason=missing_zookeeper() or "Apache ZooKeeper is here"),
]

PREPARED = [
    "create /p data",
    "create /p/b",
    "create -s /p/a- x",
    "create /p/a-0000000001/deep",
    "create /p/acl y ip:127.0.0.1:cdrwa,world:anyone:ra",
    "set /p 'two words'",
]
READING = [
    "get /p",
    "get -s /p",
    "get -s /p/a-0000000001",
    "stat /p",
    "ls /",
    "ls /p",
    "ls -s /p",
    "ls -R /p",
    "ls -R /",
    "getAcl /p",
    "getAcl /p/acl",
    "getAcl -s /p/acl",
    "getAllChildrenNumber /p",
    "getEphemerals /p",
    "sync /p",
]
CHANGING = [
    "set -s -v 0 /{} new",
    "set /{} newer",
    "setAcl -s -v 0 /{} world:anyone:cdrwa",
    "setAcl -R /{} world:anyone:cdrwa",
    "delete -v 0 /{}/b",
    "deleteall /{}/a -b 10",
    "deleteall /{}/acl",
    "ls -R /{}",
    "stat /{}",
]
Coord = Callable[[ServerProcess, str], str]
MARK = "stat [-w] path\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Flavour, ServerProcess]]:
    with ExitStack() as stack:
        yield {
            flavour: stack.enter_context(
                ServerProcess(tmp_path_factory.mktemp(flavour.value), flavour=flavour)
            )
            for flavour in Flavour
        }


@pytest.fixture
def coord(capsys: pytest.CaptureFixture[str]) -> Coord:
    """Runs a command of coord, which must succeed; returns what it printed."""

    def run(server: ServerProcess, line: str) -> str:
        assert main(["--server", server.hosts, *shlex.split(line)]) == 0
        return capsys.readouterr().out

    return run


def zkcli(server: ServerProcess, lines: list[str]) -> list[str]:
    """What zkCli prints for each, in one session. A `stat` without a path, for which it prints its usage,
    ends each answer."""
    command = java_command(server.directory, "org.apache.zookeeper.ZooKeeperMain")
    text = subprocess.run(
        [*command, "-server", server.hosts, "-timeout", "20000"],
        input="\n".join([f"{line}\nstat" for line in lines] + ["quit", ""]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    return text.partition("JLine support is disabled\n")[2].split(MARK)[: len(lines)]


def plainly(answer: str) -> str:
    lines = [
        line for line in answer.splitlines() if line and not line.startswith(("WATCHER::", "WatchedEvent"))
    ]
    return "\n".join(lines)


def blotted(answer: str) -> str:
    return re.sub(r"(?m)^(\wZxid|.time) = .*$", r"\1 = #", answer)


@pytest.mark.parametrize("flavour", Flavour)
def test_the_same_commands_print_the_same(
    servers: dict[Flavour, ServerProcess], flavour: Flavour, coord: Coord
) -> None:
    server = servers[flavour]
    for line in PREPARED:
        coord(server, line)
    ours = [plainly(coord(server, line)) for line in READING]
    assert ours == [plainly(answer) for answer in zkcli(server, READING)]
    for root in ("ours", "them"):
        for path in ("", "/a", "/a/x", "/b", "/acl"):
            coord(server, f"create /{root}{path}")
    ours = [blotted(plainly(coord(server, line.format("ours")))) for line in CHANGING]
    theirs = [blotted(plainly(one)) for one in zkcli(server, [line.format("them") for line in CHANGING])]
    assert ours == [answer.replace("/them", "/ours") for answer in theirs]


def test_an_export_goes_from_one_server_to_the_other_and_back(
    servers: dict[Flavour, ServerProcess], tmp_path: Path, coord: Coord
) -> None:
    apache, ours = servers[Flavour.ZOOKEEPER], servers[Flavour.COORD]
    for line in (
        "create /x data",
        "create /x/b",
        "create /x/a 'ä' digest:ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM=:r,world:anyone:ra",
    ):
        coord(apache, line)
    for form in ("json", "cbor"):
        first, second = tmp_path / f"1.{form}", tmp_path / f"2.{form}"
        coord(apache, f"export --format {form} -o {first} /x")
        assert coord(ours, f"import {first} /x-{form}") == f"/x-{form}: 3 created\n"
        coord(ours, f"export --format {form} -o {second} /x-{form}")
        assert coord(apache, f"import {second} /back-{form}") == f"/back-{form}: 3 created\n"
        assert coord(apache, f"export /back-{form}").replace(f"/back-{form}", "/x") == coord(
            apache, "export /x"
        )


def test_thousands_go_to_apache_zookeeper_and_are_deleted_there(
    servers: dict[Flavour, ServerProcess], tmp_path: Path, coord: Coord
) -> None:
    apache, ours = servers[Flavour.ZOOKEEPER], servers[Flavour.COORD]
    paths = create_many(ours.hosts, "/many", 3000, b"x" * 100)
    file = tmp_path / "many"
    coord(ours, f"export -o {file} /many")
    assert coord(apache, f"import {file}") == "/many: 3000 created\n"
    assert coord(apache, "ls -R /many").splitlines() == paths
    assert coord(apache, f"import --on-conflict replace {file}") == "/many: 0 created, 3000 replaced\n"
    coord(apache, "setAcl -R /many world:anyone:cdrwa")
    assert coord(apache, "tree -L 0 /many") == "/many  (100 B; below: 2999 znodes, 292.9 KiB)\n"
    coord(apache, "deleteall /many")
    assert "many" not in coord(apache, "ls /")
