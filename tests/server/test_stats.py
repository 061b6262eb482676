"""Counting, and what a reset forgets."""

from __future__ import annotations

import pytest

from coord.server.stats import ConnectionStats, Latency, ServerStats
from coord.wire.records import Op


def test_latency_knows_its_extremes() -> None:
    latency = Latency()
    assert latency.average == 0.0
    for seconds in (0.003, 0.001, 0.008):
        latency.add(seconds)
    assert (latency.low, latency.high, latency.last, latency.count) == (0.001, 0.008, 0.008, 3)
    assert latency.average == pytest.approx(0.004)


def test_resets_forget_all_but_the_time_of_connecting() -> None:
    server = ServerStats(received=3)
    server.replied(0.5)
    assert (server.sent, server.latency.count) == (1, 1)
    server.reset()
    assert server == ServerStats()
    connection = ConnectionStats(established_ms=17, received=2)
    connection.replied(Op.PING, -2, 9, 0.001, now=5.0)
    assert (connection.sent, connection.last_op, connection.last_reply) == (1, Op.PING, 5.0)
    connection.reset()
    assert connection == ConnectionStats(established_ms=17)
