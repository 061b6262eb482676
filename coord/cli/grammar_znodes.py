"""The grammar of zkCli's commands: create, get, set, ls … under its names and with its flags.

Owns only names, flags and help; `commands` does them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from coord.cli import commands
from coord.cli.grammar import (
    as_bytes,
    cli,
    path_argument,
    read_acl,
    stat_option,
    version_option,
    watch_option,
)
from coord.cli.jobs import Job, with_client


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
def create(path: str, data: str | None, **options: Any) -> Job:
    """Create a znode and print its path.

    Without DATA the znode's data is null. ACL is scheme:id:perms[,…], e.g. world:anyone:r
    """
    if options["container"] and (options["ephemeral"] or options["sequential"]):
        raise click.UsageError("-c cannot be combined with -s or -e")
    if options["ttl_ms"] and (options["ephemeral"] or options["container"]):
        raise click.UsageError("-t cannot be combined with -e or -c")
    return with_client(commands.create, path, None if data is None else as_bytes(data), **options)


@cli.command()
@stat_option
@watch_option
@path_argument
def get(**options: Any) -> Job:
    """Print a znode's data."""
    return replace(with_client(commands.get, **options), patient=options["with_watch"])


@cli.command("set")
@stat_option
@version_option
@path_argument
@click.argument("data")
def set_data(data: str, **options: Any) -> Job:
    """Replace a znode's data."""
    return with_client(commands.set_data, data=as_bytes(data), **options)


@cli.command()
@stat_option
@watch_option
@click.option("-R", "recursive", is_flag=True, help="The paths of all znodes from here down, one a line.")
@path_argument
def ls(**options: Any) -> Job:
    """List a znode's children."""
    if options["recursive"] and options["with_watch"]:
        raise click.UsageError("-w cannot be combined with -R")
    return replace(with_client(commands.ls, **options), patient=options["with_watch"])


@cli.command()
@watch_option
@path_argument
def stat(**options: Any) -> Job:
    """Print a znode's Stat. With -w there need not be one yet."""
    return replace(with_client(commands.stat, **options), patient=options["with_watch"])


@cli.command()
@version_option
@path_argument
def delete(**options: Any) -> Job:
    """Delete a znode without children."""
    return with_client(commands.delete, **options)


@cli.command("deleteall")
@path_argument
def delete_all(path: str) -> Job:
    """Delete a znode and everything below it."""
    return with_client(commands.delete_all, path)


@cli.command("getAcl")
@stat_option
@path_argument
def get_acl(**options: Any) -> Job:
    """Print who may do what."""
    return with_client(commands.get_acl, **options)


@cli.command("setAcl")
@stat_option
@click.option("-v", "version", type=int, default=-1, help="Only if the ACL has this version (-1: any).")
@click.option("-R", "recursive", is_flag=True, help="Also on everything below.")
@path_argument
@click.argument("acl", callback=read_acl)
def set_acl(**options: Any) -> Job:
    """Say who may do what.

    ACL is scheme:id:perms[,…]; perms are letters of cdrwa: create and delete children, read, write, admin.
    """
    return with_client(commands.set_acl, **options)


@cli.command()
@path_argument
def sync(path: str) -> Job:
    """Wait until the server has caught up with the leader."""
    return with_client(commands.sync, path)


@cli.command("getAllChildrenNumber")
@path_argument
def get_all_children_number(path: str) -> Job:
    """Count the znodes below a path."""
    return with_client(commands.get_all_children_number, path)


@cli.command("whoami")
def who_am_i() -> Job:
    """Print as whom the server knows this client."""
    return with_client(commands.who_am_i)
