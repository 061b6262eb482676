"""What members tell each other. Frozen values without behaviour; `member_codec` gives them bytes.

On the election network (leaderPort), to every voter, lost or repeated without harm:

==================  =======================================================================
`Vote`              whom the sender wants to lead, or whom it follows, or that it leads
==================  =======================================================================

On a link (peerPort), which a follower opens to its leader and which keeps order or breaks:

==================  =========  ============================================================
`Hello`             F -> L     I follow you; the newest epoch I have durably accepted
`NewEpoch`          L -> F     discovery: the epoch I propose to lead
`AckEpoch`          F -> L     accepted, durably; and this is my history
`Truncate`          L -> F     synchronisation: forget what comes after this zxid
`Install`           L -> F     begin again from this snapshot
`Append`            L -> F     a proposal, of the past or of now
`NewLeader`         L -> F     that was my history: make it, and then the epoch, yours
`AckNewLeader`      F -> L     both are durable
`Ack`               F -> L     everything up to here is durable (cumulative)
`Commit`            L -> F     everything up to here is committed
`Ping` / `Pong`     both       are you there, and am I still your leader?
`Admit`             L -> F     your disk was empty; now it holds enough: you may vote
`HandOver`          L -> F     I am leaving, and this one has everything: follow it
`Payload`           both       something of the replicas above, which agreement does not look at
==================  =========  ============================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Standing(IntEnum):
    """What a member is doing."""

    LOOKING = 0
    FOLLOWING = 1
    LEADING = 2
    OBSERVING = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A batch of consecutive entries, encoded once; the bytes are the log record."""

    first_zxid: int
    last_zxid: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """`leader` is the candidate; `epoch` and `zxid` are how far its history has come.

    Of a sender that is not looking: whom it follows, in which epoch. `fresh`: the sender has no history and
    has never promised anything.
    """

    round: int
    leader: int
    epoch: int
    zxid: int
    standing: Standing
    fresh: bool = False

    @property
    def merit(self) -> tuple[int, int, int]:
        """The candidate with the larger merit has the more complete history (the id breaks ties)."""
        return self.epoch, self.zxid, self.leader


@dataclass(frozen=True, slots=True)
class Hello:
    """`accepted` is the newest epoch that the sender has durably accepted; `blank`: see `zab.peer.Epochs`."""

    accepted: int
    observer: bool = False
    blank: bool = False


@dataclass(frozen=True, slots=True)
class NewEpoch:
    epoch: int


@dataclass(frozen=True, slots=True)
class AckEpoch:
    """`ends` are the last zxids of the epochs in the sender's history, oldest first; `current` is the epoch
    that history belongs to. `counts` is False if the epoch was accepted before, perhaps from another leader:
    then this acknowledgement is not one of the quorum."""

    epoch: int
    current: int
    ends: tuple[int, ...]
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Truncate:
    zxid: int


@dataclass(frozen=True, slots=True)
class Install:
    """A snapshot of the state at `zxid`, whole."""

    zxid: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Append:
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class NewLeader:
    epoch: int
    zxid: int


@dataclass(frozen=True, slots=True)
class AckNewLeader:
    epoch: int
    zxid: int


@dataclass(frozen=True, slots=True)
class Ack:
    zxid: int


@dataclass(frozen=True, slots=True)
class Commit:
    zxid: int


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    number: int


@dataclass(frozen=True, slots=True)
class Admit:
    pass


@dataclass(frozen=True, slots=True)
class HandOver:
    """I am leaving; all of you have what I have: follow this one."""

    leader: int


@dataclass(frozen=True, slots=True)
class Payload:
    data: bytes


LinkMessage = (
    Hello
    | NewEpoch
    | AckEpoch
    | Truncate
    | Install
    | Append
    | NewLeader
    | AckNewLeader
    | Ack
    | Commit
    | Ping
    | Pong
    | Admit
    | HandOver
    | Payload
)
