"""The disk: what the peer wants durable is written, one batch at a time.

A thread writes, and while it does the next batch gathers, so the slower the disk, the larger the batches
(group commit). But to change threads twice takes as long as a quick disk needs for a small batch (0.08 ms
each, where this was measured). So while the disk is quick such a batch is written *in place*, by the server's
loop, at the end of a turn, when all that others wait for has left. What the loop loses to slow writes is
bounded: `DEBT` times that long the disk is in debt, and with more than `DEBT_SECONDS_MAX` of it the thread
writes.

Owns who writes, and nothing else; what is written, and when it counts, is the peer's business.

A `Disk` is told `begin(work)` when it is not busy; `finish` or `run` report each finished ticket. An error of
the storage is not survivable: it leaves `run`, ends the server, and nothing is acknowledged after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeVar

import trio

from coord.server import turn
from coord.server.history_reader import read_history
from coord.storage import epochs as epoch_file
from coord.storage import snapshots
from coord.storage.journal import Segment
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.wire.members import Install, Proposal
from coord.zab.learner import Fetch
from coord.zab.peer import Epochs, Work

T = TypeVar("T")


IN_PLACE_BYTES_MAX = 1024 * 1024
QUICK_SECONDS = 0.002
"""what a write in place may take without any debt"""
DEBT = 50
DEBT_SECONDS_MAX = 1.0


class Disk(turn.Disk, Protocol):
    def finish(self) -> int | None:
        """All that was due in this turn has left: the ticket that `begin` was given, if its work is durable
        now; else `run` reports it."""

    async def run(self, persisted: Callable[[int], None]) -> None:
        """Write what `begin` was given, for ever; `persisted` gets each ticket when its work is durable."""

    async def closed_segments(self) -> list[Segment]:
        """The log's files that will not be written to any more."""

    async def purge(self, upto_zxid: int) -> list[Path]:
        """Delete closed segments that end at or before `upto_zxid`; the files deleted."""

    async def read_history(self, fetch: Fetch) -> tuple[Install | None, list[Proposal]]:
        """What a follower lacks, as `Peer.fetched` wants it (see `history_reader`)."""


def write(log: Log | MemoryLog, directory: Path | None, work: Work, *, roll: bool) -> None:
    """In the order of `zab.peer.Work`; returns when all of it is durable."""
    if work.truncate is not None:
        log.truncate(work.truncate)
    if work.install is not None:
        # The snapshot is durable before the log that it replaces is gone (ZOOKEEPER-2872).
        if directory is not None:
            zxid, chunks = work.install.zxid, work.install.chunks
            snapshots.save(directory / "snapshots", zxid, work.install_digest, chunks)
        log.clear(work.install.zxid)
    if work.proposals:
        for proposal in work.proposals:
            log.append(proposal.first_zxid, proposal.last_zxid, proposal.payload)
        log.sync()
    if work.epochs is not None and directory is not None:
        epoch_file.save(directory, epoch_file.Epochs(*work.epochs))
    if roll:
        log.roll()


class MemoryDisk:
    """Nothing survives the process, so everything is done at once: for tests and demos."""

    def __init__(self, log: MemoryLog, *, keep: bool = False) -> None:
        """`keep` the log whole: in an ensemble, a member that has lost its memory needs all of it; so does a
        server that is to start again from it."""
        self.busy = False
        self.epochs: Epochs | None = None
        """the last that were promised; None if none ever were"""
        self._log = log
        self._keep = keep

    def begin(self, work: Work, *, roll: bool) -> bool:
        write(self._log, None, work, roll=roll)
        if work.epochs is not None:
            self.epochs = work.epochs
        if roll and not self._keep:
            self._log.purge(self._log.last_zxid)  # nobody will recover from it
        return True

    def records(self) -> Iterator[tuple[int, int, bytes]]:
        """All that was written; raises `StorageDamaged` if it was not kept whole."""
        return self._log.records(0)

    def finish(self) -> None:
        return None

    async def run(self, persisted: Callable[[int], None]) -> None:
        await trio.sleep_forever()

    async def closed_segments(self) -> list[Segment]:
        return self._log.closed_segments()

    async def purge(self, upto_zxid: int) -> list[Path]:
        return self._log.purge(upto_zxid)

    async def read_history(self, fetch: Fetch) -> tuple[Install | None, list[Proposal]]:
        return read_history(self._log, None, fetch)


class ThreadedDisk:
    def __init__(self, log: Log, directory: Path, clock: Callable[[], float] = monotonic) -> None:
        """`clock`, in seconds, tells how long a write in place took."""
        self.busy = False
        self._clock = clock
        self._log = log
        self._directory = directory
        self._next: tuple[Work, bool] | None = None
        self._for_thread: tuple[Work, bool] | None = None
        self._wake = trio.Event()
        self._turn = trio.Lock()  # the log takes one call at a time
        self._in_debt_until = 0.0
        self._failure: Exception | None = None

    def begin(self, work: Work, *, roll: bool) -> bool:
        assert not self.busy
        self.busy = True
        self._next = (work, roll)
        return False

    def finish(self) -> int | None:
        if self._next is None:
            return None
        (work, roll), self._next = self._next, None
        began = self._clock()
        in_debt = self._in_debt_until > began + DEBT_SECONDS_MAX
        if roll or in_debt or self._turn.locked() or not _is_small(work):
            self._for_thread = (work, roll)
            self._wake.set()
            return None
        try:
            write(self._log, self._directory, work, roll=False)
        except Exception as failure:
            self._failure = failure  # for `run` to raise; until then the disk stays busy
            self._wake.set()
            return None
        ended = self._clock()
        if ended - began > QUICK_SECONDS:
            self._in_debt_until = max(self._in_debt_until, ended) + DEBT * (ended - began)
        self.busy = False
        return work.ticket

    async def run(self, persisted: Callable[[int], None]) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._failure is not None:
                raise self._failure
            assert self._for_thread is not None
            (work, roll), self._for_thread = self._for_thread, None
            await self._in_thread(partial(write, self._log, self._directory, work, roll=roll))
            self.busy = False
            persisted(work.ticket)

    async def closed_segments(self) -> list[Segment]:
        return await self._in_thread(self._log.closed_segments)

    async def purge(self, upto_zxid: int) -> list[Path]:
        return await self._in_thread(partial(self._log.purge, upto_zxid))

    async def read_history(self, fetch: Fetch) -> tuple[Install | None, list[Proposal]]:
        return await self._in_thread(partial(read_history, self._log, self._directory / "snapshots", fetch))

    async def _in_thread(self, operation: Callable[[], T]) -> T:
        # Not abandoned on cancellation: a thread that outlived its server could tear the next one's log.
        async with self._turn:
            return await trio.to_thread.run_sync(operation)


def _is_small(work: Work) -> bool:
    """Is that an append to the log and nothing else, of few bytes?"""
    if work.truncate is not None or work.install is not None or work.epochs is not None:
        return False
    return sum(len(proposal.payload) for proposal in work.proposals) <= IN_PLACE_BYTES_MAX
