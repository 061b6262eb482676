"""How far a member's history has come: logged, durable, committed; and its newest proposals.

Rules: ``committed <= logged``; a proposal follows its predecessor without a gap (same epoch: the next
counter; a new epoch: counter 1); what is committed is never truncated.

Each epoch has one leader, which gives each zxid of it once. So two histories that both hold a zxid are equal
up to it, and the ends of their epochs are all that is needed to find where they part (`common`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from coord.wire.members import Proposal

COUNTER_MAX = 0xFFFFFFFF
RECENT_BYTES_MAX = 16 * 1024 * 1024
"""Proposals kept in memory for followers that were away for a moment; older ones are on disk."""


def epoch_of(zxid: int) -> int:
    return zxid >> 32


def counter_of(zxid: int) -> int:
    return zxid & COUNTER_MAX


def follows(previous: int, zxid: int) -> bool:
    """May `zxid` come right after `previous` in a history?"""
    if epoch_of(zxid) == epoch_of(previous):
        return zxid == previous + 1
    return epoch_of(zxid) > epoch_of(previous) and counter_of(zxid) == 1


class History:
    """One member's history; begins with what its disk holds, all of it durable."""

    def __init__(
        self, last_zxid: int, ends: Sequence[int] = (), base: int = 0, recent_bytes: int = RECENT_BYTES_MAX
    ) -> None:
        """`ends`: the last zxid of each epoch known to be in it, oldest first, ending with `last_zxid`.
        `base`: where it begins, 0 or the zxid of a snapshot (whose state is committed).
        `recent_bytes`: how much of it stays in memory."""
        assert 0 <= base <= last_zxid
        self.base = base
        self.logged = last_zxid
        self.durable = last_zxid
        self.committed = base
        self._ends: list[int] = list(ends) or [last_zxid]
        assert self._ends[-1] == last_zxid
        self._recent: deque[Proposal] = deque()
        self._recent_bytes = 0
        self._recent_bytes_max = recent_bytes
        self.recent_after = last_zxid
        """every later proposal is in memory"""

    @property
    def ends(self) -> tuple[int, ...]:
        return tuple(self._ends)

    def append(self, proposal: Proposal) -> None:
        assert follows(self.logged, proposal.first_zxid), (self.logged, proposal.first_zxid)
        assert epoch_of(proposal.first_zxid) == epoch_of(proposal.last_zxid)
        assert proposal.first_zxid <= proposal.last_zxid
        if epoch_of(proposal.last_zxid) == epoch_of(self.logged):
            self._ends[-1] = proposal.last_zxid
        else:
            self._ends.append(proposal.last_zxid)
        self.logged = proposal.last_zxid
        self._recent.append(proposal)
        self._recent_bytes += len(proposal.payload)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Of what is in memory. What is not committed stays, whatever its size: who is to acknowledge it gets
        it from here."""
        recent = self._recent
        while self._recent_bytes > self._recent_bytes_max and len(recent) > 1:
            if recent[0].last_zxid > self.committed:
                return
            oldest = recent.popleft()
            self._recent_bytes -= len(oldest.payload)
            self.recent_after = oldest.last_zxid

    def persisted(self, zxid: int) -> None:
        """Durable up to `zxid`, as far as it has not been truncated meanwhile."""
        self.durable = max(self.durable, min(zxid, self.logged))

    def commit(self, zxid: int) -> None:
        assert zxid <= self.logged, (zxid, self.logged)
        self.committed = max(self.committed, zxid)
        self._forget_oldest()

    def since(self, zxid: int) -> Iterator[Proposal]:
        """The proposals after `zxid`, which must not be older than `recent_after`."""
        assert zxid >= self.recent_after
        return (proposal for proposal in self._recent if proposal.last_zxid > zxid)

    def common(self, ends: Iterable[int]) -> int | None:
        """The last zxid that this history shares with one whose epochs end so; None if that is before it
        begins, as far as is known."""
        mine = {epoch_of(end): end for end in self._ends}
        shared = max((min(end, mine[epoch_of(end)]) for end in ends if epoch_of(end) in mine), default=0)
        return shared if shared >= self.base else None

    def truncate(self, zxid: int) -> None:
        """Forget what comes after `zxid`, the end of a proposal of this history."""
        assert self.committed <= zxid, f"committed up to {self.committed:#x}, asked to forget after {zxid:#x}"
        while self._recent and self._recent[-1].first_zxid > zxid:
            self._recent_bytes -= len(self._recent.pop().payload)
        assert not self._recent or self._recent[-1].last_zxid <= zxid, "only whole proposals are forgotten"
        self._ends = [end for end in self._ends if epoch_of(end) < epoch_of(zxid)] + [zxid]
        self.logged = zxid
        self.durable = min(self.durable, zxid)
        self.recent_after = min(self.recent_after, zxid)

    def install(self, zxid: int) -> None:
        """Begin again from a snapshot at `zxid`."""
        assert self.committed <= zxid
        self.logged = self.committed = self.recent_after = self.base = zxid
        self.durable = min(self.durable, zxid)
        self._ends = [zxid]
        self._recent.clear()
        self._recent_bytes = 0
