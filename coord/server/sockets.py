"""The sockets' input loop: one task owns every plain TCP socket, of clients and of members, by one selector.

An epoll or kqueue selector is itself a file descriptor that becomes readable when any of its sockets is
ready. So the task sleeps in trio until something is to be read, and then takes everything that is ready in
one turn: receive, feed, settle once, send once for each socket. (A task for each costs four times as much.)

Where work comes in quick succession the way through trio's scheduler would cost more than the work. So after
a turn the loop *lingers*: it waits in its own selector for more, a moment at a time, and looks after trio's
other tasks between. These may have to wait for it: `AWAY_SECONDS`, `LINGER_SECONDS` and one turn at the most.
It does not linger while something that only trio can report is due (`Shell.may_linger`).

Owns the selector and one buffer that all sockets receive into. What comes is its `Watched`'s business.

Synopsis::

    with Sockets(shell) as sockets:
        nursery.start_soon(sockets.run)
        sockets.watch(sock, watched, READ)
"""

from __future__ import annotations

import selectors
import socket
from time import monotonic
from types import TracebackType
from typing import Protocol

import trio

from coord.limits import RECEIVE_BYTES_MAX
from coord.server.shell import Shell

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

LINGER_SECONDS = 0.001
"""how long for more work (what epoll can tell apart is a millisecond)"""
AWAY_SECONDS = 0.002
"""how long work may keep the loop from trio"""


class Watched(Protocol):
    def ready(self, mask: int) -> None:
        """The socket can be read from, or written to: what was asked for. In a turn; never awaits.

        May come once more after the socket was forgotten, in the turn in which that happened.
        """


def selector_is_pollable() -> bool:
    """Can a trio task sleep on this platform's selector?"""
    return hasattr(selectors.DefaultSelector, "fileno")


class Sockets:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(RECEIVE_BYTES_MAX)
        self._view = memoryview(self._buffer)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(
        self, _type: type | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._selector.close()

    # -- what is watched ------------------------------------------------------------------------------

    def watch(self, sock: socket.socket, watched: Watched, interest: int) -> None:
        """Tell `watched` when the socket is ready for this from now on; 0: forget it, before it is closed."""
        known = sock.fileno() in self._selector.get_map()
        if known and interest:
            self._selector.modify(sock, interest, watched)
        elif known:
            self._selector.unregister(sock)
        elif interest:
            self._selector.register(sock, interest, watched)

    def receive(self, sock: socket.socket) -> bytes:
        """What has come, `RECEIVE_BYTES_MAX` at the most; b"" at its end. Raises `OSError`.

        By way of one buffer: to make room for that much each time would cost more than to copy what came.
        """
        return bytes(self._view[: sock.recv_into(self._buffer)])

    # -- turns ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Turns, until cancelled."""
        fileno, shell = self._selector.fileno(), self._shell
        while True:
            await trio.lowlevel.wait_readable(fileno)
            back_by = monotonic() + AWAY_SECONDS
            wait = 0.0
            while self._turn(wait) and shell.may_linger:
                wait = LINGER_SECONDS
                if monotonic() >= back_by:
                    await trio.lowlevel.checkpoint()
                    back_by = monotonic() + AWAY_SECONDS

    def _turn(self, wait: float) -> bool:
        """Waits no longer than that; False if nothing has come."""
        ready = self._selector.select(wait)
        if not ready:
            return False
        self._shell.begin_turn()
        for key, mask in ready:
            key.data.ready(mask)
        self._shell.settle()
        return True
