"""`coord.blocking`: what a thread sees of losses, timeouts and errors."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import coord
import recipes
from coord import aio, blocking
from coord.blocking import Client, Grant, Lock, LockLost, connect, fail_after, move_on_after
from coord.bridge.threads import call, hold
from tests.bridge.conftest import World

InThread = Callable[[Callable[[], object]], threading.Thread]


@pytest.fixture
def zk(world: World) -> Any:
    with connect(world.hosts) as zk:
        yield zk


def wait_for(holds: Callable[[], bool]) -> None:
    """In real time: for what other threads do."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.001)


# -- losses -------------------------------------------------------------------------------------------


def test_a_loss_is_told_at_once_and_raised_at_the_end(world: World, zk: Client) -> None:
    seen: list[str] = []
    with pytest.raises(LockLost) as caught, Lock(zk, "/lock") as grant:  # noqa: PT012  # a block is tested
        assert not grant.lost
        world.lose_server()
        assert grant.lost
        assert grant.wait_lost()
        with pytest.raises(LockLost):
            grant.ensure()
        seen.append("the body ran on")
    assert seen
    assert caught.value.__cause__ is None


def test_a_session_that_the_server_has_expired_loses_its_locks(world: World, zk: Client) -> None:
    with pytest.raises(LockLost, match="expired"), Lock(zk, "/lock") as grant:  # noqa: PT012  # a block is tested
        world.expire(zk)
        assert grant.wait_lost()
        with pytest.raises(LockLost, match="expired"):
            grant.ensure()
    assert zk.children("/lock") == []
    with Lock(zk, "/lock") as again:
        assert again.token > grant.token
    assert zk.session.generation == 2


def test_the_bodys_own_exception_wins_over_the_loss(world: World, zk: Client) -> None:
    mine = ValueError("mine")
    with pytest.raises(ValueError) as caught, Lock(zk, "/lock"):  # noqa: PT012  # a block is tested
        world.lose_server()
        raise mine
    assert caught.value is mine


def test_a_loss_may_leave_the_block_quietly(world: World, zk: Client) -> None:
    with Lock(zk, "/lock").acquire(on_loss="move_on") as grant:
        world.lose_server()
    assert grant.lost


def test_whoever_waits_for_the_loss_hears_of_it(world: World, zk: Client, in_thread: InThread) -> None:
    heard = []
    with pytest.raises(LockLost), Lock(zk, "/lock") as grant:  # noqa: PT012  # a block is tested
        assert not grant.wait_lost(timeout=0)
        waiting = in_thread(lambda: heard.append(grant.wait_lost()))
        world.lose_server()
        waiting.join()
    assert heard == [True]


def test_nothing_is_released_while_the_body_runs(world: World, zk: Client, in_thread: InThread) -> None:
    inside, grant_was_lost, leave = threading.Event(), threading.Event(), threading.Event()

    def body() -> None:
        with pytest.raises(LockLost), Lock(zk, "/lock") as grant:  # noqa: PT012  # a block is tested
            inside.set()
            assert grant.wait_lost()
            grant_was_lost.set()
            leave.wait()

    with connect(world.hosts) as other:
        thread = in_thread(body)
        inside.wait()
        session_id = zk.session.id
        held = other.children("/lock")
        world.pass_time(9)  # more than the session guarantees, and less than it lasts
        assert grant_was_lost.wait(10)
        assert other.children("/lock") == held
        assert zk.session.id == session_id
        leave.set()
        thread.join()
        assert other.children("/lock") == []


def test_an_elected_function_ends_when_its_term_is_lost(
    world: World, zk: Client, in_thread: InThread
) -> None:
    ended = threading.Event()

    def lead(term: Grant) -> None:
        if ended.is_set():
            return
        world.portal.call(world.server.kill)
        world.pass_time(9)
        assert term.wait_lost()
        ended.set()
        with pytest.raises(blocking.LeadershipLost):
            term.ensure()

    def run() -> None:
        with pytest.raises(blocking.TooSlowError):
            blocking.Election(zk, "/lead").run(lead, pause=0, timeout=100)

    thread = in_thread(run)
    ended.wait()
    while thread.is_alive():
        world.pass_time(10)


def test_a_function_is_told_when_its_caller_gives_up(world: World, zk: Client, in_thread: InThread) -> None:
    began, told = threading.Event(), []

    def lead(term: Grant) -> None:
        began.set()
        told.append(term.wait_lost())
        told.append(term.lost)
        with pytest.raises(blocking.LeadershipLost, match="is to end"):
            term.ensure()

    def run() -> None:
        with pytest.raises(TimeoutError):
            blocking.Election(zk, "/lead").run(lead, timeout=5)

    thread = in_thread(run)
    began.wait()
    world.pass_time(5)
    thread.join()
    assert told == [True, True]
    assert zk.children("/lead") == []


