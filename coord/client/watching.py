"""Watching znodes: one-shot watches, channels of states, persistent watches.

Owns what a caller holds while it watches. All of it is pulled by the caller's own task; nothing runs in the
background. Must not know: connections, bytes.

Synopsis::

    with zk.watch() as watch:  # one event
        data, stat = await zk.get("/config", watch=watch)
        event = await watch.wait()

    async with zk.watch_data("/config") as states:  # every state worth knowing
        async for node in states:
            ...

    async with zk.add_watch("/jobs", recursive=True) as events:  # every event below /jobs
        async for event in events:
            ...

Rules that hold:

- A watch is a hint that something changed, not a log of changes: a channel of states reads again and yields
  only what differs from the last; the first state comes at once, and a missing znode is a state (None).
- Watches survive a lost connection. One-shot ones end with the session, which `Watch.wait` says; channels
  of states and persistent watches go on in the next session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

import trio

from coord.client.calls import Call
from coord.client.line import RECEIVE_BYTES
from coord.client.link import Link
from coord.client.paths import Chroot
from coord.client.watches import Kind, WatchEvent
from coord.errors import BadArguments, ClientClosed, SessionExpired
from coord.wire.records import REPLY_HEADER_BYTES, AddWatchMode, AddWatchRequest, Op, Stat, WatcherEvent

T = TypeVar("T")

EVENTS_MAX: Final = 10_000
"""Events a persistent watch keeps for a slow reader; beyond, they are dropped and `Resynced` says so.

A reader that takes what there is whenever it has its turn is never too slow: the link reads at most twice
before that, and so much has room.
"""
_EVENT_BYTES_MIN: Final = 4 + REPLY_HEADER_BYTES + len(WatcherEvent(0, 0, "/").encode())
assert 2 * RECEIVE_BYTES // _EVENT_BYTES_MIN < EVENTS_MAX


class Node(NamedTuple):
    """A znode's data and Stat at one moment."""

    data: bytes
    stat: Stat


def _outside(chroot: Chroot, event: WatchEvent) -> WatchEvent:
    """In the caller's terms."""
    return event._replace(path=chroot.outside(event.path)) if chroot.path else event


class Resynced(NamedTuple):
    """Events may be missing before this point: whoever keeps a picture of the znodes reads them again."""


class Watch:
    """Waits for events of the znodes it was passed to (``watch=``); made by `Client.watch`."""

    def __init__(self, link: Link, chroot: Chroot) -> None:
        self._link = link
        self._chroot = chroot
        self._events: deque[WatchEvent] = deque()
        self._ended = False
        self._closed = False
        self._changed = trio.Event()

    @property
    def ready(self) -> bool:
        """Has `wait` something to return, or to raise, at once?"""
        return bool(self._events) or self._ended or self._closed

    async def wait(self) -> WatchEvent:
        """The next event: one for each znode that it was passed to, when that changes.

        Raises `SessionExpired` if the session ended first, `ClientClosed` if the client did,
        `trio.ClosedResourceError` if the watch was closed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.ready:
            if self._link.closed:
                raise ClientClosed(operation="watch")
            if self._changed.is_set():  # else others wait for it, too
                self._changed = trio.Event()
            await self._changed.wait()
        if self._closed:
            raise trio.ClosedResourceError
        if self._events:
            return self._events.popleft()
        self._ended = False
        raise ClientClosed(operation="watch") if self._link.closed else SessionExpired(operation="watch")

    def clear(self) -> None:
        """Forgets what has happened so far, before the watch is used for another read."""
        self._events.clear()
        self._ended = False

    def close(self) -> None:
        """Watches nothing any more."""
        self._link.forget(self)
        self.clear()
        self._closed = True
        self._changed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- as a Watcher ---------------------------------------------------------------------------------

    def fired(self, event: WatchEvent) -> None:
        self._events.append(_outside(self._chroot, event))
        self._changed.set()

    def session_ended(self) -> None:
        self._ended = True
        self._changed.set()

    def resynced(self) -> None:
        """Concerns persistent watches only."""


class States(trio.abc.ReceiveChannel[T]):
    """The states of a znode, as a channel: the present one at once, then each that differs from the last.

    Whoever is slow misses states in between, never the last one. Reads happen in the receiver's task.
    """

    def __init__(
        self, watch: Watch, read: Callable[[Watch], Awaitable[T]], key: Callable[[T], object]
    ) -> None:
        self._watch = watch
        self._read = read
        self._key = key
        self._last: object = self  # equal to no key
        self._stale = True
        self._closed = False
        self._receiving = False

    async def receive(self) -> T:
        """The next state. Raises what the read raises (other than for a missing znode), `ClientClosed` when
        the client was closed, `trio.ClosedResourceError` when this channel was."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._receiving = True
        try:
            return await self._next()
        finally:
            self._receiving = False

    async def _next(self) -> T:
        while not self._closed:
            if not self._stale:
                await self._wait()
            self._watch.clear()
            try:
                state = await self._read(self._watch)
            except SessionExpired:
                continue
            self._stale = False
            if self._key(state) != self._last:
                self._last = self._key(state)
                return state
        raise trio.ClosedResourceError

    async def _wait(self) -> None:
        try:
            await self._watch.wait()
        except SessionExpired:
            pass  # in the next session everything is to be looked at again
        self._stale = True

    async def aclose(self) -> None:
        self._closed = True
        self._watch.close()
        await trio.lowlevel.checkpoint()


