"""The grammar of zkCli's commands: create, get, set, ls … under its names and with its flags.

Owns only names, flags and help; `commands` does them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from coord.cli import commands, subtrees
from coord.cli.completion import complete_path
from coord.cli.content import Content
from coord.cli.grammar import (
    VERSION,
    as_bytes,
    cli,
    file_option,
    given,
    path_argument,
    read_acl,
    stat_option,
    version_option,
    watch_option,
)
from coord.cli.jobs import ClientCommand, Job, patient, with_client
from coord.cli.walk import PORTION

SECTION = "Znodes"


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
@file_option
@path_argument
@click.argument("data", required=False)
@click.argument("acl", callback=read_acl, required=False)
def create(path: str, data: str | None, file: str | None, **options: Any) -> Job:
    """Create a znode and print its path.

    Without DATA the znode's data is null. ACL is scheme:id:perms[,…], e.g. world:anyone:r; with --file it
    takes DATA's place.
    """
    if file is not None and data is not None:
        if options["acl"] is not None:
            raise click.UsageError("DATA and --file cannot be combined")
        data, options["acl"] = None, read_acl(click.get_current_context(), None, data)
    if options["container"] and (options["ephemeral"] or options["sequential"]):
        raise click.UsageError("-c cannot be combined with -s or -e")
    if options["ttl_ms"] and (options["ephemeral"] or options["container"]):
        raise click.UsageError("-t cannot be combined with -e or -c")
    return _giving(given(data, file), commands.create, path=path, **options)


@cli.command()
@stat_option
@watch_option
@click.option("--raw", is_flag=True, help="The data alone, without a line's end after it.")
@path_argument
def get(**options: Any) -> Job:
    """Print a znode's data, and a line's end."""
    if options["raw"] and options["with_stat"]:
        raise click.UsageError("--raw cannot be combined with -s")
    return _watching(with_client(commands.get, **options), options)


@cli.command("set")
@stat_option
@version_option
@file_option
@path_argument
@click.argument("data", required=False)
def set_data(data: str | None, file: str | None, **options: Any) -> Job:
    """Replace a znode's data.

    By DATA, or by the content of a file.
    """
    if (data is None) == (file is None):
        raise click.UsageError("either DATA or --file is needed")
    return _giving(given(data, file), commands.set_data, **options)


@cli.command()
@stat_option
@watch_option
@click.option("-R", "recursive", is_flag=True, help="The paths of all znodes from here down, one a line.")
@path_argument
def ls(*, recursive: bool, **options: Any) -> Job:
    """List a znode's children."""
    if recursive and (options["with_stat"] or options["with_watch"]):
        raise click.UsageError("-R cannot be combined with -s or -w")
    if recursive:
        return patient(with_client(subtrees.list_all, options["path"]))
    return _watching(with_client(commands.ls, **options), options)


@cli.command()
@watch_option
@path_argument
def stat(**options: Any) -> Job:
    """Print a znode's Stat. With -w there need not be one yet."""
    return _watching(with_client(commands.stat, **options), options)


@cli.command()
@version_option
@path_argument
def delete(**options: Any) -> Job:
    """Delete a znode without children."""
    return with_client(commands.delete, **options)


@cli.command("deleteall")
@click.option(
    "-b",
    "batch",
    type=click.IntRange(1, 10_000),
    default=PORTION,
    show_default=True,
    help="So many znodes in one transaction.",
)
@path_argument
def delete_all(**options: Any) -> Job:
    """Delete a znode and everything below it."""
    return patient(with_client(subtrees.delete_all, **options))


@cli.command("getAcl")
@stat_option
@path_argument
def get_acl(**options: Any) -> Job:
    """Print who may do what."""
    return with_client(commands.get_acl, **options)


@cli.command("setAcl")
@stat_option
@click.option("-v", "version", type=VERSION, default=-1, help="Only if the ACL has this version (-1: any).")
@click.option("-R", "recursive", is_flag=True, help="Also on everything below.")
@path_argument
@click.argument("acl", callback=read_acl)
def set_acl(*, recursive: bool, **options: Any) -> Job:
    """Say who may do what.

    ACL is scheme:id:perms[,…]; perms are letters of cdrwa: create and delete children, read, write, admin.
    """
    if recursive:
        return patient(with_client(subtrees.set_all_acls, **options))
    return with_client(commands.set_acl, **options)


@cli.command()
@path_argument
def sync(path: str) -> Job:
    """Wait until the server has caught up with the leader."""
    return with_client(commands.sync, path)


@cli.command("getEphemerals")
@click.argument("path", default="/", shell_complete=complete_path)
def get_ephemerals(path: str) -> Job:
    """List the ephemerals of this session.

    Those whose paths begin with PATH. A single command has a session of its own, and so none.
    """
    return with_client(commands.get_ephemerals, path)


@cli.command("getAllChildrenNumber")
@path_argument
def get_all_children_number(path: str) -> Job:
    """Count the znodes below a path."""
    return with_client(commands.get_all_children_number, path)


@cli.command("whoami")
def who_am_i() -> Job:
    """Print as whom the server knows this client."""
    return with_client(commands.who_am_i)


@cli.command("addauth")
@click.argument("scheme")
@click.argument("credentials")
def add_auth(scheme: str, credentials: str) -> Job:
    """Give credentials: addauth digest user:password

    They are the session's. A single command has a session of its own: there, give --auth before its name, or
    COORD_AUTH.
    """
    return with_client(commands.add_auth, scheme, as_bytes(credentials))


def _watching(job: Job, options: dict[str, Any]) -> Job:
    """With -w it takes as long as the event does."""
    return patient(job) if options["with_watch"] else job


def _giving(content: Content, command: ClientCommand[...], **options: Any) -> Job:
    """A job that is given a znode's data."""
    return replace(with_client(command, content=content, **options), before=content.read)
