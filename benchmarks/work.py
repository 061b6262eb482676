"""``python -m benchmarks.work``: what the server does for 1,000 requests, counted; no clock is looked at.

Owns the loads, the table of what is expected (``work.txt`` beside this file) and the comparison with it,
which ``tests/benchmarks/test_work.py`` makes. The servers are processes started by `benchmarks.counted`:
production code on real sockets and a real disk. Of more than one member, the work of all is added up.

Rules that hold here:

- A load arrives as a whole: the servers are stopped, the bytes of all connections put into their sockets, and
  the servers go on. So how much work it is does not depend on how fast anybody is.
- Ticks are so long that clocks and heartbeats hardly add anything.
- What is reported is the work for 1,000 requests, after a round that is not counted.

Synopsis::

    python -m benchmarks.work                              # beside what is expected
    python -m benchmarks.work --only "lone writes" --names # which functions are called how often
    python -m benchmarks.work --only "lone writes" --strace  # the system calls of a server that nobody counts
    python -m benchmarks.work --update                     # what is now is what is expected from now on
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.ensembles import COORD, COORD_COMMAND, Ensemble, Member
from benchmarks.raw import RawSession, Request, create, get_data, set_data, sync

EXPECTED: Final = Path(__file__).with_name("work.txt")
COMMAND: Final = (sys.executable, "-m", "benchmarks.counted")
CONFIG: Final = {"tickTime": "20000"}
SESSIONS, OUTSTANDING, ROUNDS = 50, 20, 5
LONE: Final = 100
PATH: Final = "/bench"
READ: Final = get_data(PATH)
WRITE: Final = set_data(PATH, bytes(100))

GROWTH: Final = 1.2
"""How much more is too much …"""
SLACK: Final = {
    **dict.fromkeys(("Python calls", "C calls", "file bytes"), 1000),
    "bytes to members": 3000,
    "objects kept": 500,
    **dict.fromkeys(("waits", "changes of interest", "receives from members", "sends to members"), 40),
}
SLACK_ELSE: Final = 5
"""… if it is also more than that: what clocks and heartbeats may do meanwhile, and small counts."""

Work = Mapping[str, float]
"""What was done for 1,000 requests, by the names of the table."""


@dataclass(frozen=True)
class Load:
    """`play` sends one round of it, and waits for the replies."""

    name: str
    requests: int
    """of a round"""
    play: Callable[[Ensemble, Sequence[RawSession]], None]


def _whole(request: Request) -> Callable[[Ensemble, Sequence[RawSession]], None]:
    def play(ensemble: Ensemble, sessions: Sequence[RawSession]) -> None:
        with ensemble.paused():
            for session in sessions:
                session.send([request] * OUTSTANDING)
        for session in sessions:
            session.replies(OUTSTANDING)

    return play


def _lone(request: Request) -> Callable[[Ensemble, Sequence[RawSession]], None]:
    def play(ensemble: Ensemble, sessions: Sequence[RawSession]) -> None:
        for number in range(LONE):
            sessions[number % len(ensemble.members)].call(request)

    return play


LOADS: Final = (
    Load(f"reads {SESSIONS}x{OUTSTANDING}", SESSIONS * OUTSTANDING, _whole(READ)),
    Load(f"writes {SESSIONS}x{OUTSTANDING}", SESSIONS * OUTSTANDING, _whole(WRITE)),
    Load("lone reads", LONE, _lone(READ)),
    Load("lone writes", LONE, _lone(WRITE)),
)
SIZES: Final = {1: "one server", 3: "three members"}


# -- measuring ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """`names` are the functions, Python's and C's, and how often they were called for 1,000 requests."""

    work: Work
    names: Mapping[str, float]


def measure(members: int, only: str = "") -> dict[str, Measured]:
    """By the names of the loads; takes some seconds."""
    found = {}
    with Ensemble.temporary(COORD, members, config=CONFIG, command=COMMAND) as ensemble, ExitStack() as stack:
        sessions = _sessions(ensemble, stack)
        for load in LOADS:
            if only not in load.name:
                continue
            load.play(ensemble, sessions)
            before = _settled(ensemble)
            for _ in range(ROUNDS):
                load.play(ensemble, sessions)
            after = _settled(ensemble)
            work, names = (
                {name: 1000 * (new[name] - old[name]) / (load.requests * ROUNDS) for name in new}
                for old, new in zip(before, after, strict=True)
            )
            found[load.name] = Measured(work, names)
    return found


def _sessions(ensemble: Ensemble, stack: ExitStack) -> list[RawSession]:
    """Shared evenly by the members, all of which know the znode."""
    members = ensemble.members
    sessions = [
        stack.enter_context(RawSession.open(members[number % len(members)].port))
        for number in range(SESSIONS)
    ]
    sessions[0].call(create(PATH, bytes(100)))
    for session in sessions:
        session.call(sync(PATH))
    return sessions


Counts = tuple[Counter[str], Counter[str]]


def _settled(ensemble: Ensemble) -> Counts:
    """The counts of all members when nobody does anything more: members hear of a write after its client."""
    before, counts = _counts(ensemble), _counts(ensemble)
    while counts[1] != before[1]:
        before, counts = counts, _counts(ensemble)
    return counts


def _counts(ensemble: Ensemble) -> Counts:
    work, names = Counter[str](), Counter[str]()
    for member in ensemble.members:
        report = json.loads(_ask(member))
        work.update(report["work"])
        names.update(report["names"])
    return work, names


def _ask(member: Member) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{member.config}.counts")
        return b"".join(iter(lambda: sock.recv(1 << 20), b""))


# -- comparing ----------------------------------------------------------------------------------------


def grown(name: str, now: float, expected: float) -> bool:
    """Is it too much more?"""
    return now > expected * GROWTH and now > expected + SLACK.get(name, SLACK_ELSE)


def complaints(
    size: str, measured: Mapping[str, Measured], table: Mapping[str, Mapping[str, Work]]
) -> list[str]:
    """What grew, by how much, in lines; [] if nothing did."""
    lines = []
    for load, found in measured.items():
        expected = table.get(size, {}).get(load, {})
        worse = [
            f"  {name}: {now:,.0f} for 1,000 requests; expected {expected.get(name, 0):,.0f}"
            for name, now in found.work.items()
            if grown(name, now, expected.get(name, 0))
        ]
        if worse:
            lines += [f"{size}, {load}:", *worse, f"  called most: {_most(found.names, 8)}"]
    if lines:
        lines.append(
            "Which functions: python -m benchmarks.work --names, here and where it was less. "
            "If it is meant: python -m benchmarks.work --update, and say why in the commit."
        )
    return lines


def _most(names: Mapping[str, float], count: int) -> str:
    return ", ".join(f"{name} {often:,.0f}" for name, often in Counter(names).most_common(count))


def read_table(text: str) -> dict[str, dict[str, Work]]:
    """By size and load. Columns are parted by two blanks at least; each size has a heading of its own."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    loads: list[dict[str, float]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        first, *cells = re.split(r" {2,}", line.strip())
        if first in SIZES.values():
            table[first] = {load: {} for load in cells}
            loads = list(table[first].values())
        else:
            for load, cell in zip(loads, cells, strict=True):
                load[first] = float(cell.replace(",", ""))
    return {size: dict(columns) for size, columns in table.items()}


