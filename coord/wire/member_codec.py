"""The bytes of what members say to each other: frames of CBOR, a message each.

A frame is an int32 length, big-endian, and one CBOR array ``[number of the type, field, …]``. Owns these
numbers, which never change their meaning, and the check of every field: what decodes has the right types, in
bounds; all else is `ProtocolError`. Whether it makes sense now is the receiver's business.

A proposal's payload stands last in its frame, so that its bytes go out as they are. A snapshot has no bound,
a frame has one: so its chunks go in frames of their own, ahead of the `Install` that counts them.

Synopsis::

    stream.write(b"".join(part for frame in frames_of(message) for part in frame))
    reader = MessageReader(FROM_FOLLOWERS)
    for message in reader.receive(data):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from typing import Any, Final, NamedTuple

import cbor2

from coord.errors import ProtocolError
from coord.limits import RECORD_BYTES_MAX
from coord.wire.frames import FrameTooLarge
from coord.wire.jute import INT
from coord.wire.members import (
    Ack,
    AckEpoch,
    AckNewLeader,
    Admit,
    Append,
    Commit,
    HandOver,
    Hello,
    Install,
    LinkMessage,
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

Message = Vote | LinkMessage

FRAME_MAX: Final = RECORD_BYTES_MAX + 64
"""A record and what is said about it."""

_LONG_MAX = (1 << 63) - 1
_EPOCHS_MAX = 1 << 20  # what `ends` may list


class Chunk(NamedTuple):
    """A part of the snapshot that the next `Install` is about."""

    data: bytes


# -- what a field may be ------------------------------------------------------------------------------


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _LONG_MAX:
        raise ValueError("a number is not one of 63 bits")
    return value


def _number_or_none_yet(value: object) -> int:
    """-1: an observer's vote has neither epoch nor zxid."""
    return -1 if type(value) is int and value == -1 else _number(value)


