"""The checker of histories is itself checked: on histories known to be right, known to be wrong, and on small
ones of any kind against a search through all orders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability import (
    ANY,
    Kind,
    NotLinearizable,
    Operation,
    State,
    check,
    check_register,
)

EMPTY = State(b"", 0)


def read(called: float, returned: float, value: bytes, version: int, register: str = "r") -> Operation:
    return Operation(register, 0, Kind.READ, called, returned, result=State(value, version))


def write(called: float, returned: float, value: bytes, version: int, expected: int = ANY) -> Operation:
    return Operation("r", 0, Kind.WRITE, called, returned, value, expected, State(value, version))


def refused(called: float, returned: float, value: bytes, expected: int) -> Operation:
    return Operation("r", 0, Kind.WRITE, called, returned, value, expected)


def lost(called: float, value: bytes, expected: int = ANY) -> Operation:
    return Operation("r", 0, Kind.WRITE, called, inf, value, expected)


GOOD = {
    "nothing": [],
    "one after the other": [write(0, 1, b"a", 1), read(2, 3, b"a", 1)],
    "a read beside a write sees the old": [write(0, 9, b"a", 1), read(1, 2, b"", 0)],
    "a read beside a write sees the new": [write(0, 9, b"a", 1), read(1, 2, b"a", 1)],
    "old, then new": [write(0, 9, b"a", 1), read(1, 2, b"", 0), read(3, 4, b"a", 1)],
    "the later of two writes is first": [
        write(0, 9, b"a", 2),
        write(1, 8, b"b", 1),
        read(2, 3, b"b", 1),
        read(4, 5, b"a", 2),
    ],
    "a lost write happened": [lost(0, b"a"), read(5, 6, b"a", 1)],
    "a lost write did not happen": [lost(0, b"a"), read(5, 6, b"", 0), write(7, 8, b"b", 1)],
    "a lost write happened late": [
        lost(0, b"a"),
        read(5, 6, b"", 0),
        write(7, 8, b"b", 1),
        read(9, 10, b"a", 2),
    ],
    "compare and set": [write(0, 1, b"a", 1, 0), refused(2, 3, b"b", 0), write(4, 5, b"c", 2, 1)],
    "refused because of one beside it": [write(0, 9, b"a", 1), refused(1, 2, b"b", 0)],
    "refused because of a lost one": [lost(0, b"a"), refused(3, 4, b"b", 0), read(5, 6, b"a", 1)],
    "at one and the same moment": [write(0, 1, b"a", 1), read(1, 2, b"", 0)],
}

BAD = {
    "a value out of nowhere": [read(0, 1, b"x", 1)],
    "a stale read": [write(0, 1, b"a", 1), read(2, 3, b"", 0)],
    "new, then old": [write(0, 9, b"a", 1), read(1, 2, b"a", 1), read(3, 4, b"", 0)],
    "an acknowledged write is lost": [write(0, 1, b"a", 1), write(2, 3, b"b", 1)],
    "a write happens twice": [write(0, 1, b"a", 1), read(2, 3, b"a", 2)],
    "both compare and set": [write(0, 9, b"a", 1, 0), write(1, 8, b"b", 1, 0)],
    "refused without a reason": [refused(0, 1, b"a", 0)],
    "not refused": [write(0, 1, b"a", 1), write(2, 3, b"b", 2, 0)],
    "a lost write happens twice": [
        lost(0, b"a"),
        read(1, 2, b"a", 1),
        write(3, 4, b"b", 2),
        read(5, 6, b"a", 3),
    ],
    "a lost write happens before its call": [read(0, 1, b"a", 1), lost(2, b"a")],
    "a lost compare and set against its condition": [
        write(0, 1, b"a", 1),
        lost(2, b"b", 0),
        read(3, 4, b"b", 2),
    ],
    "two readers disagree about the order": [
        lost(0, b"a"),
        lost(0, b"b"),
        read(1, 2, b"a", 1),
        read(3, 4, b"b", 2),
        read(5, 6, b"a", 1),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_register_can_do_is_accepted(name: str) -> None:
    check_register(GOOD[name], EMPTY)


@pytest.mark.parametrize("name", BAD)
def test_what_no_register_can_do_is_rejected(name: str) -> None:
    with pytest.raises(NotLinearizable):
        check_register(BAD[name], EMPTY)


def test_it_names_the_operation_that_nothing_explains() -> None:
    stale = read(4, 5, b"", 0)
    with pytest.raises(
        NotLinearizable, match="cannot be explained: before it the register was one of"
    ) as error:
        check_register([write(0, 1, b"a", 1), read(2, 3, b"a", 1), stale, write(6, 7, b"b", 2)], EMPTY)
    assert error.value.operation == stale


def test_registers_are_checked_one_by_one() -> None:
    a, b = read(0, 1, b"", 0, "a"), read(2, 3, b"x", 1, "b")
    check([a], EMPTY)
    with pytest.raises(NotLinearizable):
        check([a, b], EMPTY)


# -- histories of a real register -------------------------------------------------------------------------


class Register:
    """Clients that each do one thing after the other, and a register that does it at one moment between."""

    def __init__(self, random: Random, clients: int, operations: int, losses: float = 0.1) -> None:
        self._random = random
        self._losses = losses
        self.done: list[tuple[float, Operation]] = []  # (when it took effect, what came of it)
        self.state = EMPTY
        clocks = [random.random() for _ in range(clients)]
        plans = []
        for number in range(operations):
            client = random.randrange(clients)
            called = clocks[client] + random.random()
            effect = called + random.random() * 2
            clocks[client] = returned = effect + random.random() * 2
            plans.append((effect, client, called, returned, b"%d" % number))
        for effect, client, called, returned, value in sorted(plans):
            self.done.append((effect, self._operation(client, called, returned, value)))

    @property
    def history(self) -> list[Operation]:
        return [operation for _, operation in self.done]

    def _operation(self, client: int, called: float, returned: float, value: bytes) -> Operation:
        random, before = self._random, self.state
        is_lost = random.random() < self._losses
        if random.random() < 0.4:
            result = None if is_lost else before
            return Operation("r", client, Kind.READ, called, inf if is_lost else returned, result=result)
        expected = random.choice((ANY, before.version, max(0, before.version - 1)))
        changes = expected in (ANY, before.version) and not (is_lost and random.random() < 0.5)
        if changes:
            self.state = State(value, before.version + 1)
        if is_lost:
            return Operation("r", client, Kind.WRITE, called, inf, value, expected)
        return Operation(
            "r", client, Kind.WRITE, called, returned, value, expected, self.state if changes else None
        )


registers = st.builds(
    Register,
    st.randoms(use_true_random=False),
    st.integers(1, 6),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.1, 0.3]),
)


@given(registers)
def test_histories_of_a_register_are_accepted(register: Register) -> None:
    check_register(register.history, EMPTY)


@given(registers, st.integers(0, 1000))
def test_a_changed_result_is_rejected(register: Register, which: int) -> None:
    """Results are values with versions, each written once: no other order makes up for a false one."""
    history = register.history
    known = [index for index, one in enumerate(history) if one.result is not None]
    if not known:
        return
    index = known[which % len(known)]
    result = history[index].result
    assert result is not None
    falsehoods = []
    if history[index].kind is Kind.READ:
        falsehoods.append(State(b"never written", result.version))
    if not any(one.unknown for one in history):  # a lost write may be the version that nobody saw
        falsehoods.append(State(result.value, result.version + 1))
    for false in falsehoods:
        changed = replace(history[index], result=false)
        with pytest.raises(NotLinearizable):
            check_register([*history[:index], changed, *history[index + 1 :]], EMPTY)


@given(registers, st.integers(0, 1000))
def test_a_read_of_what_was_overwritten_before_is_rejected(register: Register, which: int) -> None:
    """The most important one: what a deposed leader would serve."""
    overwritten = [EMPTY]
    stale = []
    for _, one in sorted(register.done, key=lambda each: each[1].called):
        older = [
            other.result
            for other in register.history
            if other.kind is Kind.WRITE and other.result is not None and other.returned < one.called
        ]
        newest = max((state.version for state in older), default=0)
        if one.kind is Kind.READ and not one.unknown and newest > 0:
            candidates = [state for state in (*overwritten, *older) if state.version < newest]
            stale.append((one, candidates[which % len(candidates)]))
    if stale:
        victim, state = stale[which % len(stale)]
        history = [replace(one, result=state) if one is victim else one for one in register.history]
        with pytest.raises(NotLinearizable):
            check_register(history, EMPTY)


@given(registers, st.integers(0, 1000))
def test_a_forgotten_write_is_rejected(register: Register, which: int) -> None:
    """Acknowledged, and gone: it keeps its place in the history, and everything after it happens without."""
    writes = [one for one in register.history if one.kind is Kind.WRITE and one.result is not None]
    later = [one for one in register.history if one.result is not None]
    if not writes or not later:
        return
    victim = writes[which % len(writes)]
    assert victim.result is not None
    history = []
    for one in register.history:
        if one is not victim and one.result is not None and one.result.version > victim.result.version:
            one = replace(one, result=State(one.result.value, one.result.version - 1), expected=ANY)
        history.append(one)
    taken = [one for one in history if one.kind is Kind.WRITE and one.result is not None]
    if len({one.result.version for one in taken if one.result}) == len(taken):
        return  # it was the last one: nobody can tell
    with pytest.raises(NotLinearizable):
        check_register(history, EMPTY)


# -- any history, against all orders -----------------------------------------------------------------------

states = st.builds(State, st.sampled_from([b"a", b"b"]), st.integers(0, 2)) | st.just(EMPTY)


@st.composite
def any_operations(draw: st.DrawFn) -> Operation:
    called = draw(st.integers(0, 8))
    is_lost = draw(st.integers(0, 4)) == 0
    returned = inf if is_lost else called + draw(st.integers(1, 4))
    if draw(st.booleans()):
        return Operation("r", 0, Kind.READ, called, returned, result=None if is_lost else draw(states))
    value, expected = draw(st.sampled_from([b"a", b"b"])), draw(st.sampled_from([ANY, ANY, 0, 1]))
    result = None if is_lost or draw(st.booleans()) else State(value, draw(st.integers(1, 3)))
    if result is None and not is_lost:
        expected = max(expected, 0)
    return Operation("r", 0, Kind.WRITE, called, returned, value, expected, result)


@given(st.lists(any_operations(), max_size=5))
def test_it_says_what_a_search_through_all_orders_says(history: list[Operation]) -> None:
    try:
        check_register(history, EMPTY)
        accepted = True
    except NotLinearizable:
        accepted = False
    assert accepted == any_order_explains(history)


def any_order_explains(history: Sequence[Operation]) -> bool:
    """Without any cleverness: each order of the operations, each choice of the lost ones that happened."""
    lost_ones = [index for index, one in enumerate(history) if one.unknown]
    known = [index for index, one in enumerate(history) if not one.unknown]
    for choice in range(1 << len(lost_ones)):
        happened = [index for bit, index in enumerate(lost_ones) if choice >> bit & 1]
        for order in permutations([*known, *happened]):
            if _keeps_time([history[index] for index in order]) and _explains([history[i] for i in order]):
                return True
    return False


def _keeps_time(order: Sequence[Operation]) -> bool:
    return not any(
        later.returned < earlier.called for place, earlier in enumerate(order) for later in order[place + 1 :]
    )


def _explains(order: Sequence[Operation]) -> bool:
    state = EMPTY
    for one in order:
        if one.kind is Kind.READ:
            if not one.unknown and one.result != state:
                return False
            continue
        took = one.expected in (ANY, state.version)
        after = State(one.value, state.version + 1) if took else state
        if not one.unknown and one.result != (after if took else None):
            return False
        state = after
    return True


def test_a_long_history_takes_little_time() -> None:
    register = Register(Random(1), 10, 10_000, losses=0.01)
    began = time.monotonic()
    check_register(register.history, EMPTY)
    assert time.monotonic() - began < 10