def write_table(table: Mapping[str, Mapping[str, Work]]) -> str:
    """What `read_table` reads."""
    lines = [
        "# What the server does for 1,000 requests. `make test` fails where it does more: by a fifth,",
        "# and by more than a little. Written by python -m benchmarks.work --update; look at the difference.",
    ]
    for title, loads in table.items():
        lines += ["", f"{title:24}" + "".join(f"{load:>16}" for load in loads)]
        for name in sorted({name: None for work in loads.values() for name in work}):
            cells = "".join(f"{work.get(name, 0):16,.0f}" for work in loads.values())
            lines.append(f"{name:24}{cells}")
    return "\n".join(lines) + "\n"


# -- the command --------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit status: 1 if something grew."""
    options = _parser().parse_args(argv)
    sizes = {size: name for size, name in SIZES.items() if options.members in (None, size)}
    if options.strace:
        for size in sizes:
            _strace(size, options.only)
        return 0
    measured = {name: measure(size, options.only) for size, name in sizes.items()}
    table = read_table(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.exists() else {}
    works = {size: {load: one.work for load, one in loads.items()} for size, loads in measured.items()}
    if options.update:
        whole = {size: {**table.get(size, {}), **works.get(size, {})} for size in SIZES.values()}
        EXPECTED.write_text(write_table(whole), encoding="utf-8")
        return 0
    print(write_table(works))
    if options.names:
        for title, loads in measured.items():
            for load, found in loads.items():
                print(f"{title}, {load}: {_most(found.names, 60)}", end="\n\n")
    lines = [line for title, loads in measured.items() for line in complaints(title, loads, table)]
    print("\n".join(lines) or "Nothing grew.")
    return 1 if lines else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.work", description="What the server does for 1,000 requests, counted."
    )
    parser.add_argument("--members", type=int, choices=sorted(SIZES), help="default: one, then three")
    parser.add_argument("--only", metavar="WORD", default="", help="the loads with this in their names")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--names", action="store_true", help="the functions called most, too")
    how.add_argument("--strace", action="store_true", help="system calls by strace, of servers as they are")
    how.add_argument("--update", action="store_true", help=f"write {EXPECTED.name}: expect this from now on")
    return parser


def _strace(size: int, only: str) -> None:
    """What the kernel sees of the leader, in ROUNDS rounds."""
    with (
        Ensemble.temporary(COORD, size, config=CONFIG, command=COORD_COMMAND) as ensemble,
        ExitStack() as stack,
    ):
        sessions = _sessions(ensemble, stack)
        leader = ensemble.leader()
        for load in LOADS:
            if only not in load.name:
                continue
            load.play(ensemble, sessions)
            tracer = subprocess.Popen(
                ["strace", "-c", "-f", "-p", str(leader.pid)], stderr=subprocess.PIPE, text=True
            )
            assert tracer.stderr is not None
            tracer.stderr.readline()  # it has attached
            for _ in range(ROUNDS):
                load.play(ensemble, sessions)
            tracer.send_signal(signal.SIGINT)
            print(f"{SIZES[size]}, {load.name}, {ROUNDS * load.requests:,} requests, the leader:")
            print(tracer.communicate()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
