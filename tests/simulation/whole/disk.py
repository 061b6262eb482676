"""The disk of a whole member: a log of batches, and behind it a snapshot that is a machine's own.

Owns, beside what every simulated disk has, the chunks of the newest snapshot. The history before the snapshot
is what checkers remember of it: a member reads it no more, it starts from the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from coord.state.machine import Machine
from coord.wire.ensemble import Batch
from coord.wire.members import Install, Proposal
from tests.simulation.disk import Disk


class ImageDisk(Disk):
    def __init__(self, history_of: Callable[[int], list[Proposal]]) -> None:
        """`history_of`: what was committed up to a zxid."""
        super().__init__()
        self._history_of = history_of
        self._image: tuple[bytes, ...] = ()

    def chunks(self) -> tuple[bytes, ...]:
        return self._image

    def unpack(self, snapshot: Install) -> list[Proposal]:
        return self._history_of(snapshot.zxid)

    def wipe(self) -> None:
        super().wipe()
        self._image = ()

    def _install(self, snapshot: Install) -> None:
        super()._install(snapshot)
        self._image = snapshot.chunks

    def machine(self) -> Machine:
        """The state that the newest snapshot holds; that of a new ensemble if there is none."""
        return Machine.restore(self._image) if self._image else Machine()

    def log(self) -> list[Batch]:
        """What the log holds beyond the snapshot."""
        return [Batch.decode(proposal.payload) for proposal in self.history[self.count(self.snapshot) :]]

    def fold(self, zxid: int) -> Machine:
        """The snapshot, and the log behind it up to `zxid`, as the process that makes snapshots sees them."""
        machine = self.machine()
        for batch in self.log():
            if batch.last_zxid <= zxid:
                for entry, session_id, _, op, identities, body in batch.entries():
                    machine.apply(entry, batch.time_ms, session_id, op, identities, body, want_reply=False)
        return machine

    def keep(self, machine: Machine, random: Random) -> None:
        """A snapshot was made: it is durable, and some of the log that it covers goes."""
        self.make_snapshot(machine.zxid, random)
        self._image = tuple(machine.snapshot())