WAITS: dict[str, Callable[[Client], object]] = {
    "call": lambda zk: blocking.Barrier(zk, "/gate").wait(),
    "block": lambda zk: Lock(zk, "/other").__enter__(),
    "iterator": lambda zk: list(zk.watch_data("/gate")),
    "function": lambda zk: blocking.Election(zk, "/inner").run(lambda term: list(zk.watch_data("/gate"))),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("is_lost", [False, True])
def test_what_a_function_waits_for_ends_when_it_is_to_end(
    world: World, zk: Client, in_thread: InThread, wait: Callable[[Client], object], is_lost: bool
) -> None:
    began = threading.Event()
    steps: list[bool] = []

    def lead(term: Grant) -> None:
        began.set()
        if steps:
            return
        try:
            wait(zk)
        finally:  # it is told once, and can clean up
            steps.append(zk.exists("/gate") is not None)

    def run() -> None:
        if is_lost:
            blocking.Election(zk, "/lead").run(lead, pause=0)
        else:
            with pytest.raises(TimeoutError):
                blocking.Election(zk, "/lead").run(lead, timeout=5)

    with connect(world.hosts) as other, Lock(other, "/other"):
        blocking.Barrier(other, "/gate").close()
        thread = in_thread(run)
        began.wait()
        if is_lost:
            world.expire(zk)
        else:
            world.pass_time(5)
        thread.join(10)
        assert steps == [True]
        zk.janitor.idle()
        assert len(other.children("/other")) == 1
        assert other.children("/lead") == []


def test_a_function_whose_call_came_through_is_told_by_the_next(
    world: World, zk: Client, in_thread: InThread
) -> None:
    began, go_on = threading.Event(), trio.Event()
    steps: list[str] = []

    async def uncancellable() -> str:
        began.set()
        with trio.CancelScope(shield=True):
            await go_on.wait()
        return "came through"

    def lead(term: Grant) -> None:
        steps.append(call(world.portal, uncancellable))
        list(zk.watch_data("/lead"))

    def run() -> None:
        with pytest.raises(TimeoutError):
            blocking.Election(zk, "/lead").run(lead, timeout=5)

    thread = in_thread(run)
    began.wait()
    world.pass_time(5)
    world.portal.call_sync(go_on.set)
    thread.join(10)
    assert steps == ["came through"]


def test_a_function_that_knows_of_its_end_may_take_its_time(
    world: World, zk: Client, in_thread: InThread
) -> None:
    began, steps = threading.Event(), []

    def lead(term: Grant) -> None:
        began.set()
        wait_for(lambda: term.lost)
        steps.append(zk.exists("/") is not None)

    def run() -> None:
        with pytest.raises(TimeoutError):
            blocking.Election(zk, "/lead").run(lead, timeout=5)

    thread = in_thread(run)
    began.wait()
    world.pass_time(5)
    thread.join(10)
    assert steps == [True]


# -- timeouts -----------------------------------------------------------------------------------------


def test_a_call_has_a_timeout(world: World, zk: Client) -> None:
    world.portal.call(world.server.kill)
    for attempt in (lambda: zk.get("/a", timeout=0), lambda: zk.children("/", timeout=0.0)):
        with pytest.raises(TimeoutError) as caught:
            attempt()
        assert isinstance(caught.value, trio.TooSlowError)


def test_a_block_bounds_all_calls_of_its_thread(world: World, zk: Client, in_thread: InThread) -> None:
    with Lock(zk, "/lock"):

        def wait() -> None:
            with pytest.raises(blocking.TooSlowError), fail_after(5), Lock(zk, "/lock"):
                raise AssertionError

        def look() -> None:
            with move_on_after(5) as outer, fail_after(50):
                for _ in zk.watch_data("/a"):
                    waiting.set()
            assert outer.cancelled_caught

        waiting = threading.Event()
        threads = [in_thread(wait), in_thread(look)]
        waiting.wait()
        wait_for(lambda: len(zk.children("/lock")) == 2)
        world.pass_time(5)
        for one in threads:
            one.join()
        zk.janitor.idle()
        assert len(zk.children("/lock")) == 1
    assert zk.get("/lock")  # the deadlines were other threads'


def test_a_deadline_that_has_passed_ends_the_next_call(world: World, zk: Client) -> None:
    reached = []
    with move_on_after(0) as scope:
        reached.append(1)
        zk.get("/")
        reached.append(2)
    assert scope.cancelled_caught
    assert reached == [1]
    with move_on_after(1) as scope:
        zk.get("/")
    assert not scope.cancelled_caught


def test_a_deadline_inside_a_block_takes_its_transaction_back(world: World, zk: Client) -> None:
    with move_on_after(0), zk.transaction() as transaction:
        transaction.create("/a")
        zk.get("/")
    assert zk.exists("/a") is None


def test_what_is_granted_too_late_is_given_back(world: World) -> None:
    ends: list[str] = []

    @asynccontextmanager
    async def late() -> AsyncIterator[None]:
        world.pass_time(10)  # and there was no moment to be cancelled at
        try:
            yield
        finally:
            ends.append("left")

    with pytest.raises(blocking.TooSlowError), fail_after(5), hold(world.portal, late):
        raise AssertionError
    assert ends == ["left"]


def test_timeouts_of_recipes_are_timeout_errors(world: World, zk: Client, in_thread: InThread) -> None:
    with Lock(zk, "/lock"):

        def wait() -> None:
            with pytest.raises(TimeoutError), Lock(zk, "/lock").acquire(timeout=5):
                raise AssertionError

        thread = in_thread(wait)
        wait_for(lambda: len(zk.children("/lock")) == 2)
        world.pass_time(5)
        thread.join()


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_timeout_makes_sense(seconds: float) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        fail_after(seconds)


# -- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StopIteration(1), GeneratorExit(), SystemExit(3), KeyboardInterrupt()])
def test_whatever_the_body_raises_leaves_as_it_is(world: World, zk: Client, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Lock(zk, "/lock"):
        raise error
    assert caught.value is error
    assert zk.children("/lock") == []


def test_a_client_is_entered_before_it_is_used(world: World) -> None:
    zk = connect(world.hosts)
    with pytest.raises(RuntimeError, match="not connected yet"):
        zk.get("/")
    with pytest.raises(RuntimeError, match="not connected yet"):
        Lock(zk, "/lock")


def test_a_client_is_closed_after_its_block(world: World) -> None:
    with connect(world.hosts) as zk:
        lock = Lock(zk, "/lock")
    for use in (lambda: zk.get("/"), lambda: lock.contenders(), lambda: lock.__enter__()):
        with pytest.raises(blocking.ClientClosed):
            use()


def test_a_client_without_a_block_is_started_and_closed(world: World) -> None:
    zk = connect(world.hosts).start()
    zk.create("/me", b"", ephemeral=True)
    zk.close()
    zk.close()
    with pytest.raises(ValueError, match="mine"), connect(world.hosts) as other:  # noqa: PT012  # a block
        other.close()
        raise ValueError("mine")
    with connect(world.hosts) as other:
        assert other.exists("/me") is None


def made(cls: Callable[..., object], *args: object) -> object:
    """What no type checker would let pass."""
    return cls(*args)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda zk: made(Lock, None, "/lock"), r"takes a client of coord\.blocking"),
        (lambda zk: made(Lock, "localhost", "/lock"), r"takes a client of coord\.blocking"),
        (lambda zk: made(aio.Lock, zk, "/lock"), r"does not go with coord\.aio"),
        (lambda zk: made(Lock, zk), "path"),
        (lambda zk: zk.get(), "path"),
        (lambda zk: zk.get("/", nonsense=1), "nonsense"),
        (lambda zk: zk.get("/", timeout="soon"), "str"),
    ],
)
def test_what_does_not_fit_is_a_type_error(
    world: World, zk: Client, make: Callable[[Client], object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        make(zk)
    assert zk.exists("/") is not None


def test_bad_arguments_are_told_as_for_trio(world: World, zk: Client) -> None:
    with pytest.raises(coord.BadArguments):
        zk.get("no path")
    with pytest.raises(coord.BadArguments):
        connect("127.0.0.1:port")
    with pytest.raises(ValueError, match="limit"):
        blocking.Semaphore(zk, "/permits", 0)


def test_a_condition_must_not_wait(world: World, zk: Client) -> None:
    with pytest.raises(RuntimeError, match="waits"):
        blocking.Counter(zk, "/hits").update(lambda value: value + len(zk.children("/")))


def test_what_a_condition_raises_is_the_callers(world: World, zk: Client) -> None:
    boom = ValueError("boom")

    def fail(value: int) -> int:
        raise boom

    with pytest.raises(ValueError) as caught:
        blocking.Counter(zk, "/hits").update(fail)
    assert caught.value is boom


# -- threads ------------------------------------------------------------------------------------------


def test_threads_share_a_client_and_a_lock(world: World, zk: Client) -> None:
    lock, inside = Lock(zk, "/lock"), []

    def work(number: int) -> None:
        with lock:
            inside.append(number)
            assert len(inside) == 1
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40)))
    assert zk.children("/lock") == []


def test_a_thread_that_would_wait_for_itself_is_told(world: World, zk: Client) -> None:
    lock = Lock(zk, "/lock")
    with lock, pytest.raises(RuntimeError, match="holds, or waits for"), lock:
        raise AssertionError
    with lock:
        pass


def test_a_loop_that_is_left_early_watches_no_more(world: World, zk: Client) -> None:
    for _ in zk.watch_data("/a"):
        break
    wait_for(lambda: world.portal.call_sync(lambda: not zk._real._link.watches.kinds("/a")))  # type: ignore[attr-defined]  # what is left behind is no public matter


def test_help_is_of_use() -> None:
    assert "trio" not in (Lock.acquire.__doc__ or "")
    assert "await" not in (Lock.__doc__ or "")
    assert recipes.Lock.__doc__ is not None
    assert Lock.__module__ == "coord.blocking"
    for method in (blocking.Election.run, blocking.Election.lead, blocking.Topics.watch):
        assert re.search("Await|Async", str(inspect.signature(method))) is None
    assert Lock.__name__ == "Lock"
