"""`coord watch`: what changes in a subtree, a line per change, or the tree as it is now.

Owns the following of events. What one looks like is here, too; where it goes is `out`'s business.

Rules that hold here:

- It goes on over lost connections and new sessions. Where changes may have been missed it says so.
- An event says that something happened; version, size and data are those of the read that followed it, and
  may be newer. A znode that is gone by then has none.

Synopsis::

    await watch(zk, out, "/app", with_data=True)  # until cancelled
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coord import Client, EventType, NoAuth, Node, NoNode, Resynced, SessionExpired, SessionState, WatchEvent
from coord.cli.jobs import Output
from coord.cli.results import data_json
from recipes.beside import beside

NAMES: Final = {
    EventType.CREATED: "created",
    EventType.DATA_CHANGED: "changed",
    EventType.DELETED: "deleted",
    EventType.CHILDREN_CHANGED: "children",
}
SHOWN: Final = 200
"""Characters of data in a line."""


@dataclass(frozen=True)
class Seen:
    """Something happened at `path`, and what was found there then."""

    time: float
    """seconds since 1970"""
    what: str
    path: str
    node: Node | None = None
    with_data: bool = False

    def text(self) -> str:
        line = f"{_clock(self.time)}  {self.what:9}  {self.path}"
        if self.node is not None:
            line += f"  version {self.node.stat.version}, {self.node.stat.data_length} bytes"
            if self.with_data:
                line += f"  {one_line(self.node.data)}"
        return line

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"time": round(self.time, 3), "event": self.what, "path": self.path}
        if self.node is not None:
            stat = self.node.stat
            found |= {"version": stat.version, "size": stat.data_length, "mzxid": stat.mzxid}
            if self.with_data:
                found |= data_json(self.node.data)
        return found


def one_line(data: bytes | None) -> str:
    """Data as a person can read it: its beginning, with nothing that moves a cursor."""
    text = (data or b"").decode("utf-8", "backslashreplace")
    shown = "".join(one if one.isprintable() else "\N{MIDDLE DOT}" for one in text[:SHOWN])
    return shown + ("…" if len(text) > SHOWN else "")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S.%f")[:-3]


async def watch(
    zk: Client, out: Output, path: str, *, with_data: bool = False, count: int | None = None
) -> int:
    """Prints what changes at `path` and below it; ends after `count` changes, if that is given."""

    def say(what: str) -> None:
        out(Seen(time.time(), what, path))

    async def tell_of_connections() -> None:
        ready = (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)
        while True:
            await zk.session.state.wait_value(lambda state: state not in ready)
            say("no connection")
            await zk.session.state.wait_value(lambda state: state in ready)
            say("connected")

    async with zk.add_watch(path, recursive=True) as events, beside(tell_of_connections):
        say("watching")
        async for event in events:
            if isinstance(event, Resynced):
                say("may have missed changes")
                continue
            out(await _seen(zk, event, with_data=with_data))
            await out.room()
            if count is not None:
                count -= 1
                if count <= 0:
                    return 0
    return 0


async def _seen(zk: Client, event: WatchEvent, *, with_data: bool) -> Seen:
    what = NAMES.get(event.type, event.type.name.lower())
    node = None
    while event.type != EventType.DELETED:
        try:
            node = Node(*await zk.get(event.path)) if with_data else await _stat(zk, event.path)
        except SessionExpired:
            continue  # there will be another session
        except (NoNode, NoAuth):
            pass
        break
    return Seen(time.time(), what, event.path, node, with_data)


async def _stat(zk: Client, path: str) -> Node | None:
    stat = await zk.exists(path)
    return None if stat is None else Node(b"", stat)
