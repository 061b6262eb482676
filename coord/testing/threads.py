"""Servers for tests that are not trio's: in a thread of their own, their controls plain calls.

Owns the thread, and the calls into it; each takes milliseconds. The thread's clock is a `MockClock` that goes
as real time does until `advance` moves it, and `coord.blocking` and `coord.aio` connect their clients in the
same thread meanwhile: so they live in the server's time.

Synopsis::

    with server_in_thread() as server:  # for threads, asyncio and trio alike
        client = KazooClient(server.connect_string)
        ...
        server.expire_session(client)
        with server.partition():
            server.advance(30)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

import coord
from coord.bridge.outcome import Outcome
from coord.bridge.portal import Portal
from coord.bridge.process import as_default
from coord.testing.embedded import EmbeddedServer, embedded_server
from coord.testing.ensemble import EmbeddedEnsemble, EmbeddedMember, embedded_ensemble
from coord.testing.faults import HOST, Partition
from coord.testing.sessions import session_id_of

T = TypeVar("T")

LEADER_SECONDS = 10.0
"""An ensemble that has no leader by then has no majority."""


class _Controls:
    """What servers and ensembles have in common."""

    _inner: EmbeddedServer | EmbeddedEnsemble

    def __init__(self, portal: Portal, inner: EmbeddedServer | EmbeddedEnsemble) -> None:
        self._portal = portal
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)

    def _do(self, fn: Callable[..., Awaitable[T]], *args: object) -> T:
        with self._there():
            return self._portal.call(fn, *args)

    def _tell(self, fn: Callable[..., T], *args: object) -> T:
        with self._there():
            return self._portal.call_sync(fn, *args)

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except coord.ForkedClient:
            raise
        except coord.ClientClosed:
            raise RuntimeError(f"{self!r} has ended: its block was left, or it has failed") from None

    @property
    def connect_string(self) -> str:
        """For any client: host and port, of each server."""
        return self._inner.connect_string

    def new_chroot(self, name: str = "") -> str:
        """The connect string with a new, empty znode behind it, which is `/` to the client: for tests that
        share a server. `name` is to be seen in the znode's. Raises `TimeoutError` if nobody serves."""
        prefix = "/" + (re.sub(r"[^\w.]+", "-", name) or "chroot") + "-"
        return self.connect_string + self._do(_create, self.connect_string, prefix)

    def sessions(self) -> tuple[int, ...]:
        """The ids of the sessions there are (kazoo's ``client.client_id[0]``), connected or not."""
        return self._tell(self._inner.sessions)

    def expire_session(self, client: object) -> None:
        """End a session as if it had been silent for too long: its ephemeral znodes are gone on return, and
        its client is told that it has expired when it connects again, which is soon.

        `client` is a session id, a kazoo client or one of coord's. Raises `LookupError` if there is no such
        session, `ValueError` if the client has none, `RuntimeError` while the server is down.
        """
        self._do(self._inner.expire_session, session_id_of(client))

    def drop_connections(self) -> None:
        """Break every client's connection. They may come again at once; their sessions live on."""
        self._tell(self._inner.drop_connections)

    def advance(self, seconds: float) -> None:
        """Let `seconds` of virtual time pass, in milliseconds: for the server, for `coord.blocking` and for
        `coord.aio`, each deadline at its exact moment. A session that was cut off for its whole timeout has
        then expired, one that is connected has not.

        Other clients live in real time: kazoo, coord in a trio loop of the test's own. To the server they
        have been silent for `seconds`. So this expires their sessions if it is longer than their timeout, and
        does not move what they wait for themselves.
        """
        self._do(self._inner.advance, seconds)


class ServerHandle(_Controls):
    """A running server: where it is, how to take it down and up again, and what else can happen to it."""

    host = HOST
    _inner: EmbeddedServer

    @property
    def port(self) -> int:
        return self._inner.port

    @property
    def running(self) -> bool:
        return self._inner.running

    def start(self) -> None:
        """Start it again, on the same port, with its data and sessions. Raises `RuntimeError` if it runs."""
        self._do(self._inner.start)

    def stop(self) -> None:
        """End it, as SIGTERM does: clients get their answers, connections are closed, sessions live on."""
        self._do(self._inner.stop)

    def kill(self) -> None:
        """End it at once: connections break, requests under way may be done or not."""
        self._do(self._inner.kill)

    def restart(self) -> None:
        """Stop it, and start it again: data and sessions are kept, in memory, too."""
        self._do(self._inner.restart)

    def partition(self) -> Partition:
        """Nothing gets through between clients and server until `heal`: connections stay open, new ones hang.
        What was said meanwhile arrives then. Also a ``with`` block."""
        self._tell(self._inner.partition)
        return Partition(self.heal)

    def heal(self) -> None:
        """End the partition."""
        self._tell(self._inner.heal)

    def restore(self) -> None:
        """Whatever was done to it: no partition, and running."""
        self.heal()
        if not self.running:
            self.start()


