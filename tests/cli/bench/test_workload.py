"""Which znodes a load needs, and which requests it consists of, read by the protocol's own records."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.bench.workload import FOLDERS, OPERATIONS, Plan, Request, Workload, workload_of, znodes
from coord.wire.records import REQUEST_OF, CreateRequest, Op, SetDataRequest

ROOT = "/app/coord-bench-1"
PLAN = Plan(operations=OPERATIONS, keys=250, size=7)


def read(request: Request) -> tuple[int, object]:
    """The opcode and the record."""
    body = request.head + request.tail
    assert request.length == 4 + len(body)
    op = int.from_bytes(body[:4], "big")
    record = REQUEST_OF[op].from_bytes(body, 4)
    assert record.encode() == body[4:]
    return op, record


def everything(workload: Workload) -> list[tuple[int, object]]:
    return [read(request) for request in workload.requests(0, workload.cycle)]


def paths_of(workload: Workload) -> set[str]:
    return {getattr(record, "path") for _, record in everything(workload)}  # noqa: B009 - of several classes


@pytest.mark.parametrize(
    ("operation", "op"),
    [("get", Op.GET_DATA), ("exists", Op.EXISTS), ("children", Op.GET_CHILDREN), ("set", Op.SET_DATA)],
)
def test_an_operation_asks_for_znodes_that_are_there(operation: str, op: Op) -> None:
    there = {path for path, _ in znodes(ROOT, PLAN)}
    workload = workload_of(operation, PLAN, ROOT)
    assert {found for found, _ in everything(workload)} == {op}
    assert paths_of(workload) <= there
    assert set(workload.operations(0, workload.cycle)) == {0}
    assert workload.names == (operation,)


def test_every_key_is_asked_for() -> None:
    keys = {path for path, data in znodes(ROOT, PLAN) if data}
    assert len(keys) == 250
    assert paths_of(workload_of("get", PLAN, ROOT)) == keys


def test_set_writes_the_size_that_was_asked_for_whatever_the_version() -> None:
    for _, record in everything(workload_of("set", PLAN, ROOT)):
        assert isinstance(record, SetDataRequest)
        assert (record.data, record.version) == (b"x" * 7, -1)


def test_created_znodes_have_new_names_below_parents_that_are_there() -> None:
    there = {path for path, _ in znodes(ROOT, PLAN)}
    workload = workload_of("create", PLAN, ROOT)
    found = [*everything(workload), *everything(workload)]
    records = [record for _, record in found if isinstance(record, CreateRequest)]
    paths = [record.path for record in records]
    assert len(set(paths)) == len(found) == 2 * workload.cycle
    parents = Counter(path.rpartition("/")[0] for path in paths)
    assert set(parents) <= there
    assert max(parents.values()) <= len(found) // FOLDERS + 1
    assert {(record.data, record.flags) for record in records} == {(b"x" * 7, 0)}


@given(st.integers(0, 100))
def test_mixed_has_its_share_of_reads_and_says_which_is_which(percent: int) -> None:
    plan = Plan(operations=("mixed",), keys=3, read_percent=percent)
    workload = workload_of("mixed", plan, ROOT)
    ops = [op for op, _ in everything(workload)]
    assert workload.names == ("get", "set")
    assert [(Op.GET_DATA, Op.SET_DATA)[which] for which in workload.operations(0, workload.cycle)] == ops
    share = 100 * ops.count(Op.GET_DATA) / len(ops)
    assert share == percent if percent in (0, 100) else abs(share - percent) < 3


@given(st.sampled_from(OPERATIONS), st.integers(0, 9999), st.integers(1, 1000))
def test_a_slice_of_the_cycle_ends_with_it(operation: str, place: int, count: int) -> None:
    workload = workload_of(operation, Plan(keys=2), ROOT)
    wanted = min(count, workload.cycle - place)
    assert len(workload.requests(place, count)) == len(workload.operations(place, count)) == wanted


def test_every_run_asks_for_the_same() -> None:
    one, other = (workload_of("mixed", PLAN, ROOT) for _ in range(2))
    assert list(one.requests(0, one.cycle)) == list(other.requests(0, one.cycle))


@pytest.mark.parametrize("operations", [("get",), ("create",), OPERATIONS])
def test_parents_come_before_children_and_nothing_twice(operations: tuple[str, ...]) -> None:
    known = {ROOT}
    for path, _ in znodes(ROOT, Plan(operations=operations, keys=201)):
        assert path.rpartition("/")[0] in known
        assert path not in known
        known.add(path)


def test_only_what_is_needed_is_created() -> None:
    assert not any("/new" in path for path, _ in znodes(ROOT, Plan(operations=("get",))))
    assert not any("/keys" in path for path, _ in znodes(ROOT, Plan(operations=("create",))))


def test_the_intent_says_what_will_be_written_and_where() -> None:
    texts = [
        plan.intent("zk1:2181", ROOT).sentence
        for plan in (
            Plan(operations=("get",)),
            Plan(operations=("set",), requests=5000, seconds=None),
            Plan(operations=("create",), rate=50.0, warm_up=0),
        )
    ]
    assert all(f"writes below {ROOT}, deleted at the end:" in text for text in texts)
    assert texts[0].endswith("1,000 znodes of 100 bytes, then only reads")
    assert texts[1].endswith("1,000 znodes of 100 bytes, then set: 5,000 requests and 1 s of warm-up")
    assert texts[2].endswith("256 empty znodes, then create: 5 s")
    assert "50 requests a second" in texts[2]
    assert all(len(line) <= 80 for text in texts for line in text.splitlines())
