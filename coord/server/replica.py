"""One member without its shell: the peer, the replicated state, and the clients connected here.

Owns the way of a write: submitted by a connection, gathered into a batch, proposed to the peer, and, once
committed, applied to the machine; then its watch events and its reply go to the outboxes. Must not know
sockets, files, clocks or tasks: the shell passes the time in and carries the work out (`server.Server`).

Synopsis of a turn, as the shell plays it::

    connection.receive(data)  # for every socket that is readable
    replica.propose()  # everything gathered becomes one batch, one log record
    work = replica.take_work()  # goes to the disk; later replica.peer.persisted(work.ticket)
    replica.apply_committed()
    for connection in replica.take_dirty():
        ...  # its outbox goes to its socket

Rules that hold here:

- a batch is applied once, in order, and only when the peer says that it is committed;
- a request of a client is pending here until its entry is applied, whoever leads meanwhile (`pending`);
- a session is created, and ends, only by an entry of the log;
- what a session has asked for by way of another member takes the place of what it asked for here before: of
  that nothing is sent again;
- a session's id is made of the member that serves the client and the zxid of the entry that created it:
  unique by construction, whatever any clock says.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable

from coord.config import Config
from coord.errors import ProtocolError
from coord.limits import BATCH_REQUESTS_MAX, REPORT_BEATS
from coord.logs import fields
from coord.server.carrier import Phase
from coord.server.connection import Connection
from coord.server.lobby import Lobby
from coord.server.moved import Moved
from coord.server.pending import Pending, member_of
from coord.server.read_only import ReadOnly
from coord.server.replica_messages import (
    Alive,
    Forward,
    Keep,
    Message,
    Serve,
    Served,
    Sync,
    Synced,
    decode,
    encode,
)
from coord.server.segment_ends import SegmentEnds
from coord.server.specials import pack_event
from coord.server.stats import ServerStats, Summary
from coord.server.submitted import Submitted, take_piece
from coord.server.syncs import Syncs
from coord.server.tracker import SessionTracker, in_hex, name_sessions
from coord.state.machine import Change, Machine
from coord.state.watches import Watches
from coord.wire.ensemble import Batch, Request
from coord.wire.jute import pack_bool
from coord.wire.members import Payload, Proposal
from coord.wire.records import Op, PathRequest
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.links import Link
from coord.zab.peer import Peer, Work

log = logging.getLogger("coord.server")

_CREATE_SESSION, _CLOSE_SESSION, _ERROR = int(Op.CREATE_SESSION), int(Op.CLOSE_SESSION), int(Op.ERROR)


class Replica:
    answers = True
    """may a client be answered at all; once a turn found out"""
    joined_ms = 0
    """the `turn_ms` when this member took up with its leader, or began to lead"""
    synchronised_by = "diff"
    """how its leader made this member's history its own: diff, trunc or snap"""

    def __init__(
        self,
        config: Config,
        peer: Peer,
        machine: Machine,
        history: Iterable[Batch] = (),
        *,
        secret: bytes,
        boot: int = 0,
    ) -> None:
        """`history` is what the log holds beyond the machine: applied as soon as it is committed again.
        `secret` (32 random bytes) keys the session passwords of an ensemble that has none yet; `boot` (23
        random bits) tells this run of the member from its others."""
        assert len(secret) == 32
        self.config = config
        self.peer = peer
        self.machine = machine
        self.watches: Watches[Connection] = Watches()
        self.counted = ServerStats()  # but for what connections have not counted yet, see `stats`
        self.turn_ms = 0
        """when the turn began, ms on the shell's monotonic clock: for latencies"""
        self.wall_ms = 0
        """the same, in ms since 1970: the stamp of what is proposed in this turn"""
        self.dirty: list[Connection] = []
        self.stalled: dict[Connection, None] = {}
        """connections with more requests at hand than a turn serves: `resume_stalled` is due"""
        self.beat_ms = config.beat_ms
        self.answer_word: Callable[[str], str] = _no_words
        self._new_secret = secret
        self._role: object = None
        self._founding: Op | None = None
        self._joined: object = None
        """the peer's role in which this member has caught up with its leader's history"""
        self.sessions = SessionTracker(config, peer.my_id)
        self._pending = Pending(peer.my_id, boot)
        self._submitted = Submitted()
        self._to_forward: list[Request] = []
        self._proposed: dict[int, Batch] = {}  # by first zxid, until its work is taken
        self._unapplied: deque[Batch] = deque(history)
        self.lobby = Lobby(self)
        self.read_only = ReadOnly(self, boot)
        self._moved = Moved(self.lobby, peer.my_id)
        self.syncs = Syncs(self)
        self._beats = 0
        self._beats_alone = 0
        self.segment_ends = SegmentEnds(config, self._unapplied)

    # -- how it stands --------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Does this member open sessions: is it in touch with a leader (or leads) and has caught up?"""
        return self._joined is self.peer.role and self.peer.in_touch

    @property
    def has_joined(self) -> bool:
        """Has this member caught up with whom the peer follows now (or leads itself)?"""
        return self._joined is self.peer.role

    @property
    def has_ever_joined(self) -> bool:
        """Has it, since its start, caught up with any leader?"""
        return self._joined is not None

    @property
    def stats(self) -> ServerStats:
        for connection in self.lobby.connections:
            connection.count()
        return self.counted

    def _look_around(self) -> None:
        """Each answer says that the session lives; a follower knows that only while it hears its leader."""
        self.answers = self.serving or self._beats_alone <= self.config.fresh_beats

    def woke(self) -> None:
        """This process was stopped, for so long that others have given it up: what it takes for the present
        is past."""
        self._beats_alone = self.config.fresh_beats + 1
        if self.peer.leader is not None:
            self.peer.step_down()
        self._look_around()

    # -- requests -------------------------------------------------------------------------------------

    def touch(self, connection: Connection) -> bool:
        """The session has shown life. False if it is over: its request is dropped, its connection closed."""
        if self.sessions.heard(connection.session_id, connection.timeout_ms, self.turn_ms):
            return True
        connection.close(f"session {in_hex(connection.session_id)} has expired, or was silent for too long")
        return False

    def submit(self, connection: Connection, writes: list[tuple[int, bytes]]) -> None:
        """Opcodes and bodies of a client's writes: they go into the next proposal, and `Connection.committed`
        gets the results."""
        self.ask(connection, connection.session_id, writes)
        if _CLOSE_SESSION in [op for op, _ in writes]:
            self.sessions.closing.add(connection.session_id)

    def ask(self, connection: Connection, session_id: int, asked: list[tuple[int, bytes]]) -> None:
        """Requests of a client, or for one: pending from now on, until their entries are applied."""
        self._route(self._pending.add(connection, session_id, connection.identities, asked))

    def _route(self, requests: list[Request]) -> None:
        """To where proposals are made; while there is no such place they stay pending."""
        role = self.peer.role
        if self._joined is not role:
            return
        if isinstance(role, Leading):
            self._submitted.add(self.sessions.only_from(self.peer.my_id, requests))
        else:
            self._to_forward += requests

    def _propose_myself(self, op: int, body: bytes, session_id: int = 0) -> None:
        """What no client has asked for; only the leader does so."""
        self._submitted.add([(session_id, 0, op, (), body)])

    # -- other members --------------------------------------------------------------------------------

    def tell_leader(self, message: Message) -> None:
        role = self.peer.role
        if isinstance(role, Following) and role.link is not None:
            self.peer.say(role.link, Payload(encode(message)))

    def exchange(self) -> None:
        """Hears what other members' replicas have said, says what is due. Once a turn."""
        if self._role is not self.peer.role:
            self._begin_role()
        self._look_around()
        heard, self.peer.payloads = self.peer.payloads, []
        for link, data in heard:
            try:
                self._hear(link, decode(data))
            except ProtocolError as error:
                log.error(
                    "a member sent what this one does not know: %s", error, extra=fields(member=link.member)
                )
        self.syncs.confirm()
        while self._to_forward and self._joined is self.peer.role:
            self.tell_leader(Forward(take_piece(self._to_forward)))

    def _begin_role(self) -> None:
        """What was on its way in the old role is no more; what clients wait for is still pending."""
        self._role = self.peer.role
        self._founding = None
        self.counted.proposals = Summary()
        self.synchronised_by = "diff"
        self._submitted.clear()
        self._proposed.clear()
        self._to_forward.clear()
        self.syncs.begin_role()

    def _hear(self, link: Link, message: Message) -> None:
        match message:
            case Forward(requests):
                self.sessions.reported({request[0] for request in requests})
                self._submitted.add(self.sessions.only_from(link.member, requests), link)
            case Alive(session_ids):
                self.sessions.reported(session_ids)
            case Serve(session_ids):
                for session_id in session_ids:
                    self.sessions.connected(session_id, link.member)
                self.peer.say(link, Payload(encode(Served(self.sessions.reported(session_ids)))))
            case Served(session_ids):
                self.lobby.served(session_ids)
            case Keep(session_ids):
                self.sessions.kept(session_ids, link.member)
            case Sync(token):
                self.syncs.asked(token, link)
            case Synced(token, zxid):
                self.syncs.answered(token, zxid)

    # -- the way of a write ---------------------------------------------------------------------------

    @property
    def may_propose(self) -> bool:
        """Is there anything for `propose` to do?"""
        return bool(self._submitted) and self.peer.leading

    def propose(self) -> None:
        """Makes one batch of what was submitted, and proposes it."""
        role = self.peer.role
        if not self.may_propose or not isinstance(role, Leading):
            return
        if role.room <= BATCH_REQUESTS_MAX:
            self.peer.step_down()
            return
        batch = self._submitted.take(role.next_zxid, self.wall_ms, role.learners)
        if batch is not None:
            name_sessions(batch.requests, batch.first_zxid)
            self._proposed[batch.first_zxid] = batch
            payload = batch.encode()
            self.counted.proposals.add(len(payload))
            self.peer.propose(Proposal(batch.first_zxid, batch.last_zxid, payload))

    def take_work(self) -> Work | None:
        """What the peer wants durable; what it is about to log is noted here, to be applied in its time."""
        work = self.peer.take_work()
        if work is None:
            return None
        if work.truncate is not None:
            self.synchronised_by = "trunc"
            while self._unapplied and self._unapplied[-1].last_zxid > work.truncate:
                self._unapplied.pop()
            self.segment_ends.truncated(work.truncate)
        if work.install is not None:
            self.synchronised_by = "snap"
            self._install(work.install.chunks)
            work.install_digest = self.machine.digest
        for proposal in work.proposals:
            batch = self._proposed.pop(proposal.first_zxid, None)
            self._unapplied.append(Batch.decode(proposal.payload) if batch is None else batch)
            self.segment_ends.logged(self._unapplied[-1], len(proposal.payload))
        return work

    def _install(self, chunks: Iterable[bytes]) -> None:
        """Another state takes the place of this one. Watches cannot tell what happened in between, so the
        clients connect again, and catch up by setWatches."""
        self.machine = Machine.restore(chunks)
        self._unapplied.clear()
        self.segment_ends.installed(self.machine.zxid)
        for connection in list(self.lobby.connections):
            connection.close("this member begins again from a snapshot")

    def apply_committed(self) -> bool:
        """Applies every batch that is committed. True if there is more to do now."""
        applied = False
        while self._unapplied and self._unapplied[0].last_zxid <= self.peer.committed:
            batch = self._unapplied.popleft()
            self._apply(batch)
            applied = True
            self.segment_ends.applied(self.machine)
        if self._joined is not self.peer.role:
            applied = self._join() or applied
        if applied:
            self.lobby.greet_those_ahead()
        return applied

    def _apply(self, batch: Batch) -> None:
        zxid, time_ms = batch.first_zxid, batch.time_ms
        apply, watches, applied = self.machine.apply, self.watches, self._pending.applied
        for session_id, number, op, identities, body in batch.requests:
            origin = applied(number)
            if origin is not None:
                origin.answer_ahead()
            err, reply, changes = apply(zxid, time_ms, session_id, op, identities, body, origin is not None)
            if watches.watchers:
                self._tell_watchers(changes, zxid)
            if op == _CREATE_SESSION:
                self._session_created(session_id, number, origin)
            else:
                if origin is not None:
                    origin.committed(zxid, err, reply)
                elif op != _ERROR:
                    self._moved.applied(session_id, number)
                if op == _CLOSE_SESSION:
                    self._session_closed(session_id)
            zxid += 1

    def _tell_watchers(self, changes: Iterable[Change], zxid: int) -> None:
        for change in changes:
            watchers = self.watches.fire(change)
            if watchers:
                frame = pack_event(*change[:2], zxid)
                for watcher in watchers:
                    watcher.event(frame)

    def _session_created(self, session_id: int, number: int, origin: Connection | None) -> None:
        timeout_ms = self.machine.sessions.timeouts[session_id]
        self.sessions.count(session_id, timeout_ms)
        self.sessions.connected(session_id, member_of(number))
        if origin is not None and origin.phase is Phase.OPENING:
            self.lobby.open(origin, session_id, timeout_ms)

    def _session_closed(self, session_id: int) -> None:
        self.sessions.forget(session_id)
        self._moved.ended(session_id)
        self.lobby.session_ended(session_id)
        connection = self.lobby.connection_of(session_id)
        if connection is not None:
            connection.close("")

    # -- leaders come and go --------------------------------------------------------------------------

    def _join(self) -> bool:
        """Takes up with a new leader, as soon as everything in its history is applied here."""
        role = self.peer.role
        if not isinstance(role, (Leading, Following)) or not role.established:
            return False
        if self.machine.zxid < role.joined_zxid or self._unapplied_committed():
            return False
        if not (self._is_founded() if isinstance(role, Leading) else self.machine.secret):
            return False
        self._joined = role
        self.joined_ms = self.turn_ms
        self._beats_alone = 0
        self._look_around()
        self.read_only.end()
        here = self._moved.leave_overtaken()
        if isinstance(role, Leading):
            self.sessions.lead(self.machine.sessions.timeouts)
            self.sessions.kept(here, self.peer.my_id)
        else:
            self.sessions.follow(here, self.turn_ms)
        self.tell_leader(Keep(here))
        self.tell_leader(Alive(self.sessions.to_report()))
        self._ask_again()
        return True

    def _unapplied_committed(self) -> bool:
        return bool(self._unapplied) and self._unapplied[0].last_zxid <= self.peer.committed

    def _is_founded(self) -> bool:
        """Does the log say what it must before anything else? If not, it is proposed."""
        ttl_enabled = self.config.extended_types_enabled
        if not self.machine.secret:
            self._found(Op.SET_SECRET, self._new_secret)
        elif self.machine.tree.ttl_enabled != ttl_enabled:
            self._found(Op.ENABLE_TTL, pack_bool(ttl_enabled))
        else:
            return True
        return False

    def _found(self, op: Op, body: bytes) -> None:
        if self._founding is not op:
            self._founding = op
            self._propose_myself(op, body)

    def _ask_again(self) -> None:
        """What is pending is in no history that can still win (see `pending`): it is asked for again."""
        for request, connection in list(self._pending):
            if connection.phase in (Phase.OPEN, Phase.OPENING):
                self._route([request])
            else:
                self._pending.drop(request[1])
        self.syncs.ask_again()
        self.lobby.ask_again()
        for connection in list(self.lobby.connections):
            connection.proceed()

    # -- time -----------------------------------------------------------------------------------------

    def beat(self) -> None:
        """`beat_ms` have passed: sessions expire, and so do connections that never opened one."""
        self._beats += 1
        self.lobby.beat()
        if not self.serving:
            self._beats_alone += 1
            self.lobby.close_leaderless(self._beats_alone * self.beat_ms)
            self.read_only.beat(self._beats_alone * self.beat_ms)
            return
        for session_id in self.sessions.beat():
            self.expire(session_id)
        if self.peer.entry_wanted and not self._submitted:
            self._propose_myself(Op.NOTHING, b"")
        if self._beats % REPORT_BEATS == 0 and not self.peer.leading:
            self.tell_leader(Alive(self.sessions.to_report()))

    def expire(self, session_id: int, *, even_if_busy: bool = False) -> None:
        connection = self.lobby.connection_of(session_id)
        if connection is not None and connection.pipeline_full and not even_if_busy:
            # Its pings wait unread, since it waits for us: a slow disk is not the client's silence.
            self.sessions.count(session_id, connection.timeout_ms)
        elif session_id not in self.sessions.closing:
            log.info("session expired", extra=fields(session=in_hex(session_id)))
            self.sessions.closing.add(session_id)
            self._propose_myself(Op.CLOSE_SESSION, b"", session_id)

    def reap(self) -> None:
        """Containers without children and TTL znodes past their time are deleted, through the log."""
        if self.serving and self.peer.leading:
            for path in self.machine.reapable(self.wall_ms)[: self.config.container_max_per_minute]:
                self._propose_myself(Op.DELETE_CONTAINER, PathRequest(path).encode())

    def resume_stalled(self) -> None:
        """A turn for each connection that has more requests at hand."""
        stalled, self.stalled = self.stalled, {}
        for connection in stalled:
            connection.go_on()

    def take_dirty(self) -> list[Connection]:
        dirty, self.dirty = self.dirty, []
        return dirty


def _no_words(word: str) -> str:
    """Until the shell, which knows disks and processes, gives the replica its view of them."""
    return ""
