"""Waiting for what happens to a line of contenders, by watches of the test's own."""

from __future__ import annotations

import coord
from coord import Client


async def until_waiting(zk: Client, path: str, count: int) -> None:
    """Wait until there are `count` children at `path`."""
    async with zk.watch_children(path) as states:
        async for names in states:
            if len(names or ()) == count:
                return


async def until_empty(zk: Client, path: str) -> None:
    await until_waiting(zk, path, 0)


async def end_session(hosts: str, zk: Client) -> None:
    """Expire the client's session, as the server would: resumed by another connection and closed there."""
    async with coord.connect(hosts, session=zk.session.handle):
        pass
