"""The soak, from a command line; exit status 1 for a broken promise, and the processes' files are kept then.

Synopsis::

    python -m tests.recipes.soak --seconds 300 --contenders 20 --seed 7

A seed repeats the choice of trouble, not the history.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.interop.curator.driver import missing_curator
from tests.recipes.soak.soak import Soak, cast


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tests.recipes.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=300, help="of trouble (default: 300)")
    parser.add_argument("--contenders", type=int, default=20, help="how many processes (default: 20)")
    parser.add_argument("--timeout", type=float, default=2, help="of their sessions, in seconds (default: 2)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args(argv)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} {line}", flush=True)

    if reason := missing_curator():
        say(f"without Curator: {reason}")
    roles = cast(options.contenders, curator=not reason)
    say(f"{len(roles)} contenders, --seed {options.seed}")
    directory = Path(tempfile.mkdtemp(prefix="coord-soak-"))
    soak = Soak(directory, roles, seed=options.seed, timeout=options.timeout, say=say)
    trio.run(soak.run, options.seconds)
    print(soak.report(), flush=True)
    for wrong in soak.wrong:
        print(f"WRONG (--seed {options.seed}): {wrong}")
    print(f"the processes' files: {directory}" if soak.wrong else "all well", flush=True)
    if not soak.wrong:
        shutil.rmtree(directory)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
