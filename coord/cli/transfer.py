"""The format of exported subtrees: a header, a record for each znode, and an end that counts them.

Owns what the records are called and how they are checked. Pure: bytes that were read in, bytes to be written
out.

Each record is a map: a line of JSON, or an item of a CBOR sequence (RFC 8742)::

    {"export": "coord", "version": 1, "path": "/app"}
    {"path": "/app", "data": "text", "acl": [{"scheme": "world", "id": "anyone", "perms": "cdrwa"}]}
    {"path": "/app/x", "data_base64": "//4=", "acl": [...], "ttl_ms": 60000}
    {"end": true, "znodes": 2}

In CBOR ``"data"`` is a byte string. A znode may also be ``"container": true`` or ``"ephemeral": true``.

Rules that hold here: parents come before their children; an export without its end is torn; whatever is not
as described raises `Damaged`, which names the line (or the offset), and nothing of a line is made up.

Synopsis::

    write = Writer("json", "/app")
    chunk = write.header() + write.znode(znode) + write.end()
    read = Reader(file)  # opened in binary mode, at its beginning; either format
    read.root  # "/app"
    for znode in read.znodes():
        ...
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

import cbor2

from coord.cli.results import acl_json, data_json
from coord.cli.texts import LETTERS
from coord.client.paths import check_path
from coord.errors import BadArguments
from coord.limits import TTL_MS_MAX
from coord.wire.records import ACL, Id

Format = Literal["json", "cbor"]
FORMATS: Final[tuple[Format, ...]] = ("json", "cbor")
VERSION: Final = 1
LINE_BYTES_MAX: Final = 128 * 1024 * 1024
"""A longer line is no znode's."""


class Damaged(ValueError):
    """The file is not an export, or not a whole one; the message says where."""


@dataclass(frozen=True)
class Znode:
    """`path` as it was where it came from. `ttl_ms` and `container` where known."""

    path: str
    data: bytes
    acl: tuple[ACL, ...]
    ttl_ms: int | None = None
    container: bool = False
    ephemeral: bool = False

    @property
    def size(self) -> int:
        """Of a request that creates it, about."""
        return len(self.path) + len(self.data) + 64 * len(self.acl) + 32

    def flags(self) -> dict[str, Any]:
        found = {"ttl_ms": self.ttl_ms, "container": self.container, "ephemeral": self.ephemeral}
        return {name: value for name, value in found.items() if value}

    def json(self) -> dict[str, Any]:
        return {"path": self.path, **data_json(self.data), "acl": acl_json(self.acl), **self.flags()}

    def cbor(self) -> dict[str, Any]:
        return {"path": self.path, "data": self.data, "acl": acl_json(self.acl), **self.flags()}


class Writer:
    """Makes the bytes of an export, record by record, and counts the znodes."""

    def __init__(self, form: Format, root: str) -> None:
        self._form = form
        self._root = root
        self.znodes = 0

    def header(self) -> bytes:
        return self._record({"export": "coord", "version": VERSION, "path": self._root})

    def znode(self, znode: Znode) -> bytes:
        self.znodes += 1
        return self._record(znode.json() if self._form == "json" else znode.cbor())

    def end(self) -> bytes:
        return self._record({"end": True, "znodes": self.znodes})

    def _record(self, record: dict[str, Any]) -> bytes:
        if self._form == "cbor":
            return cbor2.dumps(record)
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"


