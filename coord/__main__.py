"""`coord` and `python -m coord`: finds the command and hands over.

Owns which command lives where. `serve`, `ensemble` and `demo` work with coord's own dependencies; the
commands that talk to a server need click (``pip install 'coord[cli]'``).

Synopsis::

    coord serve zoo.cfg
    coord ensemble 3
    coord --server 127.0.0.1:2181 get /znode_test
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

PROGRAMS: Final = {
    "serve": "coord.server.serve",
    "ensemble": "coord.server.ensemble",
    "demo": "demos.__main__",
}
"""Commands with a parser of their own: each module has a ``main(argv) -> exit code``."""

WITHOUT_CLICK = """\
coord: `coord serve zoo.cfg`, `coord ensemble 3` and `coord demo` are all that works without click;
for the commands that talk to a server: pip install 'coord[cli]'"""

OUTPUT_UNWANTED: Final = 1
"""The exit code where nobody reads what is printed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the result is the process's exit code."""
    _open_standard_files()
    try:
        code = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever reads (`| head`) has seen enough. The interpreter would try once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_UNWANTED


def _open_standard_files() -> None:
    """Those that we were started without: the next file, or connection, would be taken for one of them.

    Reading ends at once, errors are not seen, and writing output fails, as it would without.
    """
    for fd, (name, mode, flags) in enumerate(
        (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
    ):
        if getattr(sys, name) is None and os.open(os.devnull, flags) == fd:
            setattr(sys, name, open(fd, mode))  # noqa: SIM115  # for as long as we live


def run(arguments: Sequence[str]) -> int:
    """Find the command and hand over."""
    if arguments and arguments[0] in PROGRAMS:
        return int(import_module(PROGRAMS[arguments[0]]).main(list(arguments[1:])))
    if find_spec("click") is None:
        print(WITHOUT_CLICK, file=sys.stderr)
        return 2
    return int(import_module("coord.cli.app").main(list(arguments)))


if __name__ == "__main__":
    sys.exit(main())
