"""A lease by the wall clock: it outlives the session and the process that took it, on purpose.

Owns kazoo's NonBlockingLease: who holds the lease, and until when, is in ``PATH/lease_holder``, and changed
only under the lock at `PATH` (a `Lock` in kazoo's layout). For work that should stay on one host for a while,
even when its process is started anew each time.

Rules that hold here:

- The end is in UTC, in whole seconds, as read from the *clients'* clocks: they must be roughly synchronised.
  Somebody whose clock is fast takes the lease early by as much; allow for it, in `seconds` and in your work.
- What protects against two holders is the clock alone. There is no token and no session behind a lease; for
  those there is `Lock`.
- A holder is a name. Whoever comes with the same name extends the lease.
- Taking twice is taking once, so lost replies and sessions are lived through by asking again.

Synopsis::

    lease = Lease(zk, "/leases/cleanup", seconds=70 * 60, holder="host7")
    end = await lease.take()  # an aware datetime, or None: it is somebody else's
    if end is not None:
        ...  # for as long as the clock is before `end`
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from coord import (
    BadVersion,
    Client,
    ConnectionLost,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Stat,
)
from recipes.errors import LockLost
from recipes.grant import Grant
from recipes.lock import Lock

VERSION: Final = 1
HOLDER: Final = "lease_holder"
SECONDS_MAX: Final = 100 * 365 * 24 * 3600
_TIME: Final = "%Y-%m-%dT%H:%M:%S"


T = TypeVar("T")


class Held(NamedTuple):
    """Who holds a lease, and until when (UTC)."""

    holder: str
    end: datetime


def encode_lease(held: Held) -> bytes:
    """What is in `lease_holder`. A fraction of a second is dropped: the lease ends earlier, not later."""
    end = held.end.astimezone(UTC).strftime(_TIME)
    return json.dumps({"version": VERSION, "holder": held.holder, "end": end}).encode()


def decode_lease(data: bytes) -> Held | None:
    """What `lease_holder` says; None if it is of another version than ours. Raises ValueError."""
    record = json.loads(data)
    if not isinstance(record, dict) or not isinstance(record.get("version"), int):
        raise ValueError(f"no lease: {data[:80]!r}")
    if record["version"] != VERSION:
        return None
    holder, end = record.get("holder"), record.get("end")
    if not isinstance(holder, str) or not isinstance(end, str):
        raise ValueError(f"no lease: {data[:80]!r}")
    return Held(holder, datetime.strptime(end, _TIME).replace(tzinfo=UTC))


def _now() -> datetime:
    return datetime.now(UTC)


class Lease:
    """The lease at `path`, for `seconds` (at least one) at a time; `holder` is the host's name if empty.

    `clock` returns the present time as an aware datetime.
    """

    def __init__(
        self,
        zk: Client,
        path: str,
        seconds: float,
        holder: str = "",
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Raises ValueError for `seconds` below 1, or beyond a hundred years."""
        if not 1 <= seconds <= SECONDS_MAX:
            raise ValueError(f"a lease is of 1 to {SECONDS_MAX} s (its end is in whole ones), not {seconds}")
        self._zk = zk
        self.path = path
        self.holder = holder or socket.gethostname()
        self._duration = timedelta(seconds=seconds)
        self._clock = clock
        self._record = f"{path.rstrip('/')}/{HOLDER}"
        self._lock = Lock(zk, path, self.holder.encode())

    def __repr__(self) -> str:
        return f"<Lease {self.path} {self.holder}>"

    async def current(self) -> Held | None:
        """Who has it, as the server at hand knows it; None if nobody, or in a version of kazoo's to come."""
        return await self._current(linearizable=False)

    async def _current(self, *, linearizable: bool) -> Held | None:
        while True:
            try:
                found = await self._read(linearizable=linearizable)
            except SessionExpired:
                continue  # the next session can tell, too
            held = None if found is None else found[0]
            return held if held is not None and self._clock() < held.end else None

    async def take(self) -> datetime | None:
        """Take the lease, or extend it if it is ours; returns its end (UTC). None if somebody else has it.

        Waits only for those who are taking it at this moment. Cancelled, it may have taken it. Raises
        ValueError if what is in the znode is no lease.
        """
        return await self._locked(self._take)

    async def release(self) -> None:
        """Give the lease up before its end, if it is ours."""
        await self._locked(self._release)

    async def _locked(self, change: Callable[[Grant], Awaitable[T]]) -> T:
        while True:
            try:
                async with self._lock as grant:
                    return await change(grant)
            except RequestTooLarge:
                raise
            except (LockLost, SessionExpired, ConnectionLost, NodeExists, NoNode, BadVersion):
                continue  # whatever came of it: made again, it comes to the same

    async def _take(self, grant: Grant) -> datetime | None:
        found = await self._read(linearizable=True)
        now = self._clock()
        if found is not None:
            held, _ = found
            if held is None or (held.holder != self.holder and now < held.end):
                return None
        end = (now + self._duration).astimezone(UTC).replace(microsecond=0)
        data = encode_lease(Held(self.holder, end))
        async with grant.transaction() as transaction:
            if found is None:
                transaction.create(self._record, data)
            else:
                transaction.set(self._record, data, version=found[1].version)
        return end

    async def _release(self, grant: Grant) -> None:
        found = await self._read(linearizable=True)
        if found is not None and found[0] is not None and found[0].holder == self.holder:
            async with grant.transaction() as transaction:
                transaction.delete(self._record, version=found[1].version)

    async def _read(self, *, linearizable: bool) -> tuple[Held | None, Stat] | None:
        """What is written, and how; None if nothing is."""
        try:
            data, stat = await self._zk.get(self._record, linearizable=linearizable)
        except NoNode:
            return None
        try:
            return decode_lease(data), stat
        except ValueError as error:
            raise ValueError(f"{self._record}: {error}") from error


class MultiLease:
    """`count` leases below `path`, of which a holder takes one: kazoo's MultiNonBlockingLease."""

    def __init__(
        self,
        zk: Client,
        count: int,
        path: str,
        seconds: float,
        holder: str = "",
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Raises ValueError for a `count` or `seconds` below 1."""
        if count < 1:
            raise ValueError(f"of at least one lease, not {count}")
        self.path = path
        self._leases = [
            Lease(zk, f"{path.rstrip('/')}/{number}", seconds, holder, clock=clock) for number in range(count)
        ]

    def __repr__(self) -> str:
        return f"<MultiLease {self.path} of {len(self._leases)}>"

    async def holders(self) -> list[Held]:
        """Who has one, in the order of their numbers."""
        return [held for lease in self._leases if (held := await lease.current()) is not None]

    async def take(self) -> datetime | None:
        """Take the first that is free, or extend the one that is ours; returns its end, or None.

        Raises as `Lease.take` does.
        """
        ours: list[Lease] = []
        others: list[Lease] = []
        for lease in self._leases:
            held = await lease._current(linearizable=True)  # else we might take a second one
            (ours if held is not None and held.holder == lease.holder else others).append(lease)
        for lease in ours + others:
            end = await lease.take()
            if end is not None:
                return end
        return None

    async def release(self) -> None:
        """Give up whatever is ours."""
        for lease in self._leases:
            await lease.release()
