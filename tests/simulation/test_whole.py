"""A short run of whole members with clients, and proof that the checkers look; `make sim` is the long one."""

from __future__ import annotations

import pytest

from coord.client.calls import Call
from coord.client.watches import Kind
from coord.state.machine import Machine
from coord.wire.ensemble import Batch
from coord.wire.records import (
    CreateSessionRequest,
    EventType,
    KeeperState,
    Op,
    PathWatchRequest,
    SetDataRequest,
    WatcherEvent,
    Xid,
    pack_reply_header,
)
from tests.linearizability import Kind as Does
from tests.linearizability import Operation, State
from tests.simulation.__main__ import outcomes
from tests.simulation.chronicle import Violation
from tests.simulation.whole.annals import Annals
from tests.simulation.whole.client import Client
from tests.simulation.whole.ensemble import Ensemble
from tests.simulation.whole.witness import Witness

SEEDS = 30
SESSION = 7


def test_no_seed_fails() -> None:
    done: set[str] = set()
    for outcome in outcomes("members", range(SEEDS)):
        assert outcome.failure is None, f"{outcome.failure}; replay: {outcome.replay}"
        done |= outcome.counts.keys() | outcome.messages.keys()
    assert {"sessions expired", "sessions resumed", "sessions closed", "linearizable reads", "events"} <= done
    assert {"Truncate", "Install", "Payload"} <= done, "the runs are too calm"


def test_a_seed_says_it_all() -> None:
    first: list[str] = []
    second: list[str] = []
    Ensemble(3, first.append).run()
    Ensemble(3, second.append).run()
    assert first == second


# -- the annals -------------------------------------------------------------------------------------------


class History:
    """Annals that follow a machine: what is done to it is the truth."""

    def __init__(self, counts_on: float = 0.0) -> None:
        self.annals = Annals(lambda: 50.0, lambda session_id: counts_on)
        self.machine = Machine()
        self.zxid = 0
        self.do(Op.CREATE_SESSION, CreateSessionRequest(4000).encode(), number=0)

    def do(self, op: Op, body: bytes, number: int = 1) -> Batch:
        """Applies it here; the annals are not told yet."""
        self.zxid += 1
        batch = Batch(self.zxid, 0, [(SESSION, number, op, (), body)])
        for zxid, session_id, _, kind, identities, data in batch.entries():
            self.machine.apply(zxid, 0, session_id, kind, identities, data)
        if number:
            self.annals.sent(SESSION, op, body)
        self.annals.applied(1, batch, self.machine)
        return batch


def set_root(value: bytes) -> bytes:
    return SetDataRequest("/", value, -1).encode()


def test_histories_that_differ_are_noticed() -> None:
    history = History()
    batch = history.do(Op.SET_DATA, set_root(b"1"))
    other = Batch(batch.first_zxid, 1, batch.requests)
    with pytest.raises(Violation, match="another batch"):
        history.annals.applied(2, other, history.machine)
    with pytest.raises(Violation, match="after a gap"):
        history.annals.applied(2, Batch(9, 0, batch.requests), history.machine)


def test_states_that_differ_are_noticed() -> None:
    history = History()
    history.machine.sessions.add(8, 4000)
    with pytest.raises(Violation, match="other sessions"):
        history.annals.restored(1, history.machine)
    history.machine.sessions.remove(8)
    history.machine.tree.ephemerals[8] = {"/e": None}
    with pytest.raises(Violation, match="of a dead session"):
        history.annals.restored(1, history.machine)
    history.machine.tree.ephemerals.clear()
    history.machine.tree._digest += 1
    with pytest.raises(Violation, match="another state"):
        history.annals.restored(1, history.machine)


def test_a_state_that_is_not_what_the_history_makes_is_noticed() -> None:
    history = History()
    batch = Batch(2, 0, [(SESSION, 0, Op.SET_DATA, (), set_root(b"1"))])
    history.machine.zxid = 2
    with pytest.raises(Violation, match="at 0:2 / is"):
        history.annals.applied(1, batch, history.machine)
    history.annals.model.nodes["/"].version += 1
    with pytest.raises(Violation, match="/ is"):
        history.annals.compare_all(history.machine)


def test_what_is_done_twice_or_too_late_is_noticed() -> None:
    history = History()
    batch = history.do(Op.SET_DATA, set_root(b"1"))
    history.do(Op.SET_DATA, set_root(b"2"))
    again = Batch(4, 0, batch.requests)
    with pytest.raises(Violation, match="again, too late, or never"):
        history.annals.applied(1, again, history.machine)


def test_a_session_that_expires_too_early_is_noticed() -> None:
    with pytest.raises(Violation, match=r"1\.0 ticks too early"):
        History(counts_on=51.0).do(Op.CLOSE_SESSION, b"", number=0)
    History(counts_on=49.0).do(Op.CLOSE_SESSION, b"", number=0)
    History(counts_on=51.0).do(Op.CLOSE_SESSION, b"", number=1)


# -- the witness ------------------------------------------------------------------------------------------


def event(zxid: int, type_: EventType = EventType.DATA_CHANGED, path: str = "/") -> bytes:
    record = WatcherEvent(type_, KeeperState.SYNC_CONNECTED, path)
    return pack_reply_header(Xid.NOTIFICATION, zxid, 0) + record.encode()


def reply(zxid: int, xid: int = 1) -> bytes:
    return pack_reply_header(xid, zxid, 0)


