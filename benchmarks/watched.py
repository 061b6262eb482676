"""``python -m benchmarks.watched PAUSES zoo.cfg``: ``coord serve zoo.cfg``, its garbage collector watched.

Owns one hook (`gc.callbacks`): each pause of at least a millisecond becomes a line of the file PAUSES, "when
it began, how long it took", in seconds of the monotonic clock, which all processes of a machine share.
Changes nothing else of the server; the lines are written at once, since the server may be killed.
"""

from __future__ import annotations

import gc
import os
import runpy
import sys
import time

PAUSE_SECONDS_MIN = 0.001


def watch(file: int) -> None:
    """From now on, for the life of the process."""
    began = 0.0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        now = time.monotonic()
        if phase == "start":
            began = now
        elif now - began >= PAUSE_SECONDS_MIN:
            os.write(file, f"{began:.6f} {now - began:.6f}\n".encode())

    gc.callbacks.append(note)


if __name__ == "__main__":
    watch(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    sys.argv[1:] = ["serve", *sys.argv[2:]]
    runpy.run_module("coord", run_name="__main__", alter_sys=True)
