"""From files to a member that can go on: lock the directory, read epochs, snapshot and log, in that order.

Owns where coord keeps its files: ``dataDir/coord/`` (lock, epochs, snapshots) and ``dataLogDir/coord/log``.
Folders of its own, so that a dataDir that Apache ZooKeeper uses too is never touched. Must not know what
runs on top of it.

The newest snapshot that verifies is loaded; what the log holds beyond it is handed on as history, to be
applied once the peer finds it committed. A torn end of the log is dropped, and said; damage, or a gap, raises
`StorageDamaged` naming file and offset.

A voter whose disk is empty is *blank* from then on (see `zab.peer.Epochs`), durably, before anything else is
written: only a leader, or all other voters being as empty, can change that. Who knows that nothing was lost
says so by a file ``initialize`` in dataDir (ZooKeeper's marker, deleted when it has been obeyed), or by
``db.autocreate=true``, which is ZooKeeper's default and not coord's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from coord.config import Config
from coord.limits import ZAB_TICKS_PER_TICK
from coord.logs import fields
from coord.server.disk import Disk, MemoryDisk, ThreadedDisk
from coord.state.machine import Machine
from coord.storage import epochs as epoch_file
from coord.storage import snapshots
from coord.storage.files import lock_directory, naming
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.wire.ensemble import Batch
from coord.zab.history import epoch_of
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Hierarchical, Majority, Quorum
from coord.zab.timing import Timing

log = logging.getLogger("coord.storage")

STANDALONE_ID = 1
INITIALIZE = "initialize"


@dataclass(slots=True)
class Recovered:
    """What a member starts from. `snapshot_directory` is None in memory."""

    peer: Peer
    machine: Machine
    disk: Disk
    history: list[Batch] = field(default_factory=list)
    snapshot_directory: Path | None = None


@contextmanager
def recover(config: Config) -> Iterator[Recovered]:
    """Everything recovered; the directory stays locked, the log open, until the block ends.

    Raises `DirectoryInUse`, `StorageDamaged`, `StorageFailed`.
    """
    if config.data_dir is None:
        yield Recovered(
            _peer(config, 0, [0], Epochs(0, 0, config.votes_with_others)),
            Machine(),
            MemoryDisk(MemoryLog(), keep=config.is_ensemble),
        )
        return
    assert config.log_dir is not None
    home, log_directory = config.data_dir / "coord", config.log_dir / "coord" / "log"
    with lock_directory(home):
        machine = newest_state(home / "snapshots")
        journal = Log.open(log_directory, after_zxid=machine.zxid)
        try:
            if journal.dropped:
                log.warning("the end of the log was never acknowledged and is dropped: %s", journal.dropped)
            history = [Batch.decode(payload) for _, _, payload in journal.records(machine.zxid)]
            ends = epoch_ends([machine.zxid, *(batch.last_zxid for batch in history)])
            peer = _peer(config, machine.zxid, ends, _epochs(config, home, journal.last_zxid))
            log.info(
                "recovered",
                extra=fields(
                    snapshot=f"0x{machine.zxid:x}", log=f"0x{journal.last_zxid:x}", epoch=peer.epochs.accepted
                ),
            )
            disk = ThreadedDisk(journal, home)
            yield Recovered(peer, machine, disk, history, home / "snapshots")
        finally:
            journal.close()


def _peer(config: Config, base: int, ends: list[int], epochs: Epochs) -> Peer:
    if not config.is_ensemble:
        return Peer(
            STANDALONE_ID, Majority({STANDALONE_ID}), last_zxid=ends[-1], epochs=epochs, ends=ends, base=base
        )
    voters = [member for member, entry in config.members.items() if entry.votes]
    quorum: Quorum = Majority(voters)
    if config.groups:
        quorum = Hierarchical(config.groups, config.weights)
    return Peer(
        config.my_id,
        quorum,
        last_zxid=ends[-1],
        epochs=epochs,
        ends=ends,
        base=base,
        observers=[member for member in config.members if member not in quorum.voters],
        timing=Timing(join=max(config.init_limit, 1) * ZAB_TICKS_PER_TICK),
    )


def epoch_ends(zxids: list[int]) -> list[int]:
    """The last of each epoch, of zxids in order."""
    return [
        zxid
        for zxid, after in zip(zxids, [*zxids[1:], None], strict=True)
        if after is None or epoch_of(after) != epoch_of(zxid)
    ]


def newest_state(directory: Path) -> Machine:
    """The state of the newest snapshot that verifies; that of a new ensemble if there is none."""
    snapshot = snapshots.newest(directory)
    if snapshot is None:
        return Machine()
    _, _, chunks = snapshots.load(snapshot.path)
    return Machine.restore(chunks)


def _epochs(config: Config, home: Path, last_zxid: int) -> Epochs:
    """Never below the epoch of a zxid that is in the log: its leader had made that epoch durable."""
    saved = epoch_file.load(home)
    if saved is None:
        saved = epoch_file.Epochs(0, 0, blank=last_zxid == 0 and config.votes_with_others)
    marker = home.parent / INITIALIZE
    if saved.blank:
        saved = saved._replace(blank=not config.db_autocreate and not marker.exists())
        epoch_file.save(home, saved)
        if saved.blank:
            log.warning(
                "the disk was empty: this member has no vote until a leader has given it the ensemble's "
                "history, or all voters are here, and all as empty",
                extra=fields(if_nothing_can_be_lost=f"create {marker} and start again"),
            )
    with naming(marker):
        marker.unlink(missing_ok=True)
    epoch = epoch_of(last_zxid)
    return Epochs(max(saved.accepted, epoch), max(saved.current, epoch), saved.blank)
