"""`coord top`: the servers of an ensemble, live.

Owns the asking (two words a look, each on a connection of its own, no session) and the picture. What answers
mean, and the cells, are `looks`'.

Rule that holds here: a server that does not answer holds up nobody; it is shown as silent.

Synopsis::

    await top("host1,host2,host3", out, Manner(interval=2.0), live=True)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import trio
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coord.cli.jobs import Output
from coord.cli.looks import (
    COLUMNS,
    LEFT,
    ORDERS,
    SILENT,
    Glance,
    Look,
    Row,
    aligned,
    cells,
    fitting,
    rates,
    read,
)
from coord.cli.members import ask_host, name_of
from coord.cli.results import Said
from coord.cli.screen import Screen
from coord.client.hosts import Host, parse_connect_string

COLOURS: Final = {"leader": "bold green", SILENT: "bold red", "waiting": "yellow", "read-only": "yellow"}
HINT: Final = "q: end   s: sort by "


@dataclass(frozen=True)
class Manner:
    """How it is looked: every `interval` seconds, sorted by one of `looks.ORDERS`."""

    interval: float = 1.0
    order: str = "server"
    once: bool = False


class Watcher:
    """Looks, and remembers the last look."""

    def __init__(self, servers: str) -> None:
        self._hosts, _ = parse_connect_string(servers)
        self._last: dict[Host, Look] = {}

    async def look(self) -> Glance:
        """All servers, asked at the same time."""
        found: dict[Host, Look] = {}

        async def one(host: Host) -> None:
            answers: dict[str, str] = {}

            async def word(which: str) -> None:
                answers[which] = await ask_host(host, which)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(word, "srvr")
                nursery.start_soon(word, "mntr")
            found[host] = read(name_of(host), answers["srvr"], answers["mntr"], trio.current_time())

        async with trio.open_nursery() as nursery:
            for host in self._hosts:
                nursery.start_soon(one, host)
        last, self._last = self._last, found
        return Glance(tuple((found[host], rates(found[host], last.get(host))) for host in self._hosts))


async def top(servers: str, out: Output, manner: Manner, *, live: bool, as_json: bool = False) -> int:
    """Shows the servers until cancelled, or until `q` is pressed, or `once`; `live`: as a picture.

    With `once` there is nothing to compare with, so no rates; 1 if nobody serves then.
    """
    watcher = Watcher(servers)
    if live and not manner.once:
        await _picture(watcher, manner)
        return 0
    while True:
        glance = await watcher.look()
        widths = tuple(max(map(len, column)) for column in zip(*_rows(glance, manner.order), strict=True))
        if not as_json:
            out(Said(aligned(tuple(COLUMNS), widths)))
        for look, rate in glance.sorted(manner.order):
            out(Row(look, rate, widths))
        await out.room()
        if manner.once:
            return 0 if any(look.is_well for look, _ in glance.pairs) else 1
        await trio.sleep(manner.interval)


def _rows(glance: Glance, order: str) -> list[tuple[str, ...]]:
    return [tuple(COLUMNS), *(cells(look, rate) for look, rate in glance.sorted(order))]


async def _picture(watcher: Watcher, manner: Manner) -> None:
    glance = await watcher.look()

    def draw() -> RenderableType:
        return picture(glance, manner, screen.console.width)

    def press(key: str) -> bool:
        nonlocal manner
        if key == "s":
            orders = list(ORDERS)
            manner = replace(manner, order=orders[(orders.index(manner.order) + 1) % len(orders)])
        return key in "qQ"

    async def follow() -> None:
        nonlocal glance
        while True:
            await trio.sleep(manner.interval)
            glance = await watcher.look()
            screen.touch()

    screen = Screen(draw, press)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await screen.run()
        nursery.cancel_scope.cancel(reason="a key has ended it")


def picture(glance: Glance, manner: Manner, width: int) -> RenderableType:
    """The table, with as many columns as fit into `width`, between a headline and the keys."""
    rows = _rows(glance, manner.order)
    count = fitting(rows, width)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="reverse", expand=True)
    for name in list(COLUMNS)[:count]:
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    for (look, _), row in zip(glance.sorted(manner.order), rows[1:], strict=True):
        table.add_row(*map(Text, row[:count]), style=COLOURS.get(look.mode, ""))
    hint = f"{HINT}{manner.order}   every {manner.interval:g} s"
    return Group(Text(glance.headline(), "bold"), Text(), table, Text(), Text(hint, "dim"))
