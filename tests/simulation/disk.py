"""One member's disk: what is on it, what a crash leaves of work that was under way, and what a start finds.

Owns the durable truth about its member; checkers compare with it whatever the member says. A `Work` is done
in parts, in the order of its fields, and a crash may come between any two of them: the proposals are there
but not the epochs, some of the proposals but not all (a torn record counts as none).

The log keeps what snapshots cover until it is purged; a snapshot is simply a prefix of the history. So the
disk's whole history is one list, with two marks in it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from coord.wire.members import Install, Proposal
from coord.zab.history import epoch_of
from coord.zab.peer import Epochs, Work

_HEAD = struct.Struct(">QQ")


class Disk:
    def __init__(self) -> None:
        self.history: list[Proposal] = []
        self.snapshot = 0
        """the newest snapshot holds everything up to here"""
        self.purged = 0
        """the log begins after this zxid"""
        self.saved = Epochs(0, 0)

    @property
    def last_zxid(self) -> int:
        return self.history[-1].last_zxid if self.history else 0

    @property
    def epochs(self) -> Epochs:
        """Never below the epoch of a zxid in the log: its leader had made that epoch durable."""
        epoch = epoch_of(self.last_zxid)
        saved = self.saved
        return Epochs(max(saved.accepted, epoch), max(saved.current, epoch), saved.blank)

    def ends(self, after: int = 0) -> list[int]:
        """The last zxid of each epoch from the snapshot at `after` on."""
        ends = [after]
        for proposal in self.history[self.count(after) :]:
            if epoch_of(ends[-1]) == epoch_of(proposal.last_zxid):
                ends[-1] = proposal.last_zxid
            else:
                ends.append(proposal.last_zxid)
        return ends

    def count(self, zxid: int) -> int:
        """How many proposals of the history are not beyond `zxid`."""
        place = bisect_left(self.history, zxid, key=lambda proposal: proposal.last_zxid)
        return place + (place < len(self.history) and self.history[place].last_zxid == zxid)

    def holds(self, proposal: Proposal) -> bool:
        place = self.count(proposal.last_zxid)
        return place > 0 and self.history[place - 1] == proposal

    # -- writing --------------------------------------------------------------------------------------

    def parts(self, work: Work) -> list[Callable[[], None]]:
        """Each is atomic and durable when it returns."""
        parts: list[Callable[[], None]] = []
        if work.truncate is not None:
            parts.append(partial(self._truncate, work.truncate))
        if work.install is not None:
            parts.append(partial(self._install, work.install))
        parts += [partial(self._append, proposal) for proposal in work.proposals]
        if work.epochs is not None:
            parts.append(partial(self._save, work.epochs))
        return parts

    def write(self, work: Work) -> None:
        for part in self.parts(work):
            part()

    def crash(self, under_way: Sequence[Work], random: Random) -> str:
        """A random part of the work is done; says which."""
        parts = [part for work in under_way for part in self.parts(work)]
        done = random.randint(0, len(parts))
        for part in parts[:done]:
            part()
        return f"{done} of {len(parts)} writes under way survive"

    def make_snapshot(self, zxid: int, random: Random) -> None:
        """The history up to `zxid` is folded into a snapshot; some of the log that it covers goes."""
        assert self.snapshot <= zxid <= self.last_zxid
        self.snapshot = zxid
        covered = [proposal.last_zxid for proposal in self.history[: self.count(zxid)]]
        self.purged = max(self.purged, random.choice([0, *covered, zxid]))

    def wipe(self) -> None:
        """Everything is gone; what begins on it knows that it was empty."""
        self.history = []
        self.snapshot = self.purged = 0
        self.saved = Epochs(0, 0, blank=True)

    def lose_log(self) -> None:
        """Snapshots and epochs are on another disk, and stay."""
        del self.history[self.count(self.snapshot) :]
        self.purged = self.snapshot
        current = min(self.saved.current, epoch_of(self.snapshot))
        self.saved = Epochs(self.saved.accepted, current, blank=True)

    def _truncate(self, zxid: int) -> None:
        assert zxid >= self.snapshot, "what a snapshot holds is committed"
        del self.history[self.count(zxid) :]
        assert self.last_zxid == zxid, f"there is no {zxid:#x} in this history"

    def _install(self, snapshot: Install) -> None:
        # The log is deleted after the snapshot is there: what a crash leaves of it must not come after it.
        assert self.last_zxid <= snapshot.zxid, "an old tail would follow the snapshot"
        self.history = self.unpack(snapshot)
        assert self.last_zxid == snapshot.zxid
        self.snapshot = self.purged = snapshot.zxid

    def _append(self, proposal: Proposal) -> None:
        self.history.append(proposal)

    def _save(self, epochs: Epochs) -> None:
        self.saved = epochs

    # -- reading --------------------------------------------------------------------------------------

    def read(self, after: int) -> tuple[Install | None, list[Proposal]]:
        """Everything after `after`, behind a snapshot if the log does not go back so far."""
        if after >= self.purged:
            return None, self.history[self.count(after) :]
        return Install(self.snapshot, self.chunks()), self.history[self.count(self.snapshot) :]

    def chunks(self) -> tuple[bytes, ...]:
        """What the newest snapshot is made of."""
        return tuple(encode(proposal) for proposal in self.history[: self.count(self.snapshot)])

    def unpack(self, snapshot: Install) -> list[Proposal]:
        """The history that a snapshot stands for."""
        return [decode(chunk) for chunk in snapshot.chunks]


def encode(proposal: Proposal) -> bytes:
    return _HEAD.pack(proposal.first_zxid, proposal.last_zxid) + proposal.payload


def decode(chunk: bytes) -> Proposal:
    first_zxid, last_zxid = _HEAD.unpack_from(chunk)
    return Proposal(first_zxid, last_zxid, chunk[_HEAD.size :])
