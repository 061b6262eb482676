"""A demo as its user runs it: a process, its lines, its exit status, and nothing left behind.

Every process of a demo is known by a mark in its environment: others may play the same demo meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from demos.__main__ import title

ROOT = Path(__file__).parent.parent.parent
MARK = "COORD_TESTED_DEMO"
SECONDS_MAX = 60
"""Of a demo, on a machine that has other things to do; by itself it takes some 6 seconds."""
COLUMNS = 80


@contextmanager
def started(name: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`coord demo NAME`, and its mark; it may not leave a process."""
    mark = uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "coord", "demo", name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: mark, "COLUMNS": "200"},
    )
    try:
        yield process, mark
        process.communicate(timeout=SECONDS_MAX)
        wait_until_gone(mark)
    finally:
        process.kill()
        process.communicate()


def play(name: str) -> list[str]:
    """Its lines, of a demo that has gone well."""
    with started(name) as (process, _):
        output, errors = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, output + errors
    assert errors == ""
    lines = output.splitlines()
    assert lines[0] == title(name)
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert [line for line in lines if line.startswith("✗")] == []
    assert str(Path.home()) not in output
    return lines


def proven(lines: list[str]) -> str:
    """What the demo says was so, one claim a line."""
    claims: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("✓ "):
            claims.append(line[2:])
        elif line.startswith("  ") and claims and before.startswith(("✓", "  ")) and line[2] != " ":
            claims[-1] += line[1:]
    return "\n".join(claims)


def wait_until_gone(mark: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while left := list(marked(mark)):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def marked(mark: str) -> Iterator[int]:
    """The processes that were started with it, in whatever way."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                yield int(entry.name)
