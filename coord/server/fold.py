"""A snapshot made off the live path: the closed segments of the log, folded onto the previous snapshot.

Runs as a process of its own (``python -m coord.server.fold``), so that the server neither pauses nor doubles
its memory. Reads one JSON object on standard input, ``{"directory", "segments": [[path, first, last], …],
"expected": [zxid, digest], "keep"}``; writes one on standard output, ``{"zxid", "digest", "entries",
"oldest"}``. Since `apply` is deterministic the result is the state at exactly one zxid, and its digest must
equal the one that the server had there. If it does, the newest `keep` snapshots suffice: older ones are
deleted, and the log is of no use up to `oldest`, the zxid of the oldest one kept.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

from coord.errors import CoordError
from coord.server.recovery import newest_state
from coord.storage import snapshots
from coord.storage.journal import Segment
from coord.storage.segments import read_records
from coord.wire.ensemble import Batch

NICENESS = 19
"""A snapshot is in no hurry: it takes what the server and its clients leave of the processors."""


def fold(directory: Path, segments: list[Segment], expected: tuple[int, int], keep: int) -> dict[str, int]:
    """Makes and verifies the snapshot at the end of `segments`. Raises `StorageDamaged`, `StorageFailed`."""
    machine, entries = newest_state(directory), 0
    for _, _, payload in read_records(segments, machine.zxid):
        batch = Batch.decode(payload)
        for zxid, session_id, _, op, identities, body in batch.entries():
            machine.apply(zxid, batch.time_ms, session_id, op, identities, body, want_reply=False)
            entries += 1
    snapshots.save(directory, machine.zxid, machine.digest, machine.snapshot())
    as_expected = (machine.zxid, machine.digest) == expected
    oldest = snapshots.purge(directory, keep) if as_expected else 0
    return {"zxid": machine.zxid, "digest": machine.digest, "entries": entries, "oldest": oldest}


def main() -> int:
    os.nice(NICENESS)
    gc.disable()  # it makes no cycles (see `garbage`), and ends soon
    request = json.load(sys.stdin)
    segments = [Segment(Path(path), first, last) for path, first, last in request["segments"]]
    try:
        result = fold(Path(request["directory"]), segments, tuple(request["expected"]), request["keep"])
    except CoordError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
