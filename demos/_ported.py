"""What the programs that are shown twice have in common: the command line, a server, and who has kazoo.

Owns the choice of the half that is run. Must not know what a half does.

Synopsis::

    def main(argv: Sequence[str] | None = None) -> int:
        return perform("kazoo_job", __doc__, run_with_kazoo, run_with_coord, argv)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec

import trio

from coord.testing import server_in_thread


def perform(
    name: str,
    text: str | None,
    with_kazoo: Callable[[str], None],
    with_coord: Callable[[str], Awaitable[None]],
    argv: Sequence[str] | None,
) -> int:
    """Each half in turn, on a server that is empty at first; returns the exit status."""
    options = _parser(name, text or "").parse_args(argv)
    halves: dict[str, Callable[[str], None]] = {
        "kazoo": with_kazoo,
        "coord": lambda hosts: trio.run(with_coord, hosts),
    }
    chosen = [options.half] if options.half else list(halves)
    if "kazoo" in chosen and find_spec("kazoo") is None:
        print(
            f"coord demo {name}: kazoo is not installed: pip install kazoo, or choose --with coord",
            file=sys.stderr,
        )
        return 1
    for half in chosen:
        print(f"with {half}:", flush=True)
        with server_in_thread() as server:
            halves[half](server.connect_string)
    return 0


def say(text: str) -> None:
    """A line of the half that runs."""
    print(f"  {text}", flush=True)


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"coord demo {name}",
        description=text.partition("Synopsis::")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--with", dest="half", choices=("kazoo", "coord"), help="one of the two only")
    return parser
