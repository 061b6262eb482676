"""What is measured: each scenario with coord's recipe and with kazoo's, and the figures that come of it.

Owns the list of scenarios and their sizes. How they are written is `with_coord`'s and `with_kazoo`'s.

Rules that hold here:

- Both libraries get the same server, the same number of open sessions, and the same work; they take turns.
- A figure is the median of the rounds; how far they were apart is in the JSON.

Synopsis::

    for scenario in scenarios(FULL):
        sample = await scenario.ours(sessions)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import with_coord, with_kazoo
from benchmarks.sample import Sample

SESSIONS: Final = 20
"""How many are open, for each library. In larger crowds they are shared by threads, or tasks."""


@dataclass(frozen=True)
class Figure:
    """One number that a sample yields."""

    name: str
    unit: str
    of: Callable[[Sample], float]


@dataclass(frozen=True)
class Scenario:
    """The same with both libraries. What is played `repeat` times counts as one sample."""

    name: str
    sessions: int
    figures: tuple[Figure, ...]
    ours: Callable[[with_coord.Sessions], Awaitable[Sample]]
    theirs: Callable[[with_kazoo.Sessions], Sample]
    repeat: int = 1


@dataclass(frozen=True)
class Sizes:
    """How much of everything: long enough to be told from noise, short enough to be waited for."""

    operations: int
    """of one caller alone"""
    waiters: tuple[int, ...]
    hand_overs: int
    """at least so many in a sample"""
    candidates: int
    members: int
    items: int
    consumers: int
    callers: int
    permits: int
    each: int
    """how often each caller acquires a permit"""


FULL: Final = Sizes(500, (2, 20, 100, 500), 200, 10, 100, 300, 10, 10, 3, 20)
QUICK: Final = Sizes(100, (2, 20, 100), 40, 10, 100, 100, 10, 10, 3, 5)
TINY: Final = Sizes(10, (2, 20), 10, 3, 10, 10, 2, 4, 2, 2)


def scenarios(sizes: Sizes) -> list[Scenario]:
    """All of them, in the order of the table."""
    return [
        _uncontended(sizes),
        *(_hand_over(sizes, waiters) for waiters in sizes.waiters),
        _elect(sizes),
        _permits(sizes),
        _pass_barrier(sizes),
        _put(sizes),
        *(_take(sizes, consumers) for consumers in (1, sizes.consumers)),
    ]


def _rate(unit: str) -> tuple[Figure, ...]:
    return (Figure("", unit, lambda sample: sample.rate),)


def _uncontended(sizes: Sizes) -> Scenario:
    def latency(percent: int) -> Figure:
        return Figure(f"p{percent}", "ms", lambda sample: sample.percentile(percent) * 1000)

    return Scenario(
        "lock, uncontended",
        1,
        (*_rate("acquire + release /s"), latency(50), latency(90), latency(99)),
        partial(with_coord.uncontended, count=sizes.operations),
        partial(with_kazoo.uncontended, count=sizes.operations),
    )


def _hand_over(sizes: Sizes, waiters: int) -> Scenario:
    return Scenario(
        f"lock, {waiters} waiters",
        min(waiters + 1, SESSIONS),
        _rate("hand-overs /s"),
        partial(with_coord.hand_over, waiters=waiters),
        partial(with_kazoo.hand_over, waiters=waiters),
        repeat=-(-sizes.hand_overs // waiters),
    )


def _elect(sizes: Sizes) -> Scenario:
    candidates = sizes.candidates
    return Scenario(
        f"election, {candidates} candidates",
        min(candidates + 1, SESSIONS),
        _rate("elections /s"),
        partial(with_coord.elect, candidates=candidates),
        partial(with_kazoo.elect, candidates=candidates),
        repeat=-(-sizes.hand_overs // candidates),
    )


def _permits(sizes: Sizes) -> Scenario:
    callers, limit, each = sizes.callers, sizes.permits, sizes.each
    return Scenario(
        f"semaphore, {callers} callers, {limit} permits",
        min(callers, SESSIONS),
        _rate("acquire + release /s"),
        partial(with_coord.permits, callers=callers, limit=limit, each=each),
        partial(with_kazoo.permits, callers=callers, limit=limit, each=each),
    )


def _pass_barrier(sizes: Sizes) -> Scenario:
    return Scenario(
        f"double barrier, {sizes.members} members",
        min(sizes.members, SESSIONS),
        (Figure("", "ms for all", lambda sample: 1000 / sample.rate),),
        partial(with_coord.pass_barrier, members=sizes.members),
        partial(with_kazoo.pass_barrier, members=sizes.members),
    )


def _put(sizes: Sizes) -> Scenario:
    return Scenario(
        "queue, 1 producer",
        1,
        _rate("put /s"),
        partial(with_coord.put, count=sizes.items),
        partial(with_kazoo.put, count=sizes.items),
    )


def _take(sizes: Sizes, consumers: int) -> Scenario:
    each = sizes.items // consumers
    return Scenario(
        f"queue, {consumers} consumer{'s' * (consumers > 1)}",
        min(consumers, SESSIONS),
        _rate("take + consume /s"),
        partial(with_coord.take, consumers=consumers, each=each),
        partial(with_kazoo.take, consumers=consumers, each=each),
    )
