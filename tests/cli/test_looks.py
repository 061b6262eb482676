"""What servers say of themselves, read: coord's answers, Apache ZooKeeper's, half answers and garbage."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from coord.cli.looks import COLUMNS, ORDERS, Glance, Look, Rates, Row, aligned, cells, fitting, rates, read

SRVR = """Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25 08:49 UTC
Latency min/avg/max: 0/1.25/17
Received: 120
Sent: 121
Connections: 3
Outstanding: 2
Zxid: 0x500000007
Mode: leader
Node count: 42
Proposal sizes last/min/max: 32/32/96
"""
MNTR = """zk_version\t3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25 08:49 UTC
zk_server_state\tleader
zk_avg_latency\t1.25
zk_max_latency\t17
zk_min_latency\t0
zk_packets_received\t120
zk_packets_sent\t121
zk_num_alive_connections\t3
zk_outstanding_requests\t2
zk_uptime\t65000
zk_znode_count\t42
zk_watch_count\t5
zk_global_sessions\t4
zk_jvm_pause_time_ms{quantile="0.5"}\tNaN
"""
DENIED = "mntr is not executed because it is not in the whitelist.\n"
NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"

told = read("zk1:2181", SRVR, MNTR, 10.0)


def test_everything_told_is_read() -> None:
    assert told == Look(
        "zk1:2181",
        "leader",
        10.0,
        zxid=0x500000007,
        latency=(0, 1.25, 17),
        connections=3,
        sessions=4,
        outstanding=2,
        znodes=42,
        watches=5,
        received=120,
        sent=121,
        uptime_ms=65000,
        version="3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f",
    )
    assert told.epoch == 5


def test_what_a_server_does_not_tell_is_shown_as_such() -> None:
    denied = read("zk1:2181", SRVR, DENIED, 0.0)
    assert (denied.mode, denied.znodes, denied.sessions, denied.watches) == ("leader", 42, None, None)
    shown = dict(zip(COLUMNS, cells(denied, Rates()), strict=True))
    assert (shown["sessions"], shown["watches"], shown["in/s"], shown["znodes"]) == ("-", "-", "-", "42")
    only_mntr = read("zk1:2181", "srvr is not executed because it is not in the whitelist.\n", MNTR, 0.0)
    assert (only_mntr.mode, only_mntr.latency, only_mntr.zxid) == ("leader", (0, 1.25, 17), None)
    assert Row(denied, Rates(), (0,) * len(COLUMNS)).json()["sessions"] is None


def test_silence_and_waiting() -> None:
    assert read("a:1", "", "", 0.0).mode == "silent"
    assert read("a:1", NOT_SERVING, NOT_SERVING, 0.0).mode == "waiting"
    read_only = read(
        "a:1", "READ-ONLY mode; serving only read-only clients\n" + SRVR.replace("leader", "read-only"), "", 0
    )
    assert read_only.mode == "read-only"


@given(st.text(), st.text())
def test_garbage_is_no_error(srvr: str, mntr: str) -> None:
    found = read("a:1", srvr, mntr, 0.0)
    assert all(isinstance(cell, str) for cell in cells(found, rates(found, found)))


@given(st.text(alphabet="0123456789abcxn/.-e"), st.sampled_from(["Zxid", "Received", "Latency min/avg/max"]))
def test_garbage_in_a_field_is_not_told(value: str, name: str) -> None:
    read("a:1", f"Mode: leader\n{name}: {value}\n", "", 0.0)


def test_what_no_server_would_say_is_not_told() -> None:
    found = read(
        "a:1",
        f"Mode: le\x1b[2Jader{'!' * 5000}\nZxid: 0x{'f' * 9000}\nLatency min/avg/max: nan/inf/1e999\n",
        "zk_version\t\x1b[31m3.8\nzk_uptime\t99999999999999999999999\nzk_znode_count\t42\n",
        0.0,
    )
    assert found.mode.startswith("le[2Jader!")
    assert len(found.mode) < 200
    assert (found.zxid, found.latency, found.uptime_ms, found.version) == (None, None, None, "[31m3.8")
    json.dumps(Row(found, Rates(), ()).json(), allow_nan=False)
    assert cells(found, Rates())


def test_rates_are_of_two_looks() -> None:
    later = read("zk1:2181", SRVR.replace("Received: 120", "Received: 170"), MNTR, 10.5)
    assert rates(later, told) == Rates(received=100.0, sent=0.0)
    assert rates(told, None) == Rates()
    began_anew = read("zk1:2181", SRVR.replace("Received: 120", "Received: 3"), MNTR, 11.0)
    assert rates(began_anew, told).received is None
    assert rates(told, told) == Rates()


def test_the_headline_says_who_leads() -> None:
    def glance(*modes: str) -> str:
        return Glance(tuple((Look(f"s{n}", mode, 0.0), Rates()) for n, mode in enumerate(modes))).headline()

    assert glance("follower", "leader", "silent") == "3 servers, 1 silent; s1 leads"
    assert glance("waiting", "waiting") == "2 servers, 2 waiting; nobody leads"
    assert glance("leader", "leader") == "2 servers; s0 and s1 lead"
    assert glance("standalone") == "1 server"


def test_sorting_puts_those_without_a_value_last() -> None:
    busy, idle, dead = Look("a", "follower", 0.0), Look("b", "leader", 0.0), Look("c", "silent", 0.0)
    all_of_them = Glance(((dead, Rates()), (idle, Rates(1.0)), (busy, Rates(2.0))))
    assert [look.server for look, _ in all_of_them.sorted("requests")] == ["a", "b", "c"]
    assert [look.server for look, _ in all_of_them.sorted("mode")] == ["b", "a", "c"]
    assert [look.server for look, _ in all_of_them.sorted("server")] == ["c", "b", "a"]
    assert all(len(all_of_them.sorted(order)) == 3 for order in ORDERS)


def test_a_narrow_terminal_shows_the_first_columns() -> None:
    rows = [("server", "mode", "zxid"), ("host1:2181", "leader", "0x1")]
    assert [fitting(rows, width) for width in (3, 17, 18, 23, 24, 200)] == [1, 1, 2, 2, 3, 3]
    row = cells(told, Rates(5.0, 12.4))
    assert aligned(row, [len(cell) for cell in row]).startswith("zk1:2181  leader  0x500000007  5  5.0  12")
