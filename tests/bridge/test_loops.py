"""`coord.aio`: what a task of asyncio sees of losses and cancellations."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from random import Random

import pytest

import coord
from coord import aio, blocking
from coord.aio import Client, Grant, Lock, LockLost
from tests.bridge.conftest import World

Body = Callable[[World, Client], Awaitable[None]]


def play(world: World, body: Body) -> None:
    async def main() -> None:
        async with asyncio.timeout(15), aio.connect(world.hosts) as zk:
            await body(world, zk)

    asyncio.run(main())


async def in_thread(fn: Callable[..., object], *args: object) -> None:
    """Without holding up the loop, as whatever takes a server away would not."""
    await asyncio.to_thread(fn, *args)


async def waiters(zk: Client, count: int) -> None:
    async with zk.watch_children("/lock") as states:
        async for names in states:
            if names is not None and len(names) == count:
                return


# -- losses -------------------------------------------------------------------------------------------


def test_the_body_is_cancelled_when_the_lock_is_lost(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        ends: list[BaseException] = []
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(LockLost):  # noqa: PT012  # a block is tested
            async with Lock(zk, "/lock") as grant:
                try:
                    await in_thread(world.lose_server)
                    await asyncio.sleep(100)
                except asyncio.CancelledError as error:
                    ends.append(error)
                    raise
        assert len(ends) == 1
        assert grant.lost
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # nothing of it is left

    play(world, body)


def test_a_session_that_the_server_has_expired_loses_its_locks(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        with pytest.raises(LockLost, match="expired"):  # noqa: PT012  # a block is tested
            async with Lock(zk, "/lock") as grant:
                await in_thread(world.expire, zk)
                await asyncio.sleep(100)
        assert await zk.children("/lock") == []
        async with Lock(zk, "/lock") as again:
            assert again.token > grant.token
        assert zk.session.generation == 2

    play(world, body)


def test_a_body_that_does_not_wait_hears_of_the_loss_at_its_end(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        with pytest.raises(LockLost):  # noqa: PT012  # a block is tested
            async with Lock(zk, "/lock") as grant:
                world.lose_server()  # the loop is held up meanwhile
                assert grant.lost
                with pytest.raises(LockLost):
                    grant.ensure()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    play(world, body)


def test_the_bodys_own_exception_wins(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        mine = ValueError("mine")
        with pytest.raises(ValueError) as caught:  # noqa: PT012  # a block is tested
            async with Lock(zk, "/lock"):
                try:
                    await in_thread(world.lose_server)
                    await asyncio.sleep(100)
                finally:
                    raise mine
        assert caught.value is mine

    play(world, body)


def test_a_loss_may_leave_the_block_quietly(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        async with Lock(zk, "/lock").acquire(on_loss="move_on") as grant:
            await in_thread(world.lose_server)
            await asyncio.sleep(100)
        assert grant.lost
        with zk.session.guard() as guard:
            await asyncio.sleep(100)
        assert guard.lost

    play(world, body)


def test_a_group_inside_the_body_is_ended_with_it(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        cancelled = []

        async def work() -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise

        with pytest.raises(LockLost):  # noqa: PT012  # a block is tested
            async with Lock(zk, "/lock"), asyncio.TaskGroup() as group:
                group.create_task(work())
                group.create_task(work())
                await in_thread(world.lose_server)
        assert cancelled == [1, 1]

    play(world, body)


def test_a_group_around_the_body_sees_the_loss(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        async def hold() -> None:
            async with Lock(zk, "/lock"):
                await in_thread(world.lose_server)
                await asyncio.sleep(100)

        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # a block is tested
            async with asyncio.TaskGroup() as group:
                group.create_task(hold())
                group.create_task(asyncio.sleep(100))
        assert [type(one) for one in caught.value.exceptions] == [LockLost]

    play(world, body)


def test_what_is_lost_twice_is_lost_once(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        with pytest.raises(LockLost):  # noqa: PT012  # a block is tested
            async with Lock(zk, "/outer"), Lock(zk, "/inner"):
                await in_thread(world.lose_server)
                await asyncio.sleep(100)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(world, body)


# -- cancellations --------------------------------------------------------------------------------------


def test_a_cancelled_wait_leaves_nothing_behind(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        async def wait() -> None:
            async with Lock(zk, "/lock"):
                raise AssertionError

        async with Lock(zk, "/lock"):
            waiting = asyncio.create_task(wait())
            await waiters(zk, 2)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await zk.janitor.idle()
            assert len(await zk.children("/lock")) == 1

    play(world, body)


def test_whenever_a_cancellation_comes_nothing_is_left_behind(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        lock, chance, inside = Lock(zk, "/lock"), Random(7), []

        async def moments() -> None:
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)

        async def hold() -> None:
            async with lock as grant:
                inside.append(grant)
                assert len(inside) == 1
                try:
                    await moments()
                finally:
                    inside.pop()

        for _ in range(20):
            tasks = [asyncio.create_task(hold()) for _ in range(8)]
            for _ in range(6):
                await moments()
                chance.choice(tasks).cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
        await zk.janitor.idle()
        assert await zk.children("/lock") == []

    play(world, body)


def test_a_cancellation_from_outside_passes_through_the_body(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        inside = asyncio.Event()

        async def hold() -> None:
            async with zk.transaction() as transaction, Lock(zk, "/lock"):
                transaction.create("/never")
                inside.set()
                await asyncio.sleep(100)

        holding = asyncio.create_task(hold())
        await inside.wait()
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert holding.cancelled()
        assert await zk.children("/lock") == []
        assert await zk.exists("/never") is None

    play(world, body)


def test_a_cancellation_from_outside_wins_over_a_loss(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        inside, lost = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with Lock(zk, "/lock"):
                inside.set()
                try:
                    await asyncio.sleep(100)
                finally:
                    lost.set()
                    await asyncio.sleep(100)

        holding = asyncio.create_task(hold())
        await inside.wait()
        await in_thread(world.lose_server)
        await lost.wait()
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding

    play(world, body)


def test_timeouts_around_and_inside(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        async with Lock(zk, "/lock"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), Lock(zk, "/lock"):
                    raise AssertionError
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), Lock(zk, "/other"):
                    await asyncio.sleep(100)
            async with Lock(zk, "/other"):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await asyncio.sleep(100)
        assert await zk.children("/lock") == await zk.children("/other") == []

    play(world, body)


def test_a_call_that_was_cancelled_leaves_the_client_usable(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        await in_thread(lambda: world.portal.call(world.server.kill))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await zk.get("/")
        call = asyncio.create_task(zk.get("/", linearizable=True))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    play(world, body)


# -- functions ------------------------------------------------------------------------------------------


def test_a_function_runs_in_the_callers_loop_and_context(world: World) -> None:
    var: ContextVar[str] = ContextVar("var")

    async def body(world: World, zk: Client) -> None:
        loop = asyncio.get_running_loop()

        async def lead(term: Grant) -> str:
            assert asyncio.get_running_loop() is loop
            assert await zk.exists(term.path) is not None
            return var.get()

        var.set("mine")
        assert await aio.Election(zk, "/lead").run(lead) == "mine"

    play(world, body)


def test_a_function_is_cancelled_with_its_caller(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        began, ended = asyncio.Event(), []

        async def lead(term: Grant) -> None:
            began.set()
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(0)
                ended.append(len(await zk.children("/lead")))

        running = asyncio.create_task(aio.Election(zk, "/lead").run(lead))
        await began.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [1]  # it led still
        assert await zk.children("/lead") == []

    play(world, body)


def test_a_function_is_cancelled_with_its_term(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        cancelled = asyncio.Event()

        async def lead(term: Grant) -> None:
            try:
                await in_thread(world.lose_server)
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        running = asyncio.create_task(aio.Election(zk, "/lead").run(lead))
        await cancelled.wait()
        assert not running.done()  # it campaigns again
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    play(world, body)


# -- loops ----------------------------------------------------------------------------------------------


def test_loops_and_threads_share_one_lock(world: World) -> None:
    inside: list[int] = []

    async def work(number: int) -> None:
        async with aio.connect(world.hosts) as zk:
            for _ in range(5):
                async with Lock(zk, "/lock"):
                    inside.append(number)
                    assert inside == [number]
                    await asyncio.sleep(0)
                    inside.clear()

    errors = []

    def loop(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []


def test_a_loop_that_ends_takes_its_blocks_along(world: World) -> None:
    async def main() -> None:
        async def hold() -> None:
            async with aio.connect(world.hosts) as zk:
                await zk.create("/me", ephemeral=True)
                inside.set()
                await asyncio.sleep(100)

        inside = asyncio.Event()
        task = asyncio.create_task(hold())
        await inside.wait()
        assert not task.done()

    asyncio.run(main())

    async def look(world: World, zk: Client) -> None:
        assert await zk.exists("/me") is None

    play(world, look)


def test_another_task_may_end_a_block(world: World) -> None:
    """That of a generator which is left unfinished, or of a test's fixture."""

    async def body(world: World, zk: Client) -> None:
        lock = Lock(zk, "/lock")

        async def values() -> AsyncIterator[int]:
            async with lock:
                yield 1

        async for _ in values():
            break
        await waiters(zk, 0)
        client = aio.connect(world.hosts)
        await asyncio.create_task(client.__aenter__())
        assert await client.exists("/lock")
        await asyncio.create_task(client.__aexit__(None, None, None))
        with pytest.raises(aio.ClientClosed):
            await client.exists("/lock")

    play(world, body)


