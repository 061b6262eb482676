"""From files to a member that can go on: lock the directory, read snapshot, epochs and log, in that order.

Owns where coord keeps its files: ``dataDir/coord/`` (lock, epochs, snapshots) and ``dataLogDir/coord/log``.
Folders of its own, so that a dataDir that Apache ZooKeeper uses too is never touched. Must not know what
runs on top of it.

The newest snapshot that verifies is loaded; what the log holds beyond it is handed on as history, to be
applied once the peer finds it committed. A torn end of the log is dropped, and said; damage, or a gap, raises
`StorageDamaged` naming file and offset. So does a damaged snapshot, unless an older one and the log reach as
far: else what it held would be forgotten in silence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from coord.config import Config
from coord.limits import SILENCE_ZAB_TICKS
from coord.logs import fields
from coord.server.blank import recover_epochs
from coord.server.disk import Disk, MemoryDisk, ThreadedDisk
from coord.state.machine import Machine
from coord.storage import snapshots
from coord.storage.files import StorageDamaged, StorageFailed, lock_directory
from coord.storage.log import Log
from coord.storage.memory import MemoryLog
from coord.wire.ensemble import Batch
from coord.zab.history import epoch_of
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Hierarchical, Majority, Quorum
from coord.zab.timing import Timing

log = logging.getLogger("coord.storage")

STANDALONE_ID = 1


@dataclass(slots=True)
class Recovered:
    """What a member starts from. `snapshot_directory` is None in memory."""

    peer: Peer
    machine: Machine
    disk: Disk
    history: list[Batch] = field(default_factory=list)
    snapshot_directory: Path | None = None


@contextmanager
def recover(config: Config, memory: MemoryDisk | None = None) -> Iterator[Recovered]:
    """Everything recovered; the directory stays locked, the log open, until the block ends. `memory` is that
    of an earlier run, if there is no directory.

    Raises `DirectoryInUse`, `StorageDamaged`, `StorageFailed`.
    """
    if config.data_dir is None:
        yield _remember(config, memory or MemoryDisk(MemoryLog(), keep=config.is_ensemble))
        return
    assert config.log_dir is not None
    home, log_directory = config.data_dir / "coord", config.log_dir / "coord" / "log"
    with lock_directory(home):
        machine = newest_state(home / "snapshots")
        # Before the log makes its folder: a start that fails halfway must not hide that there was none.
        saved = recover_epochs(config, home, log_directory.exists(), machine.zxid)
        journal = Log.open(log_directory, after_zxid=machine.zxid)
        try:
            if journal.dropped:
                log.warning("the end of the log was never acknowledged and is dropped: %s", journal.dropped)
            _account_for_damaged_snapshots(home / "snapshots", machine.zxid, journal.last_zxid)
            history = [Batch.decode(payload) for _, _, payload in journal.records(machine.zxid)]
            ends = epoch_ends([machine.zxid, *(batch.last_zxid for batch in history)])
            peer = _peer(config, machine.zxid, ends, saved)
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


def _remember(config: Config, memory: MemoryDisk) -> Recovered:
    history = [Batch.decode(payload) for _, _, payload in memory.records()]
    ends = epoch_ends([0, *(batch.last_zxid for batch in history)])
    peer = _peer(config, 0, ends, memory.epochs or Epochs(0, 0, config.votes_with_others))
    return Recovered(peer, Machine(), memory, history)


def _peer(config: Config, base: int, ends: list[int], saved: Epochs) -> Peer:
    # Never below the epoch of a zxid that is in the log: its leader had made that epoch durable.
    epoch = epoch_of(ends[-1])
    epochs = Epochs(max(saved.accepted, epoch), max(saved.current, epoch), saved.blank)
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
        timing=_timing(config),
    )


def _timing(config: Config) -> Timing:
    """`initLimit` is in ticks of zoo.cfg, which are longer than the peer's."""
    join = ceil(max(config.init_limit, 1) * config.tick_time_ms / config.zab_tick_ms)
    return Timing(join=max(join, SILENCE_ZAB_TICKS))


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
    machine = Machine.restore(chunks)
    if (machine.zxid, machine.digest) != (snapshot.zxid, snapshot.digest):
        why = f"it holds the state at zxid {machine.zxid:#x} with digest {machine.digest:x}, not what it says"
        raise StorageDamaged(snapshot.path, 0, why)
    return machine


def _account_for_damaged_snapshots(directory: Path, loaded_zxid: int, last_zxid: int) -> None:
    """Those later than the one that was loaded did not verify: the log must reach as far as they did."""
    out_of_reach = snapshots.later(directory, last_zxid)
    for path in snapshots.later(directory, loaded_zxid):
        try:
            snapshots.verify(path)
        except (StorageDamaged, StorageFailed) as trouble:
            if path in out_of_reach:
                raise
            log.warning("a snapshot is of no use; an older one and the log make up for it: %s", trouble)
