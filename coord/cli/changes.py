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
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Final

import trio

from coord import (
    Client,
    EventType,
    NoAuth,
    Node,
    NoNode,
    Resynced,
    SessionExpired,
    SessionState,
    WatchEvent,
)
from coord.cli.jobs import Output
from coord.cli.results import data_json
from recipes.beside import beside, unwrapped

NAMES: Final = {
    EventType.CREATED: "created",
    EventType.DATA_CHANGED: "changed",
    EventType.DELETED: "deleted",
    EventType.CHILDREN_CHANGED: "children",
}
AT_ONCE: Final = 500
"""So many znodes are read at the same time."""
BACKLOG: Final = 200_000
"""Events kept for a storm, or a slow reader; what comes on top is missed, and that is said."""
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

    left = inf if count is None else count
    unread, come = trio.open_memory_channel[WatchEvent | Resynced](BACKLOG)

    async def gather() -> None:
        while True:
            await unread.send(await events.receive())
            with suppress(trio.WouldBlock):
                for _ in range(BACKLOG - unread.statistics().current_buffer_used):
                    unread.send_nowait(events.receive_nowait())

    async with (
        zk.add_watch(path, recursive=True) as events,
        beside(tell_of_connections),
        beside(gather),
    ):
        say("watching")
        while left > 0:
            for seen in await _look(zk, await _next(come, min(left, AT_ONCE)), with_data=with_data):
                if seen is None:
                    say("may have missed changes")
                    continue
                out(seen)
                left -= 1
            await out.room()
    return 0


async def _next(
    events: trio.MemoryReceiveChannel[WatchEvent | Resynced], most: float
) -> list[WatchEvent | Resynced]:
    """What has come, `most` at the most; waits for the first."""
    found = [await events.receive()]
    with suppress(trio.WouldBlock):
        while len(found) < most:
            found.append(events.receive_nowait())
    return found


async def _look(zk: Client, events: list[WatchEvent | Resynced], *, with_data: bool) -> list[Seen | None]:
    """What is found, read at the same time: in a storm there is no time for one after the other. None for
    what says that some may be missing."""
    found: list[Seen | None] = [None] * len(events)

    async def one(number: int, event: WatchEvent) -> None:
        found[number] = await _seen(zk, event, with_data=with_data)

    try:
        async with trio.open_nursery() as nursery:
            for number, event in enumerate(events):
                if not isinstance(event, Resynced):
                    nursery.start_soon(one, number, event)
    except BaseExceptionGroup as group:
        raise unwrapped(group) from None
    return found


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