async def hold_a_lock(zk: Client, is_there: asyncio.Event) -> None:
    async with Lock(zk, "/lock"):
        is_there.set()
        await asyncio.sleep(100)


async def lead(zk: Client, is_there: asyncio.Event) -> None:
    async def serve(term: Grant) -> None:
        is_there.set()
        await asyncio.sleep(100)

    await aio.Election(zk, "/lock").run(serve)


async def wait_for_the_lock(zk: Client, is_there: asyncio.Event) -> None:
    async with aio.connect(zk.session.server) as other, Lock(other, "/lock"):
        is_there.set()
        async with Lock(zk, "/lock"):
            raise AssertionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # "task was destroyed"
@pytest.mark.parametrize("user", [hold_a_lock, lead, wait_for_the_lock])
def test_a_loop_that_is_closed_meanwhile_holds_nothing(
    world: World, user: Callable[[Client, asyncio.Event], Awaitable[None]]
) -> None:
    """Nobody has ended its tasks, as `asyncio.run` would: they are thrown away."""

    async def begin() -> asyncio.Future[None]:
        is_there = asyncio.Event()
        await zk.__aenter__()
        task = asyncio.ensure_future(user(zk, is_there))
        await is_there.wait()
        return task

    zk = aio.connect(world.hosts)
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    assert not task.done()
    loop.close()
    del task, loop
    with blocking.connect(world.hosts) as look, look.watch_children("/lock") as states:
        gc.collect()
        assert any(not names for names in states)


def test_errors_are_told_as_for_trio(world: World) -> None:
    async def body(world: World, zk: Client) -> None:
        with pytest.raises(coord.NoNode) as caught:
            await zk.get("/nowhere")
        assert (caught.value.path, caught.value.operation) == ("/nowhere", "get")
        closed = aio.connect(world.hosts)
        with pytest.raises(RuntimeError, match="not connected yet"):
            await closed.get("/")
        async with closed:
            pass
        with pytest.raises(aio.ClientClosed):
            await closed.get("/")
        with pytest.raises(TypeError, match=r"takes a client of coord\.aio"):
            Lock(None, "/lock")  # type: ignore[arg-type]  # what is tested

    play(world, body)
