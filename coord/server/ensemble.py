"""``coord ensemble 3``: a whole ensemble on this machine, for trying things out and for demos.

Owns the members' folders (zoo.cfg, data, log) and their processes, which end with it. Each member is a plain
``coord serve`` with a zoo.cfg of its own: whatever can be done to a server can be done to these, kill -9 by
their pids included. Not for production: an ensemble on one machine does not survive that machine.

Shows each member's mode, as the four-letter word srvr tells it, whenever it changes.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

from coord.config import Config
from coord.errors import ConfigError
from coord.limits import TICK_TIME_MS

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

HOST = "127.0.0.1"
QUIET_PORTS = range(10_000, 32_000)
MEMBERS_MAX = 15
POLL_SECONDS = 0.1
ANSWER_SECONDS = 1.0
END_SECONDS = 10.0

_EPILOG = """\
Ctrl-C ends all of them. `coord --server … members` and `yield` show, and change, who leads. With --dir, the
same ensemble (its data, and its ports) is there again the next time. A member that was killed comes back
with `coord serve DIR/server.N/zoo.cfg`.
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

    @property
    def command(self) -> list[str]:
        """What runs this member, until the input it is given ends."""
        return [sys.executable, "-P", "-m", "coord", "serve", "--until-input-ends", str(self.config_file)]


class Status(NamedTuple):
    """What a server says of itself; `zxid` 0 if it says nothing."""

    mode: str
    """``leader``, ``follower``, … in its own words; ``silent``, or ``waiting`` for a leader"""
    zxid: int = 0


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


def prepare(
    directory: Path, count: int, *, tick_time_ms: int = TICK_TIME_MS, client_port: int = 0
) -> list[LocalMember]:
    """The members' folders, made on free ports unless they are there from an earlier time. `client_port`
    is the first member's, if it has to be a certain one; the others' are the next ones.

    Raises `ConfigError`, also if there are some, but not `count`; `OSError` if a port is taken.
    """
    found = sorted(directory.glob("server.*/zoo.cfg"))
    if not found:
        clients = [client_port + index if client_port else 0 for index in range(count)]
        _write(directory, _free_ports([*clients, *[0] * 2 * count]), tick_time_ms)
    elif len(found) != count:
        raise ConfigError(f"{directory} has an ensemble of {len(found)} members, not of {count}")
    members = []
    for my_id in range(1, count + 1):
        home = directory / f"server.{my_id}"
        config = Config.from_file(home / "zoo.cfg")
        members.append(LocalMember(my_id, home, config.client_port))
    return members


def _write(directory: Path, ports: list[int], tick_time_ms: int) -> None:
    count = len(ports) // 3
    ids = range(1, count + 1)
    servers = "".join(
        f"server.{one}={HOST}:{peer}:{election}\n"
        for one, peer, election in zip(ids, ports[count : 2 * count], ports[2 * count :], strict=True)
    )
    for one, client in zip(ids, ports[:count], strict=True):
        home = directory / f"server.{one}"
        (home / "data").mkdir(parents=True)
        (home / "data" / "myid").write_text(f"{one}\n")
        (home / "zoo.cfg").write_text(
            f"tickTime={tick_time_ms}\ninitLimit=10\nsyncLimit=5\ndataDir={home / 'data'}\n"
            f"clientPort={client}\nclientPortAddress={HOST}\n4lw.commands.whitelist=*\n{servers}"
        )


def _free_ports(wanted: Sequence[int]) -> list[int]:
    """All different, 0 being any: each is held until the last one is found."""
    with ExitStack() as stack:
        probes = [stack.enter_context(_probe(port)) if port else _any_probe(stack) for port in wanted]
        return [int(probe.getsockname()[1]) for probe in probes]


def _probe(port: int) -> socket.socket:
    """Holds the port. Raises `OSError` if it is taken."""
    probe = socket.socket()
    try:
        # The connections of an earlier time do not hold it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen()  # else another one that reuses addresses could be bound to it, too
    except OSError:
        probe.close()
        raise
    return probe


def _any_probe(stack: ExitStack) -> socket.socket:
    """Not of the range from which the system takes the ports of outgoing connections: a member that keeps
    trying the port of one that is away would sooner or later be given that very port, and reach itself."""
    for port in random.sample(QUIET_PORTS, len(QUIET_PORTS)):
        with suppress(OSError):
            return stack.enter_context(_probe(port))
    raise OSError(errno.EADDRINUSE, f"no port of {HOST} is free")


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


async def start_process(member: LocalMember) -> trio.Process:
    """Starts it, and waits for nothing. It ends with this process, however that ends, at the latest; the
    terminal's Ctrl-C is not for it."""
    with member.log_file.open("ab") as log:
        return await trio.lowlevel.open_process(
            member.command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # not what lies where we are
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            process_group=0,
        )


async def end_process(process: trio.Process) -> int:
    """As SIGTERM ends it, if it has not ended yet; returns the exit status."""
    assert process.stdin is not None
    process.terminate()
    with trio.CancelScope(shield=True):
        with trio.move_on_after(END_SECONDS):
            await process.wait()
        process.kill()
        status = await process.wait()
        await process.stdin.aclose()
    return status


async def _run_member(member: LocalMember) -> None:
    """One process, from start to end."""
    process = await start_process(member)
    try:
        _say(member, f"pid {process.pid}, log {member.log_file}")
        status = await process.wait()
    finally:
        await end_process(process)
    _say(member, f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")


async def _show(member: LocalMember) -> None:
    """Says the member's mode whenever it is another one."""
    known = mode = "starting"
    while True:
        mode = (await status_of(member.client_port)).mode
        if mode != known and (mode != "silent" or known != "starting"):
            _say(member, mode)
            known = mode
        await trio.sleep(POLL_SECONDS)


async def status_of(port: int) -> Status:
    """Asks the server there."""
    answer = b""
    try:
        with trio.fail_after(ANSWER_SECONDS):
            async with await trio.open_tcp_stream(HOST, port) as stream:
                await stream.send_all(b"srvr")
                async for piece in stream:
                    answer += piece
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        return Status("silent")
    found = re.search(r"^Zxid: (\S+)\nMode: (\S+)$", answer.decode(errors="replace"), re.MULTILINE)
    return Status(found[2], int(found[1], 16)) if found else Status("waiting")


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
