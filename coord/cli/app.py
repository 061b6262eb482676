"""The command line around `commands`: options, help, errors in one line, exit codes.

Owns click, the connection a command runs on, and how an error becomes an exit code. What a command does is
`commands`' business.

Rule that holds here: whatever goes wrong is one line on standard error, ``coord: …``, and an exit code that a
script can act on; a traceback would be a bug.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, Final

import click

from coord.cli import commands, members, texts
from coord.cli.one_command import OutputFailed, Target, ask_servers, print_all, run
from coord.errors import (
    AuthFailed,
    BadArguments,
    ConfigError,
    ConnectionLost,
    CoordError,
    NoAuth,
    ProtocolError,
    SessionExpired,
)
from coord.wire.records import ACL

OK, FAILED, USAGE, NO_CONNECTION, NO_PERMISSION = range(5)
EXIT_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (AuthFailed, NO_PERMISSION),
    (NoAuth, NO_PERMISSION),
    (OutputFailed, FAILED),
    (ConnectionLost, NO_CONNECTION),
    (SessionExpired, NO_CONNECTION),
    (ProtocolError, NO_CONNECTION),
    (OSError, NO_CONNECTION),
    (ConfigError, USAGE),
    (BadArguments, USAGE),
    (ValueError, USAGE),
    (CoordError, FAILED),
)
"""The first class that fits decides."""

EPILOG = """\b
Examples:
  coord serve zoo.cfg
  coord create /znode_test "this is the data of the znode_test"
  coord get -s /znode_test
  coord --server zk1:2181,zk2:2181/app ls -R /
  coord --auth digest:ann:secret setAcl /app auth::cdrwa

\b
Exit codes:
  0  done
  1  the server refused: no such znode, another version, not empty, …
     (or the output could not be written)
  2  the command line is wrong
  3  no server answered in time, or the connection was lost
     (a write may then have happened or not)
  4  the credentials or the ACL do not allow it
"""


# -- arguments ----------------------------------------------------------------------------------------


def read_acl(ctx: click.Context, param: click.Parameter, value: str | None) -> list[ACL] | None:
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
        print_all([_version()])
        ctx.exit()


class InOrder(click.Group):
    """Lists the commands in the order in which one meets them, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


path_argument = click.argument("path")
stat_option = click.option("-s", "with_stat", is_flag=True, help="Print the Stat as well.")
version_option = click.option(
    "-v", "version", type=int, default=-1, help="Only if the znode has this version (-1: any)."
)


