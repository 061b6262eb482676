"""What may stand before the cursor: commands, options, and paths by what the server has at this moment.

Owns the questions to the server that a line that is typed leads to, and their answers for a moment. Which
arguments there are, the grammar knows.

Rules that hold here: `complete` runs in a thread of its own and waits half a second at most; without a
connection it asks nothing.

Synopsis::

    completing = Completing(connection, lambda: COMMANDS, lambda: 0)
    completing.complete("get /zn")  # [("/znode_test", "", 3)]: text, help, characters it replaces
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click
import trio
from click.shell_completion import ShellComplete

from coord import CoordError
from coord.cli.completion import quoted
from coord.cli.shell.connection import Connection
from coord.cli.shell.grammar import SETTINGS
from coord.cli.shell.lines import before_cursor

ANSWER_SECONDS: Final = 0.5
KEPT_SECONDS: Final = 2.0


class Completing:
    """Made in trio's thread; `group` says which commands there are just now, `line` the how-manieth it is:
    what was known before a line was done may be so no more."""

    def __init__(
        self, connection: Connection, group: Callable[[], click.Group], line: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._group = group
        self._line = line
        self._token = trio.lowlevel.current_trio_token()
        self._known: dict[tuple[int, str], tuple[float, Sequence[str]]] = {}

    def complete(self, text: str) -> list[tuple[str, str, int]]:
        cursor = before_cursor(text)
        finder = ShellComplete(self._group(), {"obj": self._children, **SETTINGS}, "", "")
        items = finder.get_completions(cursor.words, cursor.incomplete)
        return [(quoted(item.value), item.help or "", len(cursor.typed)) for item in items]

    def _children(self, path: str) -> Sequence[str]:
        try:
            return trio.from_thread.run(self._ask, path, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):  # the shell is over
            return ()

    # -- in trio's thread -----------------------------------------------------------------------------

    async def _ask(self, path: str) -> Sequence[str]:
        now = trio.current_time()
        self._known = {known: found for known, found in self._known.items() if now - found[0] < KEPT_SECONDS}
        client = self._connection.connected
        key = (self._line(), path)
        if key not in self._known and client is not None:
            with trio.move_on_after(ANSWER_SECONDS):
                try:
                    self._known[key] = now, await client.children(path)
                except CoordError:
                    pass  # no such path, most often
        return self._known.get(key, (now, ()))[1]
