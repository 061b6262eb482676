"""A leader and a follower that is slower than the others: what it is sent, and when."""

from __future__ import annotations

from coord.wire.members import Ack, Proposal
from tests.zab.table import Table


def slow_follower(in_flight_bytes: int, recent_bytes: int = 1 << 20) -> Table:
    """1 acknowledges nothing any more, for a while."""
    table = Table([1, 2, 3], in_flight_bytes=in_flight_bytes, recent_bytes=recent_bytes)
    table.start(1, 2, 3)
    table.run_until(table.serves)
    table.held = lambda sender, to, message: sender == 1 and isinstance(message, Ack)
    return table


def test_a_slow_follower_gets_no_more_than_it_acknowledges() -> None:
    table = slow_follower(in_flight_bytes=4)
    for number in range(20):
        table.propose(3, b"%02d" % number)
    table.quiet()
    assert table.peer(3).committed == table.peer(3).history.logged, "nobody waits for it"
    assert len(table.log(1)) == 2
    table.held = lambda sender, to, message: False
    table.quiet()
    assert table.log(1) == table.log(3)
    assert table.peer(1).committed == table.peer(3).committed


def test_what_is_held_back_goes_on_in_order_with_what_is_new() -> None:
    """Each acknowledgement makes room for one more; that is not for the newest."""
    table = slow_follower(in_flight_bytes=8)
    for number in range(10):
        table.propose(3, b"%02d" % number)
    table.quiet()
    role = table.peer(1).role
    (wire,) = [wire for wire in table.wires if wire.follower == 1]
    for number in range(10, 14):
        (ack, *others), waiting = wire.under_way[3], wire.under_way[3]
        waiting.clear()
        table.peer(3).receive(wire.end_of(3), ack)
        waiting.extend(others)
        table.propose(3, b"%02d" % number)
    table.held = lambda sender, to, message: False
    table.quiet()
    assert table.log(1) == [b"%02d" % number for number in range(14)]
    assert table.peer(1).role is role, "a gap would have made it synchronise anew"


def test_a_follower_for_which_memory_is_too_short_synchronises_anew() -> None:
    table = slow_follower(in_flight_bytes=4, recent_bytes=10)
    for number in range(20):
        table.propose(3, b"%02d" % number)
    table.quiet()
    table.held = lambda sender, to, message: False
    table.quiet()
    table.run_until(lambda: table.serves() and table.log(1) == table.log(3))
    assert table.peer(3).leading
    assert Proposal(1 << 32 | 1, 1 << 32 | 1, b"00") in table.seats[1].disk.history
