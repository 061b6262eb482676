"""The grammar of `coord bench`.

Owns only names, flags and help; `bench` does it.

Rule that holds here: `--server` and `--json`, which stand before other commands, may stand behind this one,
too, as with other programs that measure.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

from coord.cli.bench.workload import DEFAULT_OPERATIONS, OPERATIONS, Plan
from coord.cli.grammar import cli
from coord.cli.jobs import Job, patient, with_client

SECTION = "Servers"

SECONDS = 5.0


class Finite(click.FloatRange):
    """A number that is one: no nan, no infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not isfinite(found):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return found


def _of_all_commands(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """The option as if it had been given before the command."""
    if value:
        ctx.find_root().params[str(param.name)] = value


@cli.command()
@click.option(
    "--server",
    "servers",
    metavar="HOST:PORT[,…][/CHROOT]",
    expose_value=False,
    callback=_of_all_commands,
    help="The servers, over which clients are spread; the same as before the command.",
)
@click.option(
    "--op",
    "operations",
    type=click.Choice(OPERATIONS),
    multiple=True,
    help=f"What is asked for; repeatable, one after the other.  [default: {', '.join(DEFAULT_OPERATIONS)}]",
)
@click.option(
    "-c",
    "--clients",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Connections, a session each.",
)
@click.option(
    "-p",
    "--outstanding",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Requests in flight on each connection.",
)
@click.option("-n", "--requests", type=click.IntRange(min=1), help="So many of each operation.")
@click.option(
    "-t",
    "--seconds",
    type=Finite(min=0, min_open=True),
    help=f"So long for each operation.  [default: {SECONDS:g}]",
)
@click.option(
    "--warm-up",
    type=Finite(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="So long before each operation without counting.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Bytes of a znode's data.",
)
@click.option(
    "--keys",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="Znodes that are read and set.",
)
@click.option(
    "--read-percent",
    type=click.IntRange(0, 100),
    default=90,
    show_default=True,
    help="The share of get in mixed; the rest is set.",
)
@click.option(
    "--rate",
    type=Finite(min=0.001, max=1e9),  # beyond, what is due when is no number any more
    metavar="PER_SECOND",
    help="Open loop: send at this rate, of all clients together.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    expose_value=False,
    callback=_of_all_commands,
    help="Print one JSON object a line: one for each operation.",
)
def bench(operations: tuple[str, ...], requests: int | None, seconds: float | None, **options: Any) -> Job:
    """Load servers, and measure rates and latencies.

    Works with any server that speaks ZooKeeper's protocol. Everything happens below one new znode,
    /coord-bench-…, which is deleted at the end, after Ctrl-C and errors, too; what is going to be written is
    said before. Only kill -9 or a server that is gone leave it behind.

    It is a closed loop: each client sends the next request when a reply has come, so a server that pauses is
    asked less, and the percentiles are too good for anybody who does not wait (coordinated omission). With
    --rate, requests are due at fixed times, and their latencies count from then, also of those that could
    not be sent in time because --outstanding were in flight on all connections.

    Percentiles are exact to 0.8 %. It runs on one core: if the load generator used nearly all of it, as it
    says, the server may be faster. Then start several at once. Some 10 µs of each latency are its own.

    \b
    Examples:
      coord bench --server zk1:2181,zk2:2181,zk3:2181
      coord bench --op get -c 50 -p 20 -n 1000000
      coord bench --op mixed --read-percent 70 --rate 5000 -t 60
    """
    from coord.cli.bench.bench import bench as load

    if requests is not None and seconds is not None:
        raise click.UsageError("--requests and --seconds exclude each other", click.get_current_context())
    if requests is None and seconds is None:
        seconds = SECONDS
    chosen = tuple(dict.fromkeys(operations)) or DEFAULT_OPERATIONS
    plan = Plan(operations=chosen, requests=requests, seconds=seconds, **options)
    asked = click.get_current_context().find_root().params
    return patient(
        with_client(load, plan, auth=asked.get("auth") or (), patience=asked.get("seconds") or 10.0)
    )
