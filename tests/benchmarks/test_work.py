"""The server does not do more for a request than it did: calls, system calls, bytes and objects are counted.

How many seconds anything takes is not for a test; work is, since it does not depend on the machine. What is
expected is the table ``benchmarks/work.txt``; a failure says what grew, and how to expect it from now on.
"""

from __future__ import annotations

import pytest

from benchmarks import work
from benchmarks.work import (
    EXPECTED,
    LOADS,
    SIZES,
    Measured,
    complaints,
    grown,
    measure,
    read_table,
    write_table,
)


@pytest.mark.parametrize("members", SIZES)
def test_the_server_does_no_more_than_expected(members: int) -> None:
    measured = measure(members)
    assert list(measured) == [load.name for load in LOADS]
    table = read_table(EXPECTED.read_text(encoding="utf-8"))
    if lines := complaints(SIZES[members], measured, table):
        pytest.fail("\n".join(lines), pytrace=False)

    # The counting itself: each of these is received and answered alone, and durable before it is.
    alone = measured["lone writes"].work
    assert alone["receives from clients"] == alone["sends to clients"] == 1000
    assert alone["file bytes"] >= members * 1000 * 100
    assert (alone["bytes to members"] >= 2 * 1000 * 100) == (members > 1)
    assert measured["lone reads"].work["syncs"] == 0


def test_the_table_is_whole() -> None:
    text = EXPECTED.read_text(encoding="utf-8")
    table = read_table(text)
    assert list(table) == list(SIZES.values())
    assert all(list(loads) == [load.name for load in LOADS] for loads in table.values())
    assert write_table(table) == text


def test_what_grew_is_told_with_its_size_and_what_to_do() -> None:
    table = {"one server": {"lone reads": {"syncs": 1000.0, "waits": 2000.0, "sends to clients": 50.0}}}
    now = {"syncs": 2000.0, "waits": 2400.0, "sends to clients": 55.0}
    lines = complaints("one server", {"lone reads": Measured(now, {"flush": 7000, "poll": 3})}, table)
    assert lines[:3] == [
        "one server, lone reads:",
        "  syncs: 2,000 for 1,000 requests; expected 1,000",
        "  called most: flush 7,000, poll 3",
    ]
    assert "--update" in lines[-1]
    assert (
        complaints("one server", {"lone reads": Measured(table["one server"]["lone reads"], {})}, table) == []
    )


@pytest.mark.parametrize(
    ("name", "now", "expected", "too_much"),
    [
        ("syncs", 1201, 1000, True),
        ("syncs", 1200, 1000, False),
        ("syncs", 0, 1000, False),
        ("syncs", work.SLACK_ELSE, 0, False),
        ("syncs", work.SLACK_ELSE + 1, 0, True),
        ("C calls", 1000, 0, False),
        ("C calls", 1001, 0, True),
        ("objects kept", 400, -10, False),
        ("a count that is new", 1000, 0, True),
    ],
)
def test_a_fifth_more_is_too_much_unless_it_is_little(
    name: str, now: float, expected: float, *, too_much: bool
) -> None:
    assert grown(name, now, expected) is too_much
