"""Batches: there and back, and garbage of every kind that CBOR can express."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire.ensemble import Batch, Identities, Request
from coord.wire.records import Id, Op

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
WHO: st.SearchStrategy[Identities] = st.lists(st.builds(Id, TEXT, TEXT), max_size=3).map(tuple)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
OPS = st.sampled_from([int(op) for op in Op])
REQUESTS: st.SearchStrategy[list[Request]] = st.lists(
    st.tuples(LONGS, LONGS, OPS, WHO, st.binary(max_size=30)), min_size=1, max_size=8
)
ZXIDS = st.integers(0, (1 << 63) - 1000)


@given(ZXIDS, st.integers(0, 1 << 50), REQUESTS)
def test_there_and_back(first_zxid: int, time_ms: int, requests: list[Request]) -> None:
    batch = Batch(first_zxid, time_ms, requests)
    decoded = Batch.decode(batch.encode())
    assert decoded == batch
    assert len(decoded) == len(requests)
    assert decoded.last_zxid == first_zxid + len(requests) - 1
    assert list(decoded.entries()) == [
        (first_zxid + index, *request) for index, request in enumerate(requests)
    ]


def test_callers_that_are_the_same_are_one_object() -> None:
    """`apply` may then keep what it knows of a caller by identity."""
    ann = (Id("digest", "ann:x"),)
    batch = Batch(1, 2, [(1, 1, 1, who, b"") for who in (ann, (), ann)])
    first, _, last = Batch.decode(batch.encode()).requests
    assert first[3] is last[3]


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    try:
        Batch.decode(data)
    except ProtocolError:
        pass


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.binary(max_size=48)
    | st.binary(min_size=16, max_size=16)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=12,
)
COLUMNS: list[Any] = [1, 2, b"\0" * 16, [], [[["ip", "127.0.0.1"]]], [b"body"]]


@given(ANYTHING)
def test_any_cbor(value: Any) -> None:
    try:
        Batch.decode(cbor2.dumps(value))
    except ProtocolError:
        pass


@given(st.integers(0, 5), ANYTHING)
def test_a_batch_with_one_column_wrong(column: int, value: Any) -> None:
    """What passes must be usable: it has entries, and encodes again."""
    try:
        batch = Batch.decode(cbor2.dumps([*COLUMNS[:column], value, *COLUMNS[column + 1 :]]))
    except ProtocolError:
        return
    assert list(batch.entries())
    assert Batch.decode(batch.encode()) == batch


@pytest.mark.parametrize(
    "data",
    [
        b"\x81" * 100_000,  # deeper than any stack
        b"\x5b\x7f" + b"\xff" * 7,  # a byte string of 2**63 bytes
        b"\x9b\x7f" + b"\xff" * 7,  # an array as long
        b"\xd8\x1d\x00",  # a reference to nothing
        b"\xc0\x61x",  # a date that is none
        b"\x82\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01\x00",  # a decimal of an exponent that none has
        b"\xd8\x40\x41\x00",
    ],
)
def test_cbor_made_to_hurt(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Batch.decode(data)


@pytest.mark.parametrize("time_ms", [1 << 63, 1 << 70, -1 << 70])
def test_a_time_that_no_znode_can_show(time_ms: int) -> None:
    with pytest.raises(ProtocolError):
        Batch.decode(cbor2.dumps([1, time_ms, b"\0" * 20, [], [[["ip", "127.0.0.1"]]], [b"body"]]))


@given(st.data())
def test_a_batch_with_bytes_changed(data: st.DataObject) -> None:
    encoded = bytearray(Batch(1, 2, [(1, 1, 1, (Id("a", "b"),), b"x"), (1, 1, 1, (), b"y")]).encode())
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] = data.draw(st.integers(0, 255))
    try:
        list(Batch.decode(bytes(encoded)).entries())
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "columns",
    [
        [1, 2, b"", [], [], []],
        [1, 2, b"\0" * 15, [], [[]], [b""]],
        [1, 2, b"\0" * 16, [], [], [b""]],
        [1, 2, b"\0" * 16, [1], [[]], [b""]],
        [1, 2, b"\0" * 16, [-1], [[]], [b""]],
        [1, 2, b"\0" * 16, [], [[]], [b"", b""]],
        [1, 2, b"\0" * 16, [], [[]], ["text"]],
        [-1, 2, b"\0" * 16, [], [[]], [b""]],
        [True, 2, b"\0" * 16, [], [[]], [b""]],
        [1 << 64, 2, b"\0" * 16, [], [[]], [b""]],
        [1, 2.5, b"\0" * 16, [], [[]], [b""]],
        [1, 2, b"\0" * 16, [], [[[1, 2]]], [b""]],
        [1, 2, b"\0" * 16, [], [["ab"]], [b""]],
    ],
)
def test_columns_that_do_not_fit(columns: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        Batch.decode(cbor2.dumps(columns))


def test_bytes_after_a_batch_are_refused() -> None:
    encoded = Batch(1, 2, [(1, 1, 1, (), b"")]).encode()
    with pytest.raises(ProtocolError):
        Batch.decode(encoded + b"\0")
