"""Syncs that mean it: a quorum confirms that whoever leads still does, then everything committed is applied.

Owns which syncs are under way, of this member's clients and (on the leader) of other members. ZooKeeper's
leader answers a sync at once, even if it has been deposed and does not know yet; a read after it may then be
stale. Here the leader asks its quorum first (`zab.leading.ask_quorum`).

A sync that a change of leaders interrupts is asked again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from coord.server.replica_messages import Sync, Synced, encode
from coord.wire.members import Payload
from coord.zab.leading import Leading
from coord.zab.links import Link

if TYPE_CHECKING:
    from coord.server.connection import Connection
    from coord.server.replica import Replica


class Syncs:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._waiting: dict[int, Connection] = {}  # by token, oldest first
        self._answered: deque[tuple[int, int]] = deque()  # (zxid that must be applied, token)
        self._asked: deque[tuple[int, Link | None, int]] = deque()  # (round of pings, who asked, token)
        self._next_token = 0

    @property
    def asked_of_quorum(self) -> int:
        """How many wait for the quorum of this member, which leads."""
        return len(self._asked)

    def ask(self, connection: Connection) -> bool:
        """A client's sync: True if it is confirmed already, else `Connection.synced` is called when it is."""
        peer = self._replica.peer
        if peer.leading and peer.quorum.reached([peer.my_id]):
            return True
        self._next_token += 1
        self._waiting[self._next_token] = connection
        if self._replica.has_joined:
            self._ask_leader(self._next_token)
        return False

    def ask_again(self) -> None:
        """A leader is found: what waits is asked of it."""
        for token in self._waiting:
            self._ask_leader(token)

    def begin_role(self) -> None:
        """Nobody will answer what was asked of the old leader."""
        self._asked.clear()
        self._answered.clear()

    def asked(self, token: int, link: Link | None) -> None:
        """Somebody wants to know whether this member leads: another member, or one of its own clients."""
        role = self._replica.peer.role
        if isinstance(role, Leading):
            self._asked.append((role.ask_quorum(), link, token))

    def answered(self, token: int, zxid: int) -> None:
        """The leader did lead when it was asked, and `zxid` was committed."""
        self._answered.append((zxid, token))

    def confirm(self) -> None:
        """Answers what can be answered now."""
        peer = self._replica.peer
        role = peer.role
        while self._asked and isinstance(role, Leading) and role.quorum_answered(self._asked[0][0]):
            _, link, token = self._asked.popleft()
            if link is None:
                self.answered(token, peer.committed)
            else:
                peer.say(link, Payload(encode(Synced(token, peer.committed))))
        while self._answered and self._answered[0][0] <= self._replica.machine.zxid:
            connection = self._waiting.pop(self._answered.popleft()[1], None)
            if connection is not None:
                connection.synced()

    def _ask_leader(self, token: int) -> None:
        if isinstance(self._replica.peer.role, Leading):
            self.asked(token, None)
        else:
            self._replica.tell_leader(Sync(token))
