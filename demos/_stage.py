"""The stage of the small demos: their processes, their lines, and how they prove what they claim.

Owns what the demos have in common, so that each one's file is its recipe and its story. Nothing here knows a
recipe.

Rules that hold here:

- Actors are real processes, for they are killed and frozen. Each runs the demo's own module, as
  ``python -m demos.NAME actor …``, in a process group of its own.
- What an actor prints is a line of the demo; what it complains of goes where the demo's complaints go.
- No actor outlives the demo, however that ends: one whose input ends knows that the demo is gone.
- The exit status is 0 only if everything that was to be proven was observed in time.

Synopsis::

    async def play(stage: Stage) -> None:
        stage.step("somebody is greeted")
        await stage.start("anna", "hello")
        await stage.hears("hello")
        stage.prove("it was Anna who did", stage.lines[-1].who == "anna")


    async def actor(name: str, greeting: str) -> None:
        say(greeting)
        await trio.sleep_forever()


    def main(argv: Sequence[str] | None = None) -> int:
        return perform("greeting", __doc__, play, actor, argv)
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

import trio
from trio_util import AsyncValue

ACTOR: Final = "actor"
"""The first word of the command line of a process that plays a part."""
COLUMNS: Final = 80
SECONDS_MAX: Final = 60.0
"""Of a whole demo, on a machine that is busy otherwise; it takes some 6 by itself."""
INTERRUPTED: Final = 130
BOLD, RED, GREEN = 1, 31, 32
"""terminals' numbers for them"""


class NotObserved(Exception):
    """Something did not come about in time, or something came about that must not."""


class Line(NamedTuple):
    who: str
    text: str


def say(text: str) -> None:
    """A line of the demo, said by the actor that runs in this process."""
    print(text, flush=True)


