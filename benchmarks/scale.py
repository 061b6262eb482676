"""``python -m benchmarks.scale``: how coord, and Apache ZooKeeper beside it, bear many of everything.

Owns the command and the selection; what is measured is the business of the `scale_…` modules, each of which
has a function from a flavour of server and a folder to figures. The servers take turns, each on data of its
own.

Synopsis::

    python -m benchmarks.scale
    python -m benchmarks.scale znodes --znodes 100000
    python -m benchmarks.scale sessions watches --only coord
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import scale_clients, scale_members, scale_znodes
from benchmarks.figures import Figure, print_surroundings, print_table
from benchmarks.scale_servers import Flavour, is_installed
from benchmarks.wire import Refused

FLAVOURS: Final[tuple[Flavour, ...]] = ("coord", "zookeeper")


Part = Callable[[Flavour, Path, argparse.Namespace], Iterator[Figure]]

PARTS: Final[dict[str, tuple[str, Part]]] = {
    "znodes": (
        "{0.znodes:,} znodes of 100 bytes",
        lambda flavour, directory, size: scale_znodes.measure(flavour, directory, size.znodes, size.seconds),
    ),
    "sessions": (
        "{0.sessions:,} idle sessions",
        lambda flavour, directory, size: scale_clients.idle_sessions(
            flavour, directory, size.sessions, size.seconds
        ),
    ),
    "watches": (
        "{0.watches:,} watches on one znode",
        lambda flavour, directory, size: scale_clients.watches(flavour, directory, size.watches),
    ),
    "line": (
        "{0.waiters:,} waiters in line",
        lambda flavour, directory, size: scale_clients.line(flavour, directory, size.waiters),
    ),
    "members": (
        "up to {0.members} members",
        lambda flavour, directory, size: scale_members.measure(
            flavour, directory, size.seconds, size.members
        ),
    ),
}
"""name -> title and part"""


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    print_surroundings(" ".join(["python -m benchmarks.scale", *argv]))
    flavours = [one for one in FLAVOURS if is_installed(one) and options.only in (None, one)]
    for name in options.parts or PARTS:
        title, part = PARTS[name]
        print_table(
            title.format(options), {flavour: _measure(part, flavour, options) for flavour in flavours}
        )
    return 0


def _measure(part: Part, flavour: Flavour, size: argparse.Namespace) -> list[Figure]:
    """What was found until it failed, if it fails: the others are measured all the same."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="scale-") as directory:
        try:
            figures.extend(part(flavour, Path(directory), size))
        except (OSError, Refused) as failure:
            print(f"{flavour}: {failure}", file=sys.stderr)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Many of everything.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--only", choices=FLAVOURS, help="one of the servers")
    for name, default in (
        *(
            ("znodes", 1_000_000),
            ("sessions", 10_000),
            ("watches", 10_000),
            ("waiters", 1_000),
            ("members", 7),
        ),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default:,}")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="of each load or idleness; default: 10"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
