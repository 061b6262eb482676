"""Requests made and replies read by hand are the same as by their records; the same bytes are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire.brief import pack_path_watch, pack_set_data, read_data_stat, read_event, read_stat
from coord.wire.records import GetDataReply, PathWatchRequest, SetDataRequest, Stat, StatReply, WatcherEvent

INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
DATA = st.none() | st.binary(max_size=12)
STATS = st.builds(Stat, *[LONGS] * 4, *[INTS] * 3, LONGS, INTS, INTS, LONGS)

Read = Callable[[bytes, int], object]


@given(TEXTS, DATA, INTS, st.booleans())
def test_same_requests(path: str, data: bytes | None, version: int, watch: bool) -> None:
    assert pack_set_data(path, data, version) == SetDataRequest(path, data, version).encode()
    assert pack_path_watch(path, watch) == PathWatchRequest(path, watch).encode()


def data_and_stat(frame: bytes, position: int) -> tuple[bytes | None, Stat]:
    reply = GetDataReply.from_bytes(frame, position)
    return reply.data, reply.stat


def stat(frame: bytes, position: int) -> Stat:
    return StatReply.from_bytes(frame, position).stat


def event(frame: bytes, position: int) -> tuple[int, str]:
    record = WatcherEvent.from_bytes(frame, position)
    return record.type, record.path


READERS = [
    pytest.param(st.builds(GetDataReply, DATA, STATS), data_and_stat, read_data_stat, id="data and Stat"),
    pytest.param(st.builds(StatReply, STATS), stat, read_stat, id="Stat"),
    pytest.param(st.builds(WatcherEvent, INTS, INTS, TEXTS), event, read_event, id="event"),
]


def outcome(read: Read, frame: bytes, position: int) -> object:
    try:
        return read(frame, position)
    except ProtocolError:
        return ProtocolError


@pytest.mark.parametrize(("records", "by_record", "by_hand"), READERS)
@given(data=st.data(), before=st.binary(max_size=16), after=st.binary(max_size=3))
def test_same_replies(
    records: st.SearchStrategy[Any],
    by_record: Read,
    by_hand: Read,
    data: st.DataObject,
    before: bytes,
    after: bytes,
) -> None:
    body = data.draw(records).encode()
    for end in range(len(body) + 1):
        frame = before + body[:end]
        assert outcome(by_hand, frame, len(before)) == outcome(by_record, frame, len(before))
    assert by_hand(before + body + after, len(before)) == by_record(before + body, len(before))


@pytest.mark.parametrize(("records", "by_record", "by_hand"), READERS)
@given(frame=st.binary(max_size=100))
def test_same_bytes_refused(
    records: st.SearchStrategy[Any], by_record: Read, by_hand: Read, frame: bytes
) -> None:
    assert outcome(by_hand, frame, 0) == outcome(by_record, frame, 0)
