"""The grammar of what is done with whole subtrees: tree, export, import.

Owns only names, flags and help; `tree`, `exporting` and `importing` do them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from coord.cli import exporting, importing
from coord.cli.completion import complete_path
from coord.cli.grammar import cli, path_argument
from coord.cli.importing import ON_CONFLICT
from coord.cli.jobs import Job, patient, with_client
from coord.cli.source import Source
from coord.cli.transfer import FORMATS
from coord.cli.tree import tree

SECTION = "Subtrees"


@cli.command("tree")
@click.option("-L", "depth", type=click.IntRange(min=0), metavar="DEPTH", help="Draw so many levels only.")
@click.argument("path", default="/", shell_complete=complete_path)
def draw_tree(**options: Any) -> Job:
    """Draw a subtree, with sizes, owners and watches.

    Of each znode its data's bytes, what is below it, whose ephemeral it is, and how many watches it has.
    Watches are told where the 4lw.commands.whitelist of all servers allows wchp.
    """
    return patient(with_client(tree, **options))


@cli.command()
@click.option("-o", "--output", "file", metavar="FILE", help="Write to this file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="json",
    show_default=True,
    help="A JSON object a line, or a sequence of CBOR maps.",
)
@click.option("--with-ephemerals", is_flag=True, help="Also ephemerals: imported, they are persistent.")
@path_argument
def export(**options: Any) -> Job:
    """Write a subtree out: data and ACLs.

    A znode a line, parents first; what changes meanwhile is as it was when it was read. Servers do not tell
    which znodes are containers or have a TTL: they come back as plain ones. Null data comes back empty.
    Counters of sequential znodes stay where they are.
    """
    return patient(with_client(exporting.export, **options))


@cli.command("import")
@click.option(
    "--on-conflict",
    type=click.Choice(ON_CONFLICT),
    default="fail",
    show_default=True,
    help="Where a znode is there already: write nothing at all, leave it, or replace its data and ACL.",
)
@click.option("--open-acl", is_flag=True, help="Give all znodes an open ACL instead of their own.")
@click.option("-n", "--dry-run", is_flag=True, help="Check everything, write nothing, say what would be.")
@click.argument("file")
@click.argument("path", required=False, shell_complete=complete_path)
def import_(file: str, **options: Any) -> Job:
    """Create what export has written, from a file.

    From FILE (-: standard input), at PATH, or where it came from. The whole file is checked first. Not
    atomic: if it ends early, it says how many znodes are done, and --on-conflict skip goes on from there.
    """
    source = Source(file)
    job = with_client(importing.import_, source, **options)
    return patient(replace(job, before=source.check, after=source.close))
