"""The server that is measured: coord's as a process of its own, Apache ZooKeeper, or one that runs already.

Owns the process, which ends with the block, and its data, which goes with it. Both kinds write to the disk
before they acknowledge, as they do in production. More than one server, and what can be done to it:
`benchmarks.ensembles`.

Synopsis::

    async with coord_server() as hosts:  # "127.0.0.1:12345"
        ...
    with zookeeper_server() as hosts:
        ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from benchmarks.ensembles import APACHE, Ensemble
from coord.testing import local_ensemble

TICK_SECONDS: Final = 10.0
"""Sessions may last twenty of them: see `recipes.SESSION_SECONDS`."""


@asynccontextmanager
async def coord_server() -> AsyncIterator[str]:
    """A single coord server, where it listens."""
    async with local_ensemble(1, tick_time=TICK_SECONDS) as ensemble:
        yield ensemble.connect_string


@contextmanager
def zookeeper_server() -> Iterator[str]:
    """A single Apache ZooKeeper, where it listens. Raises `OSError` if it is not installed or does not
    start."""
    with Ensemble.temporary(APACHE, 1, config={"tickTime": str(round(TICK_SECONDS * 1000))}) as ensemble:
        yield ensemble.hosts
