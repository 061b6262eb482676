"""What members say: there and back, byte by byte, and garbage of every kind that CBOR can express."""

from __future__ import annotations

from typing import Any, get_args

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.limits import RECORD_BYTES_MAX
from coord.wire.frames import FrameTooLarge, pack_frame
from coord.wire.member_codec import (
    FROM_FOLLOWERS,
    FROM_LEADERS,
    VOTES,
    Chunk,
    Message,
    MessageReader,
    frames_of,
)
from coord.wire.members import (
    Ack,
    AckEpoch,
    AckNewLeader,
    Append,
    Commit,
    HandOver,
    Hello,
    Install,
    NewEpoch,
    NewLeader,
    Payload,
    Ping,
    Pong,
    Proposal,
    Standing,
    Truncate,
    Vote,
)

ALL = VOTES | FROM_FOLLOWERS | FROM_LEADERS
LONG = st.integers(0, (1 << 63) - 1)
LONG_OR_NONE_YET = LONG | st.just(-1)
PROPOSALS = st.builds(
    lambda epoch, first, more, payload: Proposal(epoch << 32 | first, epoch << 32 | first + more, payload),
    *(st.integers(0, (1 << 31) - 1), st.integers(1, 1 << 31), st.integers(0, 2000)),
    st.binary(min_size=1, max_size=300),
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Vote, LONG, LONG, LONG_OR_NONE_YET, LONG_OR_NONE_YET, st.sampled_from(Standing)),
    st.builds(Hello, LONG, st.booleans()),
    st.builds(NewEpoch, LONG),
    st.builds(AckEpoch, LONG, LONG, st.sets(LONG, max_size=4).map(sorted).map(tuple), st.booleans()),
    st.builds(Truncate, LONG),
    st.builds(Install, LONG, st.lists(st.binary(max_size=300), max_size=3).map(tuple)),
    st.builds(Append, PROPOSALS),
    st.builds(NewLeader, LONG, LONG),
    st.builds(AckNewLeader, LONG, LONG),
    st.builds(Ack, LONG),
    st.builds(Commit, LONG),
    st.builds(Ping, LONG),
    st.builds(Pong, LONG),
    st.builds(HandOver, LONG),
    st.builds(Payload, st.binary(max_size=300)),
)


def encoded(*messages: Message) -> bytes:
    return b"".join(part for message in messages for frame in frames_of(message) for part in frame)


def decoded(data: bytes, kinds: frozenset[type] = ALL) -> list[Message]:
    return MessageReader(kinds).receive(data)


def frame(*items: Any) -> bytes:
    return pack_frame(cbor2.dumps(list(items)))


def test_every_message_may_be_said_by_somebody() -> None:
    assert {*get_args(Message), Chunk} == ALL
    assert {Payload} == FROM_FOLLOWERS & FROM_LEADERS


@given(st.lists(MESSAGES, max_size=5))
def test_there_and_back(messages: list[Message]) -> None:
    assert decoded(encoded(*messages)) == messages


@given(st.lists(MESSAGES, min_size=1, max_size=3))
def test_byte_by_byte(messages: list[Message]) -> None:
    reader = MessageReader(ALL)
    data = encoded(*messages)
    found: list[Message] = []
    for index in range(len(data)):
        found += reader.receive(data[index : index + 1])
    assert found == messages


@given(MESSAGES)
def test_a_message_is_one_cbor_item_a_frame(message: Message) -> None:
    """Whatever the shortcut for large payloads."""
    for parts in frames_of(message):
        data = b"".join(parts)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert type(cbor2.loads(data[4:])[0]) is int


def test_a_payload_is_not_copied_on_its_way_out() -> None:
    payload = bytes(1 << 20)
    ((_, part),) = frames_of(Append(Proposal(1, 1, payload)))
    assert part is payload


@given(MESSAGES)
def test_whoever_writes_it_otherwise_is_read_as_well(message: Message) -> None:
    """As CBOR has it, with numbers as short as they may be."""
    frames = [cbor2.loads(b"".join(parts)[4:]) for parts in frames_of(message)]
    assert decoded(b"".join(frame(*items) for items in frames)) == [message]


