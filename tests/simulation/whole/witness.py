"""What one client's session hears, frame by frame, held against what has truly happened.

Owns what the session was promised: the watches it has armed, and the newest zxid it has seen. Reads the
frames by itself and believes neither the server nor the client core. Any breach raises `Violation`:

- a client never sees an older zxid after a newer one, over all its connections and sessions;
- before any reply whose state shows a change come the events of that change, for every watch that waits for
  it, also if it happened while the client was away. (One exception, ZooKeeper's own: who waits for a znode to
  come into being misses one that came and went while the client was away.)
- an event tells what has happened, at its zxid, and somebody waits for it: a one-shot watch fires once;
- while a connection lasts, a recursive watch hears every change below its znode, once, in order.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Final

from coord.client.watches import Kind
from coord.wire.records import REPLY_HEADER_BYTES, EventType, WatcherEvent, Xid
from tests.simulation.chronicle import demand
from tests.simulation.trace import name
from tests.simulation.whole.annals import Annals, Change

_HEADER = Struct(">iqi")
_FIRES: Final[dict[int, tuple[bool, ...]]] = {
    EventType.CREATED: (False,),
    EventType.DATA_CHANGED: (False,),
    EventType.DELETED: (False, True),
    EventType.CHILDREN_CHANGED: (True,),
}
"""the one-shot watches that an event fires: of data (False), of children (True)"""


class Witness:
    def __init__(self, client: int, annals: Annals) -> None:
        self.last_zxid = 0
        self._client = client
        self._annals = annals
        self._armed: dict[tuple[str, bool], tuple[int, set[Kind]]] = {}
        """(path, of children): since which zxid, and what the client takes it for"""
        self._catching_up = False
        self._recursive = ""
        self._place: int | None = None
        """where in the annals' changes the recursive watch has come to; None while it is not armed"""
        self._heard: deque[Change] = deque()

    # -- connections and sessions ---------------------------------------------------------------------

    def attached(self) -> None:
        self._catching_up = bool(self._armed or self._recursive)
        self._place = None
        self._heard.clear()

    def session_over(self) -> None:
        """One-shot watches end with it."""
        self._armed.clear()

    # -- watches --------------------------------------------------------------------------------------

    def armed(self, kind: Kind, path: str, zxid: int) -> None:
        """The reply has come that arms a watch."""
        if kind is Kind.RECURSIVE:
            self._recursive = path
            self._place = self._annals.place_after(zxid)
            return
        key = path, kind is Kind.CHILDREN
        since, kinds = self._armed.get(key, (zxid, set()))
        self._armed[key] = since, kinds | {kind}

    # -- frames ---------------------------------------------------------------------------------------

    def frame(self, frame: bytes) -> None:
        """Called before the client core gets it; not with the handshake's."""
        xid, zxid, _ = _HEADER.unpack_from(frame)
        if xid == Xid.NOTIFICATION:
            record = WatcherEvent.from_bytes(frame, REPLY_HEADER_BYTES)
            self._event(zxid, EventType(record.type), record.path)
        elif xid != Xid.AUTH and zxid > 0:
            self._reply(xid, zxid)

    def _event(self, zxid: int, type_: EventType, path: str) -> None:
        keys = [(path, of_children) for of_children in _FIRES[type_] if (path, of_children) in self._armed]
        change = (zxid, type_, path)
        below = self._recursive and path.startswith(self._recursive) and type_ != EventType.CHILDREN_CHANGED
        heard = bool(below) and not self._catching_up
        demand(bool(keys) or heard, "%d hears what it does not wait for: %s", self._client, change)
        if not self._catching_up:
            place = self._annals.place_after(zxid - 1)
            here = self._annals.changes[place : self._annals.place_after(zxid)]
            demand(change in here, "%d hears what has not happened: %s", self._client, change)
            demand(zxid > self.last_zxid, "%d hears what it has seen: %s", self._client, change)
            if heard:
                self._heard.append(change)
        for key in keys:
            since, _ = self._armed.pop(key)
            missed = self._annals.next_change(*key, since)
            demand(missed is not None and missed <= zxid, "%d hears what is old: %s", self._client, change)

    def _reply(self, xid: int, zxid: int) -> None:
        demand(
            zxid >= self.last_zxid,
            "%d sees %s after %s",
            *(self._client, name(zxid), name(self.last_zxid)),
        )
        if xid == Xid.SET_WATCHES:
            self._rearmed(zxid)
        if zxid > self.last_zxid:
            for (path, of_children), (since, _) in self._armed.items():
                missed = self._annals.next_change(path, of_children, since)
                demand(
                    missed is None or missed > zxid,
                    "%d sees %s before the event of %s%s",
                    *(self._client, name(zxid), path, " (children)" * of_children),
                )
            self._follow(zxid)
            self.last_zxid = zxid

    def _rearmed(self, zxid: int) -> None:
        self._catching_up = False
        if self._recursive:
            self._place = self._annals.place_after(zxid)
        for (path, of_children), (_, kinds) in self._armed.items():
            if kinds == {Kind.EXISTS} and self._annals.data(path, zxid) is None:
                self._armed[path, of_children] = zxid, kinds

    def _follow(self, zxid: int) -> None:
        if self._place is None:
            return
        changes = self._annals.changes
        while self._place < len(changes) and changes[self._place][0] <= zxid:
            change = changes[self._place]
            self._place += 1
            if change[1] != EventType.CHILDREN_CHANGED and change[2].startswith(self._recursive):
                heard = self._heard.popleft() if self._heard else None
                demand(
                    heard == change,
                    "%d sees %s, and should have heard %s, not %s",
                    *(self._client, name(zxid), change, heard),
                )
