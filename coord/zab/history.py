"""How far a member's history has come: logged, durable, committed. Bookkeeping only; holds no entry.

Rules: ``committed <= logged`` and ``durable <= logged``; every move is forward; a proposal follows its
predecessor without a gap (same epoch: the next counter; a new epoch: counter 1).
"""

from __future__ import annotations

from dataclasses import dataclass

COUNTER_MAX = 0xFFFFFFFF


def epoch_of(zxid: int) -> int:
    return zxid >> 32


def counter_of(zxid: int) -> int:
    return zxid & COUNTER_MAX


def follows(previous: int, zxid: int) -> bool:
    """May `zxid` come right after `previous` in a history?"""
    if epoch_of(zxid) == epoch_of(previous):
        return zxid == previous + 1
    return epoch_of(zxid) > epoch_of(previous) and counter_of(zxid) == 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """A batch of consecutive entries, encoded once; the bytes are the log record."""

    first_zxid: int
    last_zxid: int
    payload: bytes


class History:
    """One member's history; begins with what its disk holds, all of it durable."""

    def __init__(self, last_zxid: int) -> None:
        self.logged = last_zxid
        self.durable = last_zxid
        self.committed = 0

    def append(self, proposal: Proposal) -> None:
        assert follows(self.logged, proposal.first_zxid), (self.logged, proposal.first_zxid)
        assert epoch_of(proposal.first_zxid) == epoch_of(proposal.last_zxid)
        assert proposal.first_zxid <= proposal.last_zxid
        self.logged = proposal.last_zxid

    def persisted(self, zxid: int) -> None:
        assert self.durable <= zxid <= self.logged, (self.durable, zxid, self.logged)
        self.durable = zxid

    def commit(self, zxid: int) -> None:
        assert zxid <= self.logged, (zxid, self.logged)
        self.committed = max(self.committed, zxid)
