"""The portal that all of a process shares, through its forks and until its end.

Owns which portal that is. One for all, since a thread each would only cost more: the trio thread waits for
nobody. It is started at the first use, and whoever uses trio starts none.

Rules that hold here:

- A forked child has no portal until it connects: its parent's threads are not there, and its connections are
  the parent's.
- At the end of the process, clients that nobody has closed are closed, the newest first, so that their
  ephemeral znodes are gone at once. Nobody is told: what still waits in some daemon thread ends with it.

Synopsis::

    with as_default(Portal(clock=MockClock()).start()):
        ...  # `connect` uses this one
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from coord.bridge.portal import Portal

_lock = threading.Lock()
_default: list[Portal] = []
"""the last one counts"""


def default_portal() -> Portal:
    """The process's portal, started if there is none."""
    with _lock:
        if not (_default and _default[-1].usable):
            _default[:] = [one for one in _default if one.usable]
            if not _default:
                _default.append(_start())
        return _default[-1]


@contextmanager
def as_default(portal: Portal) -> Iterator[Portal]:
    """For the block, clients are connected in this portal."""
    with _lock:
        _default.append(portal)
    try:
        yield portal
    finally:
        with _lock:
            if portal in _default:
                _default.remove(portal)


def _start() -> Portal:
    portal = Portal().start()
    atexit.register(_end_quietly, portal)
    if multiprocessing.parent_process() is not None:
        # Children of multiprocessing leave out atexit.
        multiprocessing.util.Finalize(portal, _end_quietly, args=(portal,), exitpriority=0)
    return portal


def _end_quietly(portal: Portal) -> None:
    portal.silent = True
    portal.close()


def _begin_child() -> None:
    global _lock  # somebody may have held it at the moment of the fork
    _lock = threading.Lock()
    _default.clear()


os.register_at_fork(after_in_child=_begin_child)
