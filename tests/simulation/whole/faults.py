"""What can go wrong with clients and their connections, beside what befalls members (`simulation.faults`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from random import Random

from tests.simulation.faults import draw_rate


@dataclass(frozen=True, slots=True)
class ClientFaults:
    """Rates per tick of the ensemble."""

    hang_up: float
    reset_client: float
    cut_client: float
    deafen_client: float
    pause_client: float
    give_up: float
    strand: float
    overtake: float
    pass_through: float
    fill_disk: float

    @classmethod
    def draw(cls, random: Random) -> ClientFaults:
        rate = partial(draw_rate, random)
        return cls(
            hang_up=rate(0.03),
            reset_client=rate(0.02),
            cut_client=rate(0.01),
            deafen_client=rate(0.01),
            pause_client=rate(0.01),
            give_up=rate(0.005),
            strand=rate(0.01),
            overtake=rate(0.005),
            pass_through=rate(0.005),
            fill_disk=rate(0.002),
        )

    @classmethod
    def none(cls) -> ClientFaults:
        return cls(*(0.0 for _ in fields(cls)))
