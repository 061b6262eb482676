"""The grammar of the shell's lines: the command line's commands, and those that need a session that lasts.

Owns how words become a `Job`, and names, flags and help of what only the shell has, under zkCli's names.
`shell` does them.

Synopsis::

    job = parse(["get", "-s", "/znode_test"], COMMANDS)  # None: help was asked for, and printed
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

import click
from click.shell_completion import CompletionItem

from coord.cli.content import STANDARD_INPUT
from coord.cli.grammar import InSections, as_bytes, cli, path_argument
from coord.cli.grammar_transactions import OPERATIONS
from coord.cli.grammar_transactions import multi as multi_command
from coord.cli.jobs import Job, Needs, Output
from coord.cli.results import Said
from coord.cli.shell import commands
from coord.cli.shell.watching import Kind

if TYPE_CHECKING:
    from coord.cli.shell.shell import Shell

SECTION = "The session, in a shell"

Rest = ParamSpec("Rest")

OUTSIDE: Final = ("serve", "ensemble", "demo", "bench", "shell", "completion")
"""What has no place in a session: programs of their own."""

READING: Final = ("create", "set", "multi", "import")
"""What reads the file that it is given, which may be standard input."""

SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}

COMMANDS: Final = InSections(
    commands={name: command for name, command in cli.commands.items() if name not in OUTSIDE}
)
"""Everything a line may say."""

BLOCK: Final = click.Group(commands=dict(OPERATIONS.commands))
"""What a line may say between `multi` and `commit`: the jobs of operations are noted down instead of done."""


def _root_of(group: click.Group) -> click.Context:
    return click.Context(group, info_name="", **SETTINGS)


def parse(words: Sequence[str], group: click.Group, *, takes_input: bool = False) -> Job | None:
    """The line as a job; None if all it asks for is its help, which is printed. Raises `click.UsageError`.

    `takes_input`: standard input is where lines come from, and no command may read it.
    """
    root = _root_of(group)
    name, *arguments = words
    command = group.get_command(root, name)
    if command is None:
        raise click.UsageError(_unknown(name, group))
    try:
        with command.make_context(name, arguments, parent=root) as context:
            if takes_input and name in READING and context.params.get("file") == STANDARD_INPUT:
                raise click.UsageError("lines come from standard input: there is no file `-`", context)
            job = command.invoke(context)
    except click.exceptions.Exit:
        return None
    assert isinstance(job, Job)
    return job


def named(group: click.Group) -> list[str]:
    """The names that are meant to be known."""
    return [name for name, command in group.commands.items() if not command.hidden]


def _unknown(name: str, group: click.Group) -> str:
    if group is BLOCK:
        return f"{name!r} cannot be in a transaction; there are {', '.join(named(BLOCK))}"
    close = get_close_matches(name, named(group), n=1)
    return f"there is no command {name!r}; " + (f"did you mean {close[0]}?" if close else "`help` lists all")


ShellCommand = Callable[Concatenate["Shell", Output, Rest], Awaitable[int | None]]


def with_shell(command: ShellCommand[Rest], *arguments: Rest.args, **options: Rest.kwargs) -> Job:
    """A job on the shell itself."""
    return Job(Needs.SHELL, command, arguments, options)


# -- watches ------------------------------------------------------------------------------------------


@COMMANDS.command("addWatch")
@click.option(
    "-m",
    "mode",
    type=click.Choice(["PERSISTENT", "PERSISTENT_RECURSIVE"], case_sensitive=False),
    default="PERSISTENT_RECURSIVE",
    show_default=True,
    help="The znode and its children, or everything below it, too.",
)
@path_argument
def add_watch(path: str, mode: str) -> Job:
    """Watch a znode until the watch is removed."""
    return with_shell(commands.add_watch, path, recursive=mode.upper() == "PERSISTENT_RECURSIVE")


@COMMANDS.command("removewatches")
@click.option("-d", "kinds", flag_value="data", help="Those of get -w and stat -w.")
@click.option("-c", "kinds", flag_value="children", help="Those of ls -w.")
@click.option(
    "-a", "kinds", flag_value="any", default=True, help="All, persistent ones included; the default."
)
@path_argument
def remove_watches(path: str, kinds: str) -> Job:
    """Watch a znode no more."""
    return with_shell(commands.remove_watches, path, *([Kind(kinds)] if kinds != "any" else Kind))


@COMMANDS.command("printwatches")
@click.argument("shown", type=click.Choice(["on", "off"]), required=False)
def print_watches(shown: str | None) -> Job:
    """Print the events of watches, or do not."""
    return with_shell(commands.print_watches, shown=None if shown is None else shown == "on")


# -- the session ------------------------------------------------------------------------------------------


@COMMANDS.command()
@click.argument("servers", metavar="[HOST:PORT[,…][/CHROOT]]", required=False)
def connect(servers: str | None) -> Job:
    """Close the session and open one elsewhere, or anew."""
    return with_shell(commands.connect, servers)


@COMMANDS.command("addauth")
@click.argument("scheme")
@click.argument("credentials")
def add_auth(scheme: str, credentials: str) -> Job:
    """Give credentials: addauth digest user:password

    They are the session's, and of the sessions that `lock` and `elect` open for themselves.
    """
    return with_shell(commands.add_auth, scheme, as_bytes(credentials))


@COMMANDS.command()
def close() -> Job:
    """Close the session, which deletes its ephemerals."""
    return with_shell(commands.close)


@COMMANDS.command(name="quit")
def leave() -> Job:
    """Close the session and leave the shell. Also: Ctrl-D."""
    return with_shell(commands.leave)


# -- lines --------------------------------------------------------------------------------------------


@COMMANDS.command()
def history() -> Job:
    """List the lines so far, numbered as for `redo`."""
    return with_shell(commands.history)


@COMMANDS.command()
@click.argument("number", type=int)
def redo(number: int) -> Job:
    """Do a line of the history again."""
    return replace(with_shell(commands.redo, number), patient=True)


def _complete_command(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [
        CompletionItem(name, help=command.get_short_help_str())
        for name, command in COMMANDS.commands.items()
        if name.startswith(incomplete) and not command.hidden
    ]


@COMMANDS.command("help")
@click.argument("command", required=False, shell_complete=_complete_command)
def show_help(command: str | None) -> Job:
    """List the commands, or explain one. Also: ?"""
    root = _root_of(COMMANDS)
    if command is None:
        return Job(Needs.NOTHING, _print, (_overview(root),), {})
    found = COMMANDS.get_command(root, command)
    if found is None:
        raise click.UsageError(_unknown(command, COMMANDS))
    explained = found.get_help(click.Context(found, info_name=command, parent=root))
    return Job(Needs.NOTHING, _print, (explained,), {})


def _overview(root: click.Context) -> str:
    formatter = root.make_formatter()
    COMMANDS.format_commands(root, formatter)
    return formatter.getvalue().strip("\n") + "\n\nCOMMAND --help explains one of them."


async def _print(_: object, out: Output, text: str) -> None:
    out(Said(text))


def _also(command: click.Command) -> click.Command:
    """The same under another name, which no list mentions."""
    other = copy(command)
    other.hidden = True
    return other


for _group in (COMMANDS, BLOCK):
    _group.add_command(_also(show_help), "?")
COMMANDS.add_command(_also(leave), "exit")


# -- transactions -------------------------------------------------------------------------------------


@COMMANDS.command("multi")
@click.option("-f", "--file", metavar="FILE", help="Take the operations from this file.")
@click.argument("operations", nargs=-1)
def multi(operations: tuple[str, ...], file: str | None) -> Job:
    """Do several operations, all or nothing.

    Without any, the lines that follow are the operations, up to `commit` or `abort`. Operations are create,
    set, delete and check -v VERSION PATH, with the arguments of these commands.
    """
    if not operations and file is None:
        return with_shell(commands.begin)
    assert multi_command.callback is not None
    job = multi_command.callback(operations=operations, file=file)
    assert isinstance(job, Job)
    return job


@BLOCK.command()
def commit() -> Job:
    """Do all of it, or nothing if any of it cannot be done."""
    return with_shell(commands.commit)


@BLOCK.command()
def abort() -> Job:
    """Do nothing of it."""
    return with_shell(commands.abort)
