"""The selector loop beside trio's other tasks, and sockets that are forgotten while they are ready."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio

from coord.server.sockets import AWAY_SECONDS, READ, WRITE, Sockets


class Turns:
    """A shell that counts; `then` is its `settle`."""

    replica = None
    may_linger = True

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.begun = self.settled = 0
        self._then = then

    def begin_turn(self) -> None:
        self.begun += 1

    def settle(self) -> None:
        self.settled += 1
        self._then()


class Echo:
    """Sends back what it gets, so that there is always more to come."""

    def __init__(self, sockets: Sockets, sock: socket.socket) -> None:
        self._sockets = sockets
        self._socket = sock
        self.heard: list[bytes] = []
        sock.setblocking(False)
        sockets.watch(sock, self, READ)

    def ready(self, mask: int) -> None:
        assert mask == READ
        data = self._sockets.receive(self._socket)
        self.heard.append(data)
        self._socket.send(data)


@pytest.mark.trio
async def test_other_tasks_have_their_turns_under_a_load_without_end() -> None:
    here, there = socket.socketpair()
    shell = Turns()
    with here, there, Sockets(shell) as sockets:  # type: ignore[arg-type]  # has no replica: none is asked for
        Echo(sockets, here)
        Echo(sockets, there)
        here.send(b"!")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sockets.run)
            latest = 0.0
            for _ in range(50):
                due = trio.current_time() + 0.001
                await trio.sleep_until(due)
                latest = max(latest, trio.current_time() - due)
            nursery.cancel_scope.cancel()
    assert shell.settled == shell.begun > 100, "it went on meanwhile, without a way through trio each time"
    assert latest < 0.2 > AWAY_SECONDS, "far above what is promised: this machine may be busy"


@pytest.mark.trio
async def test_whoever_is_due_in_trio_does_not_wait_for_a_loop_that_may_not_linger() -> None:
    here, there = socket.socketpair()
    woken = trio.Event()
    shell = Turns(woken.set)
    shell.may_linger = False
    with here, there, Sockets(shell) as sockets:  # type: ignore[arg-type]  # has no replica: none is asked for
        Echo(sockets, here)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sockets.run)
            there.send(b"!")
            with trio.fail_after(5):
                await woken.wait()
            assert shell.settled == 1
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_one_that_is_forgotten_by_another_in_the_same_turn_may_be_told_once_more() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    told: list[int] = []

    class Rival:
        def __init__(self, number: int) -> None:
            self._number = number

        def ready(self, mask: int) -> None:
            told.append(self._number)
            for one, _ in pairs:
                sockets.watch(one, self, 0)
                sockets.watch(one, self, 0)  # twice is once

    done = trio.Event()
    with Sockets(Turns(done.set)) as sockets:  # type: ignore[arg-type]  # has no replica: none is asked for
        for number, (one, other) in enumerate(pairs):
            sockets.watch(one, Rival(number), READ)
            other.send(b"!")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sockets.run)
            with trio.fail_after(5):
                await done.wait()
            nursery.cancel_scope.cancel()
    assert sorted(told) == [0, 1]
    for pair in pairs:
        for sock in pair:
            sock.close()


@pytest.mark.trio
async def test_interest_changes_and_large_data_comes_in_pieces() -> None:
    here, there = socket.socketpair()
    there.setblocking(False)
    masks: list[int] = []

    class Reader:
        data = b""

        def ready(self, mask: int) -> None:
            masks.append(mask)
            if mask & READ:
                self.data += sockets.receive(here)
            sockets.watch(here, self, READ)

    reader = Reader()
    settled = trio.lowlevel.ParkingLot()
    with here, there, Sockets(Turns(settled.unpark_all)) as sockets:  # type: ignore[arg-type]  # as above
        here.setblocking(False)
        sockets.watch(here, reader, WRITE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sockets.run)
            with trio.fail_after(5):
                await settled.park()
                assert masks == [WRITE]
                sent = there.send(bytes(range(256)) * 1024)
                while len(reader.data) < sent:
                    await settled.park()
            nursery.cancel_scope.cancel()
    assert reader.data == (bytes(range(256)) * 1024)[:sent]
