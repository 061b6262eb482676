"""The requests of this member's clients that wait for the log: who asked for what, in order.

Owns their numbers. A number names one request of one run of one member, for ever: the member in the top
byte, then 23 bits that the shell draws at random when the member starts, then a counter. It travels with the
request into the log, so that whoever applies the entry knows whose it is, whichever leader proposed it.

That is what lets a member keep its clients when it loses its leader. A request stays here until its entry is
applied. When the member has joined a new leader and applied everything that leader's history held then, a
request that is still here is not in that history, and no older leader can ever commit it: it can be sent
again, in order, and nothing is done twice. (Requests of a dropped link that its leader had not proposed yet,
that leader throws away; see `Replica.propose`.)

Knows neither peers nor links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from coord.wire.ensemble import Identities, Request

if TYPE_CHECKING:
    from coord.server.connection import Connection


class Pending:
    def __init__(self, member: int, boot: int) -> None:
        assert 0 <= member <= 0xFF
        assert 0 <= boot < 1 << 23
        # The member's top bit would be the sign: numbers are signed 64 bits where they travel.
        self._last = _signed(member << 56 | boot << 33)
        self._waiting: dict[int, tuple[Request, Connection]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[tuple[Request, Connection]]:
        """In the order in which they were asked for."""
        return iter(self._waiting.values())

    def add(
        self,
        connection: Connection,
        session_id: int,
        identities: Identities,
        asked: Iterable[tuple[int, bytes]],
    ) -> list[Request]:
        """Requests from the opcodes and bodies of what is `asked`, in order; pending from now on."""
        number, waiting = self._last, self._waiting
        requests: list[Request] = []
        for op, body in asked:
            number += 1
            request = session_id, number, op, identities, body
            waiting[number] = request, connection
            requests.append(request)
        self._last = number
        return requests

    def applied(self, number: int) -> Connection | None:
        """The entry with this number is applied: who asked for it, if it was one of ours."""
        found = self._waiting.pop(number, None)
        return None if found is None else found[1]

    def drop(self, number: int) -> None:
        """Nobody waits for it any more, and it was never sent on."""
        del self._waiting[number]


def member_of(number: int) -> int:
    """Which member gave this number."""
    return number >> 56 & 0xFF


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
