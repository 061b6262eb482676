"""How a member stands in its ensemble: what its role is, in the words and numbers of ZooKeeper's `mntr`.

Owns the names, which monitoring knows. Looks at a replica and its peer; must not change either, nor know
clocks: `now_ms` is on the clock of `Replica.turn_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping

from coord.server.replica import Replica
from coord.zab.following import Following
from coord.zab.leading import Leading
from coord.zab.learner import Phase
from coord.zab.peer import Peer


def phase_of(peer: Peer) -> str:
    """``looking``, or what the member does and how far it has come: ``following - synchronization``."""
    role = peer.role
    if not isinstance(role, Leading | Following):
        return "looking"
    what = "leading" if isinstance(role, Leading) else "following" if peer.is_voter else "observing"
    if role.established:
        return f"{what} - broadcast"
    return f"{what} - {'synchronization' if role.epoch else 'discovery'}"


def metrics_of(replica: Replica, now_ms: int) -> Mapping[str, str | int | float]:
    """For `mntr`, of a member of an ensemble; what a leader counts only from one that leads."""
    peer = replica.peer
    metrics: dict[str, str | int | float] = {
        "peer_state": phase_of(peer),
        "quorum_size": len(peer.quorum.voters),
    }
    if peer.leader is not None:
        metrics["leader_id"] = peer.leader
    if isinstance(peer.role, Leading):
        active = [learner for learner in peer.role.learners.values() if learner.phase is Phase.ACTIVE]
        voting = sum(learner.votes for learner in active)
        sizes = replica.stats.proposals
        metrics |= {
            "learners": len(peer.role.learners),
            "synced_followers": voting,
            "synced_non_voting_followers": 0,  # who follows without a vote is an observer
            "synced_observers": len(active) - voting,
            "pending_syncs": replica.syncs.asked_of_quorum,
            "leader_uptime": now_ms - replica.joined_ms,
            "last_proposal_size": sizes.last if sizes.count else -1,
            "min_proposal_size": sizes.low if sizes.count else -1,
            "max_proposal_size": sizes.high if sizes.count else -1,
        }
    return metrics
