"""The names and bytes of queues: whose turn it is, and Curator's framing, whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import CURATOR, KAZOO, BadEntry
from recipes.entries import INT32_MAX, entries_of, first_of, free

kazoo = entries_of(KAZOO, "/q", None)
curator = entries_of(CURATOR, "/q", "/locks")


def test_paths() -> None:
    assert (kazoo.entries, kazoo.taken) == ("/q/entries", "/q/taken")
    assert (curator.entries, curator.taken) == ("/q", "/locks")
    assert entries_of(CURATOR, "/q/", None).taken is None


@given(st.lists(st.integers(-INT32_MAX - 1, INT32_MAX), unique=True))
def test_curators_names_sort_by_priority(priorities: list[int]) -> None:
    names = {curator.prefix(one) + "0000000000": one for one in priorities}
    assert [names[name] for name in free(names, [])] == sorted(priorities)


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, INT32_MAX)), unique=True))
def test_kazoos_names_sort_by_priority_then_by_number(places: list[tuple[int, int]]) -> None:
    names = {f"{kazoo.prefix(priority)}{number:010d}": (priority, number) for priority, number in places}
    assert [names[name] for name in free(names, [])] == sorted(places)


def test_only_entries_that_nobody_has() -> None:
    names = ["entry-100-0000000002", "entry-100-0000000001", "entry-1-0000000003", "other", "entry-100-17"]
    assert free(names, ["entry-100-0000000001", "entry-000-0000000000"]) == ["entry-100-0000000002"]
    delayed = "queue-|000001F4|0000000001"
    odd = ["queue--2147483648", "queue-0000000001", "queue-18000000A0000000001", delayed, "queue-g0000000001"]
    assert free(odd, []) == odd[:3]


def test_the_first_ones_are_of_one_rank() -> None:
    waiting = ["entry-001-0000000005", "entry-001-0000000007", "entry-002-0000000001"]
    assert [first_of(waiting, count) for count in (1, 2, 64)] == [waiting[:1], waiting[:2], waiting[:2]]


@given(st.binary())
def test_frames_come_back(data: bytes) -> None:
    assert curator.unpack(curator.pack(data)) == (data,)
    assert kazoo.unpack(kazoo.pack(data)) == (data,)


def test_a_broken_frame_is_told() -> None:
    whole = bytes.fromhex("00010001 01 00000001 61 01 00000000 02")
    assert curator.unpack(whole) == (b"a", b"")
    for size in range(len(whole)):
        with pytest.raises(BadEntry):
            curator.unpack(whole[:size])
    for broken in ("00010002 02", "00010001 03", "00010001 01 ffffffff 02"):
        with pytest.raises(BadEntry):
            curator.unpack(bytes.fromhex(broken))


@given(st.binary(max_size=40))
def test_garbage_is_told(data: bytes) -> None:
    try:
        curator.unpack(b"\x00\x01\x00\x01" + data)
    except BadEntry:
        pass
