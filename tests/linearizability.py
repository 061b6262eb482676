"""Is a history of a register linearizable? A checker after Wing and Gong (1993) and Lowe (2017).

A history is what clients saw: when each operation was called and when it returned, on one clock, and with
what result. It is linearizable if each operation can be thought to take effect at one moment between its call
and its return, so that a plain register, asked in that order, gives the very same results. An operation whose
outcome is unknown may take effect at any time after its call, or never.

The search goes through calls and returns in the order of time, with the set of all configurations that can be
true so far: a register's state, and which of the operations under way have taken effect. Nothing takes effect
before it must (Lowe's just-in-time linearization): only at the return of an operation are those put in order
that can explain it. A configuration is kept once however many orders lead to it; when none is left, the
history is wrong, and the operation that returned last shows where.

Each register can be checked by itself: a history of several is linearizable if each of them is (Herlihy and
Wing 1990).

A register here is a znode's data: a value with a version, that a write counts up, and a write that names a
version other than the present one changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import NamedTuple

ANY = -1
"""the version of a write that names none"""


class State(NamedTuple):
    value: bytes
    version: int


class Kind(Enum):
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Operation:
    """`returned` is inf, and `result` None, if nobody knows what became of it."""

    register: str
    client: int
    kind: Kind
    called: float
    returned: float = inf
    value: bytes = b""
    """what a write writes"""
    expected: int = ANY
    """the version a write names"""
    result: State | None = None
    """what a read saw; what a write left behind; None of a write that returned: another version was there"""

    @property
    def unknown(self) -> bool:
        return self.returned == inf

    @property
    def changes(self) -> bool:
        """Did it, or may it have changed the register?"""
        return self.kind is Kind.WRITE and (self.unknown or self.result is not None)

    def apply(self, state: State) -> State | None:
        """The state after it took effect in `state`; None if it cannot have taken effect there (or if nobody
        would know whether it did)."""
        if self.kind is Kind.READ:
            return state if self.result == state else None
        if self.expected not in (ANY, state.version):
            return None if self.unknown or self.result is not None else state
        after = State(self.value, state.version + 1)
        return after if self.unknown or self.result == after else None


class NotLinearizable(AssertionError):
    """`operation` returned what no order can explain."""

    def __init__(self, operation: Operation, configurations: Iterable[tuple[State, frozenset[int]]]) -> None:
        self.operation = operation
        states = sorted({state for state, _ in configurations})
        super().__init__(f"{operation} cannot be explained: before it the register was one of {states}")


def check(operations: Iterable[Operation], initial: State) -> None:
    """Raises `NotLinearizable` unless each register's operations are; each register begins as `initial`."""
    registers: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        registers[operation.register].append(operation)
    for history in registers.values():
        check_register(history, initial)


Configuration = tuple[State, frozenset[int]]
"""a state, and which of the operations under way it is the effect of"""


def check_register(history: Iterable[Operation], initial: State) -> None:
    operations = [one for one in history if not (one.unknown and one.kind is Kind.READ)]
    search = _Search(operations)
    configurations: set[Configuration] = {(initial, frozenset())}
    for _, returns, index in _moments(operations):
        if not returns:
            search.under_way[index] = operations[index]
            continue
        explained = search.explain(index, configurations)
        if not explained:
            raise NotLinearizable(operations[index], configurations)
        del search.under_way[index]
        configurations = {(state, done - {index}) for state, done in explained}


def _moments(operations: list[Operation]) -> list[tuple[float, bool, int]]:
    """(time, is it a return?, which operation), in order. At one and the same time calls come first: then
    the two overlap, which demands less."""
    calls = [(one.called, False, index) for index, one in enumerate(operations)]
    returns = [(one.returned, True, index) for index, one in enumerate(operations) if not one.unknown]
    return sorted(calls + returns)


class _Search:
    """What the whole history tells of each version narrows the search: who wrote it, and what it was. (Else
    every lost write could be each version that is not explained yet.)"""

    def __init__(self, operations: list[Operation]) -> None:
        self.under_way: dict[int, Operation] = {}
        self._value_of: dict[int, bytes] = {}
        self._writer_known: set[int] = set()
        for one in operations:
            if one.result is not None:
                self._value_of[one.result.version] = one.result.value
                if one.kind is Kind.WRITE:
                    self._writer_known.add(one.result.version)
        self._seen_values = set(self._value_of.values())

    def explain(self, wanted: int, configurations: Iterable[Configuration]) -> set[Configuration]:
        """All configurations in which the operation `wanted` took effect, with as few writes as it takes."""
        found: set[Configuration] = set()
        to_do = [(state, self._with_reads(state, done)) for state, done in configurations]
        seen = set(to_do)
        while to_do:
            state, done = to_do.pop()
            if wanted in done:
                found.add((state, done))
                continue
            for index in self._worth_trying(wanted, state, done):
                after = self.under_way[index].apply(state)
                if after is not None:
                    configuration = (after, self._with_reads(after, done | {index}))
                    if configuration not in seen:
                        seen.add(configuration)
                        to_do.append(configuration)
        return found

    def _with_reads(self, state: State, done: frozenset[int]) -> frozenset[int]:
        """What changes nothing takes effect as soon as it can: that leaves all else as possible as before."""
        return done.union(
            index
            for index, one in self.under_way.items()
            if not one.unknown and not one.changes and one.apply(state) is not None
        )

    def _worth_trying(self, wanted: int, state: State, done: frozenset[int]) -> list[int]:
        """Versions only grow: what takes the register beyond the one that `wanted` saw explains nothing."""
        result = self.under_way[wanted].result
        if result is not None and state.version >= result.version:
            return []
        next_ones = [
            index
            for index, one in self.under_way.items()
            if index not in done and one.changes and one.expected in (ANY, state.version)
        ]
        if state.version + 1 in self._writer_known:
            return [index for index in next_ones if not self.under_way[index].unknown]
        lost_ones = [index for index in next_ones if self.under_way[index].unknown]
        if state.version + 1 in self._value_of:
            value = self._value_of[state.version + 1]
            return [index for index in lost_ones if self.under_way[index].value == value]
        return self._without_equals(lost_ones)

    def _without_equals(self, lost_ones: list[int]) -> list[int]:
        """For a version that nobody saw: of the writes whose value nobody ever saw one is as good as the
        other; one that can only be this version is taken first."""
        seen = [index for index in lost_ones if self.under_way[index].value in self._seen_values]
        unseen = [index for index in lost_ones if self.under_way[index].value not in self._seen_values]
        unseen.sort(key=lambda index: (self.under_way[index].expected == ANY, index))
        return seen + unseen[:1]
