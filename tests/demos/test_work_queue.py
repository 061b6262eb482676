"""The demo of a work queue that survives its workers."""

from __future__ import annotations

from demos.work_queue import PARCELS
from tests.demos.playing import play, proven


def test_each_item_is_done_exactly_once() -> None:
    lines = play("work_queue")
    claims = proven(lines)
    assert "are not done" in claims
    assert "what was held was taken again, once" in claims
    assert f"all {len(PARCELS)} parcels are in the ledger, each exactly once" in claims
    assert "the queue is empty" in claims
    assert sum("has parcel" in line for line in lines) == len(PARCELS) + 3
    assert sum("has lost parcel" in line for line in lines) == 1
