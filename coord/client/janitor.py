"""Guaranteed deletes: znodes that must go although their owner has no time to wait for it.

Owns the list of what is to be deleted, and the task that deletes it. A caller that is being cancelled, or
that has no connection, hands a path over (which never waits) and leaves. Must not know: connections.

Synopsis::

    zk.janitor.delete("/locks/a/8f2c…__lock__0000000007")
    zk.janitor.delete_matching("/locks/a", "8f2c…")  # when the reply that named the znode never came
    zk.janitor.delete("/queue/taken/a", mark=b"8f2c…")  # only while that znode is still ours

Rules that hold:

- A job is done when the znode is gone, or when the session ends in which it was handed over: it is meant
  for that session's ephemeral znodes. A lost connection, or a server without a quorum, only delays it.
- A znode that cannot be deleted for a reason that will stay (an ACL, children) is logged and let go.
- A job starts after everything that the same client submitted before it. Since it may be repeated, the name
  has to be one that nobody else uses, or its data bear a mark that nobody else writes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

import trio

from coord.client.calls import SessionState
from coord.client.guarantee import LiveSession
from coord.client.paths import check_path, join
from coord.errors import ClientClosed, ConnectionLost, CoordError, NoNode, NotReadOnly, SessionExpired
from coord.wire.records import Stat

logger = logging.getLogger("coord.client")

JOBS_AT_ONCE: Final = 100


class _Deleting(Protocol):
    """What the janitor needs of a client."""

    @property
    def session(self) -> LiveSession: ...

    async def children(self, path: str, *, linearizable: bool = False) -> list[str]: ...

    async def get(self, path: str, *, linearizable: bool = False) -> tuple[bytes, Stat]: ...

    async def delete(self, path: str) -> None: ...


class _Job(NamedTuple):
    path: str
    marker: str | None
    mark: bytes | None
    generation: int


class Janitor:
    """Of one client; `run` is started by it."""

    def __init__(self, client: _Deleting) -> None:
        self._client = client
        self._jobs: list[_Job] = []
        self._busy = 0
        self._handed_over = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """How many jobs are not done yet."""
        return len(self._jobs) + self._busy

    def delete(self, path: str, *, mark: bytes | None = None) -> None:
        """Has the znode deleted, sooner or later. Never waits, never raises for what the server says.

        With `mark`, only if this session owns it and its data contains the mark (b"" is in any): for a name
        that others may use after us.
        """
        check_path(path, "delete")
        self._add(_Job(path, None, mark, self._client.session.generation))

    def delete_matching(self, parent: str, marker: str) -> None:
        """Has every child of `parent` deleted whose name contains `marker` (which must be unique to its
        owner, such as a uuid)."""
        check_path(parent, "delete")
        assert marker, "an empty marker would match every child"
        self._add(_Job(parent, marker, None, self._client.session.generation))

    async def idle(self) -> None:
        """Waits until every job is done."""
        await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._handed_over.wait()
            batch, self._jobs = self._jobs[:JOBS_AT_ONCE], self._jobs[JOBS_AT_ONCE:]
            self._busy = len(batch)
            async with trio.open_nursery() as nursery:
                for job in batch:
                    nursery.start_soon(self._do, job)
            self._busy = 0
            if not self._jobs:
                self._handed_over = trio.Event()
                self._idle.set()

    def _add(self, job: _Job) -> None:
        if job.generation:  # before the first session there is nothing to delete
            self._jobs.append(job)
            self._handed_over.set()
            if self._idle.is_set():
                self._idle = trio.Event()

    async def _do(self, job: _Job) -> None:
        if job.mark is not None:
            await self._insist(job, lambda: self._delete_marked(job))
            return
        if job.marker is None:
            await self._insist(job, lambda: self._client.delete(job.path))
            return
        found: list[str] = []

        async def look() -> None:
            # The create it looks for may be newer than what the server at hand has seen so far.
            found.extend(await self._client.children(job.path, linearizable=True))

        await self._insist(job, look)
        for name in found:
            if job.marker in name:
                await self._do(_Job(join(job.path, name), None, None, job.generation))

    async def _delete_marked(self, job: _Job) -> None:
        # An earlier attempt may have been done although its reply was lost, and the name be another's now.
        # What is ours stays ours as long as the session does: nobody comes in between look and delete.
        data, stat = await self._client.get(job.path, linearizable=True)
        ours = stat.ephemeral_owner == self._client.session.id and self._goes_on(job)
        if ours and job.mark is not None and job.mark in data:
            await self._client.delete(job.path)

    def _goes_on(self, job: _Job) -> bool:
        """Is the job's session the one at hand?"""
        return self._client.session.generation == job.generation and self._client.session.id != 0

    async def _insist(self, job: _Job, attempt: Callable[[], Awaitable[None]]) -> None:
        while self._goes_on(job):
            try:
                await attempt()
                return
            except ConnectionLost:
                continue
            except NotReadOnly:
                await self._client.session.state.wait_value(_no_longer_read_only)
            except (NoNode, SessionExpired, ClientClosed):
                return
            except CoordError as error:
                logger.warning("znode stays: %s (%s)", job.path, error)
                return


def _no_longer_read_only(state: SessionState) -> bool:
    return state is not SessionState.CONNECTED_READ_ONLY
