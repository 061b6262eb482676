"""Sessions that have gone elsewhere without a word, as the log shows.

Owns which connections of this member are *overtaken*: their session has asked for something by way of another
member, so that, unless the client came back, nobody is at their other end. While one leader leads it knows
where each session is, and refuses what comes from elsewhere. A new leader does not; so before this member
tells it whom it serves, overtaken connections are closed. What they have asked for, or have on the way to
here, must not come after what their session did since.

Knows neither peers nor links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord.server.carrier import Phase
from coord.server.pending import member_of
from coord.server.tracker import in_hex

if TYPE_CHECKING:
    from coord.server.connection import Connection
    from coord.server.lobby import Lobby


class Moved:
    def __init__(self, lobby: Lobby, my_id: int) -> None:
        self._lobby = lobby
        self._my_id = my_id
        self._overtaken: dict[int, Connection] = {}

    def applied(self, session_id: int, number: int) -> None:
        """A request of the session, which nobody here waits for, is in the log."""
        connection = self._lobby.connection_of(session_id)
        if connection is not None and number and member_of(number) != self._my_id:
            self._overtaken[session_id] = connection

    def ended(self, session_id: int) -> None:
        """The session is over."""
        self._overtaken.pop(session_id, None)

    def leave_overtaken(self) -> tuple[int, ...]:
        """Closes the overtaken connections; returns the sessions that are connected here."""
        connection_of = self._lobby.connection_of
        for session_id, connection in self._overtaken.items():
            if connection_of(session_id) is connection:
                connection.close(f"session {in_hex(session_id)} has moved to another member")
        self._overtaken.clear()
        here = ((one, connection_of(one)) for one in self._lobby.session_ids())
        return tuple(one for one, connection in here if connection and connection.phase is Phase.OPEN)
