"""Three members started from zoo.cfg as it is written for Apache ZooKeeper 3.8; ports and folders are new.

The text is the distribution's sample, comments and all, with what people add to it for an ensemble. What is
said of it in the log is checked too: an operator should have to read only what matters.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from kazoo.client import KazooClient

from tests.ensemble.processes import HOST, quiet_port
from tests.servers import Flavour, ServerProcess, serves

TEST_SECONDS = 60.0
POLL_SECONDS = 0.02

SAMPLE = """\
# The number of milliseconds of each tick
tickTime=2000
# The number of ticks that the initial
# synchronization phase can take
initLimit=10
# The number of ticks that can pass between
# sending a request and getting an acknowledgement
syncLimit=5
# the directory where the snapshot is stored.
# do not use /tmp for storage, /tmp here is just
# example sakes.
dataDir={home}/data
# Place the dataLogDir to a separate physical disc for better performance
dataLogDir={home}/logs
# the port at which the clients will connect
{client_port}
# the maximum number of client connections.
# increase this if you need to handle more clients
maxClientCnxns=60
#
# Be sure to read the maintenance section of the
# administrator guide before turning on autopurge.
#
# https://zookeeper.apache.org/doc/current/zookeeperAdmin.html#sc_maintenance
#
# The number of snapshots to retain in dataDir
autopurge.snapRetainCount=3
# Purge task interval in hours
# Set to "0" to disable auto purge feature
autopurge.purgeInterval=1

## Metrics Providers
#
# https://prometheus.io Metrics Exporter
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=0.0.0.0
metricsProvider.httpPort=7000
metricsProvider.exportJvmInfo=true

# To avoid seeks ZooKeeper allocates space in the transaction log file in
# blocks of preAllocSize kilobytes.
preAllocSize=65536
snapCount=100000
forceSync=yes
leaderServes=yes
electionAlg=3
cnxTimeout=5
quorumListenOnAllIPs = {listen_on_all}
standaloneEnabled=false
reconfigEnabled=false
snapshot.trust.empty=false
4lw.commands.whitelist=stat, ruok, conf, isro, mntr, srvr
admin.enableServer=true
admin.serverPort=8080

# specify all zookeeper servers
# The first port is used by followers to connect to the leader
# The second one is used for leader election
{servers}
"""

NOTED = {
    "autopurge.purgeInterval",
    "metricsProvider.className",
    "metricsProvider.httpHost",
    "metricsProvider.httpPort",
    "metricsProvider.exportJvmInfo",
    "preAllocSize",
    "cnxTimeout",
    "admin.enableServer",
    "admin.serverPort",
}
"""What coord does otherwise, or not at all, and says so."""


class Ports(NamedTuple):
    peer: int
    election: int
    client: int


AllPorts = Mapping[int, Ports]
Text = Callable[[int, Path, AllPorts], str]
"""of zoo.cfg, for the member with this id and this folder"""


def fill(home: Path, client_port: str, servers: str, *, listen_on_all: str = "false") -> str:
    return SAMPLE.format(home=home, client_port=client_port, servers=servers, listen_on_all=listen_on_all)


def lines(ports: AllPorts, form: str) -> str:
    return "\n".join(f"server.{one}=" + form.format(host=HOST, **at._asdict()) for one, at in ports.items())


def plain(one: int, home: Path, ports: AllPorts) -> str:
    return fill(home, f"clientPort={ports[one].client}", lines(ports, "{host}:{peer}:{election}"))


def with_client_ports(one: int, home: Path, ports: AllPorts) -> str:
    return fill(home, "", lines(ports, "{host}:{peer}:{election}:participant;{host}:{client}"))


def dynamic(one: int, home: Path, ports: AllPorts) -> str:
    """As ZooKeeper itself writes the two files when it has started once."""
    file = home / "zoo.cfg.dynamic.100000000"
    file.write_text(lines(ports, "{host}:{peer}:{election}:participant;0.0.0.0:{client}") + "\n")
    return fill(home, "", f"dynamicConfigFile={file}")


def behind_nat(one: int, home: Path, ports: AllPorts) -> str:
    """Nobody here has the address that its own line says: others reach it there, it listens everywhere."""
    servers = lines(ports, "{host}:{peer}:{election}")
    servers = servers.replace(f"server.{one}={HOST}", f"server.{one}=192.0.2.{one}")
    return fill(home, f"clientPort={ports[one].client}", servers, listen_on_all="true")


@asynccontextmanager
async def three_members(directory: Path, text: Text) -> AsyncIterator[dict[int, ServerProcess]]:
    """Serving; gone at the end."""
    ports = {one: Ports(quiet_port(), quiet_port(), quiet_port()) for one in (1, 2, 3)}
    members: dict[int, ServerProcess] = {}
    with ExitStack() as stack:
        for one in ports:
            home = directory / str(one)
            (home / "data").mkdir(parents=True)
            (home / "data" / "myid").write_text(f"{one}\n")
            member = ServerProcess(home, flavour=Flavour.COORD, text=text(one, home, ports))
            member.port = ports[one].client
            stack.callback(member.kill)
            member.spawn()
            members[one] = member
        for member in members.values():
            while not await trio.to_thread.run_sync(serves, member.port):
                assert member.process is not None
                assert member.process.poll() is None, member.tail()
                await trio.sleep(POLL_SECONDS)
        yield members


def write(hosts: str) -> int:
    """One more znode; how many there are now."""
    zk = KazooClient(hosts, timeout=10)
    zk.start()
    try:
        zk.ensure_path("/zoo")
        zk.create("/zoo/animal-", b"lion", sequence=True)
        return len(zk.get_children("/zoo"))
    finally:
        zk.stop()
        zk.close()


@pytest.mark.trio
@pytest.mark.parametrize("text", [plain, with_client_ports, dynamic, behind_nat])
async def test_an_ensemble_starts_from_a_file_that_was_written_for_zookeeper(
    tmp_path: Path, text: Text
) -> None:
    with trio.fail_after(TEST_SECONDS):
        async with three_members(tmp_path, text) as members:
            for count, member in enumerate(members.values(), 1):
                assert await trio.to_thread.run_sync(write, f"{HOST}:{member.port}") == count
            for one, member in members.items():
                log = member.tail(1000)
                noted = set(re.findall(r"zoo\.cfg:\d+: (\S+): (?:accepted without|coord|there is)", log))
                assert noted == NOTED, log
                assert (tmp_path / str(one) / "logs" / "coord" / "log").is_dir()
