"""Which sets of members decide.

Owns the rule "a majority of the voters"; knows no message and no epoch. Anything with the two methods of
`Majority` can take its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Majority:
    """More than half of `voters`."""

    def __init__(self, voters: Collection[int]) -> None:
        assert voters, "an ensemble needs at least one voter"
        self.voters = frozenset(voters)

    def reached(self, members: Collection[int]) -> bool:
        """Do `members` (others than voters do not count) form a quorum?"""
        return 2 * len(self.voters.intersection(members)) > len(self.voters)

    def agreed(self, acknowledged: Mapping[int, int]) -> int:
        """The largest zxid that a quorum has acknowledged, given each member's last; 0 if there is none.

        With the voters' zxids sorted from high to low, the one at position "majority" is reached by that
        many (etcd/raft computes its commit index the same way).
        """
        zxids = sorted((acknowledged.get(voter, 0) for voter in self.voters), reverse=True)
        return zxids[len(self.voters) // 2]
