"""What a member may still promise, by what is on its disk; and whose disk tells too little to vote with.

Owns the decision that a voter is *blank* (see `zab.peer.Epochs`), and the marker file that overrules it.

A voter without an epochs file is new, or its disk was wiped; one with epochs and without the log's folder has
lost the log. Either may have lost what a quorum relies on. It is blank from then on, durably, before anything
else is written: only a leader, or all other voters being as empty, can change that. Who knows that nothing
was lost says so by a file ``initialize`` in dataDir (ZooKeeper's marker, deleted when it has been obeyed), or
by ``db.autocreate=true``, which is ZooKeeper's default and not coord's.
"""

from __future__ import annotations

import logging
from pathlib import Path

from coord.config import Config
from coord.logs import fields
from coord.storage import epochs as epoch_file
from coord.storage.files import StorageDamaged, naming
from coord.zab.history import epoch_of
from coord.zab.peer import Epochs

log = logging.getLogger("coord.storage")

INITIALIZE = "initialize"


def recover_epochs(config: Config, home: Path, has_log: bool, snapshot_zxid: int) -> Epochs:
    """The epochs to go on with, as far as they are known without the log. `has_log`: is its folder there?

    Raises `StorageDamaged` for an only voter that has lost its log, `StorageFailed`.
    """
    epoch = epoch_of(snapshot_zxid)
    saved = epoch_file.load(home)
    if saved is None:
        saved = epoch_file.Epochs(epoch, epoch, blank=config.votes_with_others)
    elif not has_log and saved.current:
        if config.is_only_voter:
            assert config.log_dir is not None
            raise StorageDamaged(
                config.log_dir / "coord" / "log", 0, "the folder is gone, with the log in it"
            )
        saved = epoch_file.Epochs(saved.accepted, min(saved.current, epoch), blank=config.votes_with_others)
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
    return Epochs(*saved)
