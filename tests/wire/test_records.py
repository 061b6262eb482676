"""Every record there and back, the bytes of real messages, and garbage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire import records
from coord.wire.frames import FrameBuffer, pack_frame
from coord.wire.jute import Reader
from coord.wire.records import (
    ACL,
    MULTI_READ_OPS,
    MULTI_WRITE_OPS,
    REPLY_OF,
    REQUEST_OF,
    AddWatchRequest,
    Codec,
    ConnectReply,
    ConnectRequest,
    CreateRequest,
    DeleteRequest,
    ErrorReply,
    GetDataReply,
    Id,
    Op,
    PathReply,
    PathStatReply,
    PathWatchRequest,
    Record,
    ReplyHeader,
    RequestHeader,
    SetDataRequest,
    SetWatches2Request,
    Stat,
    StatReply,
    WatcherEvent,
    decode_connect_reply,
    decode_connect_request,
    decode_multi,
    decode_multi_reply,
    encode_multi,
    encode_multi_failure,
    encode_multi_reply,
    pack_reply_header,
)

# -- a strategy for each codec, and so for each record ----------------------------------------------------

INTS = st.integers(-(1 << 31), (1 << 31) - 1)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.builds(Id, TEXT, TEXT)
STATS = st.builds(Stat, *[LONGS] * 4, *[INTS] * 3, LONGS, INTS, INTS, LONGS)


def codec_of(annotated: Any) -> Codec:
    codec: Codec = annotated.__metadata__[0]
    return codec


VALUES: dict[Codec, st.SearchStrategy[Any]] = {
    codec_of(records.Int): INTS,
    codec_of(records.Long): LONGS,
    codec_of(records.Bool): st.booleans(),
    codec_of(records.Buffer): st.none() | st.binary(max_size=50),
    codec_of(records.String): TEXT,
    codec_of(records.NullableString): st.none() | TEXT,
    codec_of(records.Strings): st.lists(TEXT, max_size=5),
    codec_of(records.Acls): st.lists(st.builds(ACL, INTS, IDS), max_size=4),
    codec_of(records.Ids): st.lists(IDS, max_size=4),
    codec_of(records.ZnodeStat): STATS,
}
RECORDS: list[type[Record]] = Record.__subclasses__()


def any_of(cls: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(cls, *[VALUES[codec] for codec in cls.CODECS])


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_there_and_back_byte_by_byte(cls: type[Record], data: st.DataObject) -> None:
    record = data.draw(any_of(cls))
    encoded = record.encode()
    assert cls.from_bytes(encoded) == record
    buffer, frames = FrameBuffer(100_000), []
    packed = pack_frame(encoded)
    for index in range(len(packed)):
        buffer.receive(packed[index : index + 1])
        frames += list(buffer.frames())
    assert [cls.from_bytes(frame) for frame in frames] == [record]


@pytest.mark.parametrize("cls", [cls for cls in RECORDS if cls.FIELDS], ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_cut_short_is_refused_and_later_fields_are_ignored(cls: type[Record], data: st.DataObject) -> None:
    value = data.draw(any_of(cls))
    encoded = value.encode()
    for size in range(len(encoded)):
        with pytest.raises(ProtocolError):
            cls.from_bytes(encoded[:size])
    assert cls.from_bytes(encoded + b"later fields") == value


@given(data=st.binary(max_size=120))
def test_garbage_raises_protocol_error_and_nothing_else(data: bytes) -> None:
    for cls in RECORDS:
        try:
            cls.from_bytes(data).encode()
        except ProtocolError:
            pass
    for decode in (decode_connect_request, decode_connect_reply, decode_multi_reply):
        try:
            decode(data)
        except ProtocolError:
            pass
    for allowed in (MULTI_READ_OPS, MULTI_WRITE_OPS):
        try:
            decode_multi(data, allowed)
        except ProtocolError:
            pass


def test_every_opcode_that_takes_a_record_has_one() -> None:
    without = {Op.NOTIFICATION, Op.MULTI, Op.MULTI_READ, Op.RECONFIG, Op.SASL, Op.ERROR}
    without |= {Op.SET_SECRET, Op.ENABLE_TTL, Op.NOTHING}
    assert set(Op) - set(REQUEST_OF) == without
    internal = {Op.CREATE_SESSION, Op.DELETE_CONTAINER}
    assert set(REQUEST_OF) - set(REPLY_OF) == internal
    assert set(REPLY_OF) - set(REQUEST_OF) == {Op.ERROR}
    assert set(REQUEST_OF) >= MULTI_READ_OPS | MULTI_WRITE_OPS


# -- bytes of real messages -------------------------------------------------------------------------------

WORLD = [ACL(31, Id("world", "anyone"))]
STAT = Stat(0x100000002, 0x100000003, 1700000000000, 1700000000001, 1, 2, 0, 0, 5, 2, 0x100000004)
STAT_HEX = (
    "0000000100000002 0000000100000003 0000018bcfe56800 0000018bcfe56801"
    "00000001 00000002 00000000 0000000000000000 00000005 00000002 0000000100000004"
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RequestHeader(1, Op.CREATE), "00000001 00000001"),
        (RequestHeader(-2, Op.PING), "fffffffe 0000000b"),
        (ReplyHeader(7, 0x100000002, -101), "00000007 0000000100000002 ffffff9b"),
        (
            CreateRequest("/a", b"hi", WORLD, 1),
            "00000002 2f61 00000002 6869 00000001 0000001f00000005 776f726c64 00000006 616e796f6e65 00000001",
        ),
        (CreateRequest("/a", None, [], 0), "00000002 2f61 ffffffff 00000000 00000000"),
        (DeleteRequest("/a", -1), "00000002 2f61 ffffffff"),
        (PathWatchRequest("/", True), "00000001 2f 01"),
        (StatReply(STAT), STAT_HEX),
        (GetDataReply(b"hello", STAT), "00000005 68656c6c6f" + STAT_HEX),
        (WatcherEvent(3, 3, "/a"), "00000003 00000003 00000002 2f61"),
        (AddWatchRequest("/a", 1), "00000002 2f61 00000001"),
        (
            SetWatches2Request(1, ["/d"], [], [], [], ["/r"]),
            "0000000000000001 00000001 00000002 2f64 00000000 00000000 00000000 00000001 00000002 2f72",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Record) else "",
)
def test_bytes_on_the_wire(record: Record, expected: str) -> None:
    assert record.encode() == bytes.fromhex(expected)
    assert type(record).from_bytes(bytes.fromhex(expected)) == record


def test_a_reply_header_has_16_bytes() -> None:
    assert pack_reply_header(7, 0x100000002, -101) == ReplyHeader(7, 0x100000002, -101).encode()
    assert len(pack_reply_header(0, 0, 0)) == records.REPLY_HEADER_BYTES == 16


CONNECT_REQUEST = bytes.fromhex("00000000 0000000000000000 00002710 0000000000000000 00000010") + bytes(16)


def test_a_connect_request_with_and_without_read_only() -> None:
    """44 bytes from clients of the 3.3 era, 45 from all since."""
    assert len(CONNECT_REQUEST) == 44
    old = ConnectRequest(0, 0, 10_000, 0, bytes(16), False)
    assert decode_connect_request(CONNECT_REQUEST) == (old, False)
    assert decode_connect_request(CONNECT_REQUEST + b"\0") == (old, True)
    request, sent = decode_connect_request(CONNECT_REQUEST + b"\1")
    assert request.read_only
    assert sent
    assert old.encode() == CONNECT_REQUEST + b"\0"
    assert decode_connect_request(CONNECT_REQUEST + b"\0later fields") == (old, True)
    for size in range(44):
        with pytest.raises(ProtocolError):
            decode_connect_request(CONNECT_REQUEST[:size])


def test_a_connect_reply_with_and_without_read_only() -> None:
    reply = bytes.fromhex("00000000 00002710 0100000000000001 00000010") + bytes(range(16))
    assert len(reply) == 36
    expected = ConnectReply(0, 10_000, 0x0100000000000001, bytes(range(16)), False)
    assert decode_connect_reply(reply) == expected
    assert decode_connect_reply(reply + b"\0") == expected
    assert decode_connect_reply(reply + b"\1").read_only
    assert expected.encode() == reply + b"\0"


def test_a_refused_session() -> None:
    """Timeout 0, id 0 and a password of 16 zeros: the session is unknown, or has expired."""
    refused = bytes.fromhex("00000000 00000000 0000000000000000 00000010") + bytes(17)
    assert decode_connect_reply(refused) == ConnectReply(0, 0, 0, bytes(16), False)


# -- multi ------------------------------------------------------------------------------------------------

OPERATIONS = st.sampled_from(sorted(MULTI_WRITE_OPS)).flatmap(
    lambda op: st.tuples(st.just(op), any_of(REQUEST_OF[op]))
)
READ_OPERATIONS = st.sampled_from(sorted(MULTI_READ_OPS)).flatmap(
    lambda op: st.tuples(st.just(op), any_of(REQUEST_OF[op]))
)
REPLIES = st.sampled_from(sorted(set(REPLY_OF) - {Op.ERROR, Op.ADD_WATCH})).flatmap(
    lambda op: st.tuples(st.just(op), any_of(REPLY_OF[op]))
)
END = "ffffffff 01 ffffffff"


@given(st.lists(OPERATIONS, max_size=5))
def test_multi_there_and_back(operations: list[tuple[Op, Record]]) -> None:
    encoded = encode_multi(list(operations))
    assert decode_multi(encoded, MULTI_WRITE_OPS) == operations
    for size in range(len(encoded)):
        with pytest.raises(ProtocolError):
            decode_multi(encoded[:size], MULTI_WRITE_OPS)


@given(st.lists(READ_OPERATIONS, min_size=1, max_size=5))
def test_multi_read_there_and_back(operations: list[tuple[Op, Record]]) -> None:
    encoded = encode_multi(list(operations))
    assert decode_multi(encoded, MULTI_READ_OPS) == operations
    with pytest.raises(ProtocolError, match="cannot be part of this multi"):
        decode_multi(encoded, MULTI_WRITE_OPS)


@given(st.lists(REPLIES, max_size=5))
def test_multi_reply_there_and_back(replies: list[tuple[Op, Record]]) -> None:
    encoded = encode_multi_reply([(op, 0, reply.encode()) for op, reply in replies])
    assert decode_multi_reply(encoded) == [(op, 0, reply) for op, reply in replies]
    assert decode_multi_reply(b"header" + encoded, 6) == [(op, 0, reply) for op, reply in replies]


def test_a_multi_on_the_wire() -> None:
    operations: list[tuple[int, Record]] = [
        (Op.SET_DATA, SetDataRequest("/a", b"x", 3)),
        (Op.DELETE, DeleteRequest("/b", -1)),
    ]
    expected = (
        "00000005 00 ffffffff 00000002 2f61 00000001 78 00000003 00000002 00 ffffffff 00000002 2f62 ffffffff"
    )
    assert encode_multi(operations) == bytes.fromhex(expected + END)
    assert encode_multi([]) == bytes.fromhex(END)


def test_a_multis_reply_on_the_wire() -> None:
    results: list[tuple[int, int, bytes]] = [
        (Op.CREATE, 0, PathReply("/a").encode()),
        (Op.CREATE2, 0, PathStatReply("/b", STAT).encode()),
        (Op.CHECK, 0, b""),
    ]
    expected = (
        "00000001 00 00000000 00000002 2f61 0000000f 00 00000000 00000002 2f62"
        + STAT_HEX
        + "0000000d 00 00000000"
    )
    assert encode_multi_reply(results) == bytes.fromhex(expected + END)


def test_a_failed_multi_on_the_wire() -> None:
    """The header's err is 0; 0 before the culprit, its code, then -2 for those never tried."""
    body = encode_multi_failure([0, -101, -2])
    assert body == bytes.fromhex(
        "ffffffff 00 00000000 00000000 ffffffff 00 ffffff9b ffffff9b ffffffff 00 fffffffe fffffffe" + END
    )
    assert decode_multi_reply(body) == [
        (-1, 0, ErrorReply(0)),
        (-1, -101, ErrorReply(-101)),
        (-1, -2, ErrorReply(-2)),
    ]


def test_an_operation_that_multi_does_not_know() -> None:
    body = encode_multi([(Op.EXISTS, PathWatchRequest("/a", False))])
    for allowed in (MULTI_READ_OPS, MULTI_WRITE_OPS):
        with pytest.raises(ProtocolError, match="operation 3 cannot be part"):
            decode_multi(body, allowed)
    with pytest.raises(ProtocolError, match="operation 99 in a multi's reply"):
        decode_multi_reply(encode_multi_reply([(99, 0, b"")]))


def test_a_reader_may_go_on_after_a_record() -> None:
    reader = Reader(RequestHeader(5, Op.DELETE).encode() + DeleteRequest("/a", 1).encode())
    assert RequestHeader.decode(reader) == RequestHeader(5, Op.DELETE)
    assert DeleteRequest.decode(reader) == DeleteRequest("/a", 1)
    reader.finish()
