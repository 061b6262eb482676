"""The scenarios with coord's recipes: tasks in one thread, on sessions that are open already.

Owns how a user of coord would write each of them; `with_kazoo` has the same with threads. Both take the same
arguments and do, in the server's eyes, the same.

Rules that hold here:

- Time is taken, and requests are counted, from when everybody is in place until the last one has what it
  waited for. Connecting, making parents and cleaning up are not counted.
- Whoever contends has a session of its own, as far as there are sessions; then they are shared, evenly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter
from uuid import uuid4

import trio

import coord
from benchmarks.sample import Counters, Counts, Sample
from recipes import DoubleBarrier, Election, Grant, Lock, Queue, Semaphore

POLL_SECONDS = 0.005


class Sessions:
    """Open sessions, and the counters of their server."""

    def __init__(self, clients: Sequence[coord.Client], counters: Counters) -> None:
        self.clients = clients
        self.counters = counters

    def of(self, number: int) -> coord.Client:
        """The session of contender `number`."""
        return self.clients[number % len(self.clients)]


@asynccontextmanager
async def sessions(hosts: str, count: int, timeout: float) -> AsyncIterator[Sessions]:
    """So many sessions; `timeout` is theirs, in seconds."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(coord.connect(hosts, timeout=timeout)) for _ in range(count)
        ]
        yield Sessions(clients, Counters(hosts))


async def uncontended(ours: Sessions, *, count: int) -> Sample:
    """Acquire and release a lock that nobody else wants, again and again."""
    lock = Lock(ours.of(0), _fresh("lock"))
    async with lock:
        pass
    latencies = []
    with ours.counters.window() as window:
        for _ in range(count):
            began = perf_counter()
            async with lock:
                pass
            latencies.append(perf_counter() - began)
    return Sample.of(window, operations=count, seconds=sum(latencies), latencies=latencies)


async def hand_over(ours: Sessions, *, waiters: int) -> Sample:
    """A lock goes from each of those in line to the next."""
    path = _fresh("lock")

    async def contend(number: int, held: Callable[[], Awaitable[None]]) -> None:
        async with Lock(ours.of(number), path):
            await held()

    return await _chain(ours, path, waiters, contend)


async def elect(ours: Sessions, *, candidates: int) -> Sample:
    """A leader resigns and the next one leads, through all the candidates."""
    path = _fresh("election")

    async def contend(number: int, held: Callable[[], Awaitable[None]]) -> None:
        async def lead(term: Grant) -> None:
            await held()

        await Election(ours.of(number), path).run(lead)

    return await _chain(ours, path, candidates, contend)


async def _chain(
    ours: Sessions,
    path: str,
    waiters: int,
    contend: Callable[[int, Callable[[], Awaitable[None]]], Awaitable[None]],
) -> Sample:
    """One holds until all others wait; the last one it is handed on to keeps it until all is counted."""
    first, go, last, leave = (trio.Event() for _ in range(4))
    left, ended = waiters, 0.0

    async def hold_first() -> None:
        first.set()
        await go.wait()

    async def hold() -> None:
        nonlocal left, ended
        left -= 1
        if not left:
            ended = perf_counter()
            last.set()
            await leave.wait()

    async with trio.open_nursery() as nursery:
        idle = ours.counters.read()
        nursery.start_soon(contend, 0, hold_first)
        await first.wait()
        for number in range(1, waiters + 1):
            nursery.start_soon(contend, number, hold)
        await _until_waiting(ours, path, waiters, idle)
        with ours.counters.window() as window:
            began = perf_counter()
            go.set()
            await last.wait()
        leave.set()
    return Sample.of(window, operations=waiters, seconds=ended - began)


async def pass_barrier(ours: Sessions, *, members: int) -> Sample:
    """All members enter a double barrier and, once everybody is in, leave it: one operation."""
    path = _fresh("barrier")
    await ours.of(0).ensure_path(path)
    inside, everybody = 0, trio.Event()

    async def member(number: int) -> None:
        nonlocal inside
        async with DoubleBarrier(ours.of(number), path, members):
            inside += 1
            if inside == members:
                everybody.set()
            await everybody.wait()

    return await _together(ours, [partial(member, number) for number in range(members)], operations=1)


async def put(ours: Sessions, *, count: int) -> Sample:
    """One producer puts items, one after the other."""
    queue = Queue(ours.of(0), _fresh("queue"))
    await queue.put(b"the first one makes the parents")

    async def produce() -> None:
        for _ in range(count):
            await queue.put(b"item")

    return await _together(ours, [produce], operations=count)


async def take(ours: Sessions, *, consumers: int, each: int) -> Sample:
    """Consumers take and consume what is there, so many items each."""
    path = _fresh("queue")
    await Queue(ours.of(0), path).put_all([b"item"] * (consumers * each))

    async def consume(number: int) -> None:
        queue = Queue(ours.of(number), path)
        for _ in range(each):
            async with queue.take():
                pass

    work = [partial(consume, number) for number in range(consumers)]
    return await _together(ours, work, operations=consumers * each)


async def permits(ours: Sessions, *, callers: int, limit: int, each: int) -> Sample:
    """Callers acquire and release permits, fewer than there are callers, so many times each."""
    path = _fresh("semaphore")
    async with Semaphore(ours.of(0), path, limit):
        pass

    async def call(number: int) -> None:
        semaphore = Semaphore(ours.of(number), path, limit)
        for _ in range(each):
            async with semaphore:
                pass

    return await _together(
        ours, [partial(call, number) for number in range(callers)], operations=callers * each
    )


async def _together(
    ours: Sessions, work: Sequence[Callable[[], Awaitable[None]]], *, operations: int
) -> Sample:
    """All of it at the same time, until the last one is through."""
    with ours.counters.window() as window:
        began = perf_counter()
        async with trio.open_nursery() as nursery:
            for one in work:
                nursery.start_soon(one)
        ended = perf_counter()
    return Sample.of(window, operations=operations, seconds=ended - began)


async def _until_waiting(ours: Sessions, path: str, waiters: int, idle: Counts | None) -> None:
    """Until all are in line, and each watches for its turn. (Asked, since another watch would count, too.)"""
    while True:
        names = await ours.of(0).children(path)
        now = ours.counters.read()
        if len(names) > waiters and (now is None or idle is None or now.watches >= idle.watches + waiters):
            return
        await trio.sleep(POLL_SECONDS)


def _fresh(what: str) -> str:
    return f"/benchmark/{what}-{uuid4().hex}"
