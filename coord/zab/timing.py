"""How long things may take, in ticks of the peer's clock (see `limits` for their length).

Owns no clock. The relations between the numbers are asserted, since agreement stalls without them: silence
must last several pings, and joining more than silence.
"""

from __future__ import annotations

from dataclasses import dataclass

from coord.limits import SILENCE_ZAB_TICKS, ZAB_TICKS_PER_HEARTBEAT


@dataclass(frozen=True, slots=True)
class Timing:
    ping: int = ZAB_TICKS_PER_HEARTBEAT
    """ticks between a leader's pings"""
    silence: int = SILENCE_ZAB_TICKS
    """ticks without a word after which a leader, or a follower, is given up"""
    greet: int = 20
    """ticks until a follower hears its leader's epoch; a leader waits for greetings twice as long"""
    join: int = 200
    """ticks that discovery and synchronisation may take"""
    settle: int = 2
    """ticks that a candidate with a quorum waits for better votes, if not everybody has voted"""
    revote: int = 4
    """ticks after which an undecided member repeats its vote, at first"""
    revote_max: int = 40

    def __post_init__(self) -> None:
        assert 1 <= self.ping * 3 <= self.silence <= self.join
        assert 1 <= self.greet <= self.join
        assert self.settle >= 0
        assert 1 <= self.revote <= self.revote_max