class MemberHandle(ServerHandle):
    """One member of an ensemble. Its `partition` is between it and its clients."""

    _inner: EmbeddedMember

    @property
    def id(self) -> int:
        return self._inner.id


class EnsembleHandle(_Controls):
    """A running ensemble; its members have controls of their own."""

    _inner: EmbeddedEnsemble

    def __init__(self, portal: Portal, inner: EmbeddedEnsemble) -> None:
        super().__init__(portal, inner)
        self.members = tuple(MemberHandle(portal, member) for member in inner.members)
        """by their ids, which begin with 1"""

    @property
    def leader(self) -> MemberHandle | None:
        """The member that leads, and reaches a majority; None while there is none."""
        found = self._tell(lambda: self._inner.leader)
        return None if found is None else self.members[found.id - 1]

    def wait_leader(self, timeout: float = LEADER_SECONDS) -> MemberHandle:
        """The leader, as soon as there is one and the members it reaches are in step. Raises `TimeoutError`
        after `timeout` seconds: without a majority there is none."""
        return self.members[self._within(timeout, self._inner.wait_leader).id - 1]

    def expire_session(self, client: object) -> None:
        """As `ServerHandle.expire_session`; every member in step knows of it on return. Raises `TimeoutError`
        if nobody leads."""
        self._within(LEADER_SECONDS, partial(self._inner.expire_session, session_id_of(client)))

    def kill_leader(self, timeout: float = LEADER_SECONDS) -> MemberHandle:
        """Kill whoever leads; returns it, to be started again. Raises `TimeoutError` if nobody leads."""
        return self.members[self._within(timeout, self._inner.kill_leader).id - 1]

    def partition(self, *members: MemberHandle | int) -> Partition:
        """These (by id, or themselves) and the others hear each other no more until `heal`. Clients still
        reach everybody. Also a ``with`` block. Raises `ValueError` for who is no member."""
        self._tell(self._inner.partition, *(one if isinstance(one, int) else one.id for one in members))
        return Partition(self.heal)

    def heal(self) -> None:
        """End every partition between members."""
        self._tell(self._inner.heal)

    def restore(self) -> None:
        """Whatever was done to it: no partition, every member running, one leading."""
        self.heal()
        for member in self.members:
            member.restore()
        self.wait_leader()

    def _within(self, timeout: float, fn: Callable[[], Awaitable[T]]) -> T:
        async def bounded() -> T:
            with trio.move_on_after(timeout):
                return await fn()
            raise TimeoutError(f"no member of the ensemble leads after {timeout:g} s")

        return self._do(bounded)


async def _create(connect_string: str, prefix: str) -> str:
    try:
        async with coord.connect(connect_string, patience=LEADER_SECONDS) as zk:
            return await zk.create(prefix, sequential=True)
    except trio.TooSlowError:
        raise TimeoutError(f"nobody at {connect_string} serves: down, or cut off? restore() it") from None


@contextmanager
def server_in_thread(**settings: Any) -> Iterator[ServerHandle]:
    """A server, fresh and empty, while the block lasts. `settings` are those of `embedded_server`."""
    with _hosted(partial(embedded_server, **settings)) as (portal, server):
        yield ServerHandle(portal, server)


@contextmanager
def ensemble_in_thread(size: int = 3, **settings: Any) -> Iterator[EnsembleHandle]:
    """An ensemble while the block lasts. `settings` are those of `embedded_ensemble`."""
    with _hosted(partial(embedded_ensemble, size, **settings)) as (portal, ensemble):
        yield EnsembleHandle(portal, ensemble)


@contextmanager
def _hosted(open_it: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[tuple[Portal, T]]:
    """Opened in a portal; when that is closed, clients that nobody has closed go first."""
    opened: Outcome[T] = Outcome()

    async def host() -> None:
        try:
            async with open_it() as value:
                opened.set_result(value)
                await trio.sleep_forever()
        except BaseException as error:
            failure = _failure_in(error)
            if failure is not None and opened.done():
                failures.append(failure)
            elif failure is not None:
                opened.set_error(failure)
            raise

    failures: list[Exception] = []
    with Portal(clock=MockClock(rate=1)) as portal, as_default(portal):
        portal.submit(host)
        yield portal, opened.result()
    if failures:
        raise failures[0]  # it has ended by itself: this is why


def _failure_in(error: BaseException | None) -> Exception | None:
    """None if all that happened is that it was cancelled; both can come together."""
    if isinstance(error, BaseExceptionGroup):
        _, error = error.split(trio.Cancelled)
    return error if isinstance(error, Exception) else None
