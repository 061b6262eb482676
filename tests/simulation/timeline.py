"""Virtual time: what is due next. Its unit is one tick of a member whose clock is right."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class Timeline:
    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """What is due at the same moment happens in the order of these calls."""
        self._count += 1
        heappush(self._due, (max(moment, self.now), self._count, action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run(self, ticks: float) -> None:
        end = self.now + ticks
        while self._due and self._due[0][0] <= end:
            self.now, _, action = heappop(self._due)
            action()
        self.now = end