class Stage:
    """Where `demo` is played. Its actors are started, killed, frozen and woken by their names."""

    def __init__(self, demo: str, nursery: trio.Nursery, directory: Path) -> None:
        self._demo = demo
        self.directory = directory
        """for files that actors share: it outlives them, and not the demo"""
        self.nursery = nursery
        """for what runs beside the story, until it ends"""
        self._began = trio.current_time()
        self._actors: dict[str, trio.Process] = {}
        self._count = AsyncValue(0)
        self._step_at = 0
        self.lines: list[Line] = []
        """all that was said, in order"""

    # -- the actors -------------------------------------------------------------------------------------

    async def start(self, name: str, *arguments: str) -> None:
        """Start an actor: a process that runs the demo's `actor(name, *arguments)`."""
        process = await open_actor(f"demos.{self._demo}", ACTOR, name, *arguments, stdout=subprocess.PIPE)
        self._actors[name] = process
        self.nursery.start_soon(self._listen, name, process)

    async def kill(self, name: str) -> None:
        """As SIGKILL does, and power cuts: it says nothing to anybody."""
        process = self._actors.pop(name)
        process.kill()
        await process.wait()

    def freeze(self, name: str) -> None:
        """Let it stand still (SIGSTOP), as a swapping machine does, or a virtual one that is moved."""
        self._actors[name].send_signal(signal.SIGSTOP)

    def wake(self, name: str) -> None:
        """Let it go on where it was (SIGCONT): it cannot know that it did not."""
        self._actors[name].send_signal(signal.SIGCONT)

    async def clear(self) -> None:
        for name in list(self._actors):
            await self.kill(name)

    async def _listen(self, name: str, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async for data in process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.tell(line.decode(errors="replace"), who=name)
        if self._actors.get(name) is process:
            raise NotObserved(f"{name} has ended by itself")

    # -- the lines --------------------------------------------------------------------------------------

    def step(self, title: str) -> None:
        """What comes next. `hears` listens from here on."""
        self._step_at = len(self.lines)
        print(_styled(BOLD, "\n" + textwrap.fill(f"* {title}", COLUMNS, subsequent_indent="  ")), flush=True)

    def tell(self, text: str, *, who: str = "") -> None:
        """A line of `who`, or of the demo itself."""
        before = f"{trio.current_time() - self._began:6.2f}  {who:<8} "
        print(textwrap.fill(text, COLUMNS, initial_indent=before, subsequent_indent=" " * len(before)))
        sys.stdout.flush()
        self.lines.append(Line(who, text))
        self._count.value += 1

    async def hears(self, pattern: str, who: str = "") -> Line:
        """The first line of this step (of this actor) that the regular expression matches somewhere."""
        await self._count.wait_value(lambda _: bool(self.heard(pattern, who)))
        return self.heard(pattern, who)[0]

    def heard(self, pattern: str, who: str = "") -> list[Line]:
        """All such lines so far."""
        said = [line for line in self.lines[self._step_at :] if who in ("", line.who)]
        return [line for line in said if re.search(pattern, line.text)]

    def prove(self, claim: str, holds: bool) -> None:
        """Say that it is so; raises `NotObserved` if it is not."""
        text = textwrap.fill(f"{'✓' if holds else '✗'} {claim}", COLUMNS, subsequent_indent="  ")
        print(_styled(GREEN if holds else RED, text), flush=True)
        if not holds:
            raise NotObserved(f"this is not so: {claim}")


def _styled(style: int, text: str) -> str:
    """On a terminal; plain elsewhere."""
    return f"\x1b[{style}m{text}\x1b[0m" if sys.stdout.isatty() else text


# -- the programs -----------------------------------------------------------------------------------------


def perform(
    demo: str,
    doc: str,
    play: Callable[[Stage], Awaitable[None]],
    actor: Callable[..., Awaitable[None]],
    argv: Sequence[str] | None,
) -> int:
    """The demo's `main`: plays it, or (in a process that `Stage.start` began) the part of one actor.

    Returns the exit status. `doc` is the module's text; its first line is the first that is printed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [ACTOR]:
        logging.basicConfig(stream=sys.stdout, format="%(message)s")  # warnings are lines of the demo, too
        trio.run(while_input_lasts, lambda: actor(*arguments[1:]))
        return 0
    title, text, *_ = doc.split("\n\n")
    argparse.ArgumentParser(prog=f"coord demo {demo}", description=title, epilog=text).parse_args(arguments)
    print(title, flush=True)
    return trio.run(_perform, demo, play)


async def _perform(demo: str, play: Callable[[Stage], Awaitable[None]]) -> int:
    status = INTERRUPTED
    try:
        with tempfile.TemporaryDirectory(prefix="coord-") as directory:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
                stage = Stage(demo, nursery, Path(directory))
                try:
                    with trio.fail_after(SECONDS_MAX):
                        await play(stage)
                    status = 0
                finally:
                    with trio.CancelScope(shield=True):  # SIGKILL ends a frozen process, too
                        await stage.clear()
                nursery.cancel_scope.cancel()
    except* NotObserved as group:
        print(f"coord demo {demo}: {_first(group)}", file=sys.stderr)
        status = 1
    except* trio.TooSlowError:
        print(f"coord demo {demo}: it has not come about within {SECONDS_MAX:.0f} s", file=sys.stderr)
        status = 1
    return status


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def open_actor(
    module: str, *arguments: str, stdout: int | None = None, stderr: IO[bytes] | None = None
) -> trio.Process:
    """Start a process that runs `module`; its outputs are ours if not given, its input is a pipe."""
    return await trio.lowlevel.open_process(
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # not what lies in the folder we are in
        stdin=subprocess.PIPE,  # an actor whose input ends knows that the demo is gone
        process_group=0,  # Ctrl-C is for the demo; and a frozen one dies when its group is orphaned
        stdout=stdout,
        stderr=stderr,
    )


async def while_input_lasts(work: Callable[[], Awaitable[object]]) -> None:
    """Run `work` until it is done, or standard input ends: so that it never outlives who started us."""
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await work()
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    """Ctrl-C ends a demo like its end does: every process is ended on the way out."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
