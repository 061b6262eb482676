"""What the audience sees: lines, or on a terminal with rich a live picture of the cluster.

Owns the presentation. It reads a `Picture` and the steps, and changes neither.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Container, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

import trio

from demos._picture import Picture

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FRAME_SECONDS: Final = 0.1
COLUMNS_MIN: Final = 80
LINES_MIN: Final = 24
"""The least that can be read."""
ROOMY_COLUMNS: Final = 116
ROOMY_LINES: Final = 38
"""What all columns of the tables need, and their lines."""
OTHER_LINES: Final = 20
OTHER_LINES_ROOMY: Final = 35
"""of the live view: what is left of the terminal is the feed's"""


STEPS_SHOWN: Final = 8
"""of the live view, if it is not roomy: the present one and those around it"""
INTRODUCTION: Final = "Brokers and servers leave, hang and die, and the cluster goes on (40 s)"


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
        print(f"{INTRODUCTION}\nservers: {server}", flush=True)

    async def run(self) -> None:
        while True:
            self._print_news()
            await self._picture.changed()

    def _print_news(self) -> None:
        for happening in self._picture.feed[self._printed :]:
            print(_wrapped(f"{happening.at:6.2f}  ", happening.text), flush=True)
        self._printed = len(self._picture.feed)

    def close(self) -> None:
        self._print_news()
        print("\nproven by watching the znodes:")
        for step in self._steps:
            print(f"{_mark(step)} {_time(step):>7}  {step.title}")
            if step.observed:
                print(_wrapped(" " * 12, step.observed))
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
        from rich.console import Group

        if self._roomy:
            parts = (
                self._beside(self._brokers(), self._partitions()),
                self._beside(self._progress(), self._ensemble()),
            )
        else:
            left = Group(self._ensemble(), "", self._brokers())
            parts = (self._beside(left, self._partitions()), self._progress())
        heading = f"[bold]{INTRODUCTION}[/]\n[dim]{self._server}  {self._picture.now:5.1f} s[/]"
        return Group(heading, *parts, self._news())

    def _beside(self, left: RenderableType, right: RenderableType) -> RenderableType:
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_row(left, right)
        return grid

    @property
    def _roomy(self) -> bool:
        return self._console.width >= ROOMY_COLUMNS and self._console.height >= ROOMY_LINES

    def _table(self, title: str, *headings: str, right: Container[str] = ()) -> Table:
        from rich import box
        from rich.table import Table

        if self._roomy:
            table = Table(title=title, title_justify="left", box=box.HEAVY_HEAD)
        else:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in headings:
            table.add_column(heading, justify="right" if heading in right else "left")
        return table

    def _ensemble(self) -> RenderableType:
        table = self._table("the ensemble", "server", "mode", "zxid", right=("server", "zxid"))
        for server, status in sorted(self._picture.servers.items()):
            if status.mode == "silent":
                table.add_row(f"[dim]{server}[/]", "[red]gone[/]", "")
            else:
                colour = {"leader": "yellow", "follower": "green"}.get(status.mode, "red")
                zxid = f"{status.zxid:#x}" if status.zxid else ""
                table.add_row(str(server), f"[{colour}]{status.mode}[/]", zxid)
        return table

    def _brokers(self) -> RenderableType:
        picture = self._picture
        more = self._if_roomy("epoch")
        term = f"term {picture.controller_epoch}"
        right = ("broker", "leads", "epoch")
        table = self._table("/brokers/ids", "broker", "rack", "state", "leads", term, *more, right=right)
        for broker, info in sorted(picture.seen.items()):
            there, rack = picture.brokers.get(broker), info.rack or ""
            office = "[yellow]controller[/]" if broker == picture.controller else ""
            if there is None:
                table.add_row(f"[dim]{broker}[/]", rack, "[red]gone[/]", "", office)
            else:
                led = str(len(picture.led_by(broker)))
                epoch = self._if_roomy(f"{there.epoch:#x}")
                table.add_row(str(broker), rack, "[green]registered[/]", led, office, *epoch)
        return table

    def _partitions(self) -> RenderableType:
        picture = self._picture
        more = self._if_roomy("epoch")
        table = self._table("/brokers/topics", "partition", "leader", "in sync", *more)
        for which, replicas in picture.assignments.items():
            state = picture.partitions.get(which)
            if state is None:
                continue
            preferred = state.leader == replicas[0]
            leader = f"[{'green' if preferred else 'yellow'}]{state.leader}[/]"
            isr = " ".join(str(one) if one in state.isr else f"[dim strike]{one}[/]" for one in replicas)
            table.add_row(str(which), leader, isr, *self._if_roomy(str(state.leader_epoch)))
        return table

    def _if_roomy(self, *cells: str) -> tuple[str, ...]:
        """More cells, if there is room for their columns."""
        return cells if self._roomy else ()

    def _progress(self) -> RenderableType:
        from rich.text import Text

        room = min(self._console.width - 14, max(len(step.title) for step in self._steps))
        present = next((n for n, step in enumerate(self._steps) if step.seconds is None), len(self._steps))
        current = self._steps[present] if present < len(self._steps) else None
        shown = len(self._steps) if self._roomy else STEPS_SHOWN
        first = max(0, min(present - shown // 2, len(self._steps) - shown))
        lines = Text(no_wrap=True, overflow="crop")
        for step in self._steps[first : first + shown]:
            title = step.title if len(step.title) <= room else step.title[: room - 1] + "…"
            style = "bold" if step is current else "dim" if step.seconds is None else ""
            mark = "▸" if step is current and not step.failed else _mark(step)
            lines.append(f" {mark}  {title:<{room}} {_time(step):>8}\n", style)
        lines.rstrip()
        return lines

    def _news(self) -> RenderableType:
        from rich.panel import Panel
        from rich.text import Text

        other = OTHER_LINES_ROOMY if self._roomy else OTHER_LINES
        room = max(1, self._console.height - other)
        lines = [f"{at:6.2f}  {text}" for at, text in self._picture.feed[-room:]]
        lines += [""] * (room - len(lines))
        text = Text("\n".join(lines), no_wrap=True, overflow="crop")
        if not self._roomy:
            text.stylize("dim")
            return text
        return Panel(text, title="seen", title_align="left", border_style="dim")


def _wrapped(prefix: str, text: str) -> str:
    """In lines that fit: those after the first are indented."""
    indent = " " * (len(prefix) + len(text) - len(text.lstrip()) + 2)
    return textwrap.fill(text, COLUMNS_MIN, initial_indent=prefix, subsequent_indent=indent)


def _mark(step: StepLike) -> str:
    return "✗" if step.failed else "·" if step.seconds is None else "✓"


def _time(step: StepLike) -> str:
    return "" if step.seconds is None else f"{step.seconds:.2f} s"
