"""Whose session is meant: by its id, or by the client that has it, kazoo's or coord's.

Owns nothing, and imports no client: what is looked at is what each of them shows.

Synopsis::

    session_id_of(KazooClient(...))  # and coord's clients, their sessions and handles
    session_id_of(0x1700000001)
"""

from __future__ import annotations

from coord.server.tracker import SESSION_ID_MASK


def session_id_of(client: object) -> int:
    """Signed, as it travels (ids are also taken as they are printed). Raises `TypeError` for what has no
    session, `ValueError` for a client that has none now."""
    found = _look_at(client)
    if found is None:
        raise TypeError(f"expected a session id, or a client of kazoo's or coord's, not {client!r}")
    if found == 0:
        raise ValueError(f"{client!r} has no session now: it is not connected, or its session has ended")
    found &= SESSION_ID_MASK
    return found - (1 << 64) if found >= 1 << 63 else found


def _look_at(client: object) -> int | None:
    """None: nothing there looks like a session; 0: there is none now."""
    if isinstance(client, int) and not isinstance(client, bool):
        return client
    if hasattr(client, "client_id"):  # kazoo's: a pair, None before the first connection
        return 0 if client.client_id is None else _first(client.client_id)
    if hasattr(client, "session"):
        return _look_at(client.session)
    if isinstance(client, tuple):
        return _first(client)
    found = getattr(client, "id", None)
    return found if isinstance(found, int) else None


def _first(pair: tuple[object, ...]) -> int | None:
    return pair[0] if pair and isinstance(pair[0], int) else None