def test_the_largest_record_fits_into_a_frame() -> None:
    message = Append(Proposal(0x7FFFFFFF_FFFFFFFE, 0x7FFFFFFF_FFFFFFFF, bytes(RECORD_BYTES_MAX)))
    assert decoded(encoded(message)) == [message]


@given(MESSAGES)
def test_what_is_not_for_this_side_to_say_is_refused(message: Message) -> None:
    for kinds in (VOTES, FROM_FOLLOWERS, FROM_LEADERS):
        if type(message) in kinds:
            assert decoded(encoded(message), kinds) == [message]
        else:
            with pytest.raises(ProtocolError):
                decoded(encoded(message), kinds)


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for stream in (data, pack_frame(data)):
        try:
            decoded(stream)
        except ProtocolError:
            pass


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_cbor(value: Any) -> None:
    try:
        decoded(pack_frame(cbor2.dumps(value)))
    except ProtocolError:
        pass


@given(st.integers(0, 16), st.lists(ANYTHING, max_size=6))
def test_any_fields(number: int, fields: list[Any]) -> None:
    """What passes is what would be sent."""
    try:
        messages = decoded(frame(number, *fields))
    except ProtocolError:
        return
    assert decoded(encoded(*messages)) == messages


@given(MESSAGES, st.data())
def test_a_message_with_bytes_changed(message: Message, data: st.DataObject) -> None:
    changed = bytearray(encoded(message))
    index = data.draw(st.integers(0, len(changed) - 1))
    changed[index] = data.draw(st.integers(0, 255))
    try:
        messages = decoded(bytes(changed))
    except ProtocolError:
        return
    assert decoded(encoded(*messages)) == messages


@pytest.mark.parametrize(
    "data",
    [
        frame(),
        frame(0),
        frame(99, 1),
        frame(True, 1, 1, 1, 1, 0),
        frame(1, 1, 1, 1, 1, 4),
        frame(1, 1, -1, 1, 1, 0),
        frame(1, 1, 1, -2, 1, 0),
        frame(1, 1, 1, 1, 1),
        frame(2, 1, 1),
        frame(2, 1 << 63, False),
        frame(4, 1, 1, [3, 2], True),
        frame(4, 1, 1, [2, 2], True),
        frame(4, 1, 1, b"", True),
        frame(8, 2, 1, b"x"),
        frame(8, 1, 1, b""),
        frame(8, 1, 1 << 32, b"x"),
        frame(8, 1, 1, "text"),
        frame(11, 1.0),
        frame(11, None),
        frame(11, 1, 2),
        frame(7, 1, 1),
        frame(6, b"chunk") + frame(7, 1, 2),
        frame(6, b"chunk") + frame(7, 1, 0),
        frame(6, b"chunk") + frame(13, 1),
        pack_frame(cbor2.dumps([11, 1]) + b"\0"),
        pack_frame(b"\x82\x0b\x1b" + b"\xff" * 8),
        pack_frame(b"\x82\x0b\x1b" + b"\0" * 7),
        pack_frame(b"\x82\x0b\x1b" + b"\0" * 9),
        pack_frame(b"\x84\x08\x1b" + b"\0" * 7 + b"\1\x1b" + b"\0" * 7 + b"\1\x5a\0\0\0\2x"),
        pack_frame(b"\x84\x08\x1b" + b"\0" * 7 + b"\1\x1b" + b"\0" * 7 + b"\1\x5a\0\0\0\1xx"),
        pack_frame(b"\x84\x08\x1b" + b"\xff" * 8 + b"\x1b" + b"\xff" * 8 + b"\x5a\0\0\0\1x"),
        pack_frame(b"\x82\x0f\x5a\0\0\0\2x"),
        pack_frame(b"\x82\x0f\x5a\0\0\0\1xx"),
        pack_frame(b""),
        pack_frame(b"\x81" * 100_000),
        pack_frame(b"\x82\x0f\x5b\x7f" + b"\xff" * 7),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoded(data)


@pytest.mark.parametrize("length", [-1, 101, 1 << 30])
def test_a_frame_beyond_the_limit_is_refused_before_it_comes(length: int) -> None:
    with pytest.raises(FrameTooLarge):
        MessageReader(ALL, limit=100).receive(length.to_bytes(4, "big", signed=True))
