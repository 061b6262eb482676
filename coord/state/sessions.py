"""Sessions: which there are (replicated), and which have fallen silent (the leader's own business).

`Sessions` is part of the replicated state: it changes only when a log entry is applied. `Expiry` is not: the
leader alone counts, in beats of its clock, how long each session has been silent, and proposes to close
those that were silent for too long. Neither knows a clock; the shell calls `Expiry.beat`.
"""

from __future__ import annotations

from collections.abc import ItemsView


class Sessions:
    """The sessions there are, with their negotiated timeouts. What they own is in `Tree.ephemerals`."""

    __slots__ = ("timeouts",)

    def __init__(self) -> None:
        self.timeouts: dict[int, int] = {}
        """session id -> timeout in ms"""

    def __contains__(self, session_id: object) -> bool:
        return session_id in self.timeouts

    def __len__(self) -> int:
        return len(self.timeouts)

    def add(self, session_id: int, timeout_ms: int) -> None:
        self.timeouts[session_id] = timeout_ms

    def remove(self, session_id: int) -> None:
        del self.timeouts[session_id]

    def timeout_of(self, session_id: int) -> int | None:
        """In ms; None if there is no such session."""
        return self.timeouts.get(session_id)

    def items(self) -> ItemsView[int, int]:
        """(session id, timeout in ms) of each."""
        return self.timeouts.items()


class Expiry:
    """Counts the silence of sessions, in beats.

    Hearing from a session is one assignment: its deadline moves, its place in the queue does not. When the
    beat comes for which it is queued, a session with a later deadline is queued again for that one; so a
    beat costs what falls due at it, however many sessions there are.

    Synopsis::

        expiry.add(session_id, timeout_beats)
        expiry.touch(session_id)  # False: it is not (or no longer) counted
        for session_id in expiry.beat():
            ...  # propose to close it; each is returned once and forgotten
    """

    def __init__(self) -> None:
        self._now = 0
        self._timeouts: dict[int, int] = {}
        self._deadlines: dict[int, int] = {}
        self._due: dict[int, list[int]] = {}
        """beat -> the sessions to look at then; an entry is stale if `_queued_for` says another beat"""
        self._queued_for: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._timeouts)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._timeouts

    def add(self, session_id: int, timeout_beats: int) -> None:
        """Counts a session from now on, or gives one that is counted another timeout.

        It expires with the `timeout_beats`-th beat after it was last touched. That beat may be under way
        already: who owes a session its whole timeout adds one.
        """
        assert timeout_beats > 0
        self._timeouts[session_id] = timeout_beats
        self.touch(session_id)
        self._queue(session_id)

    def touch(self, session_id: int) -> bool:
        """The session was heard from; False if it is not counted (unknown, expired or removed)."""
        timeout = self._timeouts.get(session_id)
        if timeout is None:
            return False
        self._deadlines[session_id] = self._now + timeout
        return True

    def remove(self, session_id: int) -> None:
        """The session is over (or was never counted)."""
        self._timeouts.pop(session_id, None)
        self._deadlines.pop(session_id, None)
        self._queued_for.pop(session_id, None)

    def beat(self) -> list[int]:
        """One beat has passed: the sessions that expire with it, which are counted no longer."""
        self._now = now = self._now + 1
        expired: list[int] = []
        for session_id in self._due.pop(now, ()):
            if self._queued_for.get(session_id) != now:
                continue
            if self._deadlines[session_id] > now:
                self._queue(session_id)
            else:
                expired.append(session_id)
                self.remove(session_id)
        return expired

    def restart(self) -> None:
        """Everybody gets a full timeout again, as a new leader owes them."""
        for session_id in self._timeouts:
            self.touch(session_id)

    def _queue(self, session_id: int) -> None:
        beat = self._deadlines[session_id]
        if self._queued_for.get(session_id) != beat:
            self._queued_for[session_id] = beat
            self._due.setdefault(beat, []).append(session_id)
