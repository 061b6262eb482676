"""A client that is content with a server without a quorum, for as long as there is no other."""

from __future__ import annotations

from math import inf

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Loss, SessionState
from coord.client.calls import Ended, Opened, SessionHandle
from coord.client.session import Session
from coord.errors import ErrorCode
from coord.wire.records import ConnectRequest, EventType, Op
from tests.client.scripted import PASSWORD, client_of, open_scripted
from tests.client.test_session import get, hello, opened, reply, sent

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def read_only_session(now: float = 0.0) -> Session:
    session = Session(12, read_only=True)
    session.attach(now)
    session.outgoing(now)
    session.receive(hello(session_id=77, read_only=True), now)
    return session


def greeting(session: Session, now: float) -> ConnectRequest:
    session.attach(now)
    return ConnectRequest.from_bytes(session.outgoing(now)[4:])


# -- the core -----------------------------------------------------------------------------------------------


def test_a_read_only_session_is_forgotten_with_its_connection() -> None:
    session = read_only_session()
    assert (session.id, session.generation) == (77, 1)
    session.submit(get())
    sent(session)
    session.receive(reply(1, zxid=5), 0)
    session.detach()
    assert (session.id, session.state) == (0, SessionState.SUSPENDED)
    request = greeting(session, 1)
    assert (request.session_id, request.password, request.last_zxid_seen) == (0, bytes(16), 5)
    session.receive(hello(session_id=7), 1)
    assert (session.id, session.generation, session.state) == (7, 2, SessionState.CONNECTED)
    outcomes = session.take_outcomes()
    assert not any(isinstance(outcome, Ended) for outcome in outcomes), "nothing of value has ended"
    assert outcomes[-1] == Opened(True, set())


def test_a_real_session_is_kept_for_a_server_with_a_quorum() -> None:
    session = opened(read_only=True)
    session.detach()
    for now in (1, 2):  # a server without one closes the connection
        assert greeting(session, now).session_id == 7
        session.detach()
    assert greeting(session, 3).session_id == 7
    session.receive(hello(), 3)
    assert session.generation == 1


def test_a_server_without_a_quorum_guarantees_nothing() -> None:
    session = read_only_session(100)
    for now in range(100, 200, 4):
        session.submit(get())
        session.tick(now)
        for xid, op, _ in sent(session, now):
            session.receive(reply(xid), now + 0.1)
            assert op in (Op.GET_DATA, Op.PING)
        assert session.lease.valid_until == -inf
    assert session.lease.next_tick >= 200, "its acknowledgements do keep the connection"
    session.detach()
    session.attach(200)
    session.outgoing(200)
    session.receive(hello(session_id=7), 201)
    assert session.lease.valid_until == 210


def test_what_a_server_without_a_quorum_acknowledges_never_extends_a_real_session() -> None:
    """Some servers let a real session go on read-only."""
    session = opened(100, read_only=True)
    assert session.lease.valid_until == 110
    session.detach()
    session.attach(104)
    session.outgoing(104)
    session.receive(hello(read_only=True), 104)
    assert session.state is SessionState.CONNECTED_READ_ONLY
    session.submit(get())
    sent(session, 105)
    session.receive(reply(1), 105)
    session.tick(109)
    sent(session, 109)
    session.receive(reply(-2), 109)
    assert session.lease.acknowledged_at == 109
    assert session.lease.valid_until == 110
    session.detach()
    assert greeting(session, 111).session_id == 7, "it may live on"
    session.receive(hello(), 111)
    assert session.lease.valid_until == 121


# -- the client ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_it_moves_to_a_server_with_a_quorum_as_soon_as_there_is_one(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST, SECOND}
        async with client_of(server, hosts=2, read_only=True) as zk:
            states: list[SessionState] = []

            async def look() -> None:
                while True:
                    states.append((await zk.session.state.wait_transition())[0])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                assert zk.session.state.value is SessionState.CONNECTED_READ_ONLY
                await trio.sleep(1000)
                assert server.read_only_sessions == 1, "there was no reason to move"
                with zk.watch() as watch:
                    await zk.get("/a", watch=watch)
                    server.read_only = {FIRST}
                    await zk.session.state.wait_value(SessionState.CONNECTED)
                    await zk.set("/a", b"")
                    assert server.ops()[-2:] == [Op.SET_WATCHES, Op.SET_DATA]
                    await server.notify(EventType.DATA_CHANGED, "/a")
                    assert (await watch.wait()).type is EventType.DATA_CHANGED
                nursery.cancel_scope.cancel()
        assert (zk.session.generation, server.sessions) == (2, {1})
        assert states == [SessionState.SUSPENDED, SessionState.CONNECTED]
        assert server.attempts[-1].name == SECOND


