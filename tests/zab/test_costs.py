"""What a write costs an ensemble, counted: messages between members, and writes to their disks.

Each member other than the leader is sent the proposal, acknowledges it, and is told that it is committed:
three messages, whether it votes or observes. Everybody logs it. (One proposal is all the requests that a
server has gathered while its disk was busy: they share these costs.)
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.zab.table import Table


def messages(table: Table) -> Counter[str]:
    """How often each kind was heard; heartbeats do not count."""
    kinds = (line.split()[3] for line in table.heard)
    return Counter(kind for kind in kinds if kind not in ("Ping", "Pong"))


@pytest.mark.parametrize(("voters", "observers"), [(1, 0), (3, 0), (5, 0), (7, 0), (3, 2), (3, 4)])
def test_a_write_is_three_messages_for_each_member_but_the_leader(voters: int, observers: int) -> None:
    members = range(1, voters + observers + 1)
    table = Table(members[:voters], members[voters:])
    table.start(*members)
    table.run_until(table.serves)
    table.propose(table.leader, b"first")
    table.run()

    table.heard.clear()
    table.propose(table.leader, b"a")
    table.quiet()
    others = len(members) - 1
    expected = {"Append": others, "Ack": others, "Commit": others} if others else {}
    assert messages(table) == expected
    assert all(table.log(member)[-1] == b"a" for member in members)
