"""One member without its shell: the peer, the replicated state, and the clients connected here.

Owns the way of a write: submitted by a connection, gathered into a batch, proposed to the peer, and, once
committed, applied to the machine; then its watch events and its reply go to the outboxes. Must not know
sockets, files, clocks or tasks: the shell passes the time in and carries the work out (`server.Server`).

Synopsis of a turn, as the shell plays it::

    connection.receive(data)  # for every socket that is readable
    replica.propose()  # everything gathered becomes one batch, one log record
    work = replica.peer.take_work()  # goes to the disk; later replica.persisted(work.ticket)
    replica.apply_committed()
    for connection in replica.take_dirty():
        ...  # its outbox goes to its socket

Rules that hold here:

- a batch is applied once, in order, and only when the peer says that it is committed;
- a session is created, and ends, only by an entry of the log;
- a session's id is made of the member that serves the client and the zxid of the entry that created it:
  unique by construction, whatever any clock says.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable

from coord.config import Config
from coord.limits import BATCH_REQUESTS_MAX, BEATS_PER_TICK, HANDSHAKE_SECONDS
from coord.logs import fields
from coord.server.carrier import Phase
from coord.server.connection import PASSWORD_NONE, Connection, pack_event
from coord.server.stats import ServerStats
from coord.server.submitted import Submitted
from coord.state.machine import Machine
from coord.state.sessions import Expiry
from coord.state.watches import Watches
from coord.wire.ensemble import Batch
from coord.wire.jute import pack_bool
from coord.wire.records import ConnectRequest, CreateSessionRequest, Id, Op, PathRequest
from coord.zab.history import Proposal
from coord.zab.peer import Peer

log = logging.getLogger("coord.server")

SUPER = Id("super", "")
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class Replica:
    def __init__(
        self, config: Config, peer: Peer, machine: Machine, history: Iterable[Batch] = (), *, secret: bytes
    ) -> None:
        """`history` is what the log holds beyond the machine: applied as soon as it is committed again.
        `secret` (32 random bytes) keys the session passwords of an ensemble that has none yet."""
        assert len(secret) == 32
        self.config = config
        self.peer = peer
        self.machine = machine
        self.watches: Watches[Connection] = Watches()
        self.stats = ServerStats()
        self.connections: dict[Connection, None] = {}
        self.turn_ms = 0
        """when the turn began, ms on the shell's monotonic clock: for latencies"""
        self.wall_ms = 0
        """the same, in ms since 1970: the stamp of what is proposed in this turn"""
        self.dirty: list[Connection] = []
        self.stalled: dict[Connection, None] = {}
        """connections with more requests at hand than a turn serves: `resume_stalled` is due"""
        self.beat_ms = max(1, config.tick_time_ms // BEATS_PER_TICK)
        self.answer_word: Callable[[str], str] = _no_words
        self._new_secret = secret
        self._serving = False
        self._connections_of: Counter[str] = Counter()
        self._session_connection: dict[int, Connection] = {}
        self._expiry = Expiry()
        self._closing_sessions: set[int] = set()
        self._submitted = Submitted.none()
        self._unapplied: deque[tuple[Batch, list[Connection | None]]] = deque(
            (batch, [None] * len(batch)) for batch in history
        )
        self._beats_left: dict[Connection, int] = {}  # to open a session, or to take the last reply
        self._entries_since_roll = sum(len(batch) for batch, _ in self._unapplied)
        self._bytes_since_roll = sum(len(body) for batch, _ in self._unapplied for body in batch.bodies)
        self._digests_wanted: deque[int] = deque()
        self.digests: deque[tuple[int, int]] = deque()
        """(zxid, digest of the live state there) at the end of each log segment: a snapshot is due"""

    # -- clients come and go --------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Does this member answer clients: has it applied all that was committed when its epoch began?"""
        return self._serving

    def admit(self, host: str, port: int) -> Connection | None:
        """A client has connected; None if its host has too many connections (`maxClientCnxns`)."""
        limit = self.config.max_client_cnxns
        if limit and self._connections_of[host] >= limit:
            log.warning("too many connections from one host", extra=fields(host=host, maxClientCnxns=limit))
            return None
        connection = Connection(self, (host, port), self.config.jute_maxbuffer)
        if self.config.skip_acl:
            connection.identities += (SUPER,)
        self.connections[connection] = None
        self._connections_of[host] += 1
        self.limit(connection, HANDSHAKE_SECONDS)
        return connection

    def limit(self, connection: Connection, seconds: float) -> None:
        """The connection must open a session, or take its last reply, within `seconds`."""
        self._beats_left[connection] = max(1, int(seconds * 1000 / self.beat_ms))

    def forget(self, connection: Connection) -> None:
        """The connection is closed: its watches go, its session lives on until it expires."""
        del self.connections[connection]
        host = connection.address[0]
        self._connections_of[host] -= 1
        if not self._connections_of[host]:
            del self._connections_of[host]
        self._beats_left.pop(connection, None)
        self.watches.drop(connection)
        if self._session_connection.get(connection.session_id) is connection:
            del self._session_connection[connection.session_id]
        if connection.close_reason:
            log.info(
                "connection closed", extra=fields(client=connection.name, reason=connection.close_reason)
            )

    def connect(self, connection: Connection, request: ConnectRequest) -> None:
        """The handshake (`reference`: ZooKeeperServer.processConnectRequest, in its order of checks)."""
        self._beats_left.pop(connection, None)
        if not self._serving:
            connection.close("this server is not serving yet")
        elif request.last_zxid_seen > self.machine.zxid:
            connection.close(
                f"the client has seen zxid 0x{request.last_zxid_seen:x}, "
                f"this server only 0x{self.machine.zxid:x}; it must try another server"
            )
        elif request.session_id == 0:
            timeout_ms = self._clamp(request.timeout_ms)
            self._submit(connection, 0, 0, Op.CREATE_SESSION, CreateSessionRequest(timeout_ms).encode())
        else:
            self._resume(connection, request)

    def _clamp(self, timeout_ms: int) -> int:
        config = self.config
        return min(max(timeout_ms, config.min_session_timeout_ms), config.max_session_timeout_ms)

    def _resume(self, connection: Connection, request: ConnectRequest) -> None:
        session_id = request.session_id
        older = self._session_connection.get(session_id)
        if older is not None:
            # Even a wrong password ends it: so does ZooKeeper, and a client never has two connections.
            older.close(f"session {_hex(session_id)} is resumed on another connection")
        timeout_ms = self.machine.sessions.timeouts.get(session_id)
        password = self.password_of(session_id)
        if timeout_ms is None or session_id in self._closing_sessions:
            connection.refuse_session(f"session {_hex(session_id)} has expired or never was")
        elif not hmac.compare_digest(password, request.password or PASSWORD_NONE):
            connection.refuse_session(f"wrong password for session {_hex(session_id)}")
        else:
            # The timeout is negotiated anew at each connection, as in ZooKeeper.
            self._open(connection, session_id, self._clamp(request.timeout_ms), password)

    def _open(self, connection: Connection, session_id: int, timeout_ms: int, password: bytes) -> None:
        self._session_connection[session_id] = connection
        self._expiry.add(session_id, self._beats(timeout_ms))
        log.info(
            "session opened",
            extra=fields(session=_hex(session_id), client=connection.name, timeout_ms=timeout_ms),
        )
        connection.open_session(session_id, timeout_ms, password)

    def password_of(self, session_id: int) -> bytes:
        """16 bytes that only a member of this ensemble can make: a keyed MAC over the session id."""
        text = (session_id & _MASK).to_bytes(8, "big")
        return hmac.digest(self.machine.secret, text, hashlib.sha256)[:16]

    def is_super(self, identity: Id) -> bool:
        return bool(self.config.super_digest) and identity.id == self.config.super_digest

    # -- requests -------------------------------------------------------------------------------------

    def touch(self, connection: Connection) -> bool:
        """The session has shown life. False if it is over: its request is dropped, its connection closed."""
        if self._expiry.touch(connection.session_id):
            return True
        connection.close(f"session {_hex(connection.session_id)} has expired")
        return False

    def submit(self, connection: Connection, xid: int, op: int, body: bytes) -> None:
        """A write of a client: it goes into the next proposal; `Connection.committed` gets its result."""
        self._submit(connection, connection.session_id, xid, op, body)
        if op == Op.CLOSE_SESSION:
            self._closing_sessions.add(connection.session_id)

    def _submit(self, origin: Connection | None, session_id: int, xid: int, op: int, body: bytes) -> None:
        heads, identities, bodies, origins = self._submitted
        heads.append((session_id, xid, op))
        identities.append(origin.identities if origin is not None else ())
        bodies.append(body)
        origins.append(origin)

    # -- the way of a write ---------------------------------------------------------------------------

    def propose(self) -> bool:
        """Makes one batch of what was submitted, and proposes it. True if there was anything."""
        if not self._submitted.heads or not self.peer.leading:
            return False
        if self.peer.room <= BATCH_REQUESTS_MAX:
            self.peer.new_epoch()
            return False
        now, self._submitted = self._submitted.split(self._submitted.fitting())
        batch = Batch(self.peer.next_zxid, self.wall_ms, now.heads, now.identities, now.bodies)
        self._name_sessions(batch)
        record = batch.encode()
        self.peer.propose(Proposal(batch.first_zxid, batch.last_zxid, record))
        self._unapplied.append((batch, now.origins))
        self._entries_since_roll += len(batch)
        self._bytes_since_roll += len(record)
        return True

    def _name_sessions(self, batch: Batch) -> None:
        for index, (_, xid, op) in enumerate(batch.heads):
            if op == Op.CREATE_SESSION:
                session_id = new_session_id(self.peer.my_id, batch.first_zxid + index)
                batch.heads[index] = (session_id, xid, op)

    def apply_committed(self) -> bool:
        """Applies every batch that is committed. True if there is more to do now."""
        applied = False
        while self._unapplied and self._unapplied[0][0].last_zxid <= self.peer.committed:
            batch, origins = self._unapplied.popleft()
            self._apply(batch, origins)
            applied = True
            if self._digests_wanted and self._digests_wanted[0] == batch.last_zxid:
                self.digests.append((self._digests_wanted.popleft(), self.machine.digest))
        if not self._serving and self.peer.leading and not self._unapplied:
            applied = self._begin_to_serve() or applied
        return applied

    def _apply(self, batch: Batch, origins: list[Connection | None]) -> None:
        time_ms = batch.time_ms
        apply, fire = self.machine.apply, self.watches.fire
        for (zxid, session_id, xid, op, identities, body), origin in zip(
            batch.entries(), origins, strict=True
        ):
            err, reply, changes = apply(
                zxid, time_ms, session_id, op, identities, body, want_reply=origin is not None
            )
            for change in changes:
                watchers = fire(change)
                if watchers:
                    frame = pack_event(change.type, change.path, zxid)
                    for watcher in watchers:
                        watcher.event(frame)
            if op == Op.CREATE_SESSION:
                self._session_created(session_id, origin)
            else:
                if origin is not None:
                    origin.committed(xid, zxid, err, reply)
                if op == Op.CLOSE_SESSION:
                    self._session_closed(session_id)

    def _session_created(self, session_id: int, origin: Connection | None) -> None:
        timeout_ms = self.machine.sessions.timeouts.get(session_id)
        assert timeout_ms is not None
        self._expiry.add(session_id, self._beats(timeout_ms))
        if origin is not None and origin.phase is Phase.OPENING:
            self._open(origin, session_id, timeout_ms, self.password_of(session_id))

    def _session_closed(self, session_id: int) -> None:
        self._expiry.remove(session_id)
        self._closing_sessions.discard(session_id)
        connection = self._session_connection.get(session_id)
        if connection is not None:
            connection.close("")

    def _begin_to_serve(self) -> bool:
        """The epoch is established and all of its history applied. True if something must be logged first."""
        if self._submitted.heads:
            return True
        if not self.machine.secret:
            self._submit(None, 0, 0, Op.SET_SECRET, self._new_secret)
            return True
        ttl_enabled = self.config.extended_types_enabled
        if self.machine.tree.ttl_enabled != ttl_enabled:
            self._submit(None, 0, 0, Op.ENABLE_TTL, pack_bool(ttl_enabled))
            return True
        self._serving = True
        for session_id, timeout_ms in self.machine.sessions.timeouts.items():
            self._expiry.add(session_id, self._beats(timeout_ms))
        return False

    # -- the log's segments ---------------------------------------------------------------------------

    def roll_due(self) -> bool:
        """Is the segment long enough? Ask right after work was taken: a True is to be obeyed."""
        size_limit = self.config.snap_size_limit_kb * 1024
        too_large = 0 < size_limit <= self._bytes_since_roll
        if self._entries_since_roll < self.config.snap_count and not too_large:
            return False
        self._entries_since_roll = self._bytes_since_roll = 0
        self._digests_wanted.append(self.peer.history.logged)
        return True

    # -- time -----------------------------------------------------------------------------------------

    def beat(self) -> None:
        """`beat_ms` have passed: sessions expire, and so do connections that never opened one."""
        if not self._serving:
            return
        for session_id in self._expiry.beat():
            connection = self._session_connection.get(session_id)
            if connection is not None and connection.pipeline_full:
                # Its pings wait unread, since it waits for us: a slow disk is not the client's silence.
                self._expiry.add(session_id, self._beats(connection.timeout_ms))
            elif session_id not in self._closing_sessions:
                log.info("session expired", extra=fields(session=_hex(session_id)))
                self._closing_sessions.add(session_id)
                self._submit(None, session_id, 0, Op.CLOSE_SESSION, b"")
        for connection in list(self._beats_left):
            self._beats_left[connection] -= 1
            if self._beats_left[connection] <= 0:
                self._time_is_up(connection)

    def _time_is_up(self, connection: Connection) -> None:
        if connection.phase is not Phase.CLOSING:
            connection.close("it has opened no session in time")
        elif connection.carrier is not None:
            connection.carrier.close("it does not take its last reply")

    def reap(self) -> None:
        """Containers without children and TTL znodes past their time are deleted, through the log."""
        if self._serving:
            for path in self.machine.reapable(self.wall_ms)[: self.config.container_max_per_minute]:
                self._submit(None, 0, 0, Op.DELETE_CONTAINER, PathRequest(path).encode())

    def _beats(self, timeout_ms: int) -> int:
        """Rounded up, and one more, since the first beat to come may be due at once: never too early."""
        return -(-timeout_ms // self.beat_ms) + 1

    def resume_stalled(self) -> None:
        """A turn for each connection that has more requests at hand."""
        stalled, self.stalled = self.stalled, {}
        for connection in stalled:
            connection.go_on()

    def take_dirty(self) -> list[Connection]:
        dirty, self.dirty = self.dirty, []
        return dirty


def _hex(session_id: int) -> str:
    return f"0x{session_id & _MASK:x}"


def _no_words(word: str) -> str:
    """Until the shell, which knows disks and processes, gives the replica its view of them."""
    return ""


def new_session_id(member: int, zxid: int) -> int:
    """High byte: the member; below: the low 56 bits of the zxid. Signed, as it travels."""
    value = (member & 0xFF) << 56 | zxid & 0x00FF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >= 1 << 63 else value
