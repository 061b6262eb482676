"""A portal in virtual time that is the default one, and a server in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import coord
from coord import aio, blocking
from coord.bridge.portal import Portal
from coord.bridge.process import as_default
from coord.bridge.threads import hold
from coord.testing import EmbeddedServer, embedded_server


class World:
    """Time stands still unless it is moved: a session lives as long as a test wants it to."""

    def __init__(self, portal: Portal, clock: MockClock, server: EmbeddedServer) -> None:
        self.portal = portal
        self.server = server
        self._clock = clock

    @property
    def hosts(self) -> str:
        return self.server.connect_string

    def pass_time(self, seconds: float) -> None:
        self.portal.call_sync(self._clock.jump, seconds)

    def lose_server(self) -> None:
        """No session of it can be guaranteed any more."""
        self.portal.call(self.server.kill)
        self.pass_time(60)

    def expire(self, zk: blocking.Client | aio.Client) -> None:
        """The server says that its session has ended, and it gets another; from any thread but a loop's."""

        async def expire() -> None:
            session = zk._real.session  # type: ignore[union-attr]  # the one for trio
            await self.server.expire_session(session.id)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(move_time)
                await session.state.wait_value(coord.SessionState.EXPIRED)
                await session.state.wait_value(coord.SessionState.CONNECTED)
                nursery.cancel_scope.cancel()

        async def move_time() -> None:
            """Until it connects again."""
            while True:
                await wait_all_tasks_blocked(0.001)
                self._clock.jump(0.05)

        self.portal.call(expire)


@pytest.fixture
def world() -> Iterator[World]:
    clock = MockClock()
    with Portal(clock=clock) as portal, as_default(portal), hold(portal, embedded_server) as server:
        yield World(portal, clock, server)


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Threads whose end the test waits for, and whose exceptions are the test's."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def start(fn: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                fn()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
