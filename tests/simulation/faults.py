"""What can go wrong, and how often: drawn from the seed, for each run anew.

Each run knows only some of the faults, each at a rate of its own: rare combinations need runs that are calm
but for the two things that must meet.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from random import Random


def draw_rate(random: Random, usual: float) -> float:
    """Often none, else about as usual."""
    return 0.0 if random.random() < 0.4 else usual * random.choice([0.3, 1.0, 1.0, 3.0])


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates per tick of the ensemble; `trap` and `sever` are probabilities for each message received."""

    crash: float
    crash_all: float
    reset: float
    isolate: float
    split: float
    deafen: float
    slow: float
    stall: float
    pause: float
    zombie: float
    fail_disk: float
    wipe: float
    step_down: float
    hand_over: float
    mislead: float
    snapshot: float
    trap: float
    sever: float

    @classmethod
    def draw(cls, random: Random) -> Faults:
        rate = partial(draw_rate, random)
        return cls(
            crash=rate(0.01),
            crash_all=rate(0.002),
            reset=rate(0.02),
            isolate=rate(0.01),
            split=rate(0.005),
            deafen=rate(0.01),
            slow=rate(0.01),
            stall=rate(0.01),
            pause=rate(0.005),
            zombie=rate(0.005),
            fail_disk=rate(0.002),
            wipe=rate(0.005),
            step_down=rate(0.003),
            hand_over=rate(0.005),
            mislead=rate(0.02),
            snapshot=rate(0.02),
            trap=rate(0.004),
            sever=rate(0.004),
        )

    @classmethod
    def none(cls) -> Faults:
        return cls(*(0.0 for _ in fields(cls)))

    def __str__(self) -> str:
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{fault} {rate:g}" for fault, rate in known.items() if rate)
