"""`coord demo` and `python -m demos`: finds the demo and hands over.

Owns which demo is meant: the broker cluster if none is named. A demo is a module of this package whose name
does not begin with an underscore; it has a ``main(argv) -> exit status`` and says in the first line of its
text what will be seen.

Synopsis::

    coord demo                               # the broker cluster; its options may follow
    coord demo scheduler
    coord demo --list
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import demos

FIRST: Final = "broker_cluster"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one demo; returns its exit status: 0 if everything that it claims was observed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--list"]:
        for name in names():
            print(f"coord demo {name}\n    {title(name)}")
        return 0
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else FIRST
    if name not in names():
        print(f"coord demo: there is no demo {name}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    return int(import_module(f"demos.{name}").main(arguments))


def names() -> list[str]:
    """The first one, then the others."""
    found = [module.name for module in pkgutil.iter_modules(demos.__path__)]
    return [FIRST, *(name for name in found if not name.startswith("_") and name != FIRST)]


def title(name: str) -> str:
    """What will be seen."""
    return (import_module(f"demos.{name}").__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
