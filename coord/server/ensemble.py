"""``coord ensemble 3``: a whole ensemble on this machine, for trying things out and for demos.

Owns the members' folders (zoo.cfg, data, log) and their processes, which end with it. Each member is a plain
``coord serve`` with a zoo.cfg of its own: whatever can be done to a server can be done to these, kill -9 by
their pids included. Not for production: an ensemble on one machine does not survive that machine.

Shows each member's mode, as the four-letter word srvr tells it, whenever it changes.
"""

from __future__ import annotations

import argparse
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import STDOUT

import trio

from coord.config import Config
from coord.errors import ConfigError

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

HOST = "127.0.0.1"
MEMBERS_MAX = 15
POLL_SECONDS = 0.1
ANSWER_SECONDS = 1.0

_EPILOG = """\
Ctrl-C ends all of them. With --dir, the same ensemble (its data, and its ports) is there again the next time.
A member that was killed comes back with `coord serve DIR/server.N/zoo.cfg`.
"""


@dataclass(frozen=True)
class LocalMember:
    """One member's id, folder, and the port where it serves clients."""

    my_id: int
    directory: Path
    client_port: int

    @property
    def config_file(self) -> Path:
        return self.directory / "zoo.cfg"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"


def main(argv: Sequence[str]) -> int:
    """Runs an ensemble until a signal ends it; returns the exit status."""
    options = _parser().parse_args(argv)
    with ExitStack() as stack:
        directory = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coord-")))
        try:
            members = prepare(directory.absolute(), options.members)
        except (ConfigError, OSError) as error:
            print(f"coord ensemble: {error}", file=sys.stderr)
            return EXIT_USAGE
        print(f"{options.members} members in {directory}; connect to", connect_string(members), flush=True)
        return trio.run(run, members)


def connect_string(members: Sequence[LocalMember]) -> str:
    return ",".join(f"{HOST}:{member.client_port}" for member in members)


# -- folders --------------------------------------------------------------------------------------------


def prepare(directory: Path, count: int) -> list[LocalMember]:
    """The members' folders, made on free ports unless they are there from an earlier time.

    Raises `ConfigError`, also if there are some, but not `count`.
    """
    found = sorted(directory.glob("server.*/zoo.cfg"))
    if not found:
        _write(directory, _free_ports(3 * count))
    elif len(found) != count:
        raise ConfigError(f"{directory} has an ensemble of {len(found)} members, not of {count}")
    members = []
    for my_id in range(1, count + 1):
        home = directory / f"server.{my_id}"
        config = Config.from_file(home / "zoo.cfg")
        members.append(LocalMember(my_id, home, config.client_port))
    return members


def _write(directory: Path, ports: list[int]) -> None:
    ids = range(1, len(ports) // 3 + 1)
    servers = "".join(
        f"server.{one}={HOST}:{peer}:{election}\n"
        for one, peer, election in zip(ids, ports[1::3], ports[2::3], strict=True)
    )
    for one, client in zip(ids, ports[::3], strict=True):
        home = directory / f"server.{one}"
        (home / "data").mkdir(parents=True)
        (home / "data" / "myid").write_text(f"{one}\n")
        (home / "zoo.cfg").write_text(
            f"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={home / 'data'}\n"
            f"clientPort={client}\nclientPortAddress={HOST}\n4lw.commands.whitelist=*\n{servers}"
        )


def _free_ports(count: int) -> list[int]:
    """All different: each is held until the last one is found."""
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


# -- processes ------------------------------------------------------------------------------------------


async def run(members: Sequence[LocalMember]) -> int:
    """Until SIGINT or SIGTERM, or until no process is left; returns the exit status."""
    status = EXIT_OK
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def run_processes() -> None:
                nonlocal status
                async with trio.open_nursery() as processes:
                    for member in members:
                        processes.start_soon(_run_member, member)
                print("no member is left", flush=True)
                status = EXIT_FAILED
                nursery.cancel_scope.cancel()

            nursery.start_soon(run_processes)
            for member in members:
                nursery.start_soon(_show, member)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
    return status


async def _run_member(member: LocalMember) -> None:
    """One process, from start to end. It does not see the terminal's Ctrl-C: this program ends it."""
    command = [sys.executable, "-m", "coord", "serve", str(member.config_file)]
    with member.log_file.open("ab") as log:
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, check=False, stdout=log, stderr=STDOUT, start_new_session=True)
            process: trio.Process = await nursery.start(start, command)
            _say(member, f"pid {process.pid}, log {member.log_file}")
    status = process.returncode or 0
    _say(member, f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")


async def _show(member: LocalMember) -> None:
    """Says the member's mode whenever it is another one."""
    known = mode = "starting"
    while True:
        mode = await mode_of(member.client_port)
        if mode != known and (mode != "silent" or known != "starting"):
            _say(member, mode)
            known = mode
        await trio.sleep(POLL_SECONDS)


async def mode_of(port: int) -> str:
    """``leader``, ``follower``, … in the server's own words; ``silent``, or ``waiting`` for a leader."""
    answer = b""
    try:
        with trio.fail_after(ANSWER_SECONDS):
            async with await trio.open_tcp_stream(HOST, port) as stream:
                await stream.send_all(b"srvr")
                async for piece in stream:
                    answer += piece
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        return "silent"
    found = re.search(rb"^Mode: (\S+)$", answer, re.MULTILINE)
    return found[1].decode("ascii", "replace") if found else "waiting"


def _say(member: LocalMember, text: str) -> None:
    print(f"member {member.my_id}: {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coord ensemble",
        description="Run an ensemble of servers on free ports of this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "members", type=int, choices=range(1, MEMBERS_MAX + 1), metavar="N", help="how many: 3, say"
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="keep everything there (default: nothing)")
    return parser