def a_witness() -> Witness:
    """Of a history in which zxids 2 and 3 changed the root; it watches since 1."""
    history = History()
    history.do(Op.SET_DATA, set_root(b"1"))
    history.do(Op.SET_DATA, set_root(b"2"))
    witness = Witness(101, history.annals)
    witness.attached()
    witness.frame(reply(1))
    witness.armed(Kind.DATA, "/", 1)
    return witness


def test_the_event_comes_before_what_it_announces() -> None:
    witness = a_witness()
    witness.frame(event(2))
    witness.frame(reply(3))
    with pytest.raises(Violation, match="before the event"):
        a_witness().frame(reply(2))


def test_events_that_nobody_waits_for_are_noticed() -> None:
    witness = a_witness()
    witness.frame(event(2))
    with pytest.raises(Violation, match="does not wait for"):
        witness.frame(event(3))  # a one-shot watch, a second time
    with pytest.raises(Violation, match="has not happened"):
        a_witness().frame(event(4))


def test_what_a_client_sees_never_goes_back() -> None:
    witness = a_witness()
    witness.frame(event(2))
    witness.frame(reply(2))
    witness.attached()
    with pytest.raises(Violation, match="sees 0:1 after 0:2"):
        witness.frame(reply(1))


def test_what_was_missed_while_away_is_told_first() -> None:
    witness = a_witness()
    witness.attached()
    with pytest.raises(Violation, match="before the event"):
        witness.frame(reply(3, Xid.SET_WATCHES))
    witness = a_witness()
    witness.attached()
    witness.frame(event(3))
    witness.frame(reply(3, Xid.SET_WATCHES))


def test_a_recursive_watch_hears_everything_once() -> None:
    witness = a_witness()
    witness.armed(Kind.RECURSIVE, "/", 1)
    witness.frame(event(2))
    with pytest.raises(Violation, match="should have heard"):
        witness.frame(reply(3))
    witness = a_witness()
    witness.armed(Kind.RECURSIVE, "/", 1)
    for _ in range(2):
        witness.frame(event(2))
    with pytest.raises(Violation, match="should have heard"):
        witness.frame(reply(3))


# -- clients and the end ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """At rest, after a run in which nothing was wrong."""
    ensemble = Ensemble(5)
    ensemble.run()
    return ensemble


def test_an_acknowledgement_of_what_is_not_there_is_noticed(ensemble: Ensemble) -> None:
    client = next(one for one in ensemble.clients if one.up)
    call = answered(Op.SET_DATA, set_root(b"x"), zxid=ensemble.annals.last_zxid + 1)
    with pytest.raises(Violation, match="that is not there"):
        client._wrote(0.0, None, call)
    mine = next(
        zxid
        for zxid, entry in ensemble.annals.entries.items()
        if entry.session_id == client.core.id and entry.op == Op.SET_DATA
    )
    with pytest.raises(Violation, match="another write"):
        client._wrote(0.0, None, answered(Op.SET_DATA, set_root(b"x"), zxid=mine))
    call = answered(Op.SET_DATA, ensemble.annals.entries[mine].body, zxid=mine)
    with pytest.raises(Violation, match="out of order"):
        client._wrote(0.0, None, call)
    client._acknowledged_zxid = 0
    call.error = -7
    with pytest.raises(Violation, match="is told of its write"):
        client._wrote(0.0, None, call)


def test_a_read_of_what_is_not_there_is_noticed(ensemble: Ensemble) -> None:
    client: Client = ensemble.clients[0]
    zxid = ensemble.annals.last_zxid
    call = answered(Op.GET_DATA, PathWatchRequest("/r0", False).encode(), zxid=zxid)
    call.error = -101
    with pytest.raises(Violation, match="reads None of /r0"):
        client._have_read("/r0", None, 0, 0.0, call)
    with pytest.raises(Violation, match="reads the past"):
        client._have_read("/nothing", None, zxid + 1, 0.0, call)


def answered(op: Op, body: bytes, zxid: int) -> Call:
    call = Call(op, body)
    call.zxid, call.error = zxid, None
    return call


def test_a_client_that_counts_on_an_expired_session_is_noticed(ensemble: Ensemble) -> None:
    client = next(one for one in ensemble.clients if one.up)
    ensemble.annals.expired[client.core.id] = client.counts_on_session_until - 1
    with pytest.raises(Violation, match=r"for 1\.0 ticks after it expired"):
        client._check_lease()


def test_a_client_left_by_a_survivor_is_noticed() -> None:
    ensemble = next(one for one in map(Ensemble, range(100)) if one.is_calm)
    with pytest.raises(Violation, match="though only leaders die"):
        ensemble.left_by_survivor(101, 1)


def test_registers_and_names_are_judged() -> None:
    ensemble = Ensemble(8)
    ensemble.run()
    ensemble.operations.append(Operation("/r0", 1, Does.READ, 0, 1, result=State(b"never", 3)))
    with pytest.raises(Violation, match="cannot be explained"):
        ensemble._judge()
    ensemble.operations.clear()
    ensemble.names = [(5, "/q/n0000000004"), (6, "/q/n0000000004")]
    with pytest.raises(Violation, match="given before"):
        ensemble._judge()


def test_a_log_that_gives_another_state_is_noticed() -> None:
    ensemble = next(one for one in map(Ensemble, range(100)) if one.config.snap_count > 1000)
    ensemble.run()
    member = ensemble.whole_members[0]
    zxid = member.replica.machine.zxid
    with pytest.raises(Violation, match="gives another state"):
        member._fold(zxid, member.replica.machine.digest + 1)
    member._fold(zxid, member.replica.machine.digest)
    assert member.entries_beyond_snapshot == 0