@pytest.mark.trio
async def test_what_is_to_be_deleted_waits_for_a_quorum(autojump_clock: MockClock) -> None:
    """A real session that goes on read-only keeps its ephemeral znodes: nobody may forget them."""
    async with open_scripted() as server, client_of(server, read_only=True) as zk:
        server.read_only, server.keeping_sessions = {FIRST}, True
        server.errors = {Op.DELETE: ErrorCode.NOT_READ_ONLY}
        await server.drop()
        await zk.session.state.wait_value(SessionState.CONNECTED_READ_ONLY)
        zk.janitor.delete("/mine")
        await trio.sleep(60)
        assert server.ops().count(Op.DELETE) == 1, "it is not asked again and again"
        assert zk.janitor.pending == 1
        server.read_only, server.errors = set(), {}
        await zk.janitor.idle()
        assert server.ops().count(Op.DELETE) == 2
        assert zk.session.generation == 1


@pytest.mark.trio
async def test_a_guard_can_be_waited_for_while_nothing_is_guaranteed(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server, read_only=True) as zk:
        with zk.session.guard() as guard:
            server.read_only, server.keeping_sessions = {FIRST}, True
            await server.drop()
            await zk.session.state.wait_value(SessionState.CONNECTED_READ_ONLY)
            with trio.CancelScope(shield=True):
                assert await guard.wait_lost()  # (a busy loop would never let the virtual clock move on)
            assert trio.current_time() == pytest.approx(zk.session.valid_until)
        with zk.session.guard(Loss.EXPIRED) as guard:
            pass
        assert await guard.wait_lost()  # it was entered where nothing was guaranteed


@pytest.mark.trio
async def test_it_asks_ever_more_slowly(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST}
        async with client_of(server, read_only=True):
            await trio.sleep(10)
            assert len(server.attempts) > 4
            await trio.sleep(1000)
            assert len(server.attempts) < 250


@pytest.mark.trio
async def test_servers_that_cannot_be_asked_are_asked_again(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST, SECOND}
        async with client_of(server, hosts=2, read_only=True) as zk:
            server.refusing = True
            await trio.sleep(60)
            assert zk.session.state.value is SessionState.CONNECTED_READ_ONLY
            server.refusing = False
            server.silent_to_words = True
            await trio.sleep(60)
            assert zk.session.state.value is SessionState.CONNECTED_READ_ONLY
            server.silent_to_words = False
            server.read_only.clear()
            await zk.session.state.wait_value(SessionState.CONNECTED)


@pytest.mark.trio
async def test_without_the_option_it_waits_for_a_quorum(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST}
        with pytest.raises(trio.TooSlowError):
            await client_of(server, patience=60).__aenter__()


@pytest.mark.trio
async def test_writes_are_refused_and_say_so(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST}
        server.errors[Op.SET_DATA] = server.errors[Op.SYNC] = ErrorCode.NOT_READ_ONLY
        async with client_of(server, read_only=True) as zk:
            await zk.get("/a")
            with pytest.raises(coord.NotReadOnly):
                await zk.set("/a", b"")
            with pytest.raises(coord.NotReadOnly):
                await zk.get("/a", linearizable=True)


@pytest.mark.trio
@pytest.mark.parametrize("policy", list(Loss))
async def test_no_guard_holds_in_a_read_only_session(policy: Loss, autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST}
        async with client_of(server, read_only=True) as zk:
            assert zk.session.valid_until == -inf
            with zk.session.guard(policy) as guard:
                await trio.sleep_forever()
            assert guard.lost
            with pytest.raises(coord.SessionExpired):
                guard.ensure()


@pytest.mark.trio
async def test_a_guard_of_a_real_session_ends_in_time_while_only_read_only_servers_are_left(
    autojump_clock: MockClock,
) -> None:
    async with open_scripted() as server, client_of(server, hosts=2, read_only=True) as zk:
        began = trio.current_time()
        with zk.session.guard() as guard:
            server.read_only = {FIRST, SECOND}
            await server.drop()
            await trio.sleep_forever()
        assert guard.lost
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        assert (zk.session.state.value, zk.session.id) == (SessionState.SUSPENDED, 1)
        server.read_only = {FIRST}
        await zk.session.state.wait_value(SessionState.CONNECTED)
        assert (zk.session.generation, zk.session.id) == (1, 1)


@pytest.mark.trio
async def test_a_handle_is_not_given_up_for_a_read_only_session(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.read_only = {FIRST}
        server.sessions = {5}
        client = client_of(server, session=SessionHandle(5, PASSWORD), read_only=True)
        async with trio.open_nursery() as nursery:

            async def come_back() -> None:
                await trio.sleep(60)
                server.read_only.clear()

            nursery.start_soon(come_back)
            async with client as zk:
                assert (zk.session.id, zk.session.generation) == (5, 1)
        assert server.read_only_sessions == 0
