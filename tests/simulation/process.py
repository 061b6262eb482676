"""A process in virtual time: it runs, is stopped and goes on, ends and begins again.

Owns what is due for it: nothing of that happens while it is stopped, and nothing at all in a later
incarnation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.simulation.timeline import Timeline


class Process:
    def __init__(self, timeline: Timeline) -> None:
        self.incarnation = 0
        """counts starts and stops: what was arranged for an earlier one does not happen any more"""
        self.paused_until = 0.0
        self._timeline = timeline
        self._deferred: list[Callable[[], None]] = []

    def defer(self, action: Callable[[], None]) -> bool:
        """True if the process is stopped: what is due happens when it goes on."""
        if self._timeline.now < self.paused_until:
            self._deferred.append(action)
            return True
        return False

    def _pause(self, ticks: float) -> None:
        self.paused_until = self._timeline.now + ticks
        self._timeline.at(self.paused_until, self._go_on)

    def resume(self) -> None:
        """It need not wait any longer."""
        self.paused_until = 0.0
        self._go_on()

    def _go_on(self) -> None:
        if self._timeline.now >= self.paused_until:
            deferred, self._deferred = self._deferred, []
            for action in deferred:
                action()

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._timeline.after(delay, partial(self._due, self.incarnation, action))

    def _due(self, incarnation: int, action: Callable[[], None]) -> None:
        if self.incarnation == incarnation and not self.defer(partial(self._due, incarnation, action)):
            action()
