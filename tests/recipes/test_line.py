"""Names of sequential znodes, and the order they make (pitfalls 9, 11, 12, 13, 21 of lock recipes)."""

from __future__ import annotations

from functools import cmp_to_key
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.line import (
    CURATOR,
    CURATOR_LATCH,
    KAZOO,
    Kind,
    Layout,
    Place,
    ahead_of,
    at_front,
    downgraded,
    foreign_to,
    in_order,
    place_of,
    places,
    serial_distance,
)

HEX = "0123456789abcdef0123456789abcdef"
GUID = UUID(HEX)
DASHED = str(GUID)


def int32(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize(
    ("name", "sequence", "kind", "family"),
    [
        (f"{HEX}__lock__0000000000", 0, Kind.EXCLUSIVE, "kazoo"),
        (f"{HEX}__lock__2147483647", 2**31 - 1, Kind.EXCLUSIVE, "kazoo"),
        # Pitfall 13: after the overflow the server prints a sign, with nine digits or ten.
        (f"{HEX}__lock__-2147483648", -(2**31), Kind.EXCLUSIVE, "kazoo"),
        (f"{HEX}__lock__-000000001", -1, Kind.EXCLUSIVE, "kazoo"),
        (f"{HEX}__rlock__0000000012", 12, Kind.READ, "kazoo"),
        (f"_c_{DASHED}-lock-0000000007", 7, Kind.EXCLUSIVE, "curator mutex"),
        (f"_c_{DASHED}-lock-2000000000", 2_000_000_000, Kind.EXCLUSIVE, "curator mutex"),
        (f"_c_{DASHED}-lock--2000000000", -2_000_000_000, Kind.EXCLUSIVE, "curator mutex"),
        (f"_c_{DASHED}-lock--000000002", -2, Kind.EXCLUSIVE, "curator mutex"),
        (f"_c_{DASHED}-latch-0000000003", 3, Kind.EXCLUSIVE, "curator latch"),
        (f"_c_{DASHED}-__READ__0000000004", 4, Kind.READ, "curator read/write lock"),
        (f"_c_{DASHED}-__WRIT__0000000005", 5, Kind.WRITE, "curator read/write lock"),
        # Neighbours of other libraries: contenders all the same.
        (f"lock-{HEX}-0000000006", 6, Kind.UNKNOWN, "unknown"),
        ("x-4711-0000000008", 8, Kind.UNKNOWN, "unknown"),
        ("x-4711-2000000000", 2_000_000_000, Kind.UNKNOWN, "unknown"),
        ("n_0000000009", 9, Kind.UNKNOWN, "unknown"),
        ("n_-000000009", -9, Kind.UNKNOWN, "unknown"),
        ("n_-2000000000", -2_000_000_000, Kind.UNKNOWN, "unknown"),
        ("0000000010", 10, Kind.UNKNOWN, "unknown"),
        ("-2000000000", -2_000_000_000, Kind.UNKNOWN, "unknown"),
    ],
)
def test_names_of_every_library_are_read(name: str, sequence: int, kind: Kind, family: str) -> None:
    assert place_of(name) == Place(name, sequence, kind, family)


@pytest.mark.parametrize(
    "name", ["lease_holder", "ready", "", HEX, "job-7", "lock-", f"{HEX}__lock__", "n_123456789"]
)
def test_pitfall_21_children_without_a_number_are_ignored(name: str) -> None:
    assert place_of(name) is None


IN_LINE = [
    (layout, kind)
    for layout in (KAZOO, CURATOR, CURATOR_LATCH)
    for kind in layout.markers
    if kind is not Kind.PERMIT
]


@pytest.mark.parametrize(("layout", "kind"), IN_LINE)
@given(guid=st.uuids(), number=st.integers(-(2**31), 2**31 - 1))
def test_what_we_write_we_read(layout: Layout, kind: Kind, guid: UUID, number: int) -> None:
    place = place_of(f"{layout.prefix(guid, kind)}{number:010d}")
    assert place is not None
    assert (place.sequence, place.family) == (number, layout.family(kind))
    assert (place.kind is Kind.READ) == (kind is Kind.READ)  # all that matters for who waits for whom
    assert layout.guid(guid) in place.name


def test_the_layouts_are_the_libraries_own() -> None:
    assert KAZOO.prefix(GUID) == KAZOO.prefix(GUID, Kind.WRITE) == f"{HEX}__lock__"
    assert KAZOO.prefix(GUID, Kind.READ) == f"{HEX}__rlock__"
    assert KAZOO.prefix(GUID, Kind.PERMIT) == HEX
    assert CURATOR.prefix(GUID) == f"_c_{DASHED}-lock-"
    assert CURATOR.prefix(GUID, Kind.READ) == f"_c_{DASHED}-__READ__"
    assert CURATOR.prefix(GUID, Kind.WRITE) == f"_c_{DASHED}-__WRIT__"
    assert CURATOR.prefix(GUID, Kind.PERMIT) == f"_c_{DASHED}-lease-"
    assert CURATOR_LATCH.prefix(GUID) == f"_c_{DASHED}-latch-"
    with pytest.raises(ValueError, match="curator-latch has no read names"):
        CURATOR_LATCH.prefix(GUID, Kind.READ)


@pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)
@given(guid=st.uuids(), number=st.integers(-(2**31), 2**31 - 1))
def test_pitfall_12_a_downgraded_reader_has_its_writers_place(
    layout: Layout, guid: UUID, number: int
) -> None:
    writer = place_of(f"{layout.prefix(GUID, Kind.WRITE)}{number:010d}")
    assert writer is not None
    reader = place_of(downgraded(layout, guid, writer.name))
    assert reader is not None
    assert (reader.sequence, reader.kind, reader.family) == (number, Kind.READ, writer.family)
    assert reader.name.startswith(layout.prefix(guid, Kind.READ))


