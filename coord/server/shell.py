"""What the input loops see of the server: begin a turn, feed the replica, settle.

Owns nothing. `server.Server` is the shell; tests have others.
"""

from __future__ import annotations

from typing import Protocol

from coord.server.replica import Replica


class Turns(Protocol):
    def begin_turn(self) -> None: ...

    def settle(self) -> None:
        """All that the inputs since the last call made due. Never awaits."""


class Shell(Turns, Protocol):
    replica: Replica

    @property
    def may_linger(self) -> bool:
        """Is nothing due that only trio can report (see `sockets`)?"""
