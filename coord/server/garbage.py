"""The garbage collector of a server's process, which must not stop the server to look at all its znodes.

Owns the settings of `gc` for a process that does nothing but serve (``coord serve``); a server that somebody
runs in a process of his own leaves them alone. Knows nothing of servers.

Python frees what nobody refers to at once; the collector is there for cycles, which it finds by looking at
all objects again and again. A million znodes take it 0.2 s, and everybody waits. But coord's state, requests
and connections make no cycles (a test holds that), so there is nothing to find: here each object is looked at
once after it has outlived the young generations, and is *frozen* then, which means, never looked at again.

Rules that hold:

- while the state is loaded nothing is collected; what was loaded is frozen at once;
- a full collection looks at what has come since the one before: about `_FULL_OBJECTS`, whatever is stored;
- a frozen object is freed as any other, when the last reference goes; a cycle is lost memory only if it falls
  apart after it was frozen.

Synopsis::

    with sparing_collector() as loaded:
        ...  # read a snapshot
        loaded()
        ...  # serve
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_THRESHOLDS: Final = (1000, 10, 2)
_FULL_OBJECTS: Final = 1000 * 11 * 3
"""New objects from one full collection to the next (those who have died do not count)."""


@contextmanager
def sparing_collector() -> Iterator[Callable[[], None]]:
    """Collects nothing until the function given is called, and little after that; at the end, as before."""
    before, was_enabled = gc.get_threshold(), gc.isenabled()
    gc.disable()

    def loaded() -> None:
        gc.freeze()
        gc.collect()  # of nothing: CPython collects all when a quarter of what it saw last has come anew
        gc.set_threshold(*_THRESHOLDS)
        gc.callbacks.append(_freeze)
        gc.enable()

    try:
        yield loaded
    finally:
        if _freeze in gc.callbacks:
            gc.callbacks.remove(_freeze)
        gc.set_threshold(*before)
        (gc.enable if was_enabled else gc.disable)()


def _freeze(phase: str, info: dict[str, int]) -> None:
    """What is left of a full collection has proven to be no garbage."""
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
