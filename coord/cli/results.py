"""What commands find, as values that can be shown as text, as zkCli does it, or as JSON.

Owns the shapes of ``--json``: one line of JSON each, an object. Pure; knows neither connections nor commands.

Rule that holds here: text and JSON say the same; znode data in JSON is ``"data"`` where it is UTF-8, else
``"data_base64"``, and null where it was not read. A znode whose data is null has empty data here, as for all
clients of coord.

Synopsis::

    Path("/a").text()  # "/a"
    Path("/a").json()  # {"path": "/a"}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from coord import WatchEvent
from coord.cli.texts import format_acl, format_list, format_perms, format_stat
from coord.wire.records import ACL, EventType, Id, Stat

EVENT_NAMES: Final = {
    EventType.CREATED: "NodeCreated",
    EventType.DELETED: "NodeDeleted",
    EventType.DATA_CHANGED: "NodeDataChanged",
    EventType.CHILDREN_CHANGED: "NodeChildrenChanged",
    EventType.DATA_WATCH_REMOVED: "DataWatchRemoved",
    EventType.CHILD_WATCH_REMOVED: "ChildWatchRemoved",
    EventType.PERSISTENT_WATCH_REMOVED: "PersistentWatchRemoved",
}
"""ZooKeeper's names (`Watcher.Event.EventType`)."""


class Result(Protocol):
    def text(self) -> str | bytes:
        """Without the last line's end; znode data as bytes, untouched."""

    def json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""


@runtime_checkable
class Drawn(Result, Protocol):
    """What looks better on a terminal."""

    def drawing(self) -> Any:
        """What rich prints instead of the text; None: the text after all."""


@dataclass(frozen=True)
class Verbatim:
    """Bytes of a format of their own, which is the same with ``--json``."""

    data: bytes

    def text(self) -> bytes:
        return self.data

    def json(self) -> dict[str, Any]:
        return data_json(self.data)


def printed(result: Result, *, as_json: bool = False) -> bytes:
    """What is written to standard output: one line of JSON, or the text."""
    if isinstance(result, Verbatim):
        return result.data
    if as_json:
        return json.dumps(result.json()).encode() + b"\n"
    text = result.text()
    found = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return found if getattr(result, "raw", False) else found + b"\n"


@dataclass(frozen=True)
class Said:
    """A sentence; in JSON under `name`."""

    sentence: str
    name: str = "message"

    def text(self) -> str:
        return self.sentence

    def json(self) -> dict[str, Any]:
        return {self.name: self.sentence}


@dataclass(frozen=True)
class Note(Said):
    """What a person is to know, beside what was asked for: on standard error, where there is one."""

    name: str = "note"


@dataclass(frozen=True)
class Path:
    path: str

    def text(self) -> str:
        return self.path

    def json(self) -> dict[str, Any]:
        return {"path": self.path}


@dataclass(frozen=True)
class Data:
    """A znode's data; `stat` where it was asked for; `raw` without the line's end after it."""

    path: str
    data: bytes
    stat: Stat | None = None
    raw: bool = False

    def text(self) -> bytes:
        return self.data + (b"" if self.stat is None else b"\n" + format_stat(self.stat).encode())

    def json(self) -> dict[str, Any]:
        return {"path": self.path, **data_json(self.data), **stat_json(self.stat)}


@dataclass(frozen=True)
class Children:
    path: str
    names: Sequence[str]
    stat: Stat | None = None

    def text(self) -> str:
        return _and_stat(format_list(self.names), self.stat)

    def json(self) -> dict[str, Any]:
        return {"path": self.path, "children": list(self.names), **stat_json(self.stat)}


@dataclass(frozen=True)
class Paths:
    """Paths that begin with `path`."""

    path: str
    paths: Sequence[str]

    def text(self) -> str:
        return format_list(self.paths)

    def json(self) -> dict[str, Any]:
        return {"path": self.path, "paths": list(self.paths)}


@dataclass(frozen=True)
class Found:
    """A znode's Stat."""

    path: str
    stat: Stat

    def text(self) -> str:
        return format_stat(self.stat)

    def json(self) -> dict[str, Any]:
        return {"path": self.path, **stat_json(self.stat)}


@dataclass(frozen=True)
class Permissions:
    path: str
    acl: Sequence[ACL]
    stat: Stat | None = None

    def text(self) -> str:
        return _and_stat(format_acl(self.acl), self.stat)

    def json(self) -> dict[str, Any]:
        return {"path": self.path, "acl": acl_json(self.acl), **stat_json(self.stat)}


@dataclass(frozen=True)
class Identities:
    ids: Sequence[Id]

    def text(self) -> str:
        return "\n".join(["Auth scheme: User", *(f"{one.scheme}: {one.id}" for one in self.ids)])

    def json(self) -> dict[str, Any]:
        return {"identities": [{"scheme": one.scheme, "id": one.id} for one in self.ids]}


@dataclass(frozen=True)
class Happened:
    """A watch's event, in the words of zkCli."""

    event: WatchEvent

    def text(self) -> str:
        kind, path = EVENT_NAMES[self.event.type], self.event.path
        return f"WATCHER:: WatchedEvent state:SyncConnected type:{kind} path:{path}"

    def json(self) -> dict[str, Any]:
        zxid = {"zxid": self.event.zxid} if self.event.zxid >= 0 else {}
        return {"event": EVENT_NAMES[self.event.type], "path": self.event.path, **zxid}


@dataclass(frozen=True)
class Count:
    path: str
    number: int

    def text(self) -> str:
        return str(self.number)

    def json(self) -> dict[str, Any]:
        return {"path": self.path, "count": self.number}


def data_json(data: bytes | None) -> dict[str, Any]:
    """``{"data": "text"}`` or ``{"data_base64": "…"}``"""
    if data is None:
        return {"data": None}
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def acl_json(acl: Sequence[ACL]) -> list[dict[str, str]]:
    """``[{"scheme": "world", "id": "anyone", "perms": "cdrwa"}]``"""
    return [{"scheme": one.id.scheme, "id": one.id.id, "perms": format_perms(one.perms)} for one in acl]


def stat_json(stat: Stat | None) -> dict[str, Any]:
    """``{"stat": {…}}`` with ZooKeeper's names for its fields; nothing without one."""
    if stat is None:
        return {}
    return {
        "stat": {
            "cZxid": stat.czxid,
            "ctime": stat.ctime,
            "mZxid": stat.mzxid,
            "mtime": stat.mtime,
            "pZxid": stat.pzxid,
            "cversion": stat.cversion,
            "dataVersion": stat.version,
            "aclVersion": stat.aversion,
            "ephemeralOwner": stat.ephemeral_owner,
            "dataLength": stat.data_length,
            "numChildren": stat.num_children,
        }
    }


def _and_stat(text: str, stat: Stat | None) -> str:
    return text if stat is None else f"{text}\n{format_stat(stat)}"
