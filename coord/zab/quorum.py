"""Which sets of members decide.

Owns the two rules there are: a majority of the voters, and a majority (by weight) of the groups
(`group.N=…`, `weight.N=…` in zoo.cfg). Knows no message and no epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class Quorum(Protocol):
    """Any two sets that are `reached` share a member; that is all agreement needs of it."""

    voters: frozenset[int]
    electable: frozenset[int]
    """the voters that may lead"""

    def reached(self, members: Collection[int]) -> bool:
        """Do `members` (others than voters do not count) form a quorum?"""


class Majority:
    """More than half of `voters`."""

    def __init__(self, voters: Collection[int]) -> None:
        assert voters, "an ensemble needs at least one voter"
        self.voters = self.electable = frozenset(voters)

    def reached(self, members: Collection[int]) -> bool:
        return 2 * len(self.voters.intersection(members)) > len(self.voters)


class Hierarchical:
    """More than half of the groups, each by more than half of its weight; groups without weight do not
    count, and who has no weight does not lead (ZooKeeper's `QuorumHierarchical`)."""

    def __init__(self, groups: Mapping[int, Collection[int]], weights: Mapping[int, int]) -> None:
        self.voters = frozenset(member for group in groups.values() for member in group)
        self.electable = frozenset(member for member in self.voters if weights.get(member, 1))
        self._groups = [
            {member: weights.get(member, 1) for member in group}
            for group in groups.values()
            if sum(weights.get(member, 1) for member in group)
        ]
        assert self._groups, "an ensemble needs at least one group with a weight"

    def reached(self, members: Collection[int]) -> bool:
        present = sum(
            2 * sum(weight for member, weight in group.items() if member in members) > sum(group.values())
            for group in self._groups
        )
        return 2 * present > len(self._groups)


def agreed(quorum: Quorum, acknowledged: Mapping[int, int]) -> int:
    """The largest zxid that a quorum has acknowledged, given each member's last; 0 if there is none."""
    for zxid in sorted(set(acknowledged.values()), reverse=True):
        if quorum.reached([member for member, last in acknowledged.items() if last >= zxid]):
            return zxid
    return 0
