"""A person's line at a terminal: edited, completed, remembered, with the session's state in sight.

Owns the terminal while a line is typed. prompt_toolkit reads it in a thread of its own, since it has an event
loop of its own; trio keeps the main thread, where signals arrive, and with it the session: heartbeats and
watches go on whatever the line does. Two things cross between the threads: the finished line, when the thread
ends, and texts to be shown above the unfinished one, in a queue that whoever may print empties.

Rules that hold here:

- Nothing asked of the server holds up the line: completion runs in a third thread, and waits
  `ANSWER_SECONDS` at most.
- A cancelled `read` leaves the terminal as it was found.
- Colours obey NO_COLOR.
"""

from __future__ import annotations

import os
import signal
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.styles import Style
from rich.console import Console
from rich.text import Text

from coord.cli.printing import write_bytes
from coord.cli.shell.history import remembered
from coord.cli.shell.reader import Prompt, Tone

STYLE: Final = Style.from_dict(
    {
        "state.connected": "ansigreen",
        "state.other": "ansiyellow",
        "state.over": "ansired",
        "bottom-toolbar": "noreverse bg:ansibrightblack ansiwhite",
    }
)
STOP_SECONDS: Final = 0.1
"""After so long a signal to stop has done so, if it does at all."""
OVER: Final = ("CLOSED", "EXPIRED", "AUTH_FAILED")

Complete = Callable[[str], Iterable[tuple[str, str, int]]]
"""What may stand before the cursor: (text, help, how many characters it replaces). Called in a thread."""


class Terminal:
    """See the module's text; `prompt` is asked for at each drawing."""

    person = True
    semicolons = False
    takes_input = True

    def __init__(self, prompt: Callable[[], Prompt], complete: Complete) -> None:
        self._prompt = prompt
        self._above: deque[Callable[[], object]] = deque()
        self._reading = False
        self._leaving = False
        self._console = Console(highlight=False, soft_wrap=True)
        self._session: PromptSession[str] = PromptSession(
            self._message,
            completer=ThreadedCompleter(_ByFunction(complete)),
            complete_while_typing=True,
            auto_suggest=AutoSuggestFromHistory(),
            history=remembered(),
            bottom_toolbar=lambda: self._prompt().toolbar,
            style=STYLE,
            key_bindings=_keys(),
            reserve_space_for_menu=6,
        )

    async def read(self) -> str:
        """Ctrl-C gives an empty line."""
        self._print_above()
        self._reading, self._leaving = True, False
        ended = threading.Event()
        try:
            return await trio.to_thread.run_sync(self._read, ended, abandon_on_cancel=True)
        except trio.Cancelled:
            self._leaving = True
            self._in_loop(self._leave)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(ended.wait)
            raise
        finally:
            self._reading = False
            self._print_above()

    def place(self) -> str:
        return ""

    def tell(self, text: str, tone: Tone = Tone.GOOD) -> None:
        self._say(text, "green" if tone is Tone.GOOD else "yellow")

    def complain(self, text: str) -> None:
        self._say(text, "red")

    def show(self, found: bytes) -> None:
        self._put(lambda: write_bytes(found))

    def redraw(self) -> None:
        self._session.app.invalidate()

    # -- in trio's thread -----------------------------------------------------------------------------

    def _say(self, text: str, style: str) -> None:
        self._put(lambda: self._console.print(Text(text, style)))

    def _put(self, printing: Callable[[], object]) -> None:
        self._above.append(printing)
        if self._reading:
            self._in_loop(self._print_above_the_line)
        else:
            self._print_above()

    def _in_loop(self, function: Callable[[], object]) -> None:
        loop = self._session.app.loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # it has just ended

    # -- in the thread of the line --------------------------------------------------------------------

    def _read(self, ended: threading.Event) -> str:
        try:
            return self._session.prompt(pre_run=self._begin)
        except KeyboardInterrupt:
            return ""
        except (OSError, termios.error):  # the terminal is gone
            raise EOFError from None
        finally:
            ended.set()

    def _begin(self) -> None:
        """What was asked for while there was no loop yet."""
        if self._leaving:
            self._leave()
        if self._above:
            self._print_above_the_line()

    def _leave(self) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit(exception=EOFError)

    def _print_above_the_line(self) -> None:
        if self._above:
            run_in_terminal(self._print_above)

    def _print_above(self) -> None:
        while self._above:
            self._above.popleft()()

    def _message(self) -> StyleAndTextTuples:
        prompt = self._prompt()
        before, state, after = prompt.text.partition(prompt.state)
        kind = "connected" if state.startswith("CONNECTED") else "over" if state in OVER else "other"
        return [("", before), (f"class:state.{kind}", state), ("", after)]


def _keys() -> KeyBindings:
    keys = KeyBindings()
    keys.add("c-z")(lambda event: run_in_terminal(_suspend))
    return keys


def _suspend() -> None:
    """Returns when the process goes on. It is the main thread that the signal stops first, and this one must
    not take the terminal back in the moment before it is stopped, too."""
    os.kill(0, signal.SIGTSTP)
    time.sleep(STOP_SECONDS)


class _ByFunction(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        for text, explanation, replaced in self._complete(document.text_before_cursor):
            yield Completion(text, start_position=-replaced, display_meta=explanation)
