"""`coord locks` and `coord leader`: who holds, who waits, now or live.

Owns the looking. It reads and watches, and creates nothing. What names mean is `lines`' business.

Rule that holds here: "since" is when somebody joined the line, as the server's clock has it; servers do not
know since when somebody holds.

Synopsis::

    code = await locks(zk, out, "/jobs/nightly")  # 1 if nobody holds
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import trio

from coord import Client, NoNode, States, Watch
from coord.cli.jobs import Output
from coord.cli.lines import Standing, Standings, arrangement, placed
from recipes import Kind
from recipes.beside import unwrapped

NOBODY = 1
"""The exit code where nobody holds, or leads."""


async def locks(zk: Client, out: Output, path: str, *, watch: bool = False) -> int:
    """Prints who holds what is at `path` and who waits; with `watch` again whenever that has changed."""
    return await _show(zk, out, path, lambda found: found, watch=watch)


async def leader(zk: Client, out: Output, path: str, *, watch: bool = False) -> int:
    """Prints who leads and who stands by; with `watch` again whenever that has changed."""

    def named(found: Standings) -> Standings:
        return replace(found, nobody="nobody leads", words=("leads", "waits"))

    return await _show(zk, out, path, named, watch=watch)


async def _show(
    zk: Client, out: Output, path: str, named: Callable[[Standings], Standings], *, watch: bool
) -> int:
    if not watch:
        found = await look(zk, path)
        out(named(found))
        return 0 if found.holders else NOBODY

    async def read(one: Watch) -> Standings:
        return await look(zk, path, one)

    async with States(zk.watch(), read, lambda found: found.everybody) as states:
        async for found in states:
            out(replace(named(found), live=True))
            await out.room()
    return 0


async def look(zk: Client, path: str, watch: Watch | None = None) -> Standings:
    """Everybody at `path`; `watch` tells when that may have changed."""
    names = await _children(zk, path, watch)
    seen = arrangement(path, names)
    if seen.line != path:
        line = placed(await _children(zk, seen.line, watch))
    else:
        line = placed(names)
    held: list[Standing] = []
    if seen.permits is not None:
        inside = names if seen.permits == path else await _children(zk, seen.permits, watch)
        permits = [(name, Kind.PERMIT, True) for name in inside if seen.is_permit(name)]
        held = await _all(zk, seen.permits, permits)
        held.sort(key=lambda one: one.stat.czxid)
    # Who is first in the line for permits has none yet.
    in_line = [(place.name, place.kind, first and seen.permits is None) for place, first in line]
    waiting = await _all(zk, seen.line, in_line)
    return Standings(path, (*held, *waiting), round(time.time() * 1000))


async def _children(zk: Client, path: str, watch: Watch | None) -> list[str]:
    """None if there is no such znode, whose creation is then watched for."""
    while True:
        try:
            return await zk.children(path, watch=watch)
        except NoNode:
            if watch is None or await zk.exists(path, watch=watch) is None:
                return []


async def _all(zk: Client, parent: str, those: Sequence[tuple[str, Kind, bool]]) -> list[Standing]:
    """Names, kinds, and whether they hold: as they stand, asked about at the same time; less those who have
    left meanwhile."""
    found: dict[str, Standing] = {}

    async def one(name: str, kind: Kind, holds: bool) -> None:
        path = f"{parent.rstrip('/')}/{name}"
        with suppress(NoNode):
            data, stat = await zk.get(path)
            found[name] = Standing(holds, kind.value, path, data or b"", stat)

    try:
        async with trio.open_nursery() as nursery:
            for each in those:
                nursery.start_soon(one, *each)
    except BaseExceptionGroup as group:
        raise unwrapped(group) from None
    return [found[name] for name, _, _ in those if name in found]
