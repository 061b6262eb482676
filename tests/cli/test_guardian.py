"""The guardian by itself: what it hears, and when it acts. (Nobody is guarded here: group 0.)"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from coord.cli import guardian
from coord.cli.guardian import DONE, ENDED, Guardian, kin

PROGRAM = [sys.executable, "-I", "-S", guardian.__file__]


def test_the_newest_moments_count_until_ending_has_begun() -> None:
    one = Guardian()
    assert one.seconds(0.0) is None
    one.hear("until 10.0 12.0")
    one.hear("until 20.0 22.0")
    assert not one.act(19.0)
    assert one.seconds(19.0) == 1.0
    one.act(20.0)
    assert one.begun
    one.hear("until 30.0 32.0")
    assert one.kill_at == 22.0
    one.hear("until 0.0 21.0")
    assert one.kill_at == 21.0
    assert not one.hear("done")  # what has begun is brought to its end


def test_what_is_past_at_once_is_killed_without_a_word() -> None:
    one = Guardian()
    one.hear("until -inf -inf")
    assert one.act(0.0)
    assert not one.begun


def test_kin_are_the_group_and_its_descendants() -> None:
    script = "import subprocess, sys; subprocess.run(['cat'], process_group=0)"
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", script], stdin=subprocess.PIPE, process_group=0
    ) as parent:
        deadline = time.monotonic() + 20
        while len(kin(parent.pid)) < 2 and Path("/proc").exists():
            assert time.monotonic() < deadline
        parent.communicate(b"")
    assert kin(parent.pid) == set()


def test_as_a_program_it_ends_with_its_orders_or_with_its_input() -> None:
    for orders, code in ((b"until 1e9 1e9\ndone\n", DONE), (b"until 0 0\n", ENDED), (b"", ENDED)):
        assert subprocess.run(PROGRAM, input=orders, check=False, timeout=20).returncode == code


SPAWNER = """
import os, sys, time
while True:
    if os.fork() == 0:
        os.setpgid(0, 0)
        if os.fork() == 0:
            os.setpgid(0, 0)
        time.sleep(600)
    time.sleep(0.0005)
"""
"""As a shell that starts one job after the other, each in a group of its own, with a child in another."""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="other groups are found by /proc")
def test_nobody_is_born_while_all_are_killed(tmp_path: Path) -> None:
    program = tmp_path / "spawner.py"
    program.write_text(SPAWNER)

    def there() -> list[bytes]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                found += [path.read_bytes()] if bytes(program) in path.read_bytes() else []
        return found

    for _ in range(3):
        with subprocess.Popen([sys.executable, "-IS", program], process_group=0) as spawner:
            deadline = time.monotonic() + 20
            while len(there()) < 20:
                assert time.monotonic() < deadline
            one = Guardian()
            one.group = spawner.pid
            one.kill()
        assert there() == []
