"""The client's half of `quick`: the requests and replies that come by the thousand, made and read by hand.

Owns nothing of its own: each function makes or reads the same bytes as a record of `records`, and refuses the
same ones with `ProtocolError`; the tests hold the two side by side. Use the records everywhere else.
"""

from __future__ import annotations

import struct

from coord.errors import ProtocolError
from coord.wire.jute import INT, NULL
from coord.wire.records import STAT_BYTES, Stat, unpack_stat

_pack_int = INT.pack
_unpack_int = INT.unpack_from
_EVENT = struct.Struct(">iii")


def pack_path_watch(path: str, watch: bool) -> bytes:
    """`PathWatchRequest`"""
    raw = path.encode()
    return _pack_int(len(raw)) + raw + (b"\x01" if watch else b"\x00")


def pack_set_data(path: str, data: bytes | None, version: int) -> bytes:
    """`SetDataRequest`"""
    raw = path.encode()
    if data is None:
        return _pack_int(len(raw)) + raw + NULL + _pack_int(version)
    return b"".join((_pack_int(len(raw)), raw, _pack_int(len(data)), data, _pack_int(version)))


def read_stat(frame: bytes, position: int) -> Stat:
    """`StatReply`, from `position` on."""
    try:
        return Stat._make(unpack_stat(frame, position))
    except struct.error:
        raise ProtocolError(f"the frame ends inside a Stat at byte {position}") from None


def read_data_stat(frame: bytes, position: int) -> tuple[bytes | None, Stat]:
    """`GetDataReply`, from `position` on."""
    try:
        (length,) = _unpack_int(frame, position)
    except struct.error:
        raise ProtocolError(f"the frame ends before its data at byte {position}") from None
    start = position + 4
    if length == -1:
        return None, read_stat(frame, start)
    end = start + length
    if length < 0 or end + STAT_BYTES > len(frame):
        raise ProtocolError(f"the frame has no data of {length} bytes and a Stat at byte {position}")
    return frame[start:end], Stat._make(unpack_stat(frame, end))


def read_event(frame: bytes, position: int) -> tuple[int, str]:
    """`WatcherEvent`, from `position` on: type and path."""
    try:
        kind, _, length = _EVENT.unpack_from(frame, position)
        start = position + _EVENT.size
        if length < 0 or start + length > len(frame):
            raise ProtocolError(f"the frame has no path of {length} bytes at byte {start}")
        return kind, frame[start : start + length].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"not an event: {error}") from None