class Events(trio.abc.ReceiveChannel[WatchEvent | Resynced]):
    """A persistent watch, as a channel of its events; entered, it is armed at the server.

    ZooKeeper keeps one mode for each path and client: watch a path either recursively or not.
    """

    def __init__(self, link: Link, chroot: Chroot, path: str, *, recursive: bool) -> None:
        self._link = link
        self._chroot = chroot
        self._path = path
        self._kind = Kind.RECURSIVE if recursive else Kind.PERSISTENT
        self._events: deque[WatchEvent | Resynced] = deque()
        self._changed = trio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint_if_cancelled()
        path = self._chroot.inside(self._path)
        other = Kind.PERSISTENT if self._kind is Kind.RECURSIVE else Kind.RECURSIVE
        if other in self._link.watches.kinds(path):
            raise BadArguments(
                "the path is watched in the other mode already", path=self._path, operation="addWatch"
            )
        # Known here before it is armed there, so that no event finds nobody.
        self._link.watches.add(self._kind, path, self)
        try:
            await self._arm(path)
        except BaseException:
            self._drop()
            raise
        return self

    async def _arm(self, path: str) -> None:
        mode = AddWatchMode.PERSISTENT_RECURSIVE if self._kind is Kind.RECURSIVE else AddWatchMode.PERSISTENT
        body = AddWatchRequest(path, mode).encode()
        while True:
            call = Call(Op.ADD_WATCH, body, path=self._path, operation="addWatch", repeatable=True)
            try:
                await self._link.ask(call)
            except SessionExpired:
                continue
            return

    async def receive(self) -> WatchEvent | Resynced:
        """The next event, or `Resynced` where some may be missing. Raises `ClientClosed` when the client was
        closed, `trio.ClosedResourceError` when this channel was."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                if self._changed.is_set():  # else others wait for it, too
                    self._changed = trio.Event()
                await self._changed.wait()

    def receive_nowait(self) -> WatchEvent | Resynced:
        """As `receive`, but raises `trio.WouldBlock` where that would wait."""
        if self._events:
            return self._events.popleft()
        if self._closed:
            raise trio.ClosedResourceError
        if self._link.closed:
            raise ClientClosed(path=self._path, operation="addWatch")
        raise trio.WouldBlock

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._drop()
            self._changed.set()
        await trio.lowlevel.checkpoint()

    def _drop(self) -> None:
        self._link.forget(self)

    # -- as a Watcher ---------------------------------------------------------------------------------

    def fired(self, event: WatchEvent) -> None:
        if len(self._events) >= EVENTS_MAX:
            self._events.clear()
            self._events.append(Resynced())
        self._events.append(_outside(self._chroot, event))
        self._changed.set()

    def session_ended(self) -> None:
        """Only when the client is closed: a persistent watch goes on in the next session."""
        self._changed.set()

    def resynced(self) -> None:
        if not (self._events and isinstance(self._events[-1], Resynced)):
            self._events.append(Resynced())
        self._changed.set()
