"""Who holds and who waits, by names alone."""

from __future__ import annotations

from coord.cli.lines import arrangement, placed
from coord.cli.texts import age

GUID = "c04e2b1c5b0d4a7d8f6e1a2b3c4d5e6f"
DASHES = "c04e2b1c-5b0d-4a7d-8f6e-1a2b3c4d5e6f"


def holders(*names: str) -> list[str]:
    return [place.name for place, first in placed(names) if first]


def test_a_lock_is_held_by_the_first_in_line() -> None:
    first, second = f"{GUID}__lock__0000000003", f"{GUID}__lock__0000000010"
    assert arrangement("/a", [second, first]).line == "/a"
    assert holders(second, first) == [first]
    assert holders(f"_c_{DASHES}-lock-0000000001", f"_c_{DASHES}-lock-0000000002") == [
        f"_c_{DASHES}-lock-0000000001"
    ]
    assert holders("no-number", "config") == []


def test_readers_hold_together() -> None:
    readers = [f"{GUID}__rlock__000000000{n}" for n in (1, 2)]
    writer = f"{GUID}__lock__0000000003"
    assert holders(writer, *readers) == readers
    assert holders(f"_c_{DASHES}-__WRIT__0000000001", f"_c_{DASHES}-__READ__0000000002") == [
        f"_c_{DASHES}-__WRIT__0000000001"
    ]


def test_semaphores_have_their_permits_beside_their_line() -> None:
    kazoo = arrangement("/s", [GUID, "other"])
    assert (kazoo.line, kazoo.permits) == ("/s-__lock__", "/s")
    assert (kazoo.is_permit(GUID), kazoo.is_permit("other")) == (True, False)
    curator = arrangement("/s", ["leases", "locks"])
    assert (curator.line, curator.permits) == ("/s/locks", "/s/leases")
    assert curator.is_permit(f"_c_{DASHES}-lease-0000000001")


def test_ages_have_two_units_at_most_and_are_never_negative() -> None:
    seconds = (-5, 0, 59, 60, 3599, 3600, 86399, 86400, 90000)
    assert [age(one * 1000) for one in seconds] == [
        *("0s", "0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h", "1d01h")
    ]
