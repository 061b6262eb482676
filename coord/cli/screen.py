"""A terminal as a live picture: drawn anew when something has changed, and keys as they are pressed.

Owns the terminal's modes, its size, and the keys. Must not know what is drawn.

Rules that hold here:

- The picture is on a screen of its own; what was on the terminal before is back afterwards, however it ends.
- Ctrl-C ends it, as it does everything else. (Ctrl-Z does nothing: it would leave the picture behind.)

Synopsis::

    screen = Screen(draw, press)  # draw() -> what rich can print; press("q") -> True: that is all
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_at_servers, screen.touch)
        await screen.run()
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

import trio
from rich.console import Console, RenderableType
from rich.live import Live


def is_terminal() -> bool:
    """Can there be a picture?"""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """`press` is asked about each key, and says whether it ends the picture."""

    def __init__(self, draw: Callable[[], RenderableType], press: Callable[[str], bool]) -> None:
        self.console = Console()
        self._draw = draw
        self._press = press
        self._touched = trio.Event()
        self._scope = trio.CancelScope()

    def touch(self) -> None:
        """There is something new to be seen."""
        self._touched.set()

    async def run(self) -> None:
        """Returns when a key has ended it."""
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # data may have what the terminal's encoding has not
        with (
            self._scope,
            _keys_at_once(),
            Live(self._draw(), console=self.console, auto_refresh=False, screen=True) as live,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mind_the_size)
                if sys.stdin.isatty():
                    nursery.start_soon(self._read_keys)
                while True:
                    self._touched = trio.Event()
                    live.update(self._draw(), refresh=True)
                    await self._touched.wait()

    async def _mind_the_size(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as changes:
            async for _ in changes:
                self.touch()

    async def _read_keys(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(sys.stdin)
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys:
                return  # the terminal has hung up
            for key in keys.decode("utf-8", "replace"):
                if self._press(key):
                    self._scope.cancel(reason="a key")
            self.touch()


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys come as they are pressed, and are not shown."""
    if not sys.stdin.isatty():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    modes = termios.tcgetattr(fd)
    modes[3] &= ~(termios.ECHO | termios.ICANON)
    modes[6][termios.VSUSP] = b"\0"
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, modes)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
