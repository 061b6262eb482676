"""The soak's verdict sees what it is for: each promise, broken once."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tests.recipes.soak.order import KAZOO_PATH, PERMITS_PATH, Order, Work
from tests.recipes.soak.records import Findings, Record, broken_promises
from tests.recipes.soak.store import Counter, Entry, Room, Store


class History:
    """Two of coord's and one of kazoo's, of which nothing bad can be said."""

    def __init__(self) -> None:
        self.one, self.other, self.kazoos = (
            Record(Order(who, library, Work.LOCK, KAZOO_PATH, "", 2.0, 0, ""))
            for who, library in (("coord-1", "coord"), ("coord-2", "coord"), ("kazoo-3", "kazoo"))
        )
        self.store, self.findings = Store(), Findings(["a"], ["b"])
        self.counter = self.store.counters[KAZOO_PATH] = Counter()
        for at, record in enumerate((self.one, self.other, self.kazoos), start=10):
            for value in (None, at - 9):
                self.counter.serve(Entry(at, record.order.who, at), value)
            record.take(f"acknowledged {at}")
        self.one.take("put a")
        self.other.take("put b")
        self.room = self.store.rooms[PERMITS_PATH] = Room()

    def enter(self, *who: str) -> None:
        for token, one in enumerate(who):
            self.room.enter(Entry(20.0, one, token))

    def broken(self) -> list[str]:
        return list(broken_promises([self.one, self.other, self.kazoos], self.store, self.findings))


def test_all_well() -> None:
    history = History()
    history.counter.serve(Entry(14.0, "kazoo-3", 1), None)  # kazoo cannot help it
    history.one.stops.append((13.0, 18.0))
    history.counter.serve(Entry(18.1, "coord-1", 2), None)  # stopped in the very act
    history.enter("coord-1", "kazoo-3", "coord-2")
    assert history.broken() == []


BREAKS: dict[str, Callable[[History], object]] = {
    "the counter is 2": lambda history: setattr(history.counter, "value", 2),
    "several increments": lambda history: history.counter.serve(Entry(13.0, "kazoo-3", 12), 4),
    "somebody else's token": lambda history: history.counter.serve(Entry(13.0, "coord-1", 12), 4),
    "the store knows nothing of it": lambda history: history.one.take("acknowledged 99"),
    "with old tokens": lambda history: history.counter.serve(Entry(13.0, "coord-1", 10), None),
    "at the same time": lambda history: history.enter("coord-1", "coord-2", "coord-1"),
    "more than once": lambda history: history.kazoos.take("took a"),
    "neither taken nor there": lambda history: history.one.take("put c"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_promise_is_seen(what: str) -> None:
    history = History()
    BREAKS[what](history)
    assert [wrong for wrong in history.broken() if what in wrong]


def test_of_two_with_old_tokens_one_is_not_excused() -> None:
    history = History()
    history.one.stops.append((13.0, math.inf))
    for _ in range(2):
        history.counter.serve(Entry(14.0, "coord-1", 2), None)
    assert "had just been woken" in history.broken()[0]
