"""The format of exports: what is written is read again, and what is damaged is told by its place."""

from __future__ import annotations

import io
import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.transfer import FORMATS, Damaged, Format, Reader, Writer, Znode
from coord.wire.records import ACL, Id

OPEN = (ACL(31, Id("world", "anyone")),)
names = st.text("abcß日 .:,'\"\\", min_size=1).filter(lambda name: name not in (".", ".."))
acls = st.lists(st.builds(ACL, st.integers(1, 31), st.builds(Id, names, names)), min_size=1).map(tuple)


def export(znodes: list[Znode], form: Format = "json", root: str = "/a") -> bytes:
    writer = Writer(form, root)
    return writer.header() + b"".join(map(writer.znode, znodes)) + writer.end()


def read(content: bytes) -> list[Znode]:
    return list(Reader(io.BufferedReader(io.BytesIO(content))).znodes())


def damage(content: bytes) -> str:
    with pytest.raises(Damaged) as caught:
        read(content)
    return str(caught.value)


@given(st.dictionaries(names, st.tuples(st.binary(), acls, st.integers(1, 99) | st.none(), st.booleans())))
def test_what_is_written_is_read_again(
    children: dict[str, tuple[bytes, tuple[ACL, ...], int | None, bool]],
) -> None:
    znodes = [Znode("/a", b"", OPEN)]
    znodes += [
        Znode(f"/a/{name}", data, acl, ttl_ms, container and ttl_ms is None)
        for name, (data, acl, ttl_ms, container) in children.items()
    ]
    for form in FORMATS:
        assert read(export(znodes, form)) == znodes


def test_a_line_a_znode_readable_by_people() -> None:
    lines = export([Znode("/a", b"text", OPEN), Znode("/a/b", b"\xff", OPEN, ttl_ms=5)]).splitlines()
    acl = [{"scheme": "world", "id": "anyone", "perms": "cdrwa"}]
    assert [json.loads(line) for line in lines] == [
        {"export": "coord", "version": 1, "path": "/a"},
        {"path": "/a", "data": "text", "acl": acl},
        {"path": "/a/b", "data_base64": "/w==", "acl": acl, "ttl_ms": 5},
        {"end": True, "znodes": 2},
    ]


TWO = [Znode("/a", b"x" * 40, OPEN), Znode("/a/b", b"y" * 40, OPEN)]


@pytest.mark.parametrize("form", FORMATS)
def test_a_torn_file_is_no_export_wherever_it_is_torn(form: Format) -> None:
    whole = export(TWO, form)
    ends = whole.rstrip(b"\n")
    for at in range(len(ends)):
        assert damage(ends[:at])
    assert read(ends) == TWO


@given(st.binary(), st.data())
def test_garbage_raises_damaged_and_nothing_else(garbage: bytes, data: st.DataObject) -> None:
    for content in (garbage, *(_splice(export(TWO, form), garbage, data) for form in FORMATS)):
        try:
            read(content)
        except Damaged:
            pass


def _splice(content: bytes, garbage: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(content)))
    return content[:at] + garbage + content[at + len(garbage) :]


def line(**fields: Any) -> bytes:
    acl = [{"scheme": "world", "id": "anyone", "perms": "r"}]
    return json.dumps({"path": "/a", "data": "", "acl": acl, **fields}).encode() + b"\n"


HEADER = b'{"export": "coord", "version": 1, "path": "/a"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the file is empty"),
        (b"{}\n", "line 1: not the header of an export of coord"),
        (b'{"export": "coord", "version": 2}\n', "line 1: version 2 of the format, expected 1"),
        (HEADER + line(), "after line 2: the file ends in the midst of the export"),
        (HEADER, "after the header: the file ends in the midst of the export"),
        (HEADER + line() + b'{"path": "/a/', "line 3: not JSON (the file ends there): "),
        (HEADER + b"\n\n" + line() + b"oops\n", "line 5: not JSON: "),
        (HEADER + b"[]\n", "line 2: expected a map"),
        (HEADER + line(path="b"), "line 2: b: not a path: it must begin with a slash"),
        (HEADER + line() + line(path="/a/.."), "line 3: /a/..: not a path"),
        (HEADER + line() + line(path="/a/"), "line 3: /a/: not a path"),
        (HEADER + line(path="/b"), "line 2: /b comes before its parent, or is not below /a"),
        (HEADER + line() + line(), "line 3: /a is there twice"),
        (HEADER + line() + line(path="/a/b/c"), "line 3: /a/b/c comes before its parent"),
        (HEADER + line(data=5), "line 2: data is missing or not text"),
        (HEADER + line(data="\ud800"), "line 2: data: not text"),
        (HEADER + line(data_base64="?"), "line 2: data_base64: "),
        (HEADER + line(acl=[]), "line 2: the ACL is empty"),
        (HEADER + line(acl=[5]), "line 2: acl: expected maps"),
        (
            HEADER + line(acl=[{"scheme": "world", "id": "x", "perms": "rx"}]),
            "line 2: acl: there is no permission 'x'",
        ),
        (
            HEADER + line(acl=[{"scheme": "world", "id": "\ud800", "perms": "r"}]),
            "line 2: id: not text",
        ),
        (HEADER.replace(b"/a", b"\\ud800"), "line 1: path: not text"),
        (HEADER + line(path="/\ud800"), "line 2: path: not text"),
        (HEADER + line(ttl_ms=True), "line 2: ttl_ms is missing or not a number"),
        (HEADER + line(ttl_ms=0), "line 2: ttl_ms: no znode has a TTL of 0 ms"),
        (HEADER + line(ttl_ms=1 << 40), "line 2: ttl_ms: no znode has a TTL of 1099511627776 ms"),
        (
            HEADER + line(ttl_ms=5, container=True),
            "line 2: ttl_ms: no znode has a TTL of 5 ms and is a container",
        ),
        (HEADER + b'{"end": true, "znodes": 1}\n', "line 2: 1 znodes are said to be there, not 0"),
        (HEADER + b'{"end": true, "znodes": 0}\n{}\n', "line 3: something follows the end"),
        (cbor2.dumps({"export": "coord"}), "offset 0: version None of the format"),
        (cbor2.dumps({"export": "coord", "version": 1, "path": "/a"}) + b"\xff", "offset 31: not CBOR: "),
    ],
)
def test_damage_is_told_by_line_or_offset(content: bytes, message: str) -> None:
    assert damage(content).startswith(message)
