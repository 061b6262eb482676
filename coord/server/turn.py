"""A turn of a member: from what has come in to all that this makes due, until something must be waited for.

Owns the order of its steps. The shell plays a turn after each input; so does the simulator, which is why this
is a place of its own. Must not know sockets, tasks or clocks; a disk is told what to write and reports later.
"""

from __future__ import annotations

from typing import Protocol

from coord.server.replica import Replica
from coord.zab.peer import Work


class Disk(Protocol):
    @property
    def busy(self) -> bool:
        """Is something being written? Then the next work gathers meanwhile."""

    def begin(self, work: Work, *, roll: bool) -> bool:
        """Takes the work; True if it is durable on return, else its ticket is reported later."""


def play(replica: Replica, disk: Disk) -> None:
    """Propose, write, apply; and send, once for each client that has something to hear."""
    while True:
        replica.exchange()
        while _advance(replica, disk):
            pass
        dirty = replica.take_dirty()
        if not dirty:
            return
        for connection in dirty:
            if connection.carrier is not None:
                connection.carrier.flush()


def _advance(replica: Replica, disk: Disk) -> bool:
    """One step of the way from submitted to applied; True if another may be due."""
    if not disk.busy:
        replica.propose()
        work = replica.take_work()
        if work is not None and disk.begin(work, roll=replica.segment_ends.due()):
            replica.peer.persisted(work.ticket)
            replica.apply_committed()
            return True
    return replica.apply_committed() or (replica.may_propose and not disk.busy)
