"""Standard output and standard error of one command: its results, and how far it has come.

Owns what is written when, and the progress bar. Must not know what results are, nor connections.

Rules that hold here:

- A reader that takes its time, as a pager does, costs neither the session nor the time-out: results of a job
  that is not patient are written when its session has ended, those of a patient one by a thread meanwhile.
- The bar is on standard error, and only where that is a terminal. It goes as soon as results are written,
  unless they go to a file: whoever reads them from a pipe may be a pager, on the same terminal.
- Standard output is written to in bytes and not through Python's buffer, whose lock a thread that is left
  behind (Ctrl-C while the reader is slow) would hold at the interpreter's end.

Synopsis::

    out = Printer(as_json=False, at_once=True)
    nursery.start_soon(out.write)
    out(Path("/a"))
    await out.written()
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

import click
import trio

from coord import Watch
from coord.cli.jobs import Advance
from coord.cli.results import Drawn, Happened, Note, Result, printed

UNWRITTEN_BYTES_MAX: Final = 256 * 1024
"""Above it, whoever finds more waits for the reader."""


class OutputFailed(Exception):
    """Standard output cannot be written to."""


class OutputUnwanted(Exception):
    """The reader has had enough, as `head` has."""


class Printer:
    """Standard output, as text or as lines of JSON. An `Output` for commands."""

    def __init__(self, *, as_json: bool = False, at_once: bool = False) -> None:
        self.as_json = as_json
        self._at_once = at_once
        self._to_file = _is_file(sys.stdout)
        self._draws = sys.stdout.isatty() and not as_json
        self._unwritten = bytearray()
        self._more = trio.Event()
        self._all_written = trio.Event()
        self._all_written.set()
        self._progress: Progress | None = None

    def __call__(self, result: Result) -> None:
        if self._progress is not None and not self._to_file:
            self._progress.hide()
        if isinstance(result, Note):
            click.echo(printed(result, as_json=self.as_json), nl=False, err=True)
            return
        drawing = result.drawing() if self._draws and isinstance(result, Drawn) else None
        if drawing is not None:
            self._unwritten += drawn(drawing)
        else:
            self._unwritten += printed(result, as_json=self.as_json)
        if self._all_written.is_set():
            self._all_written = trio.Event()
        self._more.set()

    async def armed(self, watch: Watch, path: str, *, children: bool = False) -> None:
        with watch:
            self(Happened(await watch.wait()))

    async def room(self) -> None:
        if self._at_once and len(self._unwritten) > UNWRITTEN_BYTES_MAX:
            await self._all_written.wait()
        else:
            await trio.lowlevel.checkpoint()

    async def write(self) -> None:
        """Writes what there is, until cancelled. Raises `OutputFailed`, `OutputUnwanted`."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            if self._unwritten:
                found, self._unwritten = bytes(self._unwritten), bytearray()
                await trio.to_thread.run_sync(write_bytes, found, abandon_on_cancel=True)
            if not self._unwritten:
                self._all_written.set()

    async def written(self) -> None:
        """Returns when everything has been written by `write`."""
        await self._all_written.wait()

    def flush(self, *, after_failure: bool = False) -> None:
        """Writes what `write` has not. Raises `OutputFailed`, `OutputUnwanted`, but not `after_failure`: that
        one is to be told."""
        found, self._unwritten = bytes(self._unwritten), bytearray()
        try:
            write_bytes(found)
        except (OutputFailed, OutputUnwanted):
            if not after_failure:
                raise

    def discard(self) -> None:
        """Nobody reads what has not been written yet."""
        self._unwritten.clear()

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
        with Progress(label, total, self._is_idle) as self._progress:
            yield self._progress.advance
        self._progress = None

    def _is_idle(self) -> bool:
        """Is nothing being written meanwhile, in whose midst a bar would be drawn?"""
        return not self._at_once or self._all_written.is_set()

    @property
    def is_at_work(self) -> bool:
        """Does work go on that tells how far it has come?"""
        return self._progress is not None

    @property
    def came_to(self) -> str:
        """How far work has come that did not end, e.g. ``deleting: 7 of 100``; else nothing."""
        return "" if self._progress is None else self._progress.came_to()


class Progress:
    """How far some work has come, shown once it begins to come along, and `may_show`."""

    def __init__(self, label: str, total: int | None, may_show: Callable[[], bool] = lambda: True) -> None:
        self._may_show = may_show
        self._label = label
        self._total = total
        self._done = 0
        self._shown = sys.stderr.isatty()
        self._bar: Any = None

    def came_to(self) -> str:
        """Nothing before anything has come, or when all has."""
        if self._done == (self._total or 0):
            return ""
        of = "" if self._total is None else f" of {self._total}"
        return f"{self._label}: {self._done}{of}"

    def advance(self, number: int) -> None:
        self._done += number
        if self._bar is not None:
            self._bar.advance(0, number)
        elif self._shown and number and self._may_show():
            self._bar = _bar(self._label, self._total, self._done)

    def hide(self) -> None:
        """No more of it."""
        self._shown = False
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()


def _bar(label: str, total: int | None, done: int) -> Any:
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        *([progress.TimeRemainingColumn()] if total else [progress.TimeElapsedColumn()]),
    ]
    bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(label, total=total, completed=done)
    bar.start()
    return bar


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


def drawn(drawing: Any) -> bytes:
    """What rich prints of it on the terminal that standard output is."""
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        console.print(drawing)
    return captured.get().encode()


def write_bytes(found: bytes) -> None:
    """Writes all of it to standard output. Raises `OutputFailed`, `OutputUnwanted`."""
    if not found:
        return
    try:
        sys.stdout.flush()
        stream = sys.stdout.buffer
        write: Callable[[memoryview], int | None] = getattr(stream, "raw", stream).write
        rest = memoryview(found)
        while rest:
            rest = rest[write(rest) or 0 :]
    except BrokenPipeError:
        _discard_output()
        raise OutputUnwanted from None
    except OSError as error:
        _discard_output()
        raise OutputFailed(f"the output cannot be written: {error.strerror}") from None


def _discard_output() -> None:
    """What is still to come goes nowhere, so that the interpreter does not fail at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
