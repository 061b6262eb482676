"""Counting, and what a reset forgets."""

from __future__ import annotations

from coord.server.stats import ConnectionStats, ServerStats, Summary
from coord.wire.records import Op


def test_latency_knows_its_extremes() -> None:
    latency = Summary()
    assert latency.average == 0.0
    for ms in (3, 1, 8):
        latency.add(ms)
    assert (latency.low, latency.high, latency.last, latency.count) == (1, 8, 8, 3)
    assert latency.average == 4.0
    latency.add(2, times=3)
    assert (latency.low, latency.high, latency.last, latency.count) == (1, 8, 2, 6)
    assert latency.average == 3.0


def test_resets_forget_all_but_the_time_of_connecting() -> None:
    server = ServerStats(received=3)
    server.replied(5)
    assert (server.sent, server.latency.count) == (1, 1)
    server.reset()
    assert server == ServerStats()
    connection = ConnectionStats(established_ms=17, received=2)
    connection.replied((Op.PING, -2, 9, 5000), 1, 1)
    assert (connection.sent, connection.last_op, connection.last_reply_ms) == (1, Op.PING, 5000)
    assert (connection.last_xid, connection.last_zxid) == (-2, 9)
    connection.reset()
    assert connection == ConnectionStats(established_ms=17)
