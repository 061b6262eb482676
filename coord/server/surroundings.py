"""What a server stands on beside its settings: clocks, connections, and a memory in the place of a disk.

Owns the production ones. `coord.testing` gives a server others: time that can be moved, connections that can
be held up, a memory that outlives a restart. Must not know what is done with them.

Synopsis::

    Server(config)  # these
    Server(config, Surroundings(use_selector=False))  # a task for each client
"""

from __future__ import annotations

import time as clocks
from dataclasses import dataclass, field
from time import CLOCK_MONOTONIC, clock_gettime, time

import trio

from coord.server.disk import MemoryDisk
from coord.server.sockets import selector_is_pollable

_CLOCK: int = getattr(clocks, "CLOCK_BOOTTIME", CLOCK_MONOTONIC)
"""One that goes on while the machine is suspended, where the system has it."""


@dataclass
class Surroundings:
    use_selector: bool = field(default_factory=selector_is_pollable)
    """all clients in one task; False: a task for each, and `client_stream` is asked"""
    can_stand_still: bool = True
    """may this process be stopped while the other members go on, so that it has to find out?"""
    memory: MemoryDisk | None = None
    """of an earlier run without a disk, to go on from; None: there was none"""

    def now_ms(self) -> int:
        """On a clock that only goes forward."""
        return int(clock_gettime(_CLOCK) * 1000)

    def wall_ms(self) -> int:
        """Since 1970."""
        return int(time() * 1000)

    def client_stream(self, stream: trio.SocketStream) -> trio.abc.Stream:
        """What stands between the server and a client that has connected."""
        return stream

    def member_stream(self, member: int, stream: trio.SocketStream) -> trio.abc.Stream:
        """What stands between the server and another member to which it has connected."""
        return stream
