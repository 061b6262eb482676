"""The requests that come by the thousand, taken apart by hand: several times as fast as their records.

Owns nothing of its own: each function reads the same bytes as a record of `records` and refuses the same
ones with `ProtocolError`; the tests hold the two side by side. Use the records everywhere else.
"""

from __future__ import annotations

import struct

from coord.errors import ProtocolError
from coord.wire.jute import INT, pack_vector
from coord.wire.records import ACL, Id, Perms

_unpack_int = INT.unpack_from
_OPEN_ACL = pack_vector([ACL(Perms.ALL, Id("world", "anyone")).encode()])
"""which most clients send with each create"""


def _garbled() -> ProtocolError:
    return ProtocolError("the request's fields do not fit its bytes")


def unpack_create(body: bytes) -> tuple[str, bytes | None, bytes, int]:
    """`CreateRequest`: path, data, the ACL vector as it came (not looked into), flags."""
    try:
        path, data, start = _path_and_data(body)
        end = _end_of_acl(body, start)
        return path, data, body[start:end], _unpack_int(body, end)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_set_data(body: bytes) -> tuple[str, bytes | None, int]:
    """`SetDataRequest`: path, data, version."""
    try:
        path, data, end = _path_and_data(body)
        return path, data, _unpack_int(body, end)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_path_version(body: bytes) -> tuple[str, int]:
    """`DeleteRequest`, `CheckVersionRequest`: path, version."""
    try:
        (length,) = _unpack_int(body, 0)
        if length < 0:
            raise _garbled()
        return body[4 : length + 4].decode(), _unpack_int(body, length + 4)[0]
    except (struct.error, UnicodeDecodeError):
        raise _garbled() from None


def unpack_path_watch(body: bytes) -> tuple[str, bool]:
    """`PathWatchRequest`: path, watch."""
    try:
        (length,) = _unpack_int(body, 0)
        if length < 0:
            raise _garbled()
        return body[4 : length + 4].decode(), body[length + 4] != 0
    except (struct.error, IndexError, UnicodeDecodeError):
        raise _garbled() from None


def _end_of_acl(body: bytes, start: int) -> int:
    """Where the ACL vector that begins at `start` ends; its entries are an int and two strings each."""
    if body.startswith(_OPEN_ACL, start):
        return start + len(_OPEN_ACL)
    (count,) = _unpack_int(body, start)
    position = start + 4
    for _ in range(count):
        for skipped in (4, 0):
            (length,) = _unpack_int(body, position + skipped)
            if length < -1:
                raise _garbled()
            position += skipped + 4 + max(length, 0)
    return position


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
