"""How requests become batches: their order, their bounds, and what came over links that are gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coord.limits import BATCH_BYTES_MAX, BATCH_REQUESTS_MAX
from coord.server.submitted import Submitted
from coord.wire.ensemble import Request
from coord.zab.links import Link

LINKS = [None, Link(2, 1), Link(3, 2)]
MEGABYTE = bytes(1 << 20)


def requests_of(first: int, sizes: list[int]) -> list[Request]:
    """Numbered from `first` on; the body of size 3 has three megabytes."""
    return [(1, first + index, 5, (), MEGABYTE * size) for index, size in enumerate(sizes)]


@given(
    st.lists(st.tuples(st.sampled_from(LINKS), st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), max_size=6))),
    st.sets(st.sampled_from(LINKS[1:])),
)
def test_all_that_came_over_living_links_goes_out_in_order(
    runs: list[tuple[Link | None, list[int]]], living: set[Link]
) -> None:
    submitted, expected, last = Submitted(), [], 0
    for link, sizes in runs:
        requests = requests_of(last + 1, sizes)
        last += len(sizes)
        submitted.add(requests, link)
        if link is None or link in living:
            expected += requests
    assert len(submitted) == last
    taken: list[Request] = []
    while batch := submitted.take(7, 1, living):
        assert batch.first_zxid == 7
        assert len(batch) <= BATCH_REQUESTS_MAX
        size = sum(len(body) for *_, body in batch.requests)
        assert size <= BATCH_BYTES_MAX or len(batch) == 1
        taken += batch.requests
    assert taken == expected
    assert not submitted


def test_a_batch_has_no_more_than_its_bound() -> None:
    submitted = Submitted()
    for link in (None, Link(2, 1)):
        submitted.add(requests_of(1, [0] * (BATCH_REQUESTS_MAX - 1)), link)
    counts = []
    while batch := submitted.take(1, 1, {Link(2, 1)}):
        counts.append(len(batch))
    assert counts == [BATCH_REQUESTS_MAX, BATCH_REQUESTS_MAX - 2]


def test_what_is_cleared_is_not_proposed() -> None:
    submitted = Submitted()
    submitted.add(requests_of(1, [0]))
    submitted.clear()
    assert submitted.take(1, 1, ()) is None
