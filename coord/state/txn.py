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
    """What one log entry brings to its operation; the operation appends to `changes`. A machine has one, and
    fills it in anew for each entry."""

    __slots__ = ("changes", "identities", "session_id", "time_ms", "want_reply", "zxid")

    changes: list[Change]
    identities: Identities
    session_id: int
    time_ms: int
    want_reply: bool
    zxid: int