def _truth(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError("a truth value is neither true nor false")
    return value


def _data(value: object) -> bytes:
    if type(value) is not bytes:
        raise ValueError("data are not bytes")
    return value


def _standing(value: object) -> Standing:
    return Standing(_number(value))


def _rising(value: object) -> tuple[int, ...]:
    if type(value) is not list or len(value) > _EPOCHS_MAX:
        raise ValueError("the ends of the epochs are not a list, or too many")
    ends = tuple(_number(one) for one in value)
    if any(end <= before for before, end in pairwise(ends)):
        raise ValueError("the ends of the epochs do not rise")
    return ends


# -- one message --------------------------------------------------------------------------------------


class Form(NamedTuple):
    """How a type is written: its number, its fields' names, and what each may be."""

    number: int
    make: type
    fields: tuple[tuple[str, Callable[[object], object]], ...]


_FORMS: Final = (
    Form(
        *(1, Vote),
        (
            *(("round", _number), ("leader", _number), ("epoch", _number_or_none_yet)),
            *(("zxid", _number_or_none_yet), ("standing", _standing), ("fresh", _truth)),
        ),
    ),
    Form(2, Hello, (("accepted", _number), ("observer", _truth), ("blank", _truth))),
    Form(3, NewEpoch, (("epoch", _number),)),
    Form(
        *(4, AckEpoch),
        (("epoch", _number), ("current", _number), ("ends", _rising), ("counts", _truth)),
    ),
    Form(5, Truncate, (("zxid", _number),)),
    Form(6, Chunk, (("data", _data),)),
    Form(7, Install, (("zxid", _number), ("chunks", _number))),
    Form(8, Append, (("first_zxid", _number), ("last_zxid", _number), ("payload", _data))),
    Form(9, NewLeader, (("epoch", _number), ("zxid", _number))),
    Form(10, AckNewLeader, (("epoch", _number), ("zxid", _number))),
    Form(11, Ack, (("zxid", _number),)),
    Form(12, Commit, (("zxid", _number),)),
    Form(13, Ping, (("number", _number),)),
    Form(14, Pong, (("number", _number),)),
    Form(15, Payload, (("data", _data),)),
    Form(16, HandOver, (("leader", _number),)),
    Form(17, Admit, ()),
)
_BY_TYPE: Final = {form.make: form for form in _FORMS}
_BY_NUMBER: Final = {form.number: form for form in _FORMS}

VOTES: Final[frozenset[type]] = frozenset({Vote})
FROM_FOLLOWERS: Final[frozenset[type]] = frozenset({Hello, AckEpoch, AckNewLeader, Ack, Pong, Payload})
FROM_LEADERS: Final[frozenset[type]] = frozenset(
    {NewEpoch, Truncate, Chunk, Install, Append, NewLeader, Commit, Ping, Admit, HandOver, Payload}
)


def frames_of(message: Message) -> Iterator[tuple[bytes, ...]]:
    """The frames of a message, in order, each as the parts to be joined (large ones are not copied)."""
    match message:
        case Append(Proposal(first_zxid, last_zxid, payload)):
            yield _with_data(Append, payload, first_zxid, last_zxid)
        case Payload(data):
            yield _with_data(Payload, data)
        case Install(zxid, chunks):
            yield from (_with_data(Chunk, chunk) for chunk in chunks)
            yield _frame(_array(Install, zxid, len(chunks)))
        case _:
            fields = _BY_TYPE[type(message)].fields
            yield _frame(_array(type(message), *(getattr(message, name) for name, _ in fields)))


def _array(make: type, *fields: Any) -> bytes:
    plain = [int(field) if isinstance(field, Standing) else field for field in fields]
    return cbor2.dumps([_BY_TYPE[make].number, *plain])


def _with_data(make: type, data: bytes, *fields: int) -> tuple[bytes, ...]:
    """`data` is the last element; its bytes follow their length just as they are."""
    items = (_BY_TYPE[make].number, *fields)
    head = bytes([0x80 + len(items) + 1]) + b"".join(cbor2.dumps(item) for item in items)
    return _frame(head + b"\x5a" + len(data).to_bytes(4, "big"), data)


def _frame(*parts: bytes) -> tuple[bytes, ...]:
    return INT.pack(sum(map(len, parts))) + parts[0], *parts[1:]


def _read(frame: bytes) -> tuple[type, list[Any]]:
    """The type and the checked fields of one frame."""
    stream = BytesIO(frame)
    try:
        number, *values = cbor2.CBORDecoder(stream).decode()
        form = _BY_NUMBER[_number(number)]
        fields = [check(value) for (_, check), value in zip(form.fields, values, strict=True)]
    except (ValueError, TypeError, KeyError, cbor2.CBORError, EOFError, RecursionError) as error:
        raise ProtocolError(f"not a message of a member: {error}") from None
    if stream.tell() != len(frame):
        raise ProtocolError("not a message of a member: there are bytes after it")
    return form.make, fields


# -- a stream of them -----------------------------------------------------------------------------------


class MessageReader:
    """Bytes in, whole messages out. After a `ProtocolError` the stream is of no use any more."""

    def __init__(self, kinds: frozenset[type], limit: int = FRAME_MAX) -> None:
        """`kinds` are the types the other side may send, `limit` the bytes of a frame."""
        self._kinds = kinds
        self._limit = limit
        self._data = bytearray()  # its front can be cut off without moving the rest
        self._chunks: list[bytes] = []

    def receive(self, data: bytes) -> list[Message]:
        """What has become whole with `data`. Raises `ProtocolError`; what came before it is lost with it."""
        self._data += data
        messages = []
        for frame in self._frames():
            message = self._message(*_read(frame))
            if message is not None:
                messages.append(message)
        return messages

    def _frames(self) -> Iterator[bytes]:
        position, available = 0, len(self._data)
        with memoryview(self._data) as view:
            while available - position >= INT.size:
                (length,) = INT.unpack_from(view, position)
                if not 0 <= length <= self._limit:
                    raise FrameTooLarge(length, self._limit)
                end = position + INT.size + length
                if end > available:
                    break
                yield bytes(view[position + INT.size : end])
                position = end
        del self._data[:position]

    def _message(self, make: type, fields: list[Any]) -> Message | None:
        if make not in self._kinds:
            raise ProtocolError(f"a {make.__name__} is nothing to be said here")
        if make is Chunk:
            self._chunks.append(fields[0])
            return None
        chunks, self._chunks = self._chunks, []
        if len(chunks) != (fields[1] if make is Install else 0):
            raise ProtocolError("the chunks of a snapshot are not those it consists of")
        if make is Install:
            return Install(fields[0], tuple(chunks))
        if make is Append:
            return Append(_proposal(*fields))
        message: Message = make(*fields)
        return message


def _proposal(first_zxid: int, last_zxid: int, payload: bytes) -> Proposal:
    if not first_zxid <= last_zxid or first_zxid >> 32 != last_zxid >> 32:
        raise ProtocolError(f"a proposal cannot span the zxids {first_zxid:#x} to {last_zxid:#x}")
    if not 0 < len(payload) <= RECORD_BYTES_MAX:
        raise ProtocolError(f"a proposal of {len(payload)} bytes")
    return Proposal(first_zxid, last_zxid, payload)
