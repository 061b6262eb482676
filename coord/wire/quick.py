"""The requests that come by the thousand, taken apart by hand: several times as fast as their records.

Owns nothing of its own: each function reads the same bytes as a record of `records` and refuses the same
ones with `ProtocolError`; the tests hold the two side by side. Use the records everywhere else.
"""

from __future__ import annotations

import struct

from coord.errors import ProtocolError
from coord.wire.jute import INT

_unpack_int = INT.unpack_from


def _garbled() -> ProtocolError:
    return ProtocolError("the request's fields do not fit its bytes")


def unpack_create(body: bytes) -> tuple[str, bytes | None, bytes, int]:
    """`CreateRequest`: path, data, the ACL vector as it came (not looked into), flags."""
    try:
        path, data, end = _path_and_data(body)
        size = len(body)
        if end > size - 8:
            raise _garbled()
        return path, data, body[end : size - 4], _unpack_int(body, size - 4)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_set_data(body: bytes) -> tuple[str, bytes | None, int]:
    """`SetDataRequest`: path, data, version."""
    try:
        path, data, end = _path_and_data(body)
        if end != len(body) - 4:
            raise _garbled()
        return path, data, _unpack_int(body, end)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_path_version(body: bytes) -> tuple[str, int]:
    """`DeleteRequest`, `CheckVersionRequest`: path, version."""
    try:
        (length,) = _unpack_int(body, 0)
        if length < 0 or length != len(body) - 8:
            raise _garbled()
        return body[4:-4].decode(), _unpack_int(body, length + 4)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_path_watch(body: bytes) -> tuple[str, bool]:
    """`PathWatchRequest`: path, watch."""
    try:
        (length,) = _unpack_int(body, 0)
        if length < 0 or length != len(body) - 5:
            raise _garbled()
        return body[4:-1].decode(), body[-1] != 0
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def _path_and_data(body: bytes) -> tuple[str, bytes | None, int]:
    """The two fields that begin a create and a setData, and where the next one starts."""
    (length,) = _unpack_int(body, 0)
    if length < 0:
        raise _garbled()
    path_end = length + 4
    (length,) = _unpack_int(body, path_end)
    data_start = path_end + 4
    if length == -1:
        return body[4:path_end].decode(), None, data_start
    data_end = data_start + length
    if length < 0 or data_end > len(body):
        raise _garbled()
    return body[4:path_end].decode(), body[data_start:data_end], data_end
