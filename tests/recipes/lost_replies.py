"""Requests that were executed although their reply was lost, with and without the session.

Synopsis, in a world of `faults`::

    await lose_reply(world, Op.MULTI, attempt, session=True)  # attempt(zk) runs to its end meanwhile
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

import coord
from coord.wire.records import Op
from tests.recipes.faults import World


async def lose_reply(
    world: World, op: Op, attempt: Callable[[coord.Client], Awaitable[object]], *, session: bool
) -> None:
    """Run `attempt` with the first member's client; the reply to its first `op` is lost, and with `session`
    that is the end of the session as well."""
    member = world.members[0]
    member.proxy.swallow_reply(op, then_closed=session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, member.zk)
        await member.proxy.lost.wait()
        if session:
            async with coord.connect(world.server.connect_string, session=member.zk.session.handle):
                pass
        member.proxy.heal()
    await world.heal()
