"""The bytes of what members say to each other: frames of CBOR, a message each.

A frame is an int32 length, big-endian, and one CBOR array ``[number of the type, field, …]``. Owns these
numbers, which never change their meaning, and the check of every field: what decodes has the right types, in
bounds; all else is `ProtocolError`. Whether it makes sense now is the receiver's business.

A proposal's payload stands last in its frame, so that its bytes go out as they are. A snapshot has no bound,
a frame has one: so its chunks go in frames of their own, ahead of the `Install` that counts them.

What is said by the thousand (a proposal, a payload, all that is one number) has one layout, of numbers of
eight bytes, and is written and read by `struct`; any other way to write the same in CBOR is read, too.

Synopsis::

    stream.write(b"".join(part for frame in frames_of(message) for part in frame))
    reader = MessageReader(FROM_FOLLOWERS)
    for message in reader.receive(data):
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from struct import Struct
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

_LONG, _BYTES = 0x1B, 0x5A
"""before a number of eight bytes, and before a length of four and so many bytes"""
_NUMBER: Final = Struct(">i3sq")
_PROPOSAL: Final = Struct(">i3sqBqBI")
_DATA: Final = Struct(">i3sI")
_APPEND: Final = bytes([0x84, _BY_TYPE[Append].number, _LONG])
_PAYLOAD: Final = bytes([0x82, _BY_TYPE[Payload].number, _BYTES])
_CHUNK: Final = bytes([0x82, _BY_TYPE[Chunk].number, _BYTES])
_pack_number = _NUMBER.pack
_HEAD_OF: Final = {
    form.make: (bytes([0x82, form.number, _LONG]), form.fields[0][0])
    for form in _FORMS
    if [check for _, check in form.fields] == [_number]
}
_OF_HEAD: Final = {head: make for make, (head, _) in _HEAD_OF.items()}

VOTES: Final[frozenset[type]] = frozenset({Vote})
FROM_FOLLOWERS: Final[frozenset[type]] = frozenset({Hello, AckEpoch, AckNewLeader, Ack, Pong, Payload})
FROM_LEADERS: Final[frozenset[type]] = frozenset(
    {NewEpoch, Truncate, Chunk, Install, Append, NewLeader, Commit, Ping, Admit, HandOver, Payload}
)


def frames_of(message: Message) -> Sequence[tuple[bytes, ...]]:
    """The frames of a message, in order, each as the parts to be joined (large ones are not copied)."""
    make = type(message)
    of_a_number = _HEAD_OF.get(make)
    if of_a_number is not None:
        head, name = of_a_number
        return ((_pack_number(_NUMBER.size - INT.size, head, getattr(message, name)),),)
    match message:
        case Append(Proposal(first_zxid, last_zxid, data)):
            size = _PROPOSAL.size - INT.size + len(data)
            marks = _APPEND, first_zxid, _LONG, last_zxid, _BYTES, len(data)
            return ((_PROPOSAL.pack(size, *marks), data),)
        case Payload(data):
            return (_with_data(_PAYLOAD, data),)
        case Install(zxid, chunks):
            end = _frame(_array(Install, zxid, len(chunks)))
            return (*(_with_data(_CHUNK, chunk) for chunk in chunks), end)
        case _:
            return (_frame(_array(make, *(getattr(message, name) for name, _ in _BY_TYPE[make].fields))),)


def _array(make: type, *fields: Any) -> bytes:
    plain = [int(field) if isinstance(field, Standing) else field for field in fields]
    return cbor2.dumps([_BY_TYPE[make].number, *plain])


def _with_data(head: bytes, data: bytes) -> tuple[bytes, ...]:
    """`data` is the only field; its bytes follow their length just as they are."""
    return _DATA.pack(_DATA.size - INT.size + len(data), head, len(data)), data


def _frame(*parts: bytes) -> tuple[bytes, ...]:
    return INT.pack(sum(map(len, parts))) + parts[0], *parts[1:]


def _read_quickly(frame: bytes) -> tuple[type, list[Any]] | None:
    """As `_read`, of a frame (its length included) in the layout that `struct` writes; None for any other."""
    size, head = len(frame), frame[INT.size : INT.size + 3]
    make = _OF_HEAD.get(head)
    if make is not None and size == _NUMBER.size:
        _, _, value = _NUMBER.unpack(frame)
        if value >= 0:
            return make, [value]
    elif head == _APPEND and size >= _PROPOSAL.size:
        _, _, first_zxid, mark, last_zxid, end, length = _PROPOSAL.unpack_from(frame)
        fits = (mark, end, length) == (_LONG, _BYTES, size - _PROPOSAL.size)
        if fits and first_zxid >= 0 and last_zxid >= 0:
            return Append, [first_zxid, last_zxid, frame[_PROPOSAL.size :]]
    elif head == _PAYLOAD and size >= _DATA.size:
        _, _, length = _DATA.unpack_from(frame)
        if length == size - _DATA.size:
            return Payload, [frame[_DATA.size :]]
    return None


_DAMAGE = ValueError, TypeError, KeyError, ArithmeticError, RecursionError, cbor2.CBORError, EOFError


def _read(frame: bytes) -> tuple[type, list[Any]]:
    """The type and the checked fields of one frame, without its length."""
    stream = BytesIO(frame)
    try:
        number, *values = cbor2.CBORDecoder(stream).decode()
        form = _BY_NUMBER[_number(number)]
        fields = [check(value) for (_, check), value in zip(form.fields, values, strict=True)]
    except _DAMAGE as error:
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
            message = self._message(*(_read_quickly(frame) or _read(frame[INT.size :])))
            if message is not None:
                messages.append(message)
        return messages

    def _frames(self) -> Iterator[bytes]:
        """Whole ones, each with its length."""
        position, available = 0, len(self._data)
        with memoryview(self._data) as view:
            while available - position >= INT.size:
                (length,) = INT.unpack_from(view, position)
                if not 0 <= length <= self._limit:
                    raise FrameTooLarge(length, self._limit)
                end = position + INT.size + length
                if end > available:
                    break
                yield bytes(view[position:end])
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
