"""Znodes under names that others may want, too: whose one is, and until when.

Owns what brokers and the named members of a party have in common. Making such a znode is its recipe's own
business, giving it up is `grant.let_go_of_name`.

Rules that hold here:

- A znode of an earlier session of ours is about to vanish: it is deleted, never believed.
- Another's is waited for, as a dead session would take to end. It counts as alive only if it is the same one
  all the time (its data may change as often as they like), and after one more look: perhaps we have only been
  without a connection for so long.

Synopsis::

    standing = await whose(client, path, earlier_sessions, seconds=15, taken=NameTaken(path=path))
    if standing is not None:
        await until_gone(client, standing)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import trio

from coord import Client, CoordError, NoNode, SessionExpired
from recipes.grant import Standing

TAKEOVER_TIMEOUTS: Final = 1.5
"""of the session timeout: how long a name may be another session's before it is somebody alive"""


async def whose(
    client: Client, path: str, earlier: Collection[int], *, seconds: float, taken: CoordError
) -> Standing | None:
    """There is a znode at `path`: ours, after a create whose reply was lost, or None once it is gone.

    `earlier` are sessions of ours. Raises `taken` if another's does not go within `seconds`.
    """
    stat = await client.exists(path, linearizable=True)
    if stat is None:
        return None
    owner = stat.ephemeral_owner
    if owner == client.session.id:
        return Standing(path, stat.czxid, owner)
    if owner and owner in earlier:
        try:
            await client.delete(path)
        except NoNode:
            pass
        return None
    if await _outlives(client, Standing(path, stat.czxid, owner), seconds):
        raise taken
    return None


async def _outlives(client: Client, other: Standing, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await _until_other(client, other)
        return False
    stat = await client.exists(other.path, linearizable=True)
    return stat is not None and stat.czxid == other.czxid


async def until_gone(client: Client, standing: Standing) -> None:
    """Return once our znode is not there any more: gone with its session, or deleted."""
    if client.session.id == standing.session_id:
        try:
            await _until_other(client, standing)
        except SessionExpired:
            pass


async def _until_other(client: Client, standing: Standing) -> None:
    """Return once there is no such znode, or another one. Raises `SessionExpired` if our session ends."""
    while True:
        with client.watch() as watch:
            stat = await client.exists(standing.path, watch=watch)
            if stat is None or stat.czxid != standing.czxid:
                return
            await watch.wait()
