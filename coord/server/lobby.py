"""Who is connected here: admitted, greeted, given time, and forgotten.

Owns the connections of this member's clients and the handshake that binds each to a session. A session's
password is a keyed MAC under the ensemble's secret: every member can check it, and nobody else can make it.
Must not know the log; a new session is asked for like any write (`Replica.ask`).

A session that is resumed here may have moved from another member, which may not have noticed. So the leader
is told before the client is: then it knows the moves of a session in their order, however late they reach it,
and what the session asks for elsewhere after that is refused. Nor has it ended then, or is about to.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from coord.limits import CATCH_UP_SECONDS, HANDSHAKE_SECONDS
from coord.logs import fields
from coord.server.carrier import Phase
from coord.server.connection import PASSWORD_NONE, Connection
from coord.server.replica_messages import Serve
from coord.server.tracker import SESSION_ID_MASK, in_hex
from coord.wire.records import ConnectRequest, CreateSessionRequest, Id, Op

if TYPE_CHECKING:
    from coord.server.replica import Replica

log = logging.getLogger("coord.server")

SUPER = Id("super", "")


class Lobby:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._config = replica.config
        self.connections: dict[Connection, None] = {}
        self.hears_no_more = False
        """this member is about to end: it reads no more requests, and admits nobody"""
        self._ahead: dict[Connection, ConnectRequest] = {}  # have seen more than is applied here
        self._connections_of: Counter[str] = Counter()
        self._session_connection: dict[int, Connection] = {}
        self._resuming: dict[int, tuple[Connection, int]] = {}  # by session, with its timeout in ms
        self._beats_left: dict[Connection, int] = {}  # to open a session, or to take the last reply

    def connection_of(self, session_id: int) -> Connection | None:
        """Where the session is connected to this member."""
        return self._session_connection.get(session_id)

    def session_ids(self) -> tuple[int, ...]:
        """The sessions that are connected to this member."""
        return tuple(self._session_connection)

    def admit(self, host: str, port: int) -> Connection | None:
        """A client has connected; None if its host has too many connections (`maxClientCnxns`)."""
        if self.hears_no_more:
            return None
        limit = self._config.max_client_cnxns
        if limit and self._connections_of[host] >= limit:
            log.warning("too many connections from one host", extra=fields(host=host, maxClientCnxns=limit))
            return None
        connection = Connection(self._replica, (host, port), self._config.jute_maxbuffer)
        if self._config.skip_acl:
            connection.identities += (SUPER,)
        self.connections[connection] = None
        self._connections_of[host] += 1
        self.limit(connection, HANDSHAKE_SECONDS)
        return connection

    def say_goodbye(self) -> None:
        """This member is about to end: each client goes elsewhere once all is answered that it was heard
        asking for."""
        self.hears_no_more = True
        for connection in list(self.connections):
            if connection.phase is Phase.GREETING or connection in self._ahead:
                connection.close("")
            else:
                connection.proceed()

    def limit(self, connection: Connection, seconds: float) -> None:
        """The connection must open a session, or take its last reply, within `seconds`."""
        self._beats_left[connection] = max(1, int(seconds * 1000 / self._replica.beat_ms))

    def forget(self, connection: Connection) -> None:
        """The connection is closed: its watches go, its session lives on until it expires."""
        del self.connections[connection]
        host = connection.address[0]
        self._connections_of[host] -= 1
        if not self._connections_of[host]:
            del self._connections_of[host]
        self._beats_left.pop(connection, None)
        self._ahead.pop(connection, None)
        self._replica.watches.drop(connection)
        if self._session_connection.get(connection.session_id) is connection:
            del self._session_connection[connection.session_id]
        if connection.close_reason:
            log.info(
                "connection closed", extra=fields(client=connection.name, reason=connection.close_reason)
            )

    def connect(self, connection: Connection, request: ConnectRequest) -> None:
        """The handshake (`reference`: ZooKeeperServer.processConnectRequest, in its order of checks)."""
        self._beats_left.pop(connection, None)
        if self._replica.read_only.active:
            self._replica.read_only.connect(connection, request, self._clamp(request.timeout_ms))
        elif not self._replica.serving:
            connection.close("this server is not serving yet")
        elif request.last_zxid_seen > self._replica.machine.zxid:
            self._keep_waiting(connection, request)
        elif request.session_id == 0:
            timeout_ms = self._clamp(request.timeout_ms)
            body = CreateSessionRequest(timeout_ms).encode()
            self._replica.ask(connection, 0, [(Op.CREATE_SESSION, body)])
        else:
            self._resume(connection, request)

    def _keep_waiting(self, connection: Connection, request: ConnectRequest) -> None:
        """The client has seen more than is applied here. In an ensemble it has come from a member that is
        ahead by a moment, perhaps."""
        if self._config.is_ensemble:
            self._ahead[connection] = request
            self.limit(connection, CATCH_UP_SECONDS)
        else:
            connection.close(
                f"the client has seen zxid 0x{request.last_zxid_seen:x}, "
                f"this server only 0x{self._replica.machine.zxid:x}; it must try another server"
            )

    def greet_those_ahead(self) -> None:
        """More was applied here: may be it is what they have seen."""
        for connection, request in list(self._ahead.items()):
            if request.last_zxid_seen <= self._replica.machine.zxid:
                del self._ahead[connection]
                if connection.phase is Phase.OPENING:
                    self.connect(connection, request)

    def _clamp(self, timeout_ms: int) -> int:
        config = self._config
        return min(max(timeout_ms, config.min_session_timeout_ms), config.max_session_timeout_ms)

    def _resume(self, connection: Connection, request: ConnectRequest) -> None:
        session_id = request.session_id
        older = self._session_connection.get(session_id)
        if older is None and session_id in self._resuming:
            older, _ = self._resuming.pop(session_id)
        if older is not None:
            # Even a wrong password ends it: so does ZooKeeper, and a client never has two connections.
            older.close(f"session {in_hex(session_id)} is resumed on another connection")
        timeout_ms = self._replica.machine.sessions.timeouts.get(session_id)
        if timeout_ms is None or session_id in self._replica.sessions.closing:
            connection.refuse_session(f"session {in_hex(session_id)} has expired or never was")
        elif not self.is_password_of(session_id, request.password):
            connection.refuse_session(f"wrong password for session {in_hex(session_id)}")
        else:
            # The timeout is negotiated anew at each connection, as in ZooKeeper.
            self._tell_move(connection, session_id, self._clamp(request.timeout_ms))

    def _tell_move(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """To the leader; `served` is its answer."""
        peer = self._replica.peer
        if peer.leader == peer.my_id:
            self.open(connection, session_id, timeout_ms)
        else:
            self._resuming[session_id] = connection, timeout_ms
            self.limit(connection, HANDSHAKE_SECONDS)
            self._replica.tell_leader(Serve((session_id,)))

    def served(self, session_ids: Iterable[int]) -> None:
        """The leader knows that these sessions are here."""
        for session_id in session_ids:
            connection, timeout_ms = self._resuming.pop(session_id, (None, 0))
            if connection is not None and connection.phase is Phase.OPENING:
                self._beats_left.pop(connection, None)
                self.open(connection, session_id, timeout_ms)

    def ask_again(self) -> None:
        """Another leads now."""
        resuming, self._resuming = self._resuming, {}
        for session_id, (connection, timeout_ms) in resuming.items():
            if connection.phase is Phase.OPENING:
                self._beats_left.pop(connection, None)
                self._tell_move(connection, session_id, timeout_ms)

    def session_ended(self, session_id: int) -> None:
        """Whoever is about to resume it comes too late."""
        connection, _ = self._resuming.pop(session_id, (None, 0))
        if connection is not None and connection.phase is Phase.OPENING:
            connection.refuse_session(f"session {in_hex(session_id)} has expired")

    def open(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """The session is connected here from now on."""
        replica = self._replica
        self._session_connection[session_id] = connection
        replica.sessions.count(session_id, timeout_ms)
        replica.sessions.connected(session_id, replica.peer.my_id)
        replica.sessions.heard(session_id, timeout_ms, replica.turn_ms)
        log.info(
            "session opened",
            extra=fields(session=in_hex(session_id), client=connection.name, timeout_ms=timeout_ms),
        )
        connection.open_session(session_id, timeout_ms, self.password_of(session_id))

    def password_of(self, session_id: int) -> bytes:
        """16 bytes that only a member of this ensemble can make: a keyed MAC over the session id."""
        text = (session_id & SESSION_ID_MASK).to_bytes(8, "big")
        return hmac.digest(self._replica.machine.secret, text, hashlib.sha256)[:16]

    def is_password_of(self, session_id: int, password: bytes | None) -> bool:
        return hmac.compare_digest(self.password_of(session_id), password or PASSWORD_NONE)

    def is_super(self, identity: Id) -> bool:
        return bool(self._config.super_digest) and identity.id == self._config.super_digest

    # -- time -----------------------------------------------------------------------------------------

    def beat(self) -> None:
        """One beat less for whoever must open a session, or take its last reply."""
        for connection in list(self._beats_left):
            self._beats_left[connection] -= 1
            if self._beats_left[connection] <= 0:
                self._time_is_up(connection)

    def close_leaderless(self, alone_ms: int) -> None:
        """Without a leader for as long as its session lasts, a client had better look elsewhere."""
        for connection in list(self.connections):
            if connection.read_only:
                continue  # it came for what there is without one
            if connection.phase is Phase.OPEN and alone_ms > connection.timeout_ms:
                connection.close("this member has had no leader for too long")

    def _time_is_up(self, connection: Connection) -> None:
        if connection in self._ahead:
            seen = self._ahead.pop(connection).last_zxid_seen
            connection.close(f"the client has seen zxid 0x{seen:x}, which does not come to this server")
        elif connection.phase is not Phase.CLOSING:
            connection.close("it has opened no session in time")
        elif connection.carrier is not None:
            connection.carrier.close("it does not take its last reply")
