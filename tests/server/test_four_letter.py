"""The texts, byte for byte as Apache ZooKeeper 3.8 answered with the same clients connected."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from coord.config import Config, Member
from coord.server.four_letter import WORDS, answer, recognise, version_text
from coord.server.stats import ConnectionStats, ServerStats, Summary
from coord.wire.records import Op

ALL = frozenset("*")


@dataclass(frozen=True)
class Connection:
    address: tuple[str, int]
    session_id: int = 0
    timeout_ms: int = 10000
    is_read: bool = True
    outstanding: int = 0
    stats: ConnectionStats = field(default_factory=lambda: ConnectionStats(1795356712926))


@dataclass(frozen=True)
class View:
    config: Config = field(default_factory=lambda: Config(four_letter_whitelist=ALL))
    version: str = "3.8.0-coord0.1.0, built on 2026-01-31"
    environment: Mapping[str, str] = field(default_factory=lambda: {"host.name": "zk1"})
    is_serving: bool = True
    is_read_only: bool = False
    mode: str = "standalone"
    zxid: int = 5
    digest: int = 1234
    uptime_ms: int = 28142
    outstanding: int = 0
    stats: ServerStats = field(default_factory=lambda: ServerStats(12, 11, Summary(11, 30, 1, 8, 3)))
    connections: Collection[Connection] = ()
    node_count: int = 8
    data_size: int = 81
    sessions: Mapping[int, int] = field(default_factory=dict)
    local_sessions: int = 0
    ephemerals: Mapping[int, Collection[str]] = field(default_factory=dict)
    watch_count: int = 4
    watched_paths: Mapping[str, Collection[int]] = field(default_factory=dict)
    disk_bytes: tuple[int, int] = (67109337, 67109338)
    metrics: Mapping[str, str | int | float] = field(default_factory=dict)
    yields: bool = False

    def yield_leadership(self) -> bool:
        return self.yields


SESSION = 0x100001871150000
OTHER = 0x100001871150001
SUMMARY = (
    "Latency min/avg/max: 1/2.7273/8\nReceived: 12\nSent: 11\nConnections: 0\nOutstanding: 0\n"
    "Zxid: 0x5\nMode: standalone\nNode count: 8\n"
)
VERSION = "Zookeeper version: 3.8.0-coord0.1.0, built on 2026-01-31\n"


def two_connections() -> tuple[Connection, Connection]:
    client = ConnectionStats(1795356712926, 7, 7, Op.GET_CHILDREN2, 6, 5, 1629747, Summary(7, 24, 0, 8, 1))
    return (
        Connection(("127.0.0.1", 40816), SESSION, stats=client),
        Connection(("::1", 40864), is_read=False, stats=ConnectionStats(1795356712926, 1)),
    )


def test_srvr() -> None:
    assert answer("srvr", View()) == VERSION + SUMMARY


def test_srvr_of_a_leader_tells_proposal_sizes() -> None:
    metrics = {"last_proposal_size": 101, "min_proposal_size": 48, "max_proposal_size": 101}
    text = answer("srvr", View(mode="leader", metrics=metrics))
    assert text.endswith("Mode: leader\nNode count: 8\nProposal sizes last/min/max: 101/48/101\n")


def test_srvr_of_a_read_only_server() -> None:
    text = answer("srvr", View(mode="read-only", is_read_only=True))
    assert text.startswith(VERSION + "READ-ONLY mode; serving only read-only clients\nLatency")


def test_stat() -> None:
    assert answer("stat", View(connections=two_connections())) == (
        VERSION + "Clients:\n"
        " /127.0.0.1:40816[1](queued=0,recved=7,sent=7)\n"
        " /[::1]:40864[0](queued=0,recved=1,sent=0)\n\n" + SUMMARY.replace("Connections: 0", "Connections: 2")
    )


def test_cons() -> None:
    assert answer("cons", View(connections=two_connections())) == (
        " /127.0.0.1:40816[1](queued=0,recved=7,sent=7,sid=0x100001871150000,lop=GETC,est=1795356712926"
        ",to=10000,lcxid=0x6,lzxid=0x5,lresp=1629747,llat=1,minlat=0,avglat=3,maxlat=8)\n"
        " /[::1]:40864[0](queued=0,recved=1,sent=0)\n\n"
    )


def test_ydld_says_whether_anybody_hands_over() -> None:
    assert answer("ydld", View(yields=True)) == "Sent yield leadership request to leader.\n"
    assert answer("ydld", View()) == "Failed to send yield leadership request to leader.\n"
    assert "not in the whitelist" in answer("ydld", View(Config()))


def test_crst_forgets_all_but_the_time_of_connecting() -> None:
    view = View(connections=two_connections())
    assert answer("crst", view) == "Connection stats reset.\n"
    assert answer("cons", view).splitlines()[0] == (
        " /127.0.0.1:40816[1](queued=0,recved=0,sent=0,sid=0x100001871150000,lop=NA,est=1795356712926"
        ",to=10000,lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)"
    )


def test_srst() -> None:
    view = View()
    assert answer("srst", view) == "Server stats reset.\n"
    assert "Latency min/avg/max: 0/0.0/0\nReceived: 0\nSent: 0\n" in answer("srvr", view)


def test_mntr() -> None:
    view = View(
        sessions={SESSION: 10000, OTHER: 10000},
        ephemerals={SESSION: ["/a/e-0", "/a/e-1"], OTHER: ["/b"]},
        metrics={"peer_state": "following - broadcast", "fsync_count": 3, "avg_fsynctime": 0.25},
        local_sessions=2,
    )
    lines = answer("mntr", view).splitlines()
    assert lines[:3] == [
        "zk_version\t3.8.0-coord0.1.0, built on 2026-01-31",
        "zk_server_state\tstandalone",
        "zk_avg_latency\t2.7273",
    ]
    assert {"zk_ephemerals_count\t3", "zk_global_sessions\t2", "zk_avg_fsynctime\t0.25"} <= set(lines)
    assert {"zk_peer_state\tfollowing - broadcast", "zk_local_sessions\t2"} <= set(lines)
    assert all(re.fullmatch(r"zk_\w+\t\S.*", line) for line in lines)


def test_conf_standalone() -> None:
    config = Config(four_letter_whitelist=ALL, data_dir=Path("/d"), data_log_dir=Path("/l"))
    assert answer("conf", View(config=config)) == (
        "clientPort=2181\nsecureClientPort=-1\ndataDir=/d\ndataDirSize=67109337\ndataLogDir=/l\n"
        "dataLogSize=67109338\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\n"
        "maxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId=0\n"
    )


def test_conf_of_a_member() -> None:
    members = {
        1: Member("127.0.0.1", 23201, 23301),
        2: Member("::1", 23202, 23302, "observer", ("", 2182)),
    }
    config = Config(four_letter_whitelist=ALL, members=members, my_id=1)
    assert answer("conf", View(config=config)).endswith(
        "serverId=1\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=23301\nquorumPort=23201\n"
        "peerType=0\nmembership: \nserver.1=127.0.0.1:23201:23301:participant\n"
        "server.2=[::1]:23202:23302:observer;0.0.0.0:2182\nversion=0"
    )


def test_dump() -> None:
    view = View(
        sessions={SESSION: 10000, OTHER: 4000},
        ephemerals={SESSION: ["/a/e-0000000000"], OTHER: []},
        connections=two_connections(),
    )
    assert answer("dump", view) == (
        "SessionTracker dump:\nGlobal Sessions(2):\n"
        "0x100001871150000\t10000ms\n0x100001871150001\t4000ms\n"
        "ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x100001871150000:\n\t/a/e-0000000000\n"
        "Connections dump:\n\tip: /127.0.0.1:40816 sessionId: 0x100001871150000\n"
        "\tip: /[::1]:40864 sessionId: 0x0\n"
    )


def test_watches() -> None:
    view = View(watched_paths={"/a": [SESSION, OTHER], "/nope": [SESSION]})
    assert answer("wchs", view) == "2 connections watching 2 paths\nTotal watches:3\n"
    assert answer("wchc", view) == "0x100001871150000\n\t/a\n\t/nope\n0x100001871150001\n\t/a\n\n"
    assert (
        answer("wchp", view) == "/a\n\t0x100001871150000\n\t0x100001871150001\n/nope\n\t0x100001871150000\n\n"
    )


def test_short_answers() -> None:
    assert answer("ruok", View()) == "imok"
    assert answer("gtmk", View()) == "306"
    assert answer("hash", View()) == "5: 1234\n"
    assert answer("dirs", View()) == "datadir_size: 67109337\nlogdir_size: 67109338\n"
    assert answer("envi", View()) == f"Environment:\nzookeeper.version={View().version}\nhost.name=zk1\n"


def test_isro() -> None:
    assert answer("isro", View()) == "rw"
    assert answer("isro", View(is_read_only=True)) == "ro"
    assert answer("isro", View(is_serving=False)) == "null"


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_is_recognised_and_answers_to_its_whitelist(word: str) -> None:
    assert recognise(word.encode()) == word
    refused = f"{word} is not executed because it is not in the whitelist.\n"
    assert answer(word, View(config=Config(four_letter_whitelist=frozenset()))) == refused
    assert answer(word, View(config=Config(four_letter_whitelist=frozenset({word})))) != refused


@pytest.mark.parametrize("word", sorted(WORDS))
def test_without_a_quorum_only_some_words_answer(word: str) -> None:
    text = answer(word, View(is_serving=False))
    silent = text == "This ZooKeeper instance is not currently serving requests\n"
    assert silent == (word not in {"ruok", "envi", "isro", "gtmk"})


def test_read_only_mode_allows_isro() -> None:
    config = Config(read_only_mode_enabled=True)
    assert answer("isro", View(config=config)) == "rw"
    assert answer("isro", replace(View(), config=Config())).startswith("isro is not executed")


@pytest.mark.parametrize("first", [b"xxxx", b"GET ", b"\0\0\0\x2d", b"SRVR", b""])
def test_other_bytes_are_no_word(first: bytes) -> None:
    assert recognise(first) is None


def test_clients_find_a_version() -> None:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)-", version_text("0.1.0", "2026-01-31"))
    assert match
    assert tuple(map(int, match.groups())) >= (3, 5, 1)
