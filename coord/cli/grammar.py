"""The grammar of the command line: the group of all commands, its options, and what several commands share.

Owns click's group `cli`, to which the modules ``grammar_*`` add their commands, and how words become
arguments. Must not know what a command does, nor run anything: a command's callback returns a `Job`.

Rule that holds here: the grammar is the same for `coord …` and for a line of `coord shell`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Final

import click

from coord.cli import texts
from coord.cli.completion import complete_path
from coord.cli.content import Content
from coord.cli.jobs import Job
from coord.cli.one_command import Target, perform
from coord.wire.records import ACL

SECTION = "Programs"
SECTIONS: Final = ("Znodes", "Subtrees", "Holding and watching", "Servers", SECTION)
"""The order of the sections of the help; others come last."""
EPILOG = """\b
Examples:
  coord serve zoo.cfg
  coord create /znode_test "this is the data of the znode_test"
  coord get -s /znode_test
  coord --server zk1:2181,zk2:2181/app ls -R /
  coord --auth digest:ann:secret setAcl /app auth::cdrwa
  coord multi "check -v 3 /lock; set /state on; delete /todo/7"
  coord export /app | coord --server zk9:2181 import - /copy

\b
Exit codes:
    0  done
    1  the server refused: no such znode, another version, not empty, …
       (or the output could not be written)
    2  the command line is wrong, or the file that is to be read
    3  no server answered in time, or the connection was lost
       (a write may then have happened or not)
    4  the credentials or the ACL do not allow it
  130  interrupted by Ctrl-C (143: by SIGTERM)

\b
--timeout bounds the connecting and the command. Work on whole subtrees
(ls -R, tree, export, import, deleteall, setAcl -R) takes as long as it
takes, while there is a connection.
"""


# -- arguments ----------------------------------------------------------------------------------------


def read_acl(ctx: click.Context, param: click.Parameter | None, value: str | None) -> list[ACL] | None:
    """``world:anyone:r,auth::cdrwa``"""
    try:
        return None if value is None else texts.parse_acl(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def read_auth(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """``digest:ann:secret``: the scheme ends at the first colon; an error never shows the value."""
    pairs = [value.partition(":") for value in values]
    if not all(scheme and found for scheme, found, _ in pairs):
        raise click.BadParameter("expected scheme:credentials, e.g. digest:user:password", ctx, param)
    return tuple((scheme, credentials) for scheme, _, credentials in pairs)


def show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(installed())
        ctx.exit()


class InSections(click.Group):
    """Lists the commands in the order in which one meets them, under the `SECTION` of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        widest = max(map(len, self.commands))
        for name, command in self.commands.items():
            if command.hidden:
                continue
            module = sys.modules.get(getattr(command.callback, "__module__", ""))
            heading = getattr(module, "SECTION", "Others")
            short_help = command.get_short_help_str(formatter.width - widest - 6)
            sections.setdefault(heading, []).append((name.ljust(widest), short_help))
        for heading in sorted(sections, key=lambda one: (*SECTIONS, one).index(one)):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


path_argument = click.argument("path", shell_complete=complete_path)
watch_option = click.option(
    "-w",
    "with_watch",
    is_flag=True,
    help="Watch it as well, once: wait for the event and print it. A shell prints it when it comes.",
)
file_option = click.option(
    "-f", "--file", metavar="FILE", help="Take the data from this file; -: from standard input."
)
stat_option = click.option("-s", "with_stat", is_flag=True, help="Print the Stat as well.")
VERSION: Final = click.IntRange(-(1 << 31), (1 << 31) - 1)
"""The versions that there can be, and -1."""

version_option = click.option(
    "-v", "version", type=VERSION, default=-1, help="Only if the znode has this version (-1: any)."
)


@click.group(cls=InSections, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server",
    "servers",
    default="127.0.0.1:2181",
    envvar="COORD_SERVER",
    show_default=True,
    metavar="HOST:PORT[,…][/CHROOT]",
    help="The servers to try. Also: COORD_SERVER.",
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after that long.",
)
@click.option(
    "--auth",
    callback=read_auth,
    metavar="SCHEME:CREDENTIALS",
    multiple=True,
    envvar="COORD_AUTH",
    help="Credentials, e.g. digest:user:password; repeatable. Also: COORD_AUTH (blanks between several), "
    "which other users of the machine cannot read.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="The same as `version`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for scripts.")
def cli(**_: object) -> None:
    """coord: ZooKeeper for people who write Python.

    The commands below talk to a server of coord or of Apache ZooKeeper; names and flags are zkCli's.
    """


@cli.result_callback()
def carry_out(
    job: Job, servers: str, seconds: float, auth: tuple[tuple[str, str], ...], *, as_json: bool
) -> Callable[[], int]:
    """What is to follow the parsing of a command line (not of a shell's): the job in a session of its own."""
    return partial(perform, job, Target(servers, seconds, auth), as_json=as_json)


# -- programs of their own (coord.__main__ runs them; here they are only listed) -------------------------


def _listed_only(name: str, short_help: str) -> None:
    def forward(arguments: tuple[str, ...]) -> None:
        from coord.__main__ import main as dispatch

        sys.exit(dispatch([name, *arguments]))

    command = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(forward)
    settings = {"ignore_unknown_options": True}
    cli.command(name, short_help=short_help, add_help_option=False, context_settings=settings)(command)


_listed_only("serve", "Run a server: coord serve zoo.cfg")
_listed_only("ensemble", "Run an ensemble of servers on this machine: coord ensemble 3")
_listed_only("demo", "See a cluster of brokers elect a controller, live; `coord demo --list`: more.")


# -- words into arguments --------------------------------------------------------------------------------


def as_bytes(text: str) -> bytes:
    """The argument's own bytes, were they UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


def given(data: str | None, file: str | None) -> Content:
    """A znode's data, or where it comes from."""
    return Content(None if data is None else as_bytes(data), file)


def installed() -> str:
    try:
        return f"coord {installed_version('coord')}"
    except PackageNotFoundError:
        return "coord, run from a checkout that is not installed"
