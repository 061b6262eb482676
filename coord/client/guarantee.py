"""What a session guarantees, until when, and the cancel scope that makes code stop in time.

Owns `LiveSession` (what the caller sees of the session) and the guards: cancel scopes whose deadline the
client pushes ahead as the server acknowledges. Must not know: connections, requests.

Synopsis::

    with zk.session.guard() as guard:
        ...  # cancelled when the session can no longer be relied upon
    if guard.lost:
        raise LockLost

Rules that hold:

- A guard belongs to the session that was there when it was entered; a later session does not revive it.
- A read-only session guarantees nothing: a guard entered in one is lost at once.
- The deadline is only ever moved to a moment up to which no server can have expired the session.
- No nursery, no task: a `trio.CancelScope` and a note in a set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import trio
from trio_util import AsyncValue

from coord.client.calls import SessionHandle, SessionState
from coord.client.session import Session
from coord.errors import SessionExpired


class Loss(Enum):
    """When a guard gives the session up."""

    IMMEDIATE = auto()
    """with the connection, at once"""
    DEADLINE = auto()
    """when the session could have expired: `valid_until`. Safe, and rides out short interruptions"""
    EXPIRED = auto()
    """only when a server said that it has: too late to be safe, for advisory use"""


class Guard:
    """A running guard; `scope` is the cancel scope around the guarded code."""

    def __init__(self, session: LiveSession, policy: Loss) -> None:
        self.policy = policy
        self.generation = session.generation
        self.scope = trio.CancelScope()
        self.reason = ""
        """why it was lost; "" while it is not"""
        self.over = False
        """is the guarded code through?"""
        self._changed = trio.Event()

    @property
    def lost(self) -> bool:
        """Did the guarantee lapse before the guarded code was through? Stays as it is after the block."""
        if not self.over and not self.reason and trio.current_time() >= self.scope.deadline:
            self.reason = "the server has not acknowledged the session for too long"
        return bool(self.reason)

    def ensure(self) -> None:
        """Raises `SessionExpired` if the guarantee has lapsed: to be asked right before a side effect, since
        a scope only takes hold at the next checkpoint."""
        if self.lost:
            raise SessionExpired(self.reason)

    async def wait_lost(self) -> bool:
        """Waits until it is lost: True; or until the guarded code is through: False."""
        while not (self.lost or self.over):
            with trio.move_on_at(self.scope.deadline):
                await self._changed.wait()
        return self.lost

    def lose(self, reason: str) -> None:
        """Gives up now; the guarded code is cancelled. Has no effect on a guard that is over."""
        if not self.over and not self.lost:
            self.reason = reason
            self.scope.cancel(reason=reason)
            self._changed.set()

    def push(self, deadline: float) -> None:
        """The guarantee holds until `deadline`; one that has lapsed stays lapsed."""
        if not self.lost:
            self.scope.deadline = deadline
            self._changed.set()
            self._changed = trio.Event()

    def close(self) -> None:
        """The guarded code is through: `lost` stays as it is now."""
        _ = self.lost  # the last look at the clock
        self.over = True
        self._changed.set()


class LiveSession:
    """The client's session as its caller sees it: one object for the client's life, although the session
    behind it may end and be followed by another (`generation` then counts up and `id` changes)."""

    def __init__(self, core: Session) -> None:
        self._core = core
        self._guards: set[Guard] = set()
        self.state: AsyncValue[SessionState] = AsyncValue(core.state)
        self.server = ""
        """the server it is connected to, ``host:port``; "" without a connection"""

    def __repr__(self) -> str:
        return f"<session 0x{self.id:x} {self.state.value.name} generation={self.generation}>"

    @property
    def id(self) -> int:
        """0 while there is none."""
        return self._core.id

    @property
    def password(self) -> bytes:
        return self._core.password

    @property
    def handle(self) -> SessionHandle:
        """For ``connect(session=…)``: whoever has it can carry the session on, unless it is read-only."""
        return SessionHandle(self._core.id, self._core.password)

    @property
    def timeout(self) -> float:
        """Seconds, as the server granted them (it keeps to its own bounds)."""
        return self._core.lease.timeout

    @property
    def generation(self) -> int:
        """The how-manieth session of this client it is; 0 before the first."""
        return self._core.generation

    @property
    def last_zxid(self) -> int:
        """The newest transaction this client has seen the effect of."""
        return self._core.last_zxid

    @property
    def valid_until(self) -> float:
        """trio time up to which no server can have expired the session; -inf if there is none, or a read-only
        one.

        The send time of the newest acknowledged request, plus the timeout, less a margin of a sixth of it.
        """
        return self._core.lease.valid_until

    @contextmanager
    def guard(self, policy: Loss = Loss.DEADLINE) -> Iterator[Guard]:
        """Cancels the code in the block when the session can no longer be relied upon.

        The block ends without an exception then, like that of any cancel scope: ask `Guard.lost`, which is
        also true if the guarantee lapsed and no checkpoint came to notice.
        """
        guard = Guard(self, policy)
        if policy is not Loss.EXPIRED:
            guard.scope.deadline = self.valid_until
        if self.id == 0:
            guard.lose("there is no session")
        elif not self._core.lease.guarantees:
            guard.lose("a server without a quorum guarantees nothing")
        elif policy is Loss.IMMEDIATE and not self._core.connected:
            guard.lose("there is no connection")
        self._guards.add(guard)
        try:
            with guard.scope:
                yield guard
        finally:
            self._guards.discard(guard)
            guard.close()

    # -- for the link ---------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Brings state and guards up to date with the core; called after whatever happened to it."""
        core = self._core
        if self.state.value is not core.state:
            self.state.value = core.state
            if not core.connected:
                self._lose(Loss.IMMEDIATE, "the connection was lost")
        if self._guards:
            self._push(core.lease.valid_until, core.lease.timeout)

    def end(self, reason: str) -> None:
        """The session is over: so is every guard of it."""
        for policy in Loss:
            self._lose(policy, reason)

    def _lose(self, policy: Loss, reason: str) -> None:
        for guard in [g for g in self._guards if g.policy is policy]:
            guard.lose(reason)

    def _push(self, valid_until: float, timeout: float) -> None:
        for guard in self._guards:
            if guard.policy is Loss.EXPIRED or guard.generation != self.generation:
                continue
            # Each push costs trio an entry in its heap of deadlines, so only when it gains something. (It
            # loses where the next server grants a shorter timeout than the last.)
            gain = valid_until - guard.scope.deadline
            if gain < 0 or gain > timeout / 12:
                guard.push(valid_until)
