"""History for a follower that was away for long: out of the log, or out of a snapshot and the log behind it.

Reads files, in whatever thread it is called; no other call of the log may overlap. Must not know what the
proposals mean.

The log is tried first. It may begin too late (its older part was purged when a snapshot was made) or be
damaged where the newest snapshot has long taken its place: in both cases the snapshot helps, and what the log
holds behind it. If that does not verify either, `StorageDamaged` says where.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from coord.storage import snapshots
from coord.storage.files import StorageDamaged
from coord.storage.journal import Journal
from coord.wire.members import Install, Proposal
from coord.zab.learner import FROM_A_SNAPSHOT, Fetch

_THE_LOG = Path("the log")


def read_history(log: Journal, directory: Path | None, fetch: Fetch) -> tuple[Install | None, list[Proposal]]:
    """What `Peer.fetched` wants to be told; `directory` has the snapshots (None: there are none).

    Raises `StorageDamaged`, `StorageFailed`.
    """
    if fetch.after != FROM_A_SNAPSHOT:
        try:
            return None, _proposals(log, fetch.after, fetch.until)
        except StorageDamaged:
            if directory is None:
                raise
    snapshot = _newest(directory)
    return snapshot, _proposals(log, snapshot.zxid, fetch.until)


def _proposals(log: Journal, after: int, until: int) -> list[Proposal]:
    """Those after `after` that begin up to `until`: the rest is still in memory."""
    found = [Proposal(*record) for record in takewhile(lambda one: one[0] <= until, log.records(after))]
    reached = found[-1].last_zxid if found else after
    if reached < min(until, log.last_zxid):  # all of it was purged: there is no record left to show the gap
        raise StorageDamaged(_THE_LOG, 0, f"the log does not go back to zxid {after:#x}")
    return found


def _newest(directory: Path | None) -> Install:
    found = snapshots.newest(directory) if directory is not None else None
    if found is None:
        raise StorageDamaged(directory or _THE_LOG, 0, "there is no snapshot, and the log begins too late")
    zxid, _, chunks = snapshots.load(found.path)
    return Install(zxid, tuple(chunks))
