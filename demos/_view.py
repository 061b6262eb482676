"""What the audience sees: lines, or on a terminal with rich a live picture of the cluster.

Owns the presentation. It reads a `Picture` and the steps, and changes neither.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

import trio

from demos._picture import Picture

if TYPE_CHECKING:
    from rich.box import Box
    from rich.console import RenderableType

FRAME_SECONDS: Final = 0.1
OTHER_LINES: Final = 22
"""of the live view: what is left of the terminal is the feed's"""
COLUMNS_MIN: Final = 80
LINES_MIN: Final = OTHER_LINES + 2
WIDE_COLUMNS: Final = 116
"""The picture's size: the least that can be read, and what all columns of its tables need."""


class StepLike(Protocol):
    title: str
    observed: str
    seconds: float | None
    failed: bool


class View(Protocol):
    async def run(self) -> None:
        """Show what happens, until cancelled."""

    def close(self) -> None:
        """Show what has been proven."""


def can_show_live() -> bool:
    """Whether standard output is a terminal that is large enough, and rich is there to draw on it."""
    columns, lines = shutil.get_terminal_size()
    large = columns >= COLUMNS_MIN and lines >= LINES_MIN
    return sys.stdout.isatty() and large and find_spec("rich") is not None


def make_view(picture: Picture, steps: Sequence[StepLike], server: str, *, live: bool) -> View:
    """The live view, or lines."""
    return (LiveView if live else PlainView)(picture, steps, server)


class PlainView:
    """A line for each thing that happens."""

    def __init__(self, picture: Picture, steps: Sequence[StepLike], server: str) -> None:
        self._picture = picture
        self._steps = steps
        self._printed = 0
        print(f"server: {server}", flush=True)

    async def run(self) -> None:
        while True:
            self._print_news()
            await self._picture.changed()

    def _print_news(self) -> None:
        for happening in self._picture.feed[self._printed :]:
            print(f"{happening.at:6.2f}  {happening.text}", flush=True)
        self._printed = len(self._picture.feed)

    def close(self) -> None:
        self._print_news()
        print("\nproven by watching the znodes:")
        for step in self._steps:
            print(f"{_mark(step)} {_time(step):>7}  {step.title}")
            if step.observed:
                print(f"            {step.observed}")
        sys.stdout.flush()


class LiveView:
    """Brokers, partitions, steps and news in one picture, on a screen of its own while it runs."""

    def __init__(self, picture: Picture, steps: Sequence[StepLike], server: str) -> None:
        from rich.console import Console

        self._picture = picture
        self._steps = steps
        self._server = server
        self._console = Console()

    async def run(self) -> None:
        from rich.live import Live

        with Live(self._render(), console=self._console, auto_refresh=False, screen=True) as live:
            while True:
                live.update(self._render(), refresh=True)
                with trio.move_on_after(FRAME_SECONDS * 5):  # the clock of the present step goes on
                    await self._picture.changed()
                await trio.sleep(FRAME_SECONDS)

    def close(self) -> None:
        from rich.table import Table

        table = Table(title="proven by watching the znodes", title_justify="left", expand=False)
        table.add_column("")
        table.add_column("step")
        table.add_column("observed", style="cyan")
        table.add_column("took", justify="right")
        for step in self._steps:
            table.add_row(_mark(step), step.title, step.observed, _time(step))
        self._console.print(table)

    def _render(self) -> RenderableType:
        from rich.columns import Columns
        from rich.console import Group

        return Group(
            f"[bold]a cluster of brokers on coord[/]  [dim]{self._server}  {self._picture.now:5.1f} s[/]",
            Columns([self._brokers(), self._partitions()], padding=(0, 3)),
            self._progress(),
            self._news(),
        )

    def _brokers(self) -> RenderableType:
        from rich.table import Table

        picture = self._picture
        table = Table(title="/brokers/ids", title_justify="left", box=self._box())
        headings = ("broker", "state", "leads", "", *self._if_wide("epoch"))
        for heading in headings:
            table.add_column(heading, justify="left" if heading in ("state", "") else "right")
        for broker in sorted(picture.seen):
            there = picture.brokers.get(broker)
            office = "[yellow]controller[/]" if broker == picture.controller else ""
            if there is None:
                table.add_row(f"[dim]{broker}[/]", "[red]gone[/]", "", office)
            else:
                led = str(len(picture.led_by(broker)))
                epoch = self._if_wide(f"{there.epoch:#x}")
                table.add_row(str(broker), "[green]registered[/]", led, office, *epoch)
        table.caption = f"controller epoch {picture.controller_epoch}"
        return table

    def _partitions(self) -> RenderableType:
        from rich.table import Table

        picture = self._picture
        table = Table(title="/brokers/topics", title_justify="left", box=self._box())
        for heading in ("partition", "leader", "in sync", *self._if_wide("epoch", "assigned to")):
            table.add_column(heading)
        for which, replicas in picture.assignments.items():
            state = picture.partitions.get(which)
            if state is None:
                continue
            preferred = state.leader == replicas[0]
            leader = f"[{'green' if preferred else 'yellow'}]{state.leader}[/]"
            isr = " ".join(str(one) if one in state.isr else f"[dim strike]{one}[/]" for one in replicas)
            more = self._if_wide(str(state.leader_epoch), " ".join(map(str, replicas)))
            table.add_row(str(which), leader, isr, *more)
        return table

    def _if_wide(self, *cells: str) -> tuple[str, ...]:
        """More cells, if there is room for their columns."""
        return cells if self._console.width >= WIDE_COLUMNS else ()

    def _box(self) -> Box:
        from rich import box

        return box.HEAVY_HEAD if self._console.width >= WIDE_COLUMNS else box.SIMPLE_HEAD

    def _progress(self) -> RenderableType:
        from rich.text import Text

        room = min(self._console.width - 14, max(len(step.title) for step in self._steps))
        current = next((step for step in self._steps if step.seconds is None), None)
        lines = Text(no_wrap=True, overflow="crop")
        for step in self._steps:
            title = step.title if len(step.title) <= room else step.title[: room - 1] + "…"
            style = "bold" if step is current else "dim" if step.seconds is None else ""
            mark = "▸" if step is current and not step.failed else _mark(step)
            lines.append(f" {mark}  {title:<{room}} {_time(step):>8}\n", style)
        lines.rstrip()
        return lines

    def _news(self) -> RenderableType:
        from rich.panel import Panel
        from rich.text import Text

        room = max(1, self._console.height - OTHER_LINES)
        lines = [f"{at:6.2f}  {text}" for at, text in self._picture.feed[-room:]]
        lines += [""] * (room - len(lines))
        return Panel(
            Text("\n".join(lines), no_wrap=True), title="seen", title_align="left", border_style="dim"
        )


def _mark(step: StepLike) -> str:
    return "✗" if step.failed else "·" if step.seconds is None else "✓"


def _time(step: StepLike) -> str:
    return "" if step.seconds is None else f"{step.seconds:.2f} s"
