"""The grammar of what is asked of servers rather than of their znodes: members, yield, version.

Owns only names, flags and help; `members` does them.
"""

from __future__ import annotations

from coord.cli import members
from coord.cli.grammar import cli, installed
from coord.cli.jobs import Job, Needs, Output, with_servers
from coord.cli.results import Said


@cli.command("members")
def list_members() -> Job:
    """Print which of the servers leads, and how far each is."""
    return with_servers(members.members)


@cli.command("yield")
def yield_leadership() -> Job:
    """Have the leader hand over to another member, e.g. before its machine is serviced.

    The leader's 4lw.commands.whitelist must allow the word ydld.
    """
    return with_servers(members.yield_leadership)


@cli.command()
def version() -> Job:
    """Print coord's version."""
    return Job(Needs.NOTHING, _say_version, (), {})


async def _say_version(_: object, out: Output) -> None:
    out(Said(installed(), "version"))
