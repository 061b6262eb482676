"""A simulated client: the production client core (`coord.client.session`), a link that breaks, and a will of
its own.

Owns what the client's shell (`coord.client.link`) does around the core: it connects, feeds bytes and time,
and comes back to another member with its session. Every frame passes its `Witness` first; every reply is
compared with what has truly happened (`Annals`):

- an acknowledged write is in the history, at the zxid of its reply, with the very outcome that was told;
- a read shows what was there at the zxid of its reply;
- a linearizable read is no older than what any member had applied when it was asked for.

What it does to registers is noted as `Operation`s, to be judged by what clients alone could see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from coord.client.calls import Call, Ended, Fired, Opened
from coord.client.requests import OPEN_ACL
from coord.client.session import Session
from coord.client.watches import Kind, WatchEvent
from coord.errors import CoordError, ErrorCode, ProtocolError
from coord.wire.frames import FrameBuffer, pack_frame
from coord.wire.records import (
    REPLY_HEADER_BYTES,
    AddWatchMode,
    AddWatchRequest,
    CheckVersionRequest,
    ChildrenReply,
    CreateMode,
    CreateRequest,
    DeleteRequest,
    GetDataReply,
    Op,
    PathReply,
    PathRequest,
    PathWatchRequest,
    Record,
    SetDataRequest,
    StatReply,
    decode_multi_reply,
    encode_multi,
)
from tests.linearizability import ANY, Operation, State
from tests.linearizability import Kind as Does
from tests.simulation.chronicle import demand
from tests.simulation.network import End
from tests.simulation.process import Process
from tests.simulation.trace import name
from tests.simulation.whole.annals import Result
from tests.simulation.whole.witness import Witness

if TYPE_CHECKING:
    from tests.simulation.whole.ensemble import Ensemble

SECONDS_PER_TICK = 0.05
TICK = 2.0
REGISTERS: Final = ("/r0", "/r1", "/r2")
PARENTS: Final = ("/q", "/e")
FLAGS: Final = ("/f0", "/f1")
CALLS_MAX = 12
EPHEMERALS_MAX = 4

Then = Callable[[Call, int, Result], None]
"""what a write does when it is acknowledged, given its error and its result"""


class Client(Process):
    """A `Station`; `timeout` is in seconds."""

    def __init__(self, ensemble: Ensemble, client_id: int, timeout: float) -> None:
        super().__init__(ensemble.timeline)
        self.id = client_id
        self.up = True
        self.timeout = timeout
        self.clock_rate = 1.0
        self.silent = False
        """it asks for nothing any more, but lives"""
        self.wrote_at = self.read_at = -inf
        """when the newest write, and linearizable read, was asked for that was answered"""
        self.events = 0
        self.core: Session
        self.witness: Witness
        self._ensemble = ensemble
        self._random = ensemble.random
        self._annals = ensemble.annals
        self._end: End | None = None
        self._connecting = False
        self._visits = 0
        """the member that it wants to go to, if it is not all the same"""
        self._met = 0
        """the incarnation of the member that it is connected to"""
        self._unsent: deque[Call] = deque()
        self._frames = FrameBuffer(1 << 20)
        self._handshake_until = 0.0
        self._values = 0
        self._calls = 0
        self._versions: dict[str, int] = {}
        self._own: list[str] = []
        self._acknowledged_zxid = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Another client core, that knows nothing of the old one's session."""
        self.core = Session(self.timeout)
        self.witness = Witness(self.id, self._annals)
        self._unsent.clear()
        self._calls = 0
        self._watches_all = self._closing = False
        self._versions.clear()
        self._own.clear()

    @property
    def now(self) -> float:
        """Seconds on this client's own clock."""
        return self._ensemble.now * SECONDS_PER_TICK / self.clock_rate

    @property
    def counts_on_session_until(self) -> float:
        """In ticks of the ensemble."""
        return self.core.lease.valid_until * self.clock_rate / SECONDS_PER_TICK

    @property
    def end(self) -> End | None:
        """Of its connection, if there is one."""
        return self._end

    @property
    def waits_for_nothing(self) -> bool:
        return not self._calls

    def note(self, text: str, *values: object) -> None:
        self._ensemble.note(self.id, text, *values)

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self._later(self._random.uniform(0, 20), self._connect)
        self._later(self._random.random() * TICK, self._tick)
        self._later(self._random.uniform(0, 40), self._act)

    def vanish(self) -> None:
        """The client is gone without a word; its session must expire."""
        self.note("vanishes, session %#x", self.core.id)
        self.up = False
        self.incarnation += 1
        if self._end is not None:
            self._ensemble.network.vanish(self._end)
            self._end = None
        self._end_calls()

    def pause(self, ticks: float) -> None:
        self.note("is stopped for %.1f ticks", ticks)
        self._pause(ticks)

    # -- connections ----------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._end is None and not self._connecting:
            self._connecting = True
            anybody = self._random.choice(list(self._ensemble.members))
            self._ensemble.network.connect(self, self._ensemble.whole(self._visits or anybody).port)

    def accepted(self, end: End) -> None:
        raise AssertionError("nobody calls a client")

    def connected(self, end: End | None) -> None:
        self._connecting = False
        if end is None:
            self._visits = 0
            self._connect_soon()
            return
        seen = name(self.core.last_zxid)
        self.note("-> %d  connects, session %#x, has seen %s", end.link.member, self.core.id, seen)
        self._end = end
        self._met = self._ensemble.whole(end.link.member).incarnation
        self._frames = FrameBuffer(1 << 20)
        self._handshake_until = self.now + self.timeout / 3
        self.core.attach(self.now)
        self.witness.attached()
        self._send()

    def _connect_soon(self) -> None:
        self._later(self._random.choice([0.5, 2, 6]) * self._random.random(), self._connect)

    def disconnected(self, end: End) -> None:
        if end is self._end:
            self._drop("closed by the member")

    def hang_up(self, end: End | None) -> None:
        """Leaves that member, if it is still connected there, for no reason."""
        if self._end is not None and self._end is end:
            self._drop("it wants to go elsewhere")

    def visit(self, member: int) -> None:
        """Goes there, and reads as soon as it is served."""
        if self.up:
            self._visits = member
            self.hang_up(self._end)
            self._connect()

    def _drop(self, why: str) -> None:
        end, self._end = self._end, None
        assert end is not None
        self.note("<> %d  no connection any more: %s", end.link.member, why)
        lives_on = self._ensemble.whole(end.link.member).incarnation == self._met
        if self.core.connected and lives_on and not self._closing:
            self._ensemble.left_by_survivor(self.id, end.link.member)
        self._ensemble.network.close(end)
        self.core.detach()
        self._take_outcomes()
        self._connect_soon()

    def receive(self, end: End, data: bytes) -> None:
        if end is not self._end:
            return
        self._frames.receive(data)
        for frame in list(self._frames.frames()):
            if self._end is not end:
                return
            if self.core.connected:
                self.witness.frame(frame)
            try:
                self.core.receive(pack_frame(frame), self.now)
            except CoordError as error:
                demand(not isinstance(error, ProtocolError), "%d does not understand: %s", self.id, error)
                self._take_outcomes()
                self._drop(f"{type(error).__name__} {error}")
                return
            self._take_outcomes()
        self._send()

    def _tick(self) -> None:
        self._later(TICK, self._tick)
        if self._end is not None:
            try:
                if not self.core.connected and self.now > self._handshake_until:
                    raise CoordError("no answer to the handshake")
                self.core.tick(self.now)
            except CoordError as error:
                self._drop(str(error))
        self._send()

    def _send(self) -> None:
        while self._end is not None and self.core.has_outgoing:
            self._ensemble.network.send(self._end, self.core.outgoing(self.now))
        while self._unsent and (self._unsent[0].xid or self._unsent[0].finished):
            call = self._unsent.popleft()
            if call.xid:
                self._annals.sent(self.core.id, call.op, call.body)
        self._check_lease()

    def _check_lease(self) -> None:
        over = self._annals.expired.get(self.core.id, inf)
        early = self.counts_on_session_until - over
        demand(
            early <= 0,
            "%d counts on session %#x for %.1f ticks after it expired",
            *(self.id, self.core.id, early),
        )

    def _take_outcomes(self) -> None:
        for happened in self.core.take_outcomes():
            match happened:
                case Call():
                    self._calls -= 1
                    happened.waiter(happened)
                case Fired(event):
                    self.events += 1
                    self.note("<-    %s %s at %s", event.type.name, event.path, name(event.zxid))
                case Opened(new):
                    self.note("has %s session %#x", "a new" if new else "resumed", self.core.id)
                    self._ensemble.counts["sessions opened" if new else "sessions resumed"] += 1
                    if new:
                        self._acknowledged_zxid = 0
                    if self._visits and not self.silent:
                        self.read()
                    self._visits = 0
                case Ended():
                    self.note("learns that its session is over")
                    self.witness.session_over()
                    self._own.clear()

    # -- as a Watcher: the core is told by whom, the witness by what ----------------------------------

    def fired(self, event: WatchEvent) -> None: ...
    def session_ended(self) -> None: ...
    def resynced(self) -> None: ...

    # -- requests -------------------------------------------------------------------------------------

    def _ask(
        self,
        op: Op,
        request: Record | None,
        done: Callable[[Call], None],
        *,
        watch: tuple[Kind, str] | None = None,
        body: bytes = b"",
        writes: bool = False,
    ) -> None:
        arms = None if watch is None else (*watch, self)
        body = body if request is None else request.encode()
        call = Call(op, body, repeatable=not writes, watch=arms)
        call.waiter = done
        self._calls += 1
        if writes:
            self._unsent.append(call)
        self.core.submit(call)

    def _write(self, op: Op, request: Record | None, then: Then | None = None, body: bytes = b"") -> None:
        self._ask(op, request, partial(self._wrote, self._ensemble.now, then), body=body, writes=True)

    def _wrote(self, called: float, then: Then | None, call: Call) -> None:
        error = call.error
        self.note("<-    %s: %s", Op(call.op).name, "ok" if error is None else repr(error))
        if isinstance(error, CoordError):
            self._ensemble.counts["writes of unknown outcome"] += bool(call.xid)
            self._closing = False
            return
        self._ensemble.counts["writes acknowledged"] += 1
        entry = self._annals.entries.get(call.zxid)
        demand(
            entry is not None and entry.session_id == self.core.id,
            "%d is told of a write at %s that is not there",
            *(self.id, name(call.zxid)),
        )
        assert entry is not None
        if entry.op == Op.ERROR:
            demand(error == ErrorCode.SESSION_MOVED, "%d is refused with %s", self.id, error)
            self._closing = False  # it was asked for where the session is no more
            return
        here = self.id, name(call.zxid)
        demand((entry.op, entry.body) == (call.op, call.body), "%d: another write is at %s", *here)
        demand(call.zxid > self._acknowledged_zxid, "%d: its writes are out of order at %s", *here)
        self._acknowledged_zxid = call.zxid
        told = _result_of(call)
        true = entry.error, None if entry.error else entry.result
        demand(told == true, "%d is told of its write at %s: %s, but it did %s", *here, told, true)
        self.wrote_at = max(self.wrote_at, called)
        if then is not None:
            then(call, *told)

    def _read(
        self, op: Op, path: str, *, watch: Kind | None = None, horizon: int = 0, called: float = inf
    ) -> None:
        request = PathWatchRequest(path, watch is not None)
        done = partial(self._have_read, path, watch, horizon, called)
        self._ask(op, request, done, watch=None if watch is None else (watch, path))

    def _have_read(self, path: str, watch: Kind | None, horizon: int, called: float, call: Call) -> None:
        if isinstance(call.error, CoordError):
            return
        zxid, error = call.zxid, call.error or 0
        truth: object = self._annals.data(path, zxid)
        if call.op == Op.GET_CHILDREN:
            truth = self._annals.children(path, zxid)
        elif call.op == Op.EXISTS and isinstance(truth, State):
            truth = truth.version
        seen = _seen_by(call)
        self._note_version(path, seen)
        demand(seen == truth, "%d reads %s of %s at %s: %s", *(self.id, seen, path, name(zxid), truth))
        demand(zxid >= horizon, "%d reads the past: %s after %s", *(self.id, name(zxid), name(horizon)))
        if watch is not None:
            self._armed(call, path, watch, error)
        self._ensemble.counts["reads"] += 1
        if called < inf:
            self._ensemble.counts["linearizable reads"] += 1
            self.read_at = max(self.read_at, called)
            if isinstance(seen, State):
                operation = Operation(path, self.id, Does.READ, called, self._ensemble.now, result=seen)
                self._ensemble.operations.append(operation)

    def _note_version(self, path: str, seen: object) -> None:
        if isinstance(seen, State):
            self._versions[path] = seen.version

    def _armed(self, call: Call, path: str, watch: Kind, error: int) -> None:
        if error == 0:
            self.witness.armed(watch, path, call.zxid)
        elif error == ErrorCode.NO_NODE and call.op == Op.EXISTS:
            self.witness.armed(Kind.EXISTS, path, call.zxid)

    # -- what it does ---------------------------------------------------------------------------------

    def _act(self) -> None:
        self._later(self._random.expovariate(1 / self._ensemble.pause), self._act)
        if self.silent or self._closing:
            return
        actions = [action for action, _ in _ACTIONS]
        weights = [weight for _, weight in _ACTIONS]
        for action in self._random.choices(actions, weights, k=self._random.choice([1, 1, 1, 2, 5])):
            if self._calls < CALLS_MAX and not self._closing:
                action(self)
        self._send()

    def _value(self) -> bytes:
        self._values += 1
        return b"%d/%d" % (self.id, self._values)

    def _register(self) -> str:
        return self._random.choice(REGISTERS)

    def _create(self, path: str, mode: CreateMode, then: Then | None = None) -> None:
        self._write(Op.CREATE, CreateRequest(path, self._value(), list(OPEN_ACL), mode), then)

    def prepare(self) -> None:
        """Makes the znodes that everybody uses; whoever comes late is told that they are there."""
        for path in (*REGISTERS, *PARENTS):
            self._write(Op.CREATE, CreateRequest(path, b"", list(OPEN_ACL), CreateMode.PERSISTENT))

    def set_any(self) -> None:
        self._set(self._register(), ANY)

    def compare_and_set(self) -> None:
        path = self._register()
        self._set(path, self._versions.get(path, 0))

    def _set(self, path: str, expected: int) -> None:
        value = self._value()
        self._write(Op.SET_DATA, SetDataRequest(path, value, expected))
        self._judge(self._operation(path, value, expected), lambda call: _set_version(*_result_of(call)))

    def _operation(self, path: str, value: bytes, expected: int = ANY) -> Callable[..., Operation]:
        """A write that is asked for now; how it ended is still to be told."""
        return partial(
            Operation, path, self.id, Does.WRITE, self._ensemble.now, value=value, expected=expected
        )

    def _judge(self, operation: Callable[..., Operation], version_of: Callable[[Call], Any]) -> None:
        """Notes the write just asked for as an operation on a register, once its outcome is known."""
        call = self._unsent[-1]
        wrote = call.waiter

        def done(call: Call) -> None:
            wrote(call)
            now = self._ensemble.now
            if isinstance(call.error, CoordError):
                if call.xid:
                    self._ensemble.operations.append(operation())
                return
            made = version_of(call)
            if made == "nothing":
                return
            one = operation()
            result = None if made is None else State(one.value, made)
            self._note_version(one.register, result)
            self._ensemble.operations.append(operation(returned=now, result=result))

        call.waiter = done

    def set_two(self) -> None:
        """Two registers at once, if the first is as it was; often it is not."""
        first, second = self._random.sample(REGISTERS, 2)
        version = self._versions.get(first, 0)
        values = self._value(), self._value()
        numbered = CreateRequest("/q/m", values[0], list(OPEN_ACL), CreateMode.PERSISTENT_SEQUENTIAL)
        body = encode_multi(
            [
                (Op.CREATE, numbered),
                (Op.CHECK, CheckVersionRequest(first, version)),
                (Op.SET_DATA, SetDataRequest(second, values[1], ANY)),
                (Op.SET_DATA, SetDataRequest(first, values[0], version)),
            ]
        )
        self._write(Op.MULTI, None, body=body)
        self._judge(self._operation(first, values[0], version), _multi_version)
        self._judge(self._operation(second, values[1]), _multi_second)

    def glance(self) -> None:
        self._read(Op.GET_DATA, self._register(), watch=self._random.choice([None, Kind.DATA]))

    def read(self) -> None:
        """A linearizable read: sync and read in one go."""
        path = self._register()
        self._ask(Op.SYNC, PathRequest(path), lambda call: None)
        self._read(Op.GET_DATA, path, horizon=self._annals.last_zxid, called=self._ensemble.now)

    def look_at_flag(self) -> None:
        self._read(Op.EXISTS, self._random.choice(FLAGS), watch=self._random.choice([None, Kind.DATA]))

    def look_at_children(self) -> None:
        watch = self._random.choice([None, Kind.CHILDREN])
        self._read(Op.GET_CHILDREN, self._random.choice([*PARENTS, *FLAGS]), watch=watch)

    def watch_all_below(self) -> None:
        if self._watches_all:
            return
        self._watches_all = True
        path = self._random.choice(["/", *PARENTS])
        request = AddWatchRequest(path, AddWatchMode.PERSISTENT_RECURSIVE)
        self._ask(Op.ADD_WATCH, request, partial(self._watching, path), watch=(Kind.RECURSIVE, path))

    def _watching(self, path: str, call: Call) -> None:
        if call.error is None:
            self.witness.armed(Kind.RECURSIVE, path, call.zxid)

    def raise_or_lower_flag(self) -> None:
        path = self._random.choice(FLAGS)
        if self._random.random() < 0.5:
            self._create(path, CreateMode.PERSISTENT)
        else:
            self._write(Op.DELETE, DeleteRequest(path, ANY))

    def number_one(self) -> None:
        self._create("/q/n", CreateMode.PERSISTENT_SEQUENTIAL, self._own_it)

    def be_there(self) -> None:
        if len(self._own) < EPHEMERALS_MAX:
            self._create("/e/n", CreateMode.EPHEMERAL_SEQUENTIAL, self._own_it)

    def _own_it(self, call: Call, error: int, result: Result) -> None:
        if isinstance(result, str):
            self._own.append(result)
            self._ensemble.named(call.zxid, result)

    def delete_own(self) -> None:
        if self._own:
            self._write(Op.DELETE, DeleteRequest(self._own.pop(0), ANY))

    def close_session(self) -> None:
        if self.core.connected and self._random.random() < 0.2:
            self.note("closes its session")
            self._closing = True
            self._write(Op.CLOSE_SESSION, None, self._closed)

    def _closed(self, call: Call, error: int, result: Result) -> None:
        """In good order: the next session is that of another client core."""
        self._ensemble.counts["sessions closed"] += 1
        self._leave()

    def give_up(self) -> None:
        """Forgets its session, which must expire, and begins anew."""
        self.note("gives up session %#x", self.core.id)
        self._leave()

    def _leave(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            self._ensemble.network.close(end)
        self._end_calls()
        self._begin_anew()
        self._connect_soon()

    def _end_calls(self) -> None:
        """Of what was sent nobody will ever learn the outcome."""
        self.core.detach()
        for call in (*self.core.take_outcomes(), *self.core.take_calls()):
            if isinstance(call, Call):
                call.error = call.error or CoordError("the client is gone")
                call.waiter(call)


_ACTIONS: Final[list[tuple[Callable[[Client], None], float]]] = [
    (Client.set_any, 6),
    (Client.compare_and_set, 4),
    (Client.set_two, 2),
    (Client.glance, 4),
    (Client.read, 4),
    (Client.look_at_flag, 1.5),
    (Client.look_at_children, 1.5),
    (Client.watch_all_below, 0.5),
    (Client.raise_or_lower_flag, 2),
    (Client.number_one, 2),
    (Client.be_there, 2),
    (Client.delete_own, 1),
    (Client.close_session, 0.3),
]


# -- what a reply says ------------------------------------------------------------------------------------


def _result_of(call: Call) -> tuple[int, Result]:
    """The error, and what the reply tells (see `annals.Result`)."""
    if call.error:
        assert isinstance(call.error, int)
        return call.error, None
    match call.op:
        case Op.CREATE:
            return 0, PathReply.from_bytes(call.reply, REPLY_HEADER_BYTES).path
        case Op.SET_DATA:
            return 0, StatReply.from_bytes(call.reply, REPLY_HEADER_BYTES).stat.version
        case Op.MULTI:
            return 0, [_part_of(*one) for one in decode_multi_reply(call.reply, REPLY_HEADER_BYTES)]
    return 0, None


def _part_of(op: int, error: int, reply: Any) -> tuple[int, str | int | None]:
    match op:
        case Op.CREATE:
            return error, reply.path
        case Op.SET_DATA:
            return error, reply.stat.version
    return error, None


def _set_version(error: int, result: Result) -> object:
    """The version that a setData made; None if another one was there; "nothing" if it was no write at all."""
    if error in (0, ErrorCode.BAD_VERSION):
        return result
    return "nothing"


def _multi_version(call: Call) -> object:
    """Of the register that was compared."""
    if call.error:
        return "nothing"
    _, parts = _result_of(call)
    assert isinstance(parts, list)
    errors = [error for error, _ in parts]
    if errors[1] == ErrorCode.BAD_VERSION:
        return None
    return "nothing" if any(errors) else parts[3][1]


def _multi_second(call: Call) -> object:
    """Of the other one: a multi that failed did not write it."""
    if call.error:
        return "nothing"
    _, parts = _result_of(call)
    assert isinstance(parts, list)
    return "nothing" if any(error for error, _ in parts) else parts[2][1]


def _seen_by(call: Call) -> State | int | list[str] | None:
    """What a read saw; None if there was nothing."""
    if call.error:
        return None
    if call.op == Op.GET_CHILDREN:
        return sorted(ChildrenReply.from_bytes(call.reply, REPLY_HEADER_BYTES).children)
    if call.op == Op.EXISTS:
        return StatReply.from_bytes(call.reply, REPLY_HEADER_BYTES).stat.version
    reply = GetDataReply.from_bytes(call.reply, REPLY_HEADER_BYTES)
    return State(reply.data or b"", reply.stat.version)
