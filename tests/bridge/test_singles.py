"""Calls that are one request and one reply go without a task, and else are as the others."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import coord
from coord import aio, blocking
from coord.bridge.portal import Portal
from coord.bridge.threads import _ask as ask
from tests.bridge.conftest import World

InThread = Callable[[Callable[[], object]], threading.Thread]

CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda zk: zk.get("/"),
    "children": lambda zk: zk.children("/"),
    "set": lambda zk: zk.set("/", b""),
    "delete": lambda zk: zk.delete("/a"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def under_way(portal: Portal) -> Callable[[], bool]:
    """Does anything run in `portal` beside the blocks that run now?"""
    before = portal.call_sync(lambda: set(portal._running))
    return lambda: bool(portal.call_sync(lambda: set(portal._running) - before))


def wait_for(holds: Callable[[], bool]) -> None:
    """In real time: for what other threads do."""
    pause = threading.Event()
    while not holds():
        pause.wait(0.001)


def test_all_of_them_are_calls_of_the_client() -> None:
    assert {method.__name__ for method in coord.Client.SINGLES} == set(CALLS)


def test_they_come_to_the_same(world: World) -> None:
    with blocking.connect(world.hosts) as zk:
        zk.create("/a", b"one")
        assert zk.set("/a", b"two", version=0).version == 1
        for timeout in (None, 5):
            data, stat = zk.get("/a", timeout=timeout)
            assert (data, stat.version) == (b"two", 1)
        assert zk.get("/a", linearizable=True)[0] == b"two"
        assert "a" in zk.children("/")
        with pytest.raises(coord.BadVersion) as caught:
            zk.delete("/a", version=7)
        assert (caught.value.path, caught.value.operation) == ("/a", "delete")
        with zk.watch() as watch:
            zk.get("/a", watch=watch)
            zk.delete("/a")
            assert watch.wait().type is coord.EventType.DELETED
        with pytest.raises(coord.NoNode):
            zk.get("/a")


@every_call
def test_one_that_waits_ends_with_its_client(
    world: World, in_thread: InThread, call: Callable[[Any], Any]
) -> None:
    with blocking.connect(world.hosts) as zk:
        busy = under_way(world.portal)
        world.portal.call(world.server.kill)

        def work() -> None:
            with pytest.raises(coord.ClientClosed):
                call(zk)

        thread = in_thread(work)
        wait_for(busy)
    thread.join()
    assert not busy()


@every_call
def test_ctrl_c_ends_one_that_waits(world: World, in_thread: InThread, call: Callable[[Any], Any]) -> None:
    with blocking.connect(world.hosts) as zk:
        busy = under_way(world.portal)
        world.portal.call(world.server.kill)

        def interrupt() -> None:
            wait_for(busy)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        in_thread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            call(zk)
        assert not busy()


def test_a_deadline_bounds_it(world: World) -> None:
    with blocking.connect(world.hosts) as zk:
        world.portal.call(world.server.kill)
        with blocking.move_on_after(0) as scope:
            zk.get("/")
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            zk.get("/", timeout=0)


@every_call
def test_a_cancelled_one_leaves_nothing_behind(world: World, call: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with aio.connect(world.hosts) as zk:
            busy = under_way(world.portal)
            await asyncio.to_thread(world.portal.call, world.server.kill)
            task = asyncio.create_task(call(zk))
            await asyncio.sleep(0)
            assert busy()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not busy()

    asyncio.run(main())


def test_one_that_waits_ends_with_the_portal(in_thread: InThread) -> None:
    with Portal() as portal:

        class Silent:
            """Is never answered."""

            def begin(self, wake: Callable[[], object]) -> None:
                began.set()

            def abandon(self) -> None:
                raise AssertionError("nobody has given up")

            def result(self) -> object:
                raise AssertionError("there is none")

        began = threading.Event()

        def work() -> None:
            with pytest.raises(coord.ClientClosed):
                ask(portal, Silent(), "silence")

        thread = in_thread(work)
        began.wait()
    thread.join()
