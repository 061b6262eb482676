"""What replicas say to each other: there and back, and garbage is refused."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.server.replica_messages import (
    Alive,
    Forward,
    Keep,
    Message,
    Serve,
    Served,
    Sync,
    Synced,
    decode,
    encode,
)
from tests.wire.test_ensemble import ANYTHING, LONGS, REQUESTS

IDS = st.lists(LONGS, max_size=5).map(tuple)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Forward, REQUESTS),
    *(st.builds(kind, IDS) for kind in (Alive, Serve, Served, Keep)),
    st.builds(Sync, LONGS),
    st.builds(Synced, LONGS, LONGS),
)


@given(MESSAGES)
def test_there_and_back(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError:
        pass


@given(st.sampled_from(["forward", "alive", "serve", "served", "keep", "sync", "synced"]), ANYTHING)
def test_any_content(kind: str, value: Any) -> None:
    """What passes is usable: it can be said again."""
    try:
        message = decode(cbor2.dumps([kind, value]))
    except ProtocolError:
        return
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [b"\0" * 20, [], [[]]],
        [b"\0" * 20, [], [[]], [b""], 1],
        [b"\0" * 19, [], [[]], [b""]],
        [b"\0" * 20, [], [], [b""]],
        [b"\0" * 20, [], [[]], [b"", b""]],
        [b"\0" * 20, [], [[]], ["text"]],
        [b"\0" * 20, [1], [[]], [b""]],
        [b"\0" * 20, [-1], [[]], [b""]],
        [b"\0" * 20, "0", [[]], [b""]],
        [b"\0" * 20, [], [[["ip", 1]]], [b""]],
        [b"\0" * 20, [], [["ip"]], [b""]],
    ],
)
def test_columns_that_do_not_fit(columns: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        decode(cbor2.dumps(["forward", columns]))


@pytest.mark.parametrize(
    "data",
    [
        b"\x81" * 100_000,  # deeper than any stack
        b"\x82\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\x01\x00",  # a decimal of an exponent that none has
    ],
)
def test_cbor_made_to_hurt(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)
