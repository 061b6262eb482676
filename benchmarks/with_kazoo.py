"""The scenarios with kazoo's recipes: a thread for each contender, on sessions that are open already.

Owns how a user of kazoo would write each of them; `with_coord` has the same with tasks, and the rules, which
are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter, sleep
from uuid import uuid4

from kazoo.client import KazooClient

from benchmarks.sample import Counters, Counts, Sample

POLL_SECONDS = 0.005
START_SECONDS = 15.0


class Sessions:
    """Open sessions, and the counters of their server."""

    def __init__(self, clients: Sequence[KazooClient], counters: Counters) -> None:
        self.clients = clients
        self.counters = counters

    def of(self, number: int) -> KazooClient:
        """The session of contender `number`."""
        return self.clients[number % len(self.clients)]


@contextmanager
def sessions(hosts: str, count: int, timeout: float) -> Iterator[Sessions]:
    """So many sessions; `timeout` is theirs, in seconds."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = KazooClient(hosts, timeout=timeout)
            client.start(START_SECONDS)
            stack.callback(client.close)
            stack.callback(client.stop)
            clients.append(client)
        yield Sessions(clients, Counters(hosts))


class Threads:
    """Threads that are waited for together; what one of them raised is raised then."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, work: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as failure:
                self._failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]


def uncontended(theirs: Sessions, *, count: int) -> Sample:
    """Acquire and release a lock that nobody else wants, again and again."""
    lock = theirs.of(0).Lock(_fresh("lock"))
    with lock:
        pass
    latencies = []
    with theirs.counters.window() as window:
        for _ in range(count):
            began = perf_counter()
            with lock:
                pass
            latencies.append(perf_counter() - began)
    return Sample.of(window, operations=count, seconds=sum(latencies), latencies=latencies)


def hand_over(theirs: Sessions, *, waiters: int) -> Sample:
    """A lock goes from each of those in line to the next."""
    path = _fresh("lock")

    def contend(number: int, held: Callable[[], None]) -> None:
        with theirs.of(number).Lock(path):
            held()

    return _chain(theirs, path, waiters, contend)


def elect(theirs: Sessions, *, candidates: int) -> Sample:
    """A leader resigns and the next one leads, through all the candidates."""
    path = _fresh("election")

    def contend(number: int, held: Callable[[], None]) -> None:
        theirs.of(number).Election(path).run(held)

    return _chain(theirs, path, candidates, contend)


def _chain(
    theirs: Sessions, path: str, waiters: int, contend: Callable[[int, Callable[[], None]], None]
) -> Sample:
    """One holds until all others wait; the last one it is handed on to keeps it until all is counted."""
    first, go, last, leave = (threading.Event() for _ in range(4))
    left, ended = waiters, 0.0

    def hold_first() -> None:
        first.set()
        go.wait()

    def hold() -> None:  # one at a time is here: that is what the lock is for
        nonlocal left, ended
        left -= 1
        if not left:
            ended = perf_counter()
            last.set()
            leave.wait()

    threads = Threads()
    idle = theirs.counters.read()
    threads.start(contend, 0, hold_first)
    first.wait()
    for number in range(1, waiters + 1):
        threads.start(contend, number, hold)
    _until_waiting(theirs, path, waiters, idle)
    with theirs.counters.window() as window:
        began = perf_counter()
        go.set()
        last.wait()
    leave.set()
    threads.join()
    return Sample.of(window, operations=waiters, seconds=ended - began)


def pass_barrier(theirs: Sessions, *, members: int) -> Sample:
    """All members enter a double barrier and, once everybody is in, leave it: one operation."""
    path = _fresh("barrier")
    theirs.of(0).ensure_path(path)
    everybody = threading.Barrier(members)

    def member(number: int) -> None:
        # With an identifier of its own: else each member looks its host up in the DNS.
        barrier = theirs.of(number).DoubleBarrier(path, members, "member")
        barrier.enter()
        everybody.wait()
        barrier.leave()

    return _together(theirs, [partial(member, number) for number in range(members)], operations=1)


def put(theirs: Sessions, *, count: int) -> Sample:
    """One producer puts items, one after the other."""
    queue = theirs.of(0).LockingQueue(_fresh("queue"))
    queue.put(b"the first one makes the parents")

    def produce() -> None:
        for _ in range(count):
            queue.put(b"item")

    return _together(theirs, [produce], operations=count)


def take(theirs: Sessions, *, consumers: int, each: int) -> Sample:
    """Consumers take and consume what is there, so many items each."""
    path = _fresh("queue")
    theirs.of(0).LockingQueue(path).put_all([b"item"] * (consumers * each))

    def consume(number: int) -> None:
        queue = theirs.of(number).LockingQueue(path)
        for _ in range(each):
            queue.get()
            queue.consume()

    work = [partial(consume, number) for number in range(consumers)]
    return _together(theirs, work, operations=consumers * each)


def permits(theirs: Sessions, *, callers: int, limit: int, each: int) -> Sample:
    """Callers acquire and release permits, fewer than there are callers, so many times each."""
    path = _fresh("semaphore")
    with theirs.of(0).Semaphore(path, max_leases=limit):
        pass

    def call(number: int) -> None:
        semaphore = theirs.of(number).Semaphore(path, max_leases=limit)
        for _ in range(each):
            with semaphore:
                pass

    return _together(theirs, [partial(call, number) for number in range(callers)], operations=callers * each)


def _together(theirs: Sessions, work: Sequence[Callable[[], None]], *, operations: int) -> Sample:
    """All of it at the same time, until the last one is through."""
    threads = Threads()
    with theirs.counters.window() as window:
        began = perf_counter()
        for one in work:
            threads.start(one)
        threads.join()
        ended = perf_counter()
    return Sample.of(window, operations=operations, seconds=ended - began)


def _until_waiting(theirs: Sessions, path: str, waiters: int, idle: Counts | None) -> None:
    """Until all are in line, and each watches for its turn. (Asked, since another watch would count, too.)"""
    while True:
        names = theirs.of(0).get_children(path)
        now = theirs.counters.read()
        if len(names) > waiters and (now is None or idle is None or now.watches >= idle.watches + waiters):
            return
        sleep(POLL_SECONDS)


def _fresh(what: str) -> str:
    return f"/benchmark/{what}-{uuid4().hex}"
