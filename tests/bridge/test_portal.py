"""The thread with a trio run of its own, by itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager

import pytest
import trio

import coord
from coord import blocking
from coord.bridge.block import Block
from coord.bridge.portal import Portal, TooSlowError
from coord.bridge.process import as_default, default_portal
from coord.bridge.threads import hold
from tests.bridge.conftest import World


@pytest.fixture
def portal() -> Iterator[Portal]:
    with Portal() as portal:
        yield portal


async def answer(value: object) -> object:
    await trio.lowlevel.checkpoint()
    return value


def test_calls_and_their_errors(portal: Portal) -> None:
    assert portal.call(answer, 1) == 1
    assert portal.submit(answer, 2).result() == 2
    assert portal.call_sync(lambda: portal.here)
    assert not portal.here
    boom = ValueError("boom")

    async def fail() -> None:
        raise boom

    def fail_at_once() -> None:
        raise boom

    calls: list[Callable[[], object]] = [lambda: portal.call(fail), lambda: portal.call_sync(fail_at_once)]
    for call in calls:
        with pytest.raises(ValueError) as caught:
            call()
        assert caught.value is boom


def test_a_cancelled_call_is_done_when_its_task_has_ended(portal: Portal) -> None:
    steps: list[str] = []
    began, may_end = threading.Event(), trio.Event()

    async def work() -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await may_end.wait()
            steps.append("ended")

    running = portal.submit(work)
    began.wait()
    assert running.cancel()
    portal.call(trio.lowlevel.checkpoint)
    assert not running.done()
    portal.call_sync(may_end.set)
    with pytest.raises(CancelledError):
        running.result()
    assert steps == ["ended"]
    assert not running.cancel()


def test_a_call_has_a_deadline_or_a_timeout(portal: Portal) -> None:
    with pytest.raises(CancelledError):
        portal.submit(trio.sleep_forever, deadline=0).result()
    running = portal.submit(trio.sleep_forever, timeout=0)
    with pytest.raises(CancelledError):
        running.result()
    assert running.timed_out

    async def too_slow() -> None:
        with trio.fail_after(0):
            await trio.sleep_forever()

    with pytest.raises(TooSlowError) as caught:
        portal.call(too_slow)
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("timeout", [float("nan"), "soon", None])
def test_a_timeout_that_makes_no_sense_hurts_nobody_else(portal: Portal, timeout: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        portal.submit(trio.sleep_forever, timeout=timeout).result()  # type: ignore[arg-type]  # what is tested
    assert portal.call(answer, 1) == 1


def test_the_trio_thread_does_not_wait_for_itself(portal: Portal) -> None:
    with pytest.raises(RuntimeError, match="cannot be called in a function that coord calls"):
        portal.call_sync(lambda: portal.call(answer, 1))


def test_whoever_waits_hears_of_the_end() -> None:
    errors: list[BaseException] = []
    began = threading.Event()

    async def work() -> None:
        began.set()
        await trio.sleep_forever()

    def wait(portal: Portal) -> None:
        try:
            portal.call(work)
        except coord.ClientClosed as error:
            errors.append(error)

    with Portal() as portal:
        thread = threading.Thread(target=wait, args=(portal,))
        thread.start()
        began.wait()
    thread.join()
    assert len(errors) == 1
    uses: list[Callable[[], object]] = [
        lambda: portal.call(answer, 1),
        lambda: portal.call_sync(int),
        lambda: portal.submit(answer, 1),
    ]
    for use in uses:
        with pytest.raises(coord.ClientClosed):
            use()
    portal.close()
    assert "closed" in repr(portal)


def test_blocks_are_ended_newest_first_and_with_an_error() -> None:
    ends: list[object] = []

    @asynccontextmanager
    async def manager(name: str) -> AsyncIterator[None]:
        try:
            yield
        except coord.ClientClosed:
            ends.append(name)
            raise

    with Portal() as portal:
        for name in ("client", "lock"):
            Block(portal, lambda name=name: manager(name)).enter().result()  # type: ignore[misc]  # a lambda's default
    assert ends == ["lock", "client"]


def test_the_default_can_be_another_for_a_while(world: World) -> None:
    assert default_portal() is world.portal
    with Portal() as other, as_default(other), hold(other, lambda: coord.connect(world.hosts)):
        assert default_portal() is other
    assert default_portal() is world.portal


def test_what_belongs_to_two_portals_does_not_mix(world: World) -> None:
    with Portal() as other:
        with as_default(other):
            elsewhere = blocking.connect(world.hosts)
        with blocking.connect(world.hosts) as one, elsewhere as another:
            watch = another.watch()
            with pytest.raises(ValueError, match="another portal"):
                one.get("/", watch=watch)


class Interrupting(trio.abc.Clock):
    """Ctrl-C comes when the thread is there, and the portal's `start` has not returned."""

    def start_clock(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def current_time(self) -> float:
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


def test_a_portal_whose_start_is_interrupted_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            Portal(clock=Interrupting()).start()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
