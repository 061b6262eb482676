"""A store that locks and semaphores protect, and that sees when they do not.

Owns counters, the newest token of each and the journal of what was done to it: whoever comes with an older
token than it has seen is refused. And rooms, in which only so many may be at a time. The protocol is a
request and its answer, each a line of JSON; being in a room lasts until its user says "leave", or is gone::

    {"who": "kazoo-3", "counter": "/kazoo", "token": 42}                -> {"value": 7}
    {"who": "kazoo-3", "counter": "/kazoo", "token": 42, "value": 8}    -> {"value": 8}
    {"who": "kazoo-3", "counter": "/kazoo", "token": 41}                -> {"refused": 42}
    {"who": "coord-1", "room": "/permits", "token": 43}                 -> {"value": 2}
    {"who": "coord-1", "room": "/permits", "token": 43, "leave": true}  -> {"value": 1}

A number is read and then written, with a pause between: of two that are at it at the same time, an increment
is lost, or one is refused.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import trio


class Refused(Exception):
    """The store has seen a newer token."""


class Entry(NamedTuple):
    at: float
    who: str
    token: int


@dataclass
class Counter:
    value: int = 0
    newest: int = 0
    grants: list[Entry] = field(default_factory=list)
    """each new token, when it was first seen"""
    writes: list[Entry] = field(default_factory=list)
    refusals: list[Entry] = field(default_factory=list)

    def serve(self, entry: Entry, value: int | None) -> dict[str, int]:
        if entry.token < self.newest:
            self.refusals.append(entry)
            return {"refused": self.newest}
        if entry.token > self.newest:
            self.newest = entry.token
            self.grants.append(entry)
        if value is not None:
            self.writes.append(entry)
            self.value = value
        return {"value": self.value}


@dataclass
class Room:
    inside: dict[int, str] = field(default_factory=dict)
    """who, by their tokens"""
    grants: list[Entry] = field(default_factory=list)
    meetings: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    """who was inside, at the moments at which somebody came in"""

    def enter(self, entry: Entry) -> None:
        self.inside[entry.token] = entry.who
        self.grants.append(entry)
        self.meetings.append((entry.at, tuple(self.inside.values())))


class Store:
    """All counters and rooms, by their names; listens on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.rooms: dict[str, Room] = {}
        self.port = 0
        self._granted = trio.Event()
        self._holder = ""

    async def next_holder(self) -> str:
        """Who comes next with a new token: in the middle of what it does with it."""
        await self._granted.wait()
        return self._holder

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        visits: dict[int, Room] = {}
        try:
            async for line in lines(stream):
                request = json.loads(line)
                if "room" in request:
                    visits[request["token"]] = self.rooms.setdefault(request["room"], Room())
                await stream.send_all(json.dumps(self._answer(request)).encode() + b"\n")
        except trio.BrokenResourceError:
            pass  # killed
        finally:
            for token, room in visits.items():
                room.inside.pop(token, None)

    def _answer(self, request: dict[str, Any]) -> dict[str, int]:
        entry = Entry(trio.current_time(), request["who"], request["token"])
        if "room" in request:
            room = self.rooms[request["room"]]
            if "leave" in request:
                del room.inside[entry.token]
            else:
                room.enter(entry)
                self._announce(entry.who)
            return {"value": len(room.inside)}
        counter = self.counters.setdefault(request["counter"], Counter())
        newest = counter.newest
        answer = counter.serve(entry, request.get("value"))
        if counter.newest > newest:
            self._announce(entry.who)
        return answer

    def _announce(self, holder: str) -> None:
        self._holder, granted, self._granted = holder, self._granted, trio.Event()
        granted.set()


async def increment(port: int, who: str, counter: str, token: int, pause: float) -> None:
    """Read, wait `pause` seconds, write; raises `Refused`. If cancelled, it may have been written or not."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, aclosing(lines(stream)) as answers:
        request = {"who": who, "counter": counter, "token": token}
        value = await _ask(stream, answers, request)
        await trio.sleep(pause)
        await _ask(stream, answers, request | {"value": value + 1})


@asynccontextmanager
async def room(port: int, who: str, name: str, token: int) -> AsyncIterator[None]:
    """Be inside for the block."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, aclosing(lines(stream)) as answers:
        request = {"who": who, "room": name, "token": token}
        await _ask(stream, answers, request)
        yield
        await _ask(stream, answers, request | {"leave": True})


async def _ask(stream: trio.SocketStream, answers: AsyncGenerator[bytes], request: dict[str, Any]) -> int:
    await stream.send_all(json.dumps(request).encode() + b"\n")
    answer = json.loads(await anext(answers))
    if "refused" in answer:
        raise Refused(f"{request}: the newest token is {answer['refused']}")
    return int(answer["value"])


async def lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes]:
    rest = b""
    async for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
