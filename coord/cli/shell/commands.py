"""What only a shell can do: commands on its session, its watches, its past lines and its transaction.

Owns these commands, as `coord.cli.commands` owns the others; names and behaviour are zkCli's where it has
them. Must not know how lines are read, nor how words become arguments.

Synopsis::

    await commands.connect(shell, out, "127.0.0.1:2182")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coord import BadArguments, CoordError
from coord.cli.jobs import Output
from coord.cli.results import Said
from coord.cli.shell.watching import Kind
from coord.cli.transactions import multi

if TYPE_CHECKING:
    from coord.cli.shell.shell import Shell

HISTORY_LINES = 30


class NoSuchLine(CoordError):
    """`redo` names a line that was not there."""


async def add_watch(shell: Shell, out: Output, path: str, *, recursive: bool) -> None:
    await shell.watching.always(await shell.connection.client(), path, recursive=recursive)


async def remove_watches(shell: Shell, out: Output, path: str, *kinds: Kind) -> None:
    """Raises `NoWatcher` if nothing of the kind is armed."""
    await shell.watching.remove(path, *kinds)


async def print_watches(shell: Shell, out: Output, *, shown: bool | None) -> None:
    """None: say what is."""
    if shown is None:
        out(Said(f"printwatches is {'on' if shell.watching.shown else 'off'}"))
    else:
        shell.watching.shown = shown


async def connect(shell: Shell, out: Output, servers: str | None) -> None:
    """None: the servers as before. Returns when there is a session."""
    await shell.connection.open(servers or shell.connection.servers, shell.auth)
    shell.watching.clear()
    await shell.connection.client()


async def add_auth(shell: Shell, out: Output, scheme: str, credentials: bytes) -> None:
    await shell.connection.add_auth(scheme, credentials)


async def close(shell: Shell, out: Output) -> None:
    shell.watching.clear()
    if not await shell.connection.close():
        raise BadArguments("there is no session", operation="close")


async def leave(shell: Shell, out: Output) -> None:
    shell.leave()


async def history(shell: Shell, out: Output) -> None:
    """The last lines with their numbers, this one excepted."""
    first = max(0, len(shell.done) - HISTORY_LINES)
    for number, line in enumerate(shell.done[first:], start=first):
        out(Said(f"{number} - {line}", "line"))


async def redo(shell: Shell, out: Output, number: int) -> int:
    """Raises `NoSuchLine`, and `BadArguments` for a line that is a ``redo`` itself, as this very one is."""
    if not 0 <= number < len(shell.done):
        raise NoSuchLine(f"there is no line {number}; `history` lists them", operation="redo")
    return await shell.do_again(shell.done[number])


# -- transactions -------------------------------------------------------------------------------------


async def begin(shell: Shell, out: Output) -> None:
    shell.block = []


async def commit(shell: Shell, out: Output) -> None:
    """All of it or nothing; the block is over either way."""
    jobs, shell.block = shell.block or [], None
    await multi(await shell.connection.client(), out, jobs)


async def abort(shell: Shell, out: Output) -> None:
    shell.block = None
