"""An `Output` that keeps what a command says, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from coord import Watch
from coord.cli.jobs import Advance
from coord.cli.results import Happened, Result


class Recorder:
    """`results` as they came, `lines` as text, and the `progress` of each label."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.progressed: dict[str, int] = {}

    @property
    def lines(self) -> list[str | bytes]:
        return [result.text() for result in self.results]

    def __call__(self, result: Result) -> None:
        self.results.append(result)

    async def room(self) -> None:
        await trio.lowlevel.checkpoint()

    async def armed(self, watch: Watch, path: str, *, children: bool = False) -> None:
        with watch:
            self(Happened(await watch.wait()))

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
        self.progressed[label] = 0

        def advance(number: int) -> None:
            self.progressed[label] += number

        yield advance
