"""The grammar of the interactive shell's start, and of the completion of `coord` in other shells.

Owns only names, flags and help; what lines of the shell may say beyond the commands is `shell.grammar`'s.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from coord.cli.grammar import cli
from coord.cli.jobs import Job, Needs, Output
from coord.cli.one_command import Target
from coord.cli.printing import Printer
from coord.cli.results import Said

SECTION = "Programs"


@cli.command()
@click.option(
    "-c",
    "lines",
    multiple=True,
    metavar="LINES",
    help='Do these lines and end: -c "create /a; ls /". Repeatable; `;` separates two.',
)
@click.option("--keep-going", is_flag=True, help="Do the lines after one that failed, too.")
def shell(lines: tuple[str, ...], *, keep_going: bool) -> Job:
    """Type commands in one session, as with zkCli.

    With completion of commands and paths, history, and watches whose events are told as they come; `help`
    lists the commands. Where standard input is not a terminal, its lines are done, up to the first that
    fails, whose exit code is the shell's.
    """
    return Job(Needs.TARGET, _run_shell, (lines or None,), {"keep_going": keep_going})


async def _run_shell(target: Target, out: Output, lines: tuple[str, ...] | None, *, keep_going: bool) -> int:
    from coord.cli.shell.start import run  # prompt_toolkit takes its time to import

    assert isinstance(out, Printer)
    return await run(target, lines, as_json=out.as_json, keep_going=keep_going)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Job:
    """Print what completes `coord` in bash, zsh or fish.

    \b
    bash, in ~/.bashrc:   eval "$(coord completion bash)"
    zsh, in ~/.zshrc:     eval "$(coord completion zsh)"
    fish, once:           coord completion fish > ~/.config/fish/completions/coord.fish
    """
    return Job(Needs.NOTHING, _print_completion, (shell,), {})


async def _print_completion(_: object, out: Output, shell: str) -> None:
    found = get_completion_class(shell)
    assert found is not None
    out(Said(found(cli, {}, "coord", "_COORD_COMPLETE").source().rstrip(), "script"))
