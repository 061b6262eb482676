"""The grammar of what is asked of servers rather than of their znodes: members, config, yield, version.

Owns only names, flags and help; `members` does them.
"""

from __future__ import annotations

import click

from coord.cli import members
from coord.cli.grammar import cli, installed
from coord.cli.jobs import Job, Output, with_servers
from coord.cli.results import Said

SECTION = "Servers"


@cli.command("members")
def list_members() -> Job:
    """Print who leads, and how far each server is."""
    return with_servers(members.members)


@cli.command("yield")
def yield_leadership() -> Job:
    """Have the leader hand over to another member.

    E.g. before its machine is serviced. The leader's 4lw.commands.whitelist must allow the word ydld.
    """
    return with_servers(members.yield_leadership)


@cli.command()
@click.option("-s", "with_stat", is_flag=True, help="Print the Stat of /zookeeper/config as well.")
@click.option("-c", "for_clients", is_flag=True, help="Only the version and the clients' addresses.")
def config(**options: bool) -> Job:
    """Print the members of the ensemble.

    As its servers know them: /zookeeper/config, or what they say to the word conf. A server that is alone
    knows none.
    """
    return with_servers(members.config, **options)


@cli.command()
def version() -> Job:
    """Print the versions of coord and of the servers."""
    return with_servers(_say_versions)


async def _say_versions(servers: str, out: Output) -> None:
    out(Said(installed(), "version"))
    await members.versions(servers, out)