@click.group(cls=InOrder, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
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
@click.pass_context
def cli(ctx: click.Context, servers: str, seconds: float, auth: tuple[tuple[str, str], ...]) -> None:
    """coord: ZooKeeper for people who write Python.

    The commands below talk to a server of coord or of Apache ZooKeeper; names and flags are zkCli's.
    """
    ctx.obj = Target(servers, seconds, auth)


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


# -- the commands ---------------------------------------------------------------------------------------


@cli.command()
@click.option("-s", "sequential", is_flag=True, help="Sequential: a number of ten digits is appended.")
@click.option(
    "-e",
    "ephemeral",
    is_flag=True,
    help="Ephemeral: deleted when its session ends, which here is when the command ends.",
)
@click.option("-c", "container", is_flag=True, help="Container: deleted some time after its last child.")
@click.option(
    "-t",
    "ttl_ms",
    type=click.IntRange(min=1),
    metavar="MS",
    help="TTL: deleted when unchanged and childless for that long (if the server has extendedTypesEnabled).",
)
@path_argument
@click.argument("data", required=False)
@click.argument("acl", callback=read_acl, required=False)
def create(path: str, data: str | None, **options: Any) -> None:
    """Create a znode and print its path.

    Without DATA the znode's data is null. ACL is scheme:id:perms[,…], e.g. world:anyone:r
    """
    if options["container"] and (options["ephemeral"] or options["sequential"]):
        raise click.UsageError("-c cannot be combined with -s or -e")
    if options["ttl_ms"] and (options["ephemeral"] or options["container"]):
        raise click.UsageError("-t cannot be combined with -e or -c")
    run(commands.create, path, None if data is None else _bytes(data), **options)


@cli.command()
@stat_option
@path_argument
def get(**options: Any) -> None:
    """Print a znode's data."""
    run(commands.get, **options)


@cli.command("set")
@stat_option
@version_option
@path_argument
@click.argument("data")
def set_data(data: str, **options: Any) -> None:
    """Replace a znode's data."""
    run(commands.set_data, data=_bytes(data), **options)


@cli.command()
@stat_option
@click.option("-R", "recursive", is_flag=True, help="The paths of all znodes from here down, one a line.")
@path_argument
def ls(**options: Any) -> None:
    """List a znode's children."""
    run(commands.ls, **options)


@cli.command()
@path_argument
def stat(path: str) -> None:
    """Print a znode's Stat."""
    run(commands.stat, path)


@cli.command()
@version_option
@path_argument
def delete(**options: Any) -> None:
    """Delete a znode without children."""
    run(commands.delete, **options)


@cli.command("deleteall")
@path_argument
def delete_all(path: str) -> None:
    """Delete a znode and everything below it."""
    run(commands.delete_all, path)


@cli.command("getAcl")
@stat_option
@path_argument
def get_acl(**options: Any) -> None:
    """Print who may do what."""
    run(commands.get_acl, **options)


@cli.command("setAcl")
@stat_option
@click.option("-v", "version", type=int, default=-1, help="Only if the ACL has this version (-1: any).")
@click.option("-R", "recursive", is_flag=True, help="Also on everything below.")
@path_argument
@click.argument("acl", callback=read_acl)
def set_acl(**options: Any) -> None:
    """Say who may do what.

    ACL is scheme:id:perms[,…]; perms are letters of cdrwa: create and delete children, read, write, admin.
    """
    run(commands.set_acl, **options)


@cli.command()
@path_argument
def sync(path: str) -> None:
    """Wait until the server has caught up with the leader."""
    run(commands.sync, path)


@cli.command("getAllChildrenNumber")
@path_argument
def get_all_children_number(path: str) -> None:
    """Count the znodes below a path."""
    run(commands.get_all_children_number, path)


@cli.command("whoami")
def who_am_i() -> None:
    """Print as whom the server knows this client."""
    run(commands.who_am_i)


@cli.command("members")
def list_members() -> None:
    """Print which of the servers leads, and how far each is."""
    ask_servers(members.members)


@cli.command("yield")
def yield_leadership() -> None:
    """Have the leader hand over to another member, e.g. before its machine is serviced.

    The leader's 4lw.commands.whitelist must allow the word ydld.
    """
    ask_servers(members.yield_leadership)


@cli.command()
def version() -> None:
    """Print coord's version."""
    print_all([_version()])


def _version() -> str:
    try:
        return f"coord {installed_version('coord')}"
    except PackageNotFoundError:
        return "coord, run from a checkout that is not installed"


def _bytes(text: str) -> bytes:
    """The argument's own bytes, were they UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


# -- errors ---------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Runs `coord ARGUMENTS` and returns the exit code. Without any it shows the help, and fails."""
    try:
        cli.main(list(arguments) or ["--help"], prog_name="coord", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        _complain(error.format_message(), error)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        code = next((code for cls, code in EXIT_CODES if isinstance(error, cls)), None)
        if code is None:
            raise
        _complain(str(error) or type(error).__name__)
        return code
    return OK if arguments else USAGE


def _complain(message: str, usage: click.ClickException | None = None) -> None:
    context = usage.ctx if isinstance(usage, click.UsageError) else None
    hint = f" (see {context.command_path} --help)" if context else ""
    line = " ".join(f"coord: {message}{hint}".split())
    click.echo(line, err=True)
