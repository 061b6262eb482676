"""The requests taken apart by hand read and refuse the same bytes as their records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire.jute import Reader, pack_vector
from coord.wire.quick import unpack_create, unpack_path_version, unpack_path_watch, unpack_set_data
from coord.wire.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    Id,
    PathWatchRequest,
    Record,
    SetDataRequest,
)

INTS = st.integers(-(2**31), 2**31 - 1)
PATHS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
DATA = st.none() | st.binary(max_size=12)
ACLS = st.lists(st.builds(ACL, INTS, st.builds(Id, PATHS, PATHS)), max_size=3)

REQUESTS: list[tuple[type[Record], st.SearchStrategy[Any], Callable[[bytes], tuple[Any, ...]]]] = [
    (CreateRequest, st.builds(CreateRequest, PATHS, DATA, ACLS, INTS), unpack_create),
    (SetDataRequest, st.builds(SetDataRequest, PATHS, DATA, INTS), unpack_set_data),
    (DeleteRequest, st.builds(DeleteRequest, PATHS, INTS), unpack_path_version),
    (PathWatchRequest, st.builds(PathWatchRequest, PATHS, st.booleans()), unpack_path_watch),
]
by_kind = pytest.mark.parametrize(
    ("record", "requests", "unpack"), REQUESTS, ids=[record.__name__ for record, _, _ in REQUESTS]
)


def fields(request: Record) -> tuple[Any, ...]:
    values = [getattr(request, name) for name in request.FIELDS]
    return tuple(pack_vector(acl.encode() for acl in v) if isinstance(v, list) else v for v in values)


def read(record: type[Record], body: bytes) -> tuple[Any, ...] | None:
    try:
        return fields(record.from_bytes(body))
    except ProtocolError:
        return None


def quickly(unpack: Callable[[bytes], tuple[Any, ...]], body: bytes) -> tuple[Any, ...] | None:
    try:
        values = unpack(body)
    except ProtocolError:
        return None
    if unpack is unpack_create:  # it leaves the ACL for the state to read: do that here
        reader = Reader(values[2])
        try:
            acls = reader.read_vector(lambda: ACL.read(reader))
            reader.finish()
        except ProtocolError:
            return None
        values = (*values[:2], pack_vector(acl.encode() for acl in acls), values[3])
    return values


@by_kind
@given(data=st.data())
def test_same_values(
    record: type[Record],
    requests: st.SearchStrategy[Any],
    unpack: Callable[[bytes], tuple[Any, ...]],
    data: st.DataObject,
) -> None:
    request = data.draw(requests)
    body = request.encode()
    assert quickly(unpack, body) == fields(request)
    for cut in range(len(body)):
        assert quickly(unpack, body[:cut]) == read(record, body[:cut])
    assert quickly(unpack, body + b"later fields") == fields(request)


@by_kind
@given(data=st.data())
def test_same_refusals(
    record: type[Record],
    requests: st.SearchStrategy[Any],
    unpack: Callable[[bytes], tuple[Any, ...]],
    data: st.DataObject,
) -> None:
    body = bytearray(data.draw(requests).encode())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    assert quickly(unpack, bytes(body)) == read(record, bytes(body))


@by_kind
@given(body=st.binary(max_size=60))
def test_garbage(
    record: type[Record],
    requests: st.SearchStrategy[Any],
    unpack: Callable[[bytes], tuple[Any, ...]],
    body: bytes,
) -> None:
    assert quickly(unpack, body) == read(record, body)
