"""``coord serve``: one server, from a command line to a clean end.

Owns arguments, signals and exit statuses. Needs no command-line library: a server is to run where only coord
itself is installed.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from coord import logs
from coord.config import Config
from coord.errors import ConfigError, CoordError
from coord.server.garbage import sparing_collector
from coord.server.server import Server

log = logging.getLogger("coord.server")

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_EPILOG = """\
The file is ZooKeeper's own zoo.cfg. The smallest one:

    tickTime=2000
    dataDir=/var/lib/coord
    clientPort=2181

coord keeps its files in dataDir/coord (and dataLogDir/coord); what else is there is never touched.
SIGTERM and SIGINT end the server cleanly. Exit status: 0 ended by a signal, 1 the server failed (the last
log line says why: a damaged file, a full disk, a port in use), 2 wrong arguments or configuration.
"""


def main(argv: Sequence[str]) -> int:
    """Runs a server until a signal ends it; returns the exit status."""
    options = _parser().parse_args(argv)
    logs.set_up(options.log_format, options.log_level)
    try:
        config = Config.from_file(options.config)
    except ConfigError as error:
        print(f"coord serve: {error}", file=sys.stderr)
        return EXIT_USAGE
    _allow_open_files()
    status = EXIT_OK
    try:
        with sparing_collector() as loaded:
            trio.run(serve, config, options.until_input_ends, loaded)
    except* (CoordError, OSError) as group:
        for failure in _leaves(group):
            log.error("the server ends: %s", failure)
        status = EXIT_FAILED
    return status


async def serve(config: Config, until_input_ends: bool, loaded: Callable[[], None]) -> None:
    """A server until SIGTERM or SIGINT (or standard input) ends it, the second one at once; what it cannot
    survive is raised. `loaded` is called once its state is."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            server = Server(config)
            nursery.start_soon(_run, server, loaded)
            if until_input_ends:
                nursery.start_soon(_end_with_input, nursery.cancel_scope)
            retiring = False
            async for number in signals:
                log.info("ending on %s", signal.Signals(number).name)
                if retiring:
                    break
                retiring = True
                nursery.start_soon(_retire, server, nursery.cancel_scope)
            nursery.cancel_scope.cancel()


async def _run(server: Server, loaded: Callable[[], None]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        loaded()


async def _retire(server: Server, scope: trio.CancelScope) -> None:
    await server.retire()
    scope.cancel()


async def _end_with_input(scope: trio.CancelScope) -> None:
    """Whoever holds the other end of standard input is gone, however that ended: so is this server."""
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        while await stdin.receive_some():
            pass
    log.info("ending with standard input")
    scope.cancel()


def _allow_open_files() -> None:
    """As many as the system lets this process have (as Java does): each client takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # not every system takes its own upper limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coord serve",
        description="Run a server that any ZooKeeper client can use.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="zoo.cfg", help="ZooKeeper's configuration file")
    parser.add_argument("--log-format", choices=logs.FORMATS, default="text", help="default: text")
    parser.add_argument(
        "--log-level", choices=logs.LEVELS, default="INFO", type=str.upper, help="default: INFO"
    )
    parser.add_argument(
        "--until-input-ends", action="store_true", help="end, too, when whoever holds standard input is gone"
    )
    return parser