class Reader:
    """Reads an export from where the file stands. Raises `Damaged`."""

    def __init__(self, file: BinaryIO) -> None:
        begin = file.read(1)
        file.seek(-len(begin), 1)
        if not begin:
            raise Damaged("line 1: the file is empty")
        self._records = _json_records(file) if begin in b"{ \t\r\n[" else _cbor_records(file)
        where, record = next(self._records, ("line 1", None))
        if not isinstance(record, dict) or record.get("export") != "coord":
            raise Damaged(f"{where}: not the header of an export of coord")
        if record.get("version") != VERSION:
            raise Damaged(f"{where}: version {record.get('version')} of the format, expected {VERSION}")
        self.root = _field(where, record, "path", str)

    def znodes(self) -> Iterator[Znode]:
        """In the file's order, checked one by one; the end is checked at the end."""
        seen: set[str] = set()
        where = ""
        for where, record in self._records:
            if not isinstance(record, dict):
                raise Damaged(f"{where}: expected a map")
            if "end" in record:
                self._check_end(where, record, len(seen))
                return
            znode = _znode(where, record)
            self._check_place(where, znode.path, seen)
            seen.add(znode.path)
            yield znode
        raise Damaged(f"after {where or 'the header'}: the file ends in the midst of the export")

    def _check_place(self, where: str, path: str, seen: set[str]) -> None:
        if path in seen:
            raise Damaged(f"{where}: {path} is there twice")
        parent = path.rpartition("/")[0] or "/"
        if path != self.root and parent not in seen:
            raise Damaged(f"{where}: {path} comes before its parent, or is not below {self.root}")

    def _check_end(self, where: str, record: dict[str, Any], count: int) -> None:
        if record.get("znodes") != count:
            raise Damaged(f"{where}: {record.get('znodes')} znodes are said to be there, not {count}")
        after = next(self._records, None)
        if after is not None:
            raise Damaged(f"{after[0]}: something follows the end of the export")


def _json_records(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        where = f"line {number}"
        if line.isspace():
            continue
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as error:
            torn = "" if line.endswith(b"\n") else " (the file ends there)"
            why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            raise Damaged(f"{where}: not JSON{torn}: {why}") from None


def _cbor_records(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    while True:
        where = f"offset {file.tell()}"
        if not file.peek(1):  # type: ignore[attr-defined]  # a BufferedReader has it
            return
        try:
            yield where, cbor2.load(file)
        except (cbor2.CBORDecodeError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            raise Damaged(f"{where}: not CBOR: {error}") from None


def _znode(where: str, record: dict[str, Any]) -> Znode:
    path = _field(where, record, "path", str)
    try:
        check_path(path, "")
    except BadArguments as error:
        raise Damaged(f"{where}: {error}") from None
    ttl_ms = _field(where, record, "ttl_ms", int) if "ttl_ms" in record else None
    container, ephemeral = (
        _field(where, record, name, bool) if name in record else False for name in ("container", "ephemeral")
    )
    if ttl_ms is not None and (container or not 0 < ttl_ms <= TTL_MS_MAX):
        raise Damaged(
            f"{where}: ttl_ms: no znode has a TTL of {ttl_ms} ms{' and is a container' * container}"
        )
    return Znode(path, _data(where, record), _acl(where, record), ttl_ms, container, ephemeral)


def _data(where: str, record: dict[str, Any]) -> bytes:
    if "data_base64" in record:
        try:
            return base64.b64decode(_field(where, record, "data_base64", str), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Damaged(f"{where}: data_base64: {error}") from None
    data = record.get("data")
    return data if isinstance(data, bytes) else bytes(_field(where, record, "data", str).encode())


def _acl(where: str, record: dict[str, Any]) -> tuple[ACL, ...]:
    entries = _field(where, record, "acl", list)
    if not entries:
        raise Damaged(f"{where}: the ACL is empty")
    return tuple(_entry(where, entry) for entry in entries)


def _entry(where: str, entry: Any) -> ACL:
    if not isinstance(entry, dict):
        raise Damaged(f"{where}: acl: expected maps of scheme, id and perms")
    letters = _field(where, entry, "perms", str)
    if unknown := set(letters) - set(LETTERS):
        raise Damaged(f"{where}: acl: there is no permission {min(unknown)!r}")
    perms = sum(LETTERS[letter] for letter in set(letters))
    return ACL(perms, Id(_field(where, entry, "scheme", str), _field(where, entry, "id", str)))


def _field(where: str, record: dict[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if type(value) is not kind:
        what = {str: "text", int: "a number", bool: "true or false", list: "a list"}[kind]
        raise Damaged(f"{where}: {name} is missing or not {what}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Damaged(f"{where}: {name}: not text: {error.reason}") from None
    return value