def kazoo(number: int) -> str:
    return f"{HEX}__lock__{int32(number):010d}"


@given(start=st.integers(-(2**31), 2**31 - 1), steps=st.lists(st.integers(1, 2**20), min_size=1, max_size=20))
def test_pitfall_13_order_survives_the_overflow(start: int, steps: list[int]) -> None:
    numbers = [start]
    for step in steps:
        numbers.append(numbers[-1] + step)
    line = places(kazoo(number) for number in numbers)
    assert in_order(reversed(line)) == line
    for index, mine in enumerate(line):
        assert ahead_of(mine, line) == line[:index][::-1]  # pitfall 9: the nearest first


def test_pitfall_13_text_order_would_be_wrong() -> None:
    older, younger = place_of(kazoo(2**31 - 1)), place_of(kazoo(2**31))
    assert older is not None
    assert younger is not None
    assert younger.name < older.name
    assert ahead_of(younger, [older, younger]) == [older]
    assert ahead_of(older, [older, younger]) == []


def test_pitfall_11_readers_wait_for_writers_only_and_only_for_earlier_ones() -> None:
    line = places(
        ["a__rlock__0000000001", "b__lock__0000000002", "c__rlock__0000000003", "d__lock__0000000004"]
    )
    read1, write2, read3, write4 = line
    assert ahead_of(read1, line) == []
    assert ahead_of(write2, line) == [read1]
    assert ahead_of(read3, line) == [write2]
    assert ahead_of(write4, line) == [read3, write2, read1]


def test_pitfall_12_14_equal_numbers_are_left_to_the_caller() -> None:
    twin, mine, before = places(["a__lock__0000000005", "b__lock__0000000005", "c__lock__0000000004"])
    assert ahead_of(mine, [before, mine, twin]) == [twin, before]
    assert ahead_of(twin, [before, mine, twin]) == [mine, before]


def test_families_that_do_not_exclude_each_other() -> None:
    names = {
        "kazoo": ["a__lock__0000000001", "a__rlock__0000000002"],
        "curator mutex": ["_c_x-lock-0000000003"],
        "curator latch": ["_c_x-latch-0000000004"],
        "curator read/write lock": ["_c_x-__READ__0000000005", "_c_x-__WRIT__0000000006"],
    }
    line = places([name for group in names.values() for name in group] + ["n_0000000007", "lease_holder"])
    for family, ours in names.items():
        strangers = [place.name for place in foreign_to(family, line)]
        assert set(strangers) == {place.name for place in line} - {*ours, "n_0000000007"}
        strict = [place.name for place in foreign_to(family, line, strict=True)]
        assert set(strict) == {*strangers, "n_0000000007"}
    assert {layout.family(kind) for layout, kind in IN_LINE} == set(names)


def test_who_holds() -> None:
    def holders(*names: str) -> list[str]:
        return [place.name for place in at_front(places(names))]

    assert holders() == []
    assert holders("b__lock__0000000002", "a__rlock__0000000003") == ["b__lock__0000000002"]
    assert holders("b__rlock__0000000004", "c__lock__0000000005", "d__rlock__0000000003") == [
        "d__rlock__0000000003",
        "b__rlock__0000000004",
    ]


@given(st.lists(st.sampled_from(["__lock__", "__rlock__"]), max_size=8), st.integers(-(2**31), 2**31 - 1))
def test_holders_are_those_who_wait_for_nobody(markers: list[str], start: int) -> None:
    line = places(f"a{marker}{int32(start + index):010d}" for index, marker in enumerate(markers))
    assert at_front(reversed(line)) == [place for place in line if not ahead_of(place, line)]


@given(a=st.integers(-(2**31), 2**31 - 1), distance=st.integers(-(2**31) + 1, 2**31 - 1))
def test_serial_distance(a: int, distance: int) -> None:
    b = int32(a + distance)
    assert serial_distance(a, b) == distance
    assert serial_distance(b, a) == -distance


@given(st.lists(st.integers(0, 2**30), min_size=1, unique=True), st.integers(-(2**31), 2**31 - 1))
def test_everybody_agrees_on_the_order(offsets: list[int], start: int) -> None:
    line = places(kazoo(start + offset) for offset in offsets)

    def compare(a: Place, b: Place) -> int:
        return serial_distance(b.sequence, a.sequence)

    by_distance = sorted(line, key=cmp_to_key(compare))
    assert in_order(line) == by_distance
    assert [len(ahead_of(place, line)) for place in by_distance] == list(range(len(line)))


@given(st.text())
def test_no_name_is_an_error(name: str) -> None:
    place = place_of(name)
    assert place is None or -(2**31) * 5 < place.sequence < 10**10


def test_an_empty_line() -> None:
    assert in_order([]) == []
