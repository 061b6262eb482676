"""What has truly happened: the one committed history, and a plain model that has lived through it.

Owns the truth that everybody is held to. The model is the naive one of `tests/state`, which shares no code
with `coord.state`; it is asked what each entry answers, and which znodes changed. Any breach raises
`Violation` at the moment it happens:

- every member applies the same batches, and has the same digest and the same sessions after each of them;
- an ephemeral znode belongs to a session that lives;
- what a session asked for is in the history once at the most, in the order in which it was sent, and what the
  history has of it was sent;
- a session that has expired is one that its client could not count on any more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from coord.errors import ErrorCode
from coord.state.machine import Machine
from coord.wire.ensemble import Batch
from coord.wire.jute import Reader
from coord.wire.records import (
    MULTI_WRITE_OPS,
    REQUEST_OF,
    CreateSessionRequest,
    EventType,
    Op,
    decode_multi,
)
from coord.zab.history import follows
from tests.linearizability import State
from tests.simulation.chronicle import demand
from tests.simulation.trace import name
from tests.state.naive import Naive, No

CLIENT_WRITES = frozenset({Op.CREATE, Op.DELETE, Op.SET_DATA, Op.MULTI, Op.CLOSE_SESSION})

Change = tuple[int, EventType, str]
"""zxid, what, path"""
Result = str | int | None | list[tuple[int, str | int | None]]
"""what an operation tells its caller: the name of a new znode, the version that a write made; of a multi
(error, result) of each part"""


class Entry(NamedTuple):
    session_id: int
    number: int
    op: int
    body: bytes
    error: int
    result: Result


class Annals:
    def __init__(self, now: Callable[[], float], counts_on: Callable[[int], float]) -> None:
        """`now` is in ticks; `counts_on`: until when somebody counts on that session."""
        self.entries: dict[int, Entry] = {}
        self.changes: list[Change] = []
        self.expired: dict[int, float] = {}
        """sessions that ended without being closed by their client, and when that was known first"""
        self.counts: Counter[str] = Counter()
        self.model = Naive()
        self.last_zxid = 0
        self._now = now
        self._counts_on = counts_on
        self._batches: dict[int, Batch] = {}
        self._digests: dict[int, int] = {}
        self._sessions: dict[int, dict[int, int]] = {0: {}}
        self._sent: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._reached: Counter[int] = Counter()
        self._data: _Past[State] = _Past()
        self._children: _Past[list[str]] = _Past()
        self._told_children: dict[str, list[int]] = defaultdict(list)

    # -- what is asked --------------------------------------------------------------------------------

    def data(self, path: str, zxid: int) -> State | None:
        """What was there at that zxid; None if nothing."""
        return self._data.at(path, zxid)

    def children(self, path: str, zxid: int) -> list[str] | None:
        return self._children.at(path, zxid)

    def next_change(self, path: str, of_children: bool, after: int) -> int | None:
        """The zxid of the first change after `after` that a watch of that kind hears of."""
        moments = self._told_children[path] if of_children else self._data.moments[path]
        place = bisect_right(moments, after)
        return moments[place] if place < len(moments) else None

    def place_after(self, zxid: int) -> int:
        """Where in `changes` those after `zxid` begin."""
        return bisect_right(self.changes, zxid, key=itemgetter(0))

    # -- what is told ---------------------------------------------------------------------------------

    def sent(self, session_id: int, op: int, body: bytes) -> None:
        """A client sends a write."""
        self._sent[session_id].append((op, body))

    def applied(self, member: int, batch: Batch, machine: Machine) -> None:
        known = self._batches.get(batch.first_zxid)
        if known is None:
            first = name(batch.first_zxid)
            demand(follows(self.last_zxid, batch.first_zxid), "%d applies %s after a gap", member, first)
            before = len(self.changes)
            self._add(batch)
            self._compare({path for _, _, path in self.changes[before:]}, machine)
        else:
            demand(known == batch, "%d applies another batch at %s", member, name(batch.first_zxid))
        self.restored(member, machine)

    def restored(self, member: int, machine: Machine) -> None:
        """A member's state is that of its zxid."""
        zxid = machine.zxid
        true = self._sessions.get(zxid)
        digest = self._digests.setdefault(zxid, machine.digest)
        demand(digest == machine.digest, "%d has another state at %s", member, name(zxid))
        demand(machine.sessions.timeouts == true, "%d has other sessions at %s", member, name(zxid))
        owners = {owner for owner, paths in machine.tree.ephemerals.items() if paths}
        demand(
            owners <= machine.sessions.timeouts.keys(),
            "%d has ephemerals of a dead session at %s",
            *(member, name(zxid)),
        )

    def compare_all(self, machine: Machine) -> None:
        """The whole state is the model's."""
        self._compare({*self.model.nodes, *machine.tree.nodes}, machine)

    # -- the model ------------------------------------------------------------------------------------

    def _compare(self, paths: Iterable[str], machine: Machine) -> None:
        for path in paths:
            plain, node = self.model.nodes.get(path), machine.tree.nodes.get(path)
            mine = plain and (plain.data, plain.version, plain.owner, plain.czxid, plain.mzxid, plain.pzxid)
            theirs = node and (node.data, node.version, node.owner, node.czxid, node.mzxid, node.pzxid)
            demand(mine == theirs, "at %s %s is %s, not %s", name(machine.zxid), path, theirs, mine)

    def _add(self, batch: Batch) -> None:
        model = self.model
        model.time_ms = batch.time_ms
        for zxid, session_id, number, op, identities, body in batch.entries():
            model.zxid, model.identities, model.events = zxid, identities, []
            if op in CLIENT_WRITES and number:
                self._check_order(zxid, session_id, op, body)
            error, result = self._effect(session_id, op, body)
            self.entries[zxid] = Entry(session_id, number, op, body, error, result)
            self.counts["writes"] += op in CLIENT_WRITES
            if op == Op.CLOSE_SESSION and not error and not number:
                self._session_expired(session_id)
            for type_, path in model.events:
                self._note_change(zxid, type_, path)
        self._batches[batch.first_zxid] = batch
        self.last_zxid = batch.last_zxid
        self._sessions[batch.last_zxid] = dict(model.sessions)

    def _check_order(self, zxid: int, session_id: int, op: int, body: bytes) -> None:
        sent, place = self._sent[session_id], self._reached[session_id]
        while place < len(sent) and sent[place] != (op, body):
            place += 1
        demand(
            place < len(sent),
            "at %s session %#x does again, too late, or never asked for: %d %s",
            *(name(zxid), session_id, op, body),
        )
        self._reached[session_id] = place + 1

    def _session_expired(self, session_id: int) -> None:
        self.counts["sessions expired"] += 1
        self.expired[session_id] = self._now()
        early = self._counts_on(session_id) - self._now()
        demand(early <= 0, "session %#x expires %.1f ticks too early", session_id, early)

    def _note_change(self, zxid: int, type_: EventType, path: str) -> None:
        self.changes.append((zxid, type_, path))
        plain = self.model.nodes.get(path)
        if type_ != EventType.DATA_CHANGED:
            self._children.note(path, zxid, None if plain is None else self.model.children(path))
        if type_ in (EventType.CHILDREN_CHANGED, EventType.DELETED):
            self._told_children[path].append(zxid)
        if type_ != EventType.CHILDREN_CHANGED:
            self._data.note(path, zxid, None if plain is None else State(plain.data or b"", plain.version))

    def _effect(self, session_id: int, op: int, body: bytes) -> tuple[int, Result]:
        model = self.model
        if op in CLIENT_WRITES and session_id not in model.sessions:
            return ErrorCode.SESSION_EXPIRED, None
        try:
            match op:
                case Op.MULTI:
                    return 0, self._multi(session_id, body)
                case Op.CREATE_SESSION:
                    model.sessions[session_id] = CreateSessionRequest.from_bytes(body).timeout_ms
                case Op.CLOSE_SESSION:
                    model.close_session(session_id)
                case Op.ERROR:
                    return Reader(body).read_int(), None
                case Op.SET_SECRET | Op.ENABLE_TTL | Op.NOTHING:
                    pass
                case _:
                    return 0, self._part(session_id, op, REQUEST_OF[op].from_bytes(body))
        except No as no:
            return no.code, None
        return 0, None

    def _multi(self, session_id: int, body: bytes) -> list[tuple[int, str | int | None]]:
        operations = decode_multi(body, MULTI_WRITE_OPS)
        before = self.model.snapshot()
        results: list[tuple[int, str | int | None]] = []
        for op, request in operations:
            try:
                results.append((0, self._part(session_id, op, request)))
            except No as no:
                self.model.go_back(before)
                untried = len(operations) - len(results) - 1
                failed = (int(ErrorCode.RUNTIME_INCONSISTENCY), None)
                return [*((0, None) for _ in results), (int(no.code), None), *[failed] * untried]
        return results

    def _part(self, session_id: int, op: int, request: Any) -> str | int | None:
        model = self.model
        match op:
            case Op.CREATE:
                return model.create(session_id, request.path, request.data, request.acl, request.flags)
            case Op.DELETE:
                model.delete(request.path, request.version)
            case Op.SET_DATA:
                return model.set_data(request.path, request.data, request.version).version
            case Op.CHECK:
                model.check(request.path, request.version)
            case _:
                raise AssertionError(f"no client here asks for {op}")
        return None


S = TypeVar("S")


class _Past(Generic[S]):
    """What each znode was, and from which zxid on."""

    def __init__(self) -> None:
        self.moments: dict[str, list[int]] = defaultdict(list)
        self._states: dict[str, list[S | None]] = defaultdict(list)

    def note(self, path: str, zxid: int, state: S | None) -> None:
        self.moments[path].append(zxid)
        self._states[path].append(state)

    def at(self, path: str, zxid: int) -> S | None:
        place = bisect_right(self.moments[path], zxid)
        return self._states[path][place - 1] if place else None
