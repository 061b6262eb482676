"""Syncs that mean it: a quorum confirms that whoever leads still does, then everything committed is applied.

Owns which syncs are under way, of this member's clients and (on the leader) of other members. ZooKeeper's
leader answers a sync at once, even if it has been deposed and does not know yet; a read after it may then be
stale. Here the leader asks its quorum first (`zab.leading.ask_quorum`).

Those of one turn share a question to the leader, and those that a leader hears of in one turn share a round:
ten thousand syncs cost little more than one. A sync that a change of leaders interrupts is asked again.
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
        self._gathered: list[Connection] = []  # in this turn
        self._waiting: dict[int, list[Connection]] = {}  # by token, oldest first
        self._answered: deque[tuple[int, int]] = deque()  # (zxid that must be applied, token)
        self._heard: list[tuple[Link | None, int]] = []  # who has asked this leader in this turn, token
        self._asked: deque[tuple[int, Link | None, int]] = deque()  # (round of pings, who asked, token)
        self._last_token = 0

    @property
    def asked_of_quorum(self) -> int:
        """How many questions wait for the quorum of this member, which leads."""
        return len(self._asked) + len(self._heard) + bool(self._gathered)

    def ask(self, connection: Connection) -> bool:
        """A client's sync: True if it is confirmed already, else `Connection.synced` is called when it is."""
        peer = self._replica.peer
        if peer.leading and peer.quorum.reached([peer.my_id]):
            return True
        self._gathered.append(connection)
        return False

    def ask_again(self) -> None:
        """A leader is found: what waits is asked of it."""
        for token in self._waiting:
            self._ask_leader(token)

    def begin_role(self) -> None:
        """Nobody will answer what was asked of the old leader."""
        self._heard.clear()
        self._asked.clear()
        self._answered.clear()

    def asked(self, token: int, link: Link | None) -> None:
        """Somebody wants to know whether this member leads: another member, or its own clients."""
        if isinstance(self._replica.peer.role, Leading):
            self._heard.append((link, token))

    def answered(self, token: int, zxid: int) -> None:
        """The leader did lead when it was asked, and `zxid` was committed."""
        self._answered.append((zxid, token))

    def confirm(self) -> None:
        """Asks what was gathered, answers what can be answered now. Once a turn."""
        self._ask_for_gathered()
        self._begin_round()
        peer = self._replica.peer
        role = peer.role
        while self._asked and isinstance(role, Leading) and role.quorum_answered(self._asked[0][0]):
            _, link, token = self._asked.popleft()
            if link is None:
                self.answered(token, peer.committed)
            else:
                peer.say(link, Payload(encode(Synced(token, peer.committed))))
        while self._answered and self._answered[0][0] <= self._replica.machine.zxid:
            for connection in self._waiting.pop(self._answered.popleft()[1], ()):
                connection.synced()

    def _ask_for_gathered(self) -> None:
        if self._gathered and self._replica.has_joined:
            self._last_token += 1
            for connection in self._gathered:
                connection.cover_syncs()
            self._waiting[self._last_token], self._gathered = self._gathered, []
            self._ask_leader(self._last_token)

    def _ask_leader(self, token: int) -> None:
        if isinstance(self._replica.peer.role, Leading):
            self.asked(token, None)
        else:
            self._replica.tell_leader(Sync(token))

    def _begin_round(self) -> None:
        role = self._replica.peer.role
        if self._heard and isinstance(role, Leading):
            number = role.ask_quorum()
            self._asked.extend((number, link, token) for link, token in self._heard)
            self._heard.clear()
