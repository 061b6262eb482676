"""``python -m benchmarks``: a selection of all benchmarks, in some minutes; `make bench`.

Owns which benchmarks, and how small. Each is a command of its own, and says itself what it prints; the
figures of the documents are made by those commands with more rounds.

Synopsis::

    python -m benchmarks
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

SELECTION: Final = (
    ("server", "--members", "1", "--quick", "--rounds", "1"),
    ("server", "--members", "3", "--quick", "--rounds", "1", "--kills", "2"),
    ("client", "--rounds", "1"),
    ("recipes", "--quick"),
    (
        "scale",
        "znodes",
        "--only",
        "coord",
        "--znodes",
        "20000",
        "--seconds",
        "1",
    ),  # ZooKeeper would make no snapshot
    (
        *("scale", "sessions", "watches", "line", "members", "--sessions", "500", "--watches", "500"),
        *("--waiters", "50", "--members", "3", "--seconds", "1"),
    ),
)
"""Modules of this package, and their arguments."""


def main() -> int:
    """Run them one after the other; the exit status is 1 if one of them failed."""
    failed = [words for words in SELECTION if not _run(*words)]
    for name, *_ in failed:
        print(f"benchmarks: {name} failed", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, *arguments: str) -> bool:
    title = " ".join((f"python -m benchmarks.{name}", *arguments))
    print(f"\n{title}\n{'=' * len(title)}\n", flush=True)
    return (
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode == 0
    )


if __name__ == "__main__":
    sys.exit(main())
