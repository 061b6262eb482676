"""The grammar of what is looked at, once or live: locks, leader, brokers, watch, top.

Owns only names, flags and help; `standings`, `broker_list`, `changes`, `live_tree` and `top` do them.

Rule that holds here: pictures are for terminals; without one, and with --json, there are lines.
"""

from __future__ import annotations

from typing import Any

import click

from coord.cli import broker_list, changes, standings
from coord.cli.grammar import cli, path_argument
from coord.cli.jobs import Job, patient, with_client, with_servers
from coord.cli.looks import ORDERS

SECTION = "Holding and watching"

watch_option = click.option("--watch", is_flag=True, help="Print it again whenever it has changed.")


def _wants_json() -> bool:
    return bool(click.get_current_context().find_root().params.get("as_json"))


@cli.command()
@watch_option
@path_argument
def locks(path: str, watch: bool) -> Job:
    """Print who holds a lock, and who waits.

    Locks, read/write locks and semaphores, coord's, kazoo's and Curator's. The time is that at which each
    joined the line. Exit code 1 if nobody holds.
    """
    job = with_client(standings.locks, path, watch=watch)
    return patient(job) if watch else job


@cli.command()
@watch_option
@path_argument
def leader(path: str, watch: bool) -> Job:
    """Print who leads, and who stands by.

    Exit code 1 if nobody leads.
    """
    job = with_client(standings.leader, path, watch=watch)
    return patient(job) if watch else job


@cli.command()
@click.option("--chroot", default="", metavar="PATH", help="Where Kafka's znodes are, e.g. /kafka.")
def brokers(chroot: str) -> Job:
    """Print Kafka's brokers and what they lead.

    Exit code 1 if there is no controller, or a partition without a leader.
    """
    return with_client(broker_list.brokers, chroot)


@cli.command()
@click.option("--data", "with_data", is_flag=True, help="Also the data.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@click.option(
    "--tree", "as_tree", is_flag=True, help="On a terminal: the tree as it is, drawn anew. q ends it."
)
@path_argument
def watch(path: str, with_data: bool, count: int | None, as_tree: bool) -> Job:
    """Print what changes below a path, live.

    A line for each change, there and at the path itself.
    Ctrl-C ends it (exit code 130). It goes on over lost connections, and says where it may have missed
    changes.
    """
    if as_tree:
        from coord.cli.live_tree import live_tree  # with rich, which takes its time
        from coord.cli.screen import is_terminal

        if count is not None:
            raise click.UsageError("--count cannot be combined with --tree")
        if is_terminal() and not _wants_json():

            async def draw(zk: Any, out: Any) -> int:
                return await live_tree(zk, path, with_data=with_data)

            return patient(with_client(draw))
    return patient(with_client(changes.watch, path, with_data=with_data, count=count))


@cli.command()
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look that often.",
)
@click.option("--sort", "order", type=click.Choice(list(ORDERS)), default="server", show_default=True)
@click.option("--once", is_flag=True, help="Look once; exit code 1 if nobody serves.")
def top(**options: Any) -> Job:
    """Watch the servers, live.

    Who leads, how far each is, how much each does.
    On a terminal a picture, which q ends; else, and with --json, lines. What a server does not tell is "-":
    sessions and watches need the word mntr in its 4lw.commands.whitelist. Rates are packets a second.
    """
    from coord.cli import top as tops  # with rich, which takes its time
    from coord.cli.screen import is_terminal

    as_json = _wants_json()
    manner = tops.Manner(**options)
    return patient(with_servers(tops.top, manner, live=is_terminal() and not as_json, as_json=as_json))
