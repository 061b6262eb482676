"""What a report looks like, and that it says the same in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.bench.histogram import Histogram
from coord.cli.bench.report import (
    BAR_COLUMNS,
    ROWS_MAX,
    Measured,
    Summary,
    bar,
    drawn,
    duration,
    heading,
    limits,
)
from coord.cli.bench.tally import Tally, kind_of

ROWS = (
    "get: 10 replies in 2.00 s; load generator: 25% of a core",
    "             ops/s      min      p50      p90      p99    p99.9      max  errors",
    "get              5   120 µs   120 µs  1.25 ms  1.25 ms  1.25 ms  1.25 ms       2",
    "  2 x no node",
    "  100 µs -  150 µs  ██████████████████████████████████████            8  80.00%",
)


def tally() -> Tally:
    found = Tally(["get"])
    found.replied(bytes(8), 120_000)
    found.replied(bytes(2), 1_250_000)
    found.failed(bytes(2), kind_of(-101))
    return found


def mixed() -> Measured:
    found = Tally(["get", "set"])
    found.replied(bytes([0, 0, 1]), 1_000_000)
    found.failed(bytes([1]), kind_of(-9999))
    return Measured("mixed", found, 1.0, 0.99, backlog=3, cut_off=True)


def test_a_report_as_a_person_reads_it() -> None:
    lines = Measured("get", tally(), 2.0, 0.25).text().splitlines()
    assert lines[: len(ROWS)] == list(ROWS)
    assert lines[-1].startswith("    1 ms - 1.50 ms  █████████▌ ")


def test_what_is_mixed_has_a_row_for_each_and_trouble_is_told() -> None:
    text = mixed().text()
    assert "3 replies in 1.00 s (ended early)" in text
    assert "the load generator may be what is slow here" in text
    assert "\n- get " in text
    assert "\n- set " in text
    assert "1 x error -9999" in text
    assert "3 requests were due, and never sent" in text


def test_ascii_where_there_is_no_more() -> None:
    text = Measured("get", tally(), 2.0, 0.25, ascii_only=True).text()
    assert text.isascii()
    assert "120 us" in text
    assert "#" * BAR_COLUMNS in text


def test_json_says_the_same() -> None:
    found = json.loads(json.dumps(Measured("get", tally(), 2.0, 0.25).json()))
    histogram = found.pop("histogram_us")
    assert found == {
        "operation": "get",
        "seconds": 2.0,
        "ended_early": False,
        "generator_cpu": 0.25,
        "replies": 10,
        "ops_per_s": 5.0,
        "latency_us": {
            "min": 120.0,
            "mean": 346.0,
            "p50": pytest.approx(120, rel=0.008),
            "p90": 1250.0,
            "p99": 1250.0,
            "p99.9": 1250.0,
            "max": 1250.0,
        },
        "errors": {"no node": 2},
        "never_sent": 0,
    }
    assert [count for _, _, count in histogram] == [8, 2]
    assert histogram[0][0] <= 120 <= histogram[0][1]
    assert set(mixed().json()["of"]) == {"get", "set"}


def test_a_summary_has_a_row_for_each() -> None:
    summary = Summary([Measured("get", tally(), 2.0, 0.25), mixed()])
    names = [line[:9].strip() for line in summary.text().splitlines()]
    assert names == ["", "get", "mixed", "- get", "- set"]
    assert summary.json() == {"summary_ops_per_s": {"get": 5.0, "mixed": 3.0}}


def test_nothing_measured() -> None:
    text = Measured("set", Tally(["set"]), 0.0, 0.0).text()
    assert text.splitlines()[2].split() == ["set", "0", *["-"] * 6, "0"]


def test_a_drawing_has_the_words_of_the_text() -> None:
    measured = Measured("get", tally(), 2.0, 0.25)
    assert measured.drawing().plain == measured.text()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1 µs"),
        (9994, "9.99 µs"),
        (9996, "10.0 µs"),
        (87_240, "87.2 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (1_250_000, "1.25 ms"),
        (999_499_999, "999 ms"),
        (999_600_000, "1.00 s"),
        (12_500_000_000, "12.5 s"),
        (7_200_000_000_000, "7200 s"),
    ],
)
def test_durations_have_three_digits(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=50), st.booleans())
def test_the_rows_have_everything_and_fit_on_a_terminal(values: list[int], ascii_only: bool) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    lines = drawn(histogram, ascii_only=ascii_only)
    assert 1 <= len(lines) <= ROWS_MAX
    assert sum(int(line.split()[-2]) for line in lines) == len(values)
    assert all(len(line) <= 80 for line in [*lines, heading()])
    for line in lines:
        assert ("#" in line or "█" in line or any(one in line for one in "▏▎▍▌▋▊▉")) == (
            line.split()[-2] != "0"
        )


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_limits_are_around_everything(one: int, other: int) -> None:
    least, most = min(one, other), max(one, other)
    edges = limits(least, most)
    assert edges == sorted(set(edges))
    assert edges[0] <= max(least, 10) or least < 10
    assert edges[-1] > most
    assert len(edges) >= 2


@given(st.floats(0, 1), st.integers(1, 100), st.booleans())
def test_a_bar_is_as_long_as_its_share(share: float, columns: int, ascii_only: bool) -> None:
    drawn_bar = bar(share, columns, ascii_only=ascii_only)
    assert len(drawn_bar) <= columns
    assert bool(drawn_bar) == (share > 0)
    assert abs(len(drawn_bar) - share * columns) <= 1
