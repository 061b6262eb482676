"""One transaction while it is applied: who asked, when, and what watchers may have to be told.

Knows neither the tree nor the operations; it is what they are given and what they add to.
"""

from __future__ import annotations

from coord.state.acl import AccessList
from coord.wire.ensemble import Identities
from coord.wire.records import EventType

Change = tuple[EventType, str, AccessList]
"""What a watcher may care about: CREATED, DELETED, DATA_CHANGED or CHILDREN_CHANGED, of which path, and the
ACL whose READ a watcher needs (of CREATED the new node's, of DELETED the old one's, of CHILDREN_CHANGED the
parent's). Changes come in the order in which their events are delivered."""


class Txn:
    """What one log entry brings to its operation; the operation appends to `changes`."""

    __slots__ = ("changes", "identities", "session_id", "time_ms", "want_reply", "zxid")

    def __init__(
        self, zxid: int, time_ms: int, session_id: int, identities: Identities, want_reply: bool
    ) -> None:
        self.zxid = zxid
        self.time_ms = time_ms
        self.session_id = session_id
        self.identities = identities
        self.want_reply = want_reply
        self.changes: list[Change] = []
