"""Snapshots: when a log segment is closed, a child process folds it; then old files go.

Owns when a snapshot is made and what may be purged after it. The child (`fold`) does the work. A standing
check comes with it: the digest of the folded log must equal the digest that the live state had at that zxid;
if not, memory (or determinism) has failed, and serving on would spread the damage: the server ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import trio

from coord.errors import CoordError
from coord.logs import fields
from coord.server.disk import Disk
from coord.storage.files import delete_files

log = logging.getLogger("coord.storage")


class StateDiverged(CoordError):
    """The live state is not what the log says it must be."""


async def run_snapshots(
    due: trio.MemoryReceiveChannel[tuple[int, int]], disk: Disk, directory: Path, keep: int
) -> None:
    """Makes a snapshot for each (zxid, live digest) where a segment ended, for ever; keeps the newest `keep`.

    Raises `StateDiverged`.
    """
    async for newest in due:
        # Of several that have come due meanwhile, the newest covers the others.
        with suppress(trio.WouldBlock):
            while True:
                newest = due.receive_nowait()
        zxid, digest = newest
        oldest = await _make(disk, directory, zxid, digest, keep)
        if oldest:
            await _purge(disk, oldest)


async def _make(disk: Disk, directory: Path, zxid: int, digest: int, keep: int) -> int:
    """The zxid of the oldest snapshot that is kept; 0 if no snapshot was made."""
    segments = [segment for segment in await disk.closed_segments() if segment.last_zxid <= zxid]
    request = {
        "directory": str(directory),
        "segments": [[str(segment.path), *segment[1:]] for segment in segments],
        "expected": [zxid, digest],
        "keep": keep,
    }
    started = trio.current_time()
    # Nothing is lost by a snapshot that fails: the log is kept, and the next one is tried later.
    try:
        child = await trio.run_process(
            [sys.executable, "-P", "-m", "coord.server.fold"],
            env=fold_environment(),
            stdin=json.dumps(request).encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    except OSError as error:  # no memory, no processes, no file descriptors left
        log.error("the snapshot failed: its process cannot be started: %s", error.strerror)
        return 0
    if child.returncode != 0:
        log.error("the snapshot failed: %s", child.stderr.decode("utf-8", "replace").strip())
        return 0
    result = json.loads(child.stdout)
    if result["zxid"] > zxid:
        return 0  # a snapshot of another member took the place of the log meanwhile
    if (result["zxid"], result["digest"]) != (zxid, digest):
        raise StateDiverged(
            f"the log gives digest {result['digest']:x} at zxid 0x{result['zxid']:x}, "
            f"the live state has {digest:x} at 0x{zxid:x}; restart to serve what the log says"
        )
    log.info(
        "snapshot made",
        extra=fields(
            zxid=f"0x{zxid:x}", entries=result["entries"], seconds=round(trio.current_time() - started, 3)
        ),
    )
    return int(result["oldest"])


async def _purge(disk: Disk, oldest: int) -> None:
    # Deleted while the log is written: a file system takes its time for a large file.
    purged = await disk.purge(oldest)
    await trio.to_thread.run_sync(delete_files, purged)
    for path in purged:
        log.info("purged", extra=fields(file=path.name))


def fold_environment() -> dict[str, str]:
    """The child finds coord where this process found it, and nothing in the folder we happen to be in."""
    home = str(Path(__file__).parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
