"""What members tell each other. Each is an acknowledgement so far: the promises of a voter to its leader.

Frozen values without behaviour; `wire.ensemble` gives them bytes when they travel between machines.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AckEpoch:
    """I have durably accepted this epoch, and shall follow no leader of an older one."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AckNewLeader:
    """My history equals the leader's up to `zxid`, and `epoch` is durably my current epoch."""

    epoch: int
    zxid: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `zxid` is durable here (cumulative)."""

    zxid: int


Message = AckEpoch | AckNewLeader | Ack
