"""The arithmetic of ending a command in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.deadline import GRACE_MAX, Moments, grace_of, moments
from coord.client.lease import MARGIN, PING_AFTER, SILENCE


def test_the_usual_grace_begins_when_the_guarantee_ends() -> None:
    assert moments(valid_until=100.0, timeout=12.0, grace=grace_of(12.0, None)) == Moments(100.0, 101.0)


def test_a_longer_grace_begins_earlier_and_ends_at_the_same_moment() -> None:
    assert moments(valid_until=100.0, timeout=12.0, grace=grace_of(12.0, 3.0)) == Moments(98.0, 101.0)
    with pytest.raises(ValueError, match=r"a grace of 3.1 s needs a session timeout of 12.4 s"):
        grace_of(12.0, 3.1)
    with pytest.raises(ValueError, match="a grace of nan s"):
        grace_of(12.0, float("nan"))


@given(st.floats(0.05, 1000), st.floats(0, 1))
def test_it_is_dead_before_anybody_else_and_not_disturbed_before_a_server_is_given_up(
    timeout: float, part: float
) -> None:
    sent = 50.0
    found = moments(sent + timeout * (1 - MARGIN), timeout, grace_of(timeout, part * timeout * GRACE_MAX))
    assert found.kill_at <= sent + timeout * (1 - 1 / 13)
    assert sent + timeout * (PING_AFTER + SILENCE) < found.term_at <= found.kill_at
