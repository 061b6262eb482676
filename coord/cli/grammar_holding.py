"""The grammar of what runs a command while something is held: lock, elect.

Owns only names, flags and help; `holding` does them. Where they have the same meaning the flags are flock's.

Rule that holds here: what is wrong with the words is told before anything is asked of a server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any, TypeVar

import click

from coord.cli import holding
from coord.cli.grammar import as_bytes, cli, path_argument
from coord.cli.holding import Terms
from coord.cli.jobs import Job, with_client
from recipes import CURATOR, CURATOR_LATCH, KAZOO, Layout

F = TypeVar("F", bound=Callable[..., Any])

SECTION = "Holding and watching"

SECONDS = click.FloatRange(min=0)
LAYOUTS = {layout.name: layout for layout in (KAZOO, CURATOR, CURATOR_LATCH)}

ENDINGS = """\b
Exit codes, besides the command's own:
  123      lost, or no longer guaranteed: the command was ended
  124      not had in time (another one with -E)
  125      no connection, no permission, or anything else went wrong
  126 127  the command cannot be executed, is not there
  128+N    signal N ended the command, or the waiting for it
"""


def held(command: F) -> F:
    """The options that lock and elect share."""
    options = [
        click.option("--data", help="What others see as the holder.  [default: HOST:PID]"),
        click.option(
            "-E",
            "--conflict-exit-code",
            "conflict_code",
            type=click.IntRange(0, 255),
            default=holding.NOT_HAD,
            show_default=True,
            metavar="N",
            help="The exit code if it was not had in time.",
        ),
        click.option(
            "--grace",
            type=SECONDS,
            metavar="SECONDS",
            help="From SIGTERM to SIGKILL; a quarter of the session timeout at most.  [default: a twelfth]",
        ),
        click.option("--revocable", is_flag=True, help="End the command when others ask us to let go."),
        click.option(
            "--session-timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="So long may no server be heard of before it is lost.",
        ),
        click.option("--verbose", is_flag=True, help="Say on standard error what happens."),
        path_argument,
        click.argument(
            "command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND [ARGUMENTS]"
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def layout_option(*layouts: Layout) -> Callable[[F], F]:
    return click.option(
        "--layout",
        type=click.Choice([layout.name for layout in layouts]),
        default=KAZOO.name,
        show_default=True,
        help="Whose names the znodes have: who else may contend for it.",
    )


@cli.command(epilog=ENDINGS)
@click.option("-s", "--shared", is_flag=True, help="Hold it together with others who share it.")
@click.option("-n", "--nonblock", is_flag=True, help="Do not wait for it.")
@click.option("-w", "--wait", type=SECONDS, metavar="SECONDS", help="Wait for it so long at most.")
@layout_option(KAZOO, CURATOR)
@held
def lock(shared: bool, nonblock: bool, **options: Any) -> Job:
    """Run a command while holding a lock.

    As in: coord lock /jobs/nightly -- make report

    The command is ended before anybody else can get the lock: with SIGTERM when it can no longer be
    guaranteed, with SIGKILL after a grace. The same happens if coord itself is killed or frozen.

    In its environment: COORD_LOCK_PATH, COORD_ZNODE, COORD_SESSION, COORD_SERVER, and COORD_TOKEN, a number
    that rises with each holder, for whoever is to refuse older ones.
    """
    return _job(holding.lock, shared=shared, nonblock=nonblock, **options)


@cli.command(epilog=ENDINGS)
@click.option("-w", "--wait", type=SECONDS, metavar="SECONDS", help="Wait for it so long at most.")
@click.option(
    "--keep-standing",
    is_flag=True,
    help="When the leadership is lost, stand again, and run the command anew.",
)
@layout_option(KAZOO, CURATOR, CURATOR_LATCH)
@held
def elect(keep_standing: bool, **options: Any) -> Job:
    """Run a command while leading.

    As in: coord elect /service/leader -- ./serve

    One leads, the others stand by. When the command ends, so does the leadership; when that can no longer be
    guaranteed, the command is ended as with `lock`. In its environment: COORD_ELECTION_PATH, else as there.
    """
    return _job(holding.elect, keep_standing=keep_standing, **options)


def _job(
    run: Callable[..., Any],
    *,
    path: str,
    command: tuple[str, ...],
    data: str | None,
    layout: str,
    wait: float | None,
    session_timeout: float,
    conflict_code: int,
    grace: float | None,
    revocable: bool,
    verbose: bool,
    **options: Any,
) -> Job:
    terms = Terms(
        data=as_bytes(f"{socket.gethostname()}:{os.getpid()}" if data is None else data),
        layout=LAYOUTS[layout],
        wait=inf if wait is None else wait,
        conflict_code=conflict_code,
        grace=grace,
        revocable=revocable,
        verbose=verbose,
    )
    job = with_client(run, path, command, terms, **options)
    return replace(job, patient=True, session_timeout=session_timeout, failure=holding.FAILED)
