"""The benchmark of the recipes runs, and counts right. How many seconds anything takes is not for a test.

The server is a process of its own, as it is in earnest: the counts are the server's.
"""

from __future__ import annotations

import json
import math

import pytest
import trio
import trio.testing

from benchmarks import recipes
from benchmarks.sample import Counts, Sample, Window
from benchmarks.scenarios import TINY, scenarios
from benchmarks.servers import coord_server
from benchmarks.table import Measured, Row, show


@pytest.mark.trio
async def test_every_scenario_is_measured_with_both_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    async with coord_server() as hosts:
        server, rows = await recipes.measure(hosts, TINY, 1)
    assert "coord" in server
    expected = [(scenario.name, figure.name) for scenario in scenarios(TINY) for figure in scenario.figures]
    assert [(row.scenario, row.figure) for row in rows] == expected
    assert all(side.median for row in rows for side in (row.coord, row.kazoo))

    _check_counts({row.scenario: row for row in reversed(rows)})

    show(rows, {"command": "make it"})
    shown = capsys.readouterr().out
    assert "make it" in shown
    assert [row for row in rows if f"{row.scenario} {row.figure}".strip() not in shown] == []
    assert len(json.loads(json.dumps([row.as_json() for row in rows]))) == len(rows)


def _check_counts(first: dict[str, Row]) -> None:
    """What was counted for each operation, in the first row of each scenario."""
    for name in ("lock, 2 waiters", "lock, 20 waiters", "election, 3 candidates"):
        chain = first[name]
        # One that lets go wakes one, however many wait.
        assert (chain.coord.events_each, chain.kazoo.events_each) == (1, 1), name
        # kazoo's looks who is first, and deletes; ours makes sure, too.
        assert chain.kazoo.requests_each == 2, name
        assert chain.coord.requests_each is not None
        assert 2 < chain.coord.requests_each <= 4, name
    alone = first["lock, uncontended"]
    assert (alone.coord.events_each, alone.kazoo.events_each) == (0, 0)
    assert alone.kazoo.requests_each == 4  # it looks for a znode of its own, creates one, looks, deletes
    assert alone.coord.requests_each is not None
    assert 3 < alone.coord.requests_each <= 5
    put = first["queue, 1 producer"]
    assert (put.coord.requests_each, put.kazoo.requests_each) == (1, 1)


def test_events_are_what_was_sent_beyond_replies() -> None:
    window = Window(Counts(received=10, sent=11, watches=0), Counts(received=14, sent=17, watches=0))
    sample = Sample.of(window, operations=2, seconds=4.0)
    assert (sample.rate, sample.requests_each, sample.events_each) == (0.5, 2, 1)
    both = Sample.sum([sample, sample])
    assert (both.rate, both.requests_each, both.events_each) == (0.5, 2, 1)


def test_a_server_that_does_not_tell_leaves_the_counts_open() -> None:
    silent = Sample.of(Window(None, None), operations=2, seconds=4.0)
    counted = Sample(2, 4.0, requests=4, events=2)
    for sample in (silent, Sample.sum([silent, counted])):
        assert (sample.rate, sample.requests_each, sample.events_each) == (0.5, None, None)


def test_percentiles_are_of_single_operations() -> None:
    sample = Sample(101, 1.0, latencies=tuple(number / 100 for number in range(101)))
    assert math.isclose(sample.percentile(50), 0.5)
    assert math.isclose(sample.percentile(99), 0.99)


@pytest.mark.trio
async def test_what_does_not_come_to_an_end_is_given_up(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play() -> Sample:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    assert await recipes.sample_of(play) is None
    ours = Measured((1234.5,), 0.0123, 3, None)
    show([Row("a lock", "", "/s", 1, ours, recipes.measured([None], lambda sample: sample.rate))], {})
    shown = next(line for line in capsys.readouterr().out.splitlines() if "a lock" in line)
    assert shown.split() == ["a", "lock", "1", "/s", "1,234", "stuck", "12.3", "3.00"]
