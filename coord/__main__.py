"""`coord` and `python -m coord`: finds the command and hands over.

Owns which command lives where, and that there are standard streams. `serve`, `ensemble` and `demo` work with
coord's own dependencies; the commands that talk to a server need click (``pip install 'coord[cli]'``).

Synopsis::

    coord serve zoo.cfg
    coord ensemble 3
    coord --server 127.0.0.1:2181 get /znode_test
"""

from __future__ import annotations

import os
import signal
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

INTERRUPTED: Final = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the result is the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _stand_in_for_closed_streams(usable=bool(PROGRAMS.keys() & arguments[:1]))
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever reads (`| head`) has seen enough. The interpreter would try once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_UNWANTED
    except KeyboardInterrupt:  # before the program was ready to end in good order
        return INTERRUPTED


def run(arguments: Sequence[str]) -> int:
    """Find the command and hand over."""
    if arguments and arguments[0] in PROGRAMS:
        return int(import_module(PROGRAMS[arguments[0]]).main(list(arguments[1:])))
    if find_spec("click") is None:
        print(WITHOUT_CLICK, file=sys.stderr)
        return 2
    return int(import_module("coord.cli.app").main(list(arguments)))


def _stand_in_for_closed_streams(*, usable: bool) -> None:
    """A standard stream that was closed (``>&-``) becomes one that cannot be used, so that who needs it says
    so; or, if `usable`, one with nothing in it. Its number is not left to the next file or connection, which
    others would take for the stream."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            wrong_way = os.O_RDONLY if number == 1 else os.O_WRONLY
            os.open(os.devnull, os.O_RDWR if usable else wrong_way)  # takes the lowest free number
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w"))  # noqa: SIM115  stays open to the end


if __name__ == "__main__":
    sys.exit(main())
