"""Jute: values there and back, the bytes ZooKeeper writes for them, and garbage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire.jute import (
    Reader,
    pack_bool,
    pack_buffer,
    pack_int,
    pack_long,
    pack_ustring,
    pack_vector,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
READS: list[Callable[[Reader], Any]] = [
    Reader.read_byte,
    Reader.read_bool,
    Reader.read_int,
    Reader.read_long,
    Reader.read_buffer,
    Reader.read_ustring,
    Reader.read_string,
    lambda reader: reader.read_vector(reader.read_int),
    lambda reader: reader.read_vector(reader.read_string),
]


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (pack_int(-1), "ff ff ff ff"),
        (pack_int(258), "00 00 01 02"),
        (pack_long(-2), "ff ff ff ff ff ff ff fe"),
        (pack_bool(True), "01"),
        (pack_buffer(None), "ff ff ff ff"),
        (pack_buffer(b""), "00 00 00 00"),
        (pack_buffer(b"ab"), "00 00 00 02 61 62"),
        (pack_ustring("é"), "00 00 00 02 c3 a9"),
        (pack_ustring(None), "ff ff ff ff"),
        (pack_vector([]), "00 00 00 00"),
        (pack_vector([pack_int(1), pack_int(2)]), "00 00 00 02 00 00 00 01 00 00 00 02"),
    ],
)
def test_bytes(packed: bytes, expected: str) -> None:
    assert packed == bytes.fromhex(expected)


@given(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.booleans(),
    st.none() | st.binary(),
    st.none() | TEXT,
    st.lists(TEXT),
)
def test_there_and_back(
    number: int, long: int, flag: bool, buffer: bytes | None, text: str | None, items: list[str]
) -> None:
    data = b"".join(
        [
            pack_int(number),
            pack_long(long),
            pack_bool(flag),
            pack_buffer(buffer),
            pack_ustring(text),
            pack_vector(map(pack_ustring, items)),
        ]
    )
    reader = Reader(data)
    assert reader.read_int() == number
    assert reader.read_long() == long
    assert reader.read_bool() is flag
    assert reader.read_buffer() == buffer
    assert reader.read_ustring() == text
    assert not reader.at_end()
    assert reader.read_vector(reader.read_string) == items
    assert reader.at_end()
    reader.finish()


def test_null_and_empty_vectors_both_read_as_empty() -> None:
    for data in (pack_int(-1), pack_int(0)):
        reader = Reader(data)
        assert reader.read_vector(reader.read_int) == []


@given(st.binary(max_size=40), st.integers(0, 45))
def test_garbage_raises_protocol_error_and_nothing_else(data: bytes, position: int) -> None:
    for read in READS:
        reader = Reader(data, position)
        try:
            read(reader)
        except ProtocolError:
            continue
        assert position < reader.position <= len(data)


@pytest.mark.parametrize(
    ("data", "read", "message"),
    [
        (b"", Reader.read_byte, "has no a byte at byte 0"),
        (b"\0\0\0", Reader.read_int, "has no an int at byte 0"),
        (b"\0\0\0\5abcd", Reader.read_buffer, "buffer of 5 bytes"),
        (b"\xff\xff\xff\xfe", Reader.read_buffer, "buffer of -2 bytes"),
        (b"\0\0\0\1\xff", Reader.read_ustring, "not UTF-8"),
        (b"\xff\xff\xff\xff", Reader.read_string, "null"),
        (b"\x7f\xff\xff\xff", lambda r: r.read_vector(r.read_int), "vector of 2147483647 items"),
        (b"\xff\xff\xff\xfe", lambda r: r.read_vector(r.read_int), "vector of -2 items"),
        (b"\0", Reader.finish, "1 bytes too many at byte 0"),
    ],
)
def test_what_does_not_fit(data: bytes, read: Callable[[Reader], object], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        read(Reader(data))
