"""What the shell watches: what lines have armed, and the events as they come.

Owns the watches of one session, by path and kind; watching something twice is watching it once, as in zkCli.
Must not know where events are shown.

Rules that hold here:

- A one-shot watch is gone with its event, or with its session; a persistent one goes on in the next session.
- A path has one persistent watch: the newer mode replaces the older.

Synopsis::

    watching = Watching(nursery, show=out)
    watching.once(watch, "/a", children=False)
    await watching.always(zk, "/jobs", recursive=True)
    await watching.remove("/a", Kind.DATA)
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import trio

from coord import Client, CoordError, Events, NoWatcher, Resynced, Watch
from coord.cli.results import Happened, Result, Said

ENDS: Final = (CoordError, trio.ClosedResourceError)
"""A watch ends: removed, with its session, or with the client. The last two are told by the connection."""


class Kind(Enum):
    DATA = "data"
    CHILDREN = "children"
    PERSISTENT = "persistent"


class Watching:
    """See the module's text; `show` is called with each event, as a `Result`."""

    def __init__(self, nursery: trio.Nursery, show: Callable[[Result], object]) -> None:
        self._nursery = nursery
        self._show = show
        self._armed: dict[tuple[Kind, str], Watch | Events] = {}
        self.shown = True
        """zkCli's ``printwatches``"""

    def __len__(self) -> int:
        return len(self._armed)

    def once(self, watch: Watch, path: str, *, children: bool) -> None:
        """Tells of the event of `watch` when it comes."""
        key = (Kind.CHILDREN if children else Kind.DATA, path)
        former = self._armed.get(key)
        self._armed[key] = watch
        if isinstance(former, Watch):
            former.close()
        self._nursery.start_soon(self._await_event, key, watch)

    async def always(self, zk: Client, path: str, *, recursive: bool) -> None:
        """Arms a persistent watch, and tells of its events from now on."""
        key = (Kind.PERSISTENT, path)
        if key in self._armed:
            await self.remove(path, Kind.PERSISTENT)
        events = zk.add_watch(path, recursive=recursive)
        await events.__aenter__()
        self._armed[key] = events
        self._nursery.start_soon(self._follow, key, events)

    async def remove(self, path: str, *kinds: Kind) -> None:
        """Ends the watches of these kinds. Raises `NoWatcher` if there are none."""
        found = [(kind, path) for kind in kinds if (kind, path) in self._armed]
        if not found:
            raise NoWatcher(path=path, operation="removewatches")
        for key in found:
            watch = self._armed.pop(key)
            if isinstance(watch, Watch):
                watch.close()
            else:
                await watch.aclose()

    def clear(self) -> None:
        """The client is closed, and so is every watch of it."""
        self._armed.clear()

    # -- tasks ----------------------------------------------------------------------------------------

    async def _await_event(self, key: tuple[Kind, str], watch: Watch) -> None:
        with watch:
            try:
                self._tell(Happened(await watch.wait()))
            except ENDS:
                pass
        self._forget(key, watch)

    async def _follow(self, key: tuple[Kind, str], events: Events) -> None:
        try:
            async for event in events:
                missed = Said(f"WATCHER:: events of {key[1]} may have been missed")
                self._tell(missed if isinstance(event, Resynced) else Happened(event))
        except ENDS:
            pass
        finally:
            with trio.CancelScope(shield=True):
                await events.aclose()
        self._forget(key, events)

    def _forget(self, key: tuple[Kind, str], watch: Watch | Events) -> None:
        if self._armed.get(key) is watch:
            del self._armed[key]

    def _tell(self, happened: Result) -> None:
        if self.shown:
            self._show(happened)
