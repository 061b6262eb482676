"""A store with counters that refuses whoever comes with an older token than it has seen.

Owns the numbers, the newest token of each, and the journal of what was done; and the protocol, a request and
its answer, each a line of JSON::

    {"who": "kazoo 3", "counter": "/kazoo", "token": 42}                -> {"value": 7}
    {"who": "kazoo 3", "counter": "/kazoo", "token": 42, "value": 8}    -> {"value": 8}
    {"who": "kazoo 3", "counter": "/kazoo", "token": 41}                -> {"refused": 42}

A number is read and then written, with a pause between: of two that are at it at the same time, an increment
is lost, or one is refused.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

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

    def serve(self, who: str, token: int, value: int | None) -> dict[str, int]:
        entry = Entry(trio.current_time(), who, token)
        if token < self.newest:
            self.refusals.append(entry)
            return {"refused": self.newest}
        if token > self.newest:
            self.newest = token
            self.grants.append(entry)
        if value is not None:
            self.writes.append(entry)
            self.value = value
        return {"value": self.value}


class Store:
    """All counters, by their names; listens on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.port = 0
        self._granted = trio.Event()
        self._holder = ""

    async def next_holder(self) -> str:
        """Who comes next with a new token: it has read, and has not written yet."""
        await self._granted.wait()
        return self._holder

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            async for line in lines(stream):
                request = json.loads(line)
                counter = self.counters.setdefault(request["counter"], Counter())
                newest = counter.newest
                answer = counter.serve(request["who"], request["token"], request.get("value"))
                if counter.newest > newest:
                    self._holder, granted, self._granted = request["who"], self._granted, trio.Event()
                    granted.set()
                await stream.send_all(json.dumps(answer).encode() + b"\n")
        except trio.BrokenResourceError:
            pass  # killed


async def increment(port: int, who: str, counter: str, token: int, pause: float) -> None:
    """Read, wait `pause` seconds, write; raises `Refused`. If cancelled, it may have been written or not."""

    async def ask(**more: int) -> int:
        request = {"who": who, "counter": counter, "token": token} | more
        await stream.send_all(json.dumps(request).encode() + b"\n")
        answer = json.loads(await anext(answers))
        if "refused" in answer:
            raise Refused(f"{request}: the newest token is {answer['refused']}")
        return int(answer["value"])

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, aclosing(lines(stream)) as answers:
        value = await ask()
        await trio.sleep(pause)
        await ask(value=value + 1)


async def lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes]:
    rest = b""
    async for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
