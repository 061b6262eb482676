"""The client around a server that fails as it is told: reconnecting, guarding, closing, in virtual time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import coord
from coord import Loss, SessionState
from coord.client.calls import SessionHandle
from coord.client.watching import EVENTS_MAX
from coord.errors import ErrorCode
from coord.wire.records import ChildrenReply, EventType, Op
from tests.client.scripted import PASSWORD, client_of, lose_first, open_scripted


def children(*names: str) -> bytes:
    return ChildrenReply(list(names)).encode()


# -- connecting -----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_entering_waits_for_a_server_that_comes_late(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, trio.open_nursery() as nursery:
        server.refusing = True

        async def come() -> None:
            await trio.sleep(30)
            server.refusing = False

        nursery.start_soon(come)
        began = trio.current_time()
        async with client_of(server) as zk:
            assert zk.session.state.value is SessionState.CONNECTED
        assert 30 <= trio.current_time() - began < 33
        assert len(server.attempts) < 50, "it must not hammer the server"


@pytest.mark.trio
async def test_entering_can_be_bounded(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.refusing = True
        with trio.move_on_after(5) as scope:
            async with client_of(server):
                raise AssertionError("there is no server")
        assert scope.cancelled_caught
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await client_of(server, patience=5).__aenter__()
        assert trio.current_time() - began == pytest.approx(5)
        server.refusing = False
        async with client_of(server, patience=5) as zk:
            await trio.sleep(60)
            await zk.get("/a")


@pytest.mark.trio
@pytest.mark.parametrize("fault", ["closing_at_hello", "silent"])
async def test_a_server_that_shakes_no_hands_is_left_for_the_next(
    fault: str, autojump_clock: MockClock
) -> None:
    async with open_scripted() as server, trio.open_nursery() as nursery:
        setattr(server, fault, True)

        async def recover() -> None:
            while len(set(server.attempts)) < 3:
                await trio.sleep(0.01)
            setattr(server, fault, False)

        nursery.start_soon(recover)
        async with client_of(server, hosts=3):
            assert len(set(server.attempts)) == 3


@pytest.mark.trio
async def test_what_is_asked_while_a_connection_ends_is_asked_of_the_next_one(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """A write that was sent into a connection known to be over would be lost for nothing."""
    ending = trio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("connection lost"):
                ending.set()

    async with open_scripted() as server, trio.open_nursery() as nursery:
        server.over_sockets = True
        with caplog.at_level(logging.INFO, "coord.client"):
            async with client_of(server) as zk:
                logger = logging.getLogger("coord.client")
                logger.addHandler(listener := Listener())
                nursery.start_soon(server.drop)
                await ending.wait()
                logger.removeHandler(listener)
                assert zk.session.state.value is SessionState.CONNECTED, "not everybody knows yet"
                await zk.set("/a", b"")
                assert len(server.attempts) == 2


@pytest.mark.trio
async def test_refused_credentials_end_it(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        server.errors[Op.AUTH] = ErrorCode.AUTH_FAILED
        async with client_of(server) as zk:
            with pytest.raises(coord.AuthFailed):
                await zk.add_auth("nonsense", "x")
            assert zk.session.state.value is SessionState.AUTH_FAILED
            with pytest.raises(coord.AuthFailed):
                await zk.get("/a")


# -- the body's exceptions are the body's own -----------------------------------------------------------


@pytest.mark.trio
async def test_an_exception_leaves_the_block_as_it_is(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        with pytest.raises(ValueError, match="mine"):
            async with client_of(server):
                raise ValueError("mine")
        assert server.ops() == [Op.CLOSE_SESSION]


@pytest.mark.trio
async def test_cancelling_the_block_still_closes_the_session(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        with trio.move_on_after(1) as scope:
            async with client_of(server):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert server.ops() == [Op.CLOSE_SESSION]


@pytest.mark.trio
async def test_an_exception_survives_an_exit_that_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:

        async def fail_and_cancel(scope: trio.CancelScope) -> None:
            async with client_of(server):
                scope.cancel()
                raise ValueError("mine")

        with trio.CancelScope() as scope, pytest.raises(ValueError, match="mine"):
            await fail_and_cancel(scope)


@pytest.mark.trio
async def test_closing_is_bounded_when_the_server_is_silent(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        async with client_of(server) as zk:
            server.silent = True
            began = trio.current_time()
        assert trio.current_time() - began <= 1.0
        assert zk.session.state.value is SessionState.CLOSED


@pytest.mark.trio
async def test_closing_without_a_connection_takes_no_time(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        async with client_of(server) as zk:
            server.refusing = True
            await server.drop()
            await zk.session.state.wait_value(SessionState.SUSPENDED)
            began = trio.current_time()
        assert trio.current_time() == began


@pytest.mark.trio
async def test_a_closed_client_says_so_to_everybody(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, trio.open_nursery() as nursery:
        raised: list[BaseException] = []

        async def wait_for(what: Callable[[], Awaitable[object]]) -> None:
            try:
                await what()
            except coord.ClientClosed as error:
                raised.append(error)

        async with client_of(server) as zk:
            watch = zk.watch()
            await zk.get("/a", watch=watch)
            states = zk.watch_data("/b")
            await states.receive()
            events = await zk.add_watch("/c").__aenter__()
            server.silent = True
            for what in (watch.wait, states.receive, events.receive, lambda: zk.set("/a", b"")):
                nursery.start_soon(wait_for, what)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert len(raised) == 4
        for call in (zk.get("/a"), zk.set("/a", b""), zk.add_auth("digest", "x"), watch.wait()):
            with pytest.raises(coord.ClientClosed):
                await call


# -- losing the connection ------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_lost_write_is_reported_and_a_lost_read_repeated(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.lose = lose_first(Op.SET_DATA)
        with pytest.raises(coord.ConnectionLost) as caught:
            await zk.set("/a", b"x")
        assert (caught.value.path, caught.value.operation) == ("/a", "set")
        server.lose = lose_first(Op.GET_DATA)
        assert (await zk.get("/a"))[0] == b"data"
        assert server.ops().count(Op.GET_DATA) == 2
        assert zk.session.generation == 1


@pytest.mark.trio
async def test_a_write_is_asked_of_the_next_server_when_one_says_goodbye(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.goodbye = lose_first(Op.SET_DATA)
        await zk.set("/a", b"x")
        assert server.ops().count(Op.SET_DATA) == 2
        assert zk.session.generation == 1


@pytest.mark.trio
async def test_a_session_is_closed_at_the_next_server_when_one_says_goodbye(
    autojump_clock: MockClock,
) -> None:
    async with open_scripted() as server:
        async with client_of(server):
            server.goodbye = lose_first(Op.CLOSE_SESSION)
        assert server.ops().count(Op.CLOSE_SESSION) == 2


@pytest.mark.trio
async def test_a_client_that_ends_between_a_goodbye_and_the_next_server_closes_its_session(
    autojump_clock: MockClock,
) -> None:
    async with open_scripted() as server:
        async with client_of(server) as zk:
            server.goodbye = lose_first(Op.SET_DATA)
            with trio.move_on_after(0.001):  # the next attempt comes later
                await zk.set("/a", b"x")
            assert zk.session.state.value is SessionState.SUSPENDED
        assert server.ops()[-1] == Op.CLOSE_SESSION


@pytest.mark.trio
async def test_a_linearizable_read_is_a_sync_and_a_read_in_one_go(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        await zk.get("/a", linearizable=True)
        assert server.ops() == [Op.SYNC, Op.GET_DATA]
        server.errors[Op.SYNC] = ErrorCode.NOT_READ_ONLY
        with pytest.raises(coord.NotReadOnly):
            await zk.children("/a", linearizable=True)
        await zk.get("/a")


@pytest.mark.trio
async def test_a_silent_server_is_left_after_half_the_timeout(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server, hosts=2) as zk:
        began = trio.current_time()
        server.silent = True
        await zk.session.state.wait_value(SessionState.SUSPENDED)
        assert trio.current_time() - began == pytest.approx(6, abs=0.1)
        server.silent = False
        await zk.session.state.wait_value(SessionState.CONNECTED)
        assert zk.session.generation == 1
        assert len(set(server.attempts)) == 2


@pytest.mark.trio
async def test_calls_made_without_a_connection_wait_for_one(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.refusing = True
        await server.drop()
        await zk.session.state.wait_value(SessionState.SUSPENDED)
        with trio.move_on_after(5) as scope:
            await zk.get("/a")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(zk.set, "/a", b"")
            await trio.sleep(5)
            server.refusing = False
        assert server.ops() == [Op.SET_DATA], "the abandoned read never left"


@pytest.mark.trio
async def test_an_idle_client_pings_a_third_of_the_timeout_apart(
    autojump_clock: MockClock,
) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        await trio.sleep(3600)
        assert zk.session.state.value is SessionState.CONNECTED
        pings = [op for op, _ in server.requests]
        assert set(pings) == {Op.PING}
        assert 890 <= len(pings) <= 910


@pytest.mark.trio
async def test_expiry_is_told_to_whoever_waits_and_a_new_session_follows(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        old = zk.session.id
        with zk.watch() as watch:
            await zk.get("/a", watch=watch)
            server.sessions.clear()
            server.sessions.add(99)
            await server.drop()
            with pytest.raises(coord.SessionExpired):
                await watch.wait()
        await zk.session.state.wait_value(SessionState.CONNECTED)
        assert (zk.session.generation, zk.session.id != old) == (2, True)


@pytest.mark.trio
async def test_a_handle_that_has_expired_leads_to_a_new_session(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server, session=SessionHandle(77, PASSWORD)) as zk:
        assert (zk.session.generation, zk.session.id) == (2, 1)


# -- guards ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_guard_outlasts_any_number_of_timeouts(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with zk.session.guard() as guard:
            await trio.sleep(3600)
            assert trio.current_effective_deadline() == pytest.approx(zk.session.valid_until, abs=4)
        assert not guard.lost


@pytest.mark.trio
@pytest.mark.parametrize(
    ("policy", "after"), [(Loss.IMMEDIATE, 6), (Loss.DEADLINE, 10)], ids=lambda value: str(value)
)
async def test_pitfall_23_a_silent_server_costs_the_guarantee(
    policy: Loss, after: float, autojump_clock: MockClock
) -> None:
    """12 s: pinged after 4, given up after 6, valid until 10; a server could expire the session after 12."""
    async with open_scripted() as server, client_of(server) as zk:
        began = trio.current_time()
        server.silent = True
        with zk.session.guard(policy) as guard:
            await trio.sleep_forever()
        assert guard.lost
        assert guard.reason
        assert trio.current_time() - began == pytest.approx(after, abs=0.1)
        with pytest.raises(coord.SessionExpired):
            guard.ensure()


@pytest.mark.trio
async def test_an_advisory_guard_waits_for_certainty(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        began = trio.current_time()
        with zk.session.guard(Loss.EXPIRED) as guard:
            server.silent = True
            await trio.sleep(100)
            assert not guard.lost
            server.sessions.clear()
            server.silent = False
            await trio.sleep_forever()
        assert guard.lost
        assert trio.current_time() - began > 100


@pytest.mark.trio
async def test_a_short_interruption_costs_nothing_but_the_impatient(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with zk.session.guard() as patient:
            with zk.session.guard(Loss.IMMEDIATE) as impatient:
                await server.drop()
                await trio.sleep_forever()
            await trio.sleep(60)
        assert impatient.lost
        assert not patient.lost


@pytest.mark.trio
async def test_an_expired_session_cancels_at_once(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        began = trio.current_time()
        with zk.session.guard() as guard:
            server.sessions.clear()
            await server.drop()
            await trio.sleep_forever()
        assert guard.lost
        assert trio.current_time() - began < 1


@pytest.mark.trio
async def test_a_guard_ends_earlier_where_the_next_server_grants_less(autojump_clock: MockClock) -> None:
    """It counts by its own timeout then, and may expire the session by it."""
    told: list[float] = []

    async def wait_lost(guard: coord.Guard) -> None:
        assert await guard.wait_lost()
        told.append(trio.current_time())

    async with open_scripted() as server, client_of(server) as zk, trio.open_nursery() as nursery:
        with zk.session.guard(Loss.EXPIRED) as advisory:
            with zk.session.guard() as guard:
                nursery.start_soon(wait_lost, guard)
                await wait_all_tasks_blocked()
                server.timeout_ms = 3_000
                await server.drop()
                await zk.session.state.wait_transition(SessionState.CONNECTED)
                server.silent = True
                try:
                    await trio.sleep_forever()
                finally:
                    cancelled_at = trio.current_time()
                    with trio.CancelScope(shield=True):  # whatever the block does meanwhile
                        await trio.sleep(60)
            assert guard.lost
            assert zk.session.timeout == 3
            assert cancelled_at == pytest.approx(zk.session.valid_until)
            assert told == [cancelled_at]
            assert not advisory.lost


@pytest.mark.trio
async def test_a_new_session_does_not_revive_a_guard(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with zk.session.guard() as guard:
            server.sessions.clear()
            await server.drop()
            with trio.CancelScope(shield=True):
                await zk.session.state.wait_value(SessionState.EXPIRED)
                await zk.session.state.wait_value(SessionState.CONNECTED)
                await trio.sleep(20)
                assert guard.lost


@pytest.mark.trio
async def test_a_guard_notices_without_a_checkpoint(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with zk.session.guard() as guard:
            guard.ensure()
            autojump_clock.jump(11)
            with pytest.raises(coord.SessionExpired):
                guard.ensure()
        assert guard.lost


@pytest.mark.trio
async def test_what_a_guard_says_after_its_block_stays(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with zk.session.guard() as guard:
            pass
        server.silent = True
        await trio.sleep(100)
        assert not guard.lost


@pytest.mark.trio
async def test_a_guard_lets_exceptions_and_outer_cancellation_pass(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with pytest.raises(ValueError, match="mine"), zk.session.guard():
            raise ValueError("mine")
        with trio.move_on_after(1) as outer, zk.session.guard() as guard:
            await trio.sleep_forever()
        assert outer.cancelled_caught
        assert not guard.lost


@pytest.mark.trio
async def test_a_guard_entered_without_a_guarantee_is_lost(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.silent = True
        await trio.sleep(11)
        for policy in (Loss.DEADLINE, Loss.IMMEDIATE):
            with zk.session.guard(policy) as guard:
                await trio.sleep_forever()
            assert guard.lost
    with zk.session.guard() as guard:
        await trio.sleep_forever()
    assert guard.lost
    assert zk.session.valid_until == -inf


# -- the janitor ----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_the_janitor_insists(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.lose = lose_first(Op.DELETE)
        zk.janitor.delete("/a")
        assert zk.janitor.pending == 1
        await zk.janitor.idle()
        assert zk.janitor.pending == 0
        assert server.ops().count(Op.DELETE) == 2


@pytest.mark.trio
async def test_the_janitor_looks_for_what_it_was_only_told_the_mark_of(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.replies[Op.GET_CHILDREN] = children("x-1", "mark-2", "a-mark")
        server.lose = lose_first(Op.GET_CHILDREN)
        zk.janitor.delete_matching("/p", "mark")
        await zk.janitor.idle()
        deleted = [body for op, body in server.requests if op == Op.DELETE]
        assert [b"/p/mark-2" in deleted[0], b"/p/a-mark" in deleted[1], len(deleted)] == [True, True, 2]


@pytest.mark.trio
@pytest.mark.parametrize("error", [ErrorCode.NO_NODE, ErrorCode.NO_AUTH, ErrorCode.NOT_EMPTY])
async def test_the_janitor_lets_go_what_has_to_stay(error: ErrorCode, autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.errors[Op.DELETE] = error
        zk.janitor.delete("/a")
        await zk.janitor.idle()
        assert server.ops() == [Op.DELETE]


@pytest.mark.trio
async def test_the_janitor_forgets_what_the_session_took_along(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        server.silent = True
        zk.janitor.delete("/a")
        await server.heard(Op.DELETE)
        server.sessions.clear()
        server.silent = False
        await server.drop()
        await zk.janitor.idle()
        assert server.ops() == [Op.DELETE]


@pytest.mark.trio
async def test_closing_lets_the_janitor_finish_first(autojump_clock: MockClock) -> None:
    async with open_scripted() as server:
        async with client_of(server) as zk:
            zk.janitor.delete("/a")
        assert server.ops() == [Op.DELETE, Op.CLOSE_SESSION]


# -- channels -------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_states_go_on_in_the_next_session(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk, zk.watch_data("/a") as states:
        first = await states.receive()
        assert first is not None
        assert first.data == b"data"
        server.errors[Op.GET_DATA] = server.errors[Op.EXISTS] = ErrorCode.NO_NODE
        server.sessions.clear()
        await server.drop()
        assert await states.receive() is None
        assert zk.session.generation == 2


@pytest.mark.trio
async def test_states_are_not_repeated_and_survive_a_cancellation(
    autojump_clock: MockClock,
) -> None:
    async with open_scripted() as server, client_of(server) as zk, zk.watch_children("/a") as states:
        assert await states.receive() == ()
        with trio.move_on_after(1) as scope:
            await server.notify(EventType.CHILDREN_CHANGED, "/a")
            await states.receive()
        assert scope.cancelled_caught, "the children are the same"
        server.replies[Op.GET_CHILDREN] = children("b", "a")
        await server.notify(EventType.CHILDREN_CHANGED, "/a")
        assert await states.receive() == ("a", "b")


@pytest.mark.trio
async def test_one_task_at_a_time_receives_states(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk, zk.watch_exists("/a") as states:
        await states.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(states.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await states.receive()
            nursery.cancel_scope.cancel()
        await states.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await states.receive()


@pytest.mark.trio
async def test_a_persistent_watch_says_where_events_may_be_missing(autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server, chroot="/app") as zk:
        async with zk.add_watch("/a") as events:
            await server.notify(EventType.CREATED, "/app/a/b")
            assert await events.receive() == coord.WatchEvent(EventType.CREATED, "/a/b")
            await server.drop()
            assert isinstance(await events.receive(), coord.Resynced)
            await server.heard(Op.SET_WATCHES2)
            with pytest.raises(coord.BadArguments):
                async with zk.add_watch("/a", recursive=False):
                    raise AssertionError("both modes on one path")
        await server.heard(Op.REMOVE_WATCHES)


@pytest.mark.trio
async def test_a_reader_that_takes_what_there_is_loses_nothing_in_a_storm(autojump_clock: MockClock) -> None:
    storm = 10 * EVENTS_MAX
    async with open_scripted() as server:
        server.over_sockets = True
        async with client_of(server) as zk, zk.add_watch("/") as events, trio.open_nursery() as nursery:
            nursery.start_soon(server.notify, EventType.DATA_CHANGED, "/", storm)
            for _ in range(storm):
                assert isinstance(await events.receive(), coord.WatchEvent)


@pytest.mark.trio
async def test_a_slow_reader_loses_events_knowingly(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("coord.client.watching.EVENTS_MAX", 3)
    async with open_scripted() as server, client_of(server) as zk, zk.add_watch("/a") as events:
        for i in range(5):
            await server.notify(EventType.CREATED, f"/a/{i}")
        await zk.get("/a")
        received = [await events.receive() for _ in range(3)]
        assert received == [
            coord.Resynced(),
            coord.WatchEvent(EventType.CREATED, "/a/3"),
            coord.WatchEvent(EventType.CREATED, "/a/4"),
        ]
