"""Read-only mode: what a member without a leader does for clients that are content with old data.

Owns the sessions of that time. They are this member's alone: no log entry makes them, no other member knows
them, and they can own nothing. Their ids differ from those of all real sessions; their passwords are made
alike (`Lobby.password_of`). Must not know how requests are served (`Connection`), nor the peer.

Rules that hold here:

- only with `readonlymode.enabled`, and only for clients that said so in their greeting;
- it begins when the member has been without a leader for a while, and ends when it has joined one: then the
  connections are closed, so that their clients come back for a real session;
- the state is what the member knows to be committed. One that has not joined any leader since its start does
  not know that of its log, and does not serve;
- a real session is never refused here, only sent away: whether it lives on is for a leader to say.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from coord.errors import ErrorCode
from coord.limits import READ_ONLY_AFTER_MS
from coord.logs import fields
from coord.server.tracker import in_hex, is_local, new_local_session_id
from coord.state.refused import Refused
from coord.state.sessions import Expiry
from coord.wire.records import WRITES, ConnectRequest, Op

if TYPE_CHECKING:
    from coord.server.connection import Connection
    from coord.server.replica import Replica

log = logging.getLogger("coord.server")


class ReadOnly:
    def __init__(self, replica: Replica, first: int) -> None:
        """`first`: the number of the first session, other in each run of the member."""
        self._replica = replica
        self._next = first
        self._connections: dict[int, Connection] = {}  # by session id; closed ones until the session expires
        self._expiry = Expiry()
        self.active = False

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self._connections)

    def beat(self, alone_ms: int) -> None:
        """A beat without a leader, who has been missed for `alone_ms` now."""
        config = self._replica.config
        enabled = config.read_only_mode_enabled and self._replica.has_ever_joined
        if enabled and not self.active and alone_ms >= max(READ_ONLY_AFTER_MS, config.tick_time_ms):
            self.active = True
            log.warning(
                "no leader: serving read-only clients", extra=fields(zxid=f"0x{self._replica.machine.zxid:x}")
            )
        for session_id in self._expiry.beat():
            self._connections.pop(session_id).close(f"read-only session {in_hex(session_id)} has expired")

    def end(self) -> None:
        """There is a leader again."""
        self.active = False
        for connection in self._connections.values():
            connection.close("there is a leader again: read-only sessions end")
        self._connections.clear()
        self._expiry = Expiry()

    # -- sessions -------------------------------------------------------------------------------------

    def connect(self, connection: Connection, request: ConnectRequest, timeout_ms: int) -> None:
        """The handshake, in place of `Lobby.connect`; `timeout_ms` is what the client may have."""
        session_id, zxid = request.session_id, self._replica.machine.zxid
        lobby = self._replica.lobby
        if not request.read_only:
            connection.close("without a leader, only clients that accept read-only sessions are served")
        elif request.last_zxid_seen > zxid:
            connection.close(f"the client has seen zxid 0x{request.last_zxid_seen:x}, not only 0x{zxid:x}")
        elif session_id == 0:
            self._open(connection, self._new_id(), timeout_ms)
        elif not is_local(session_id):
            connection.close(f"session {in_hex(session_id)} can only be resumed where there is a leader")
        elif session_id not in self._connections:
            connection.refuse_session(f"read-only session {in_hex(session_id)} has expired or never was")
        elif not lobby.is_password_of(session_id, request.password):
            connection.refuse_session(f"wrong password for session {in_hex(session_id)}")
        else:
            self._connections[session_id].close(
                f"session {in_hex(session_id)} is resumed on another connection"
            )
            self._open(connection, session_id, timeout_ms)

    def touch(self, connection: Connection) -> bool:
        """As `Replica.touch`: the session has shown life."""
        return self._expiry.touch(connection.session_id)

    def answers(self, connection: Connection, op: int) -> bool:
        """Is that all there is to do for this request, which is no read? Raises `Refused` if it needs a
        leader. A client that ends its session is sent the reply, then its connection closes."""
        if op == Op.CLOSE_SESSION:
            self._expiry.remove(connection.session_id)
            del self._connections[connection.session_id]
            connection.close("")
            return True
        if op == Op.SYNC or op in WRITES:
            raise Refused(ErrorCode.NOT_READ_ONLY)
        return False

    def _open(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        self._connections[session_id] = connection
        # One beat more, since the first to come may be due at once.
        self._expiry.add(session_id, -(-timeout_ms // self._replica.beat_ms) + 1)
        log.info(
            "read-only session opened",
            extra=fields(session=in_hex(session_id), client=connection.name, timeout_ms=timeout_ms),
        )
        password = self._replica.lobby.password_of(session_id)
        connection.read_only = True
        connection.open_session(session_id, timeout_ms, password)

    def _new_id(self) -> int:
        while True:
            self._next += 1
            session_id = new_local_session_id(self._replica.peer.my_id, self._next)
            if session_id not in self._connections:
                return session_id
