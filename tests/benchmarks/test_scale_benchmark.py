"""The benchmark of scale runs, at a size that shows nothing but that. coord's side only: see `--only`."""

from __future__ import annotations

import re

import pytest

from benchmarks import scale
from benchmarks.figures import Figure, print_table
from benchmarks.probe import Timed, p99, worst

TINY = [
    *("--only", "coord", "--znodes", "1200", "--sessions", "20", "--watches", "20", "--waiters", "5"),
    *("--members", "3", "--seconds", "0.3"),
]
FIGURES = {
    "znodes": {"load, multis of 100", "memory after the load", "read, p99, while one is made"},
    "sessions": {"CPU of the server, timeout 6 s", "memory"},
    "watches": {"write until the last event"},
    "line": {"the whole line passes", "CPU of the server"},
    "members": {"1: reads", "3: writes", "3: CPU of all members"},
}


@pytest.mark.parametrize("part", scale.PARTS)
def test_each_part_finds_its_figures(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main([part, *TINY]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0] == " ".join(["command:  python -m benchmarks.scale", part, *TINY])
    for name in FIGURES[part]:
        found = [line for line in lines if line.startswith(name)]
        assert found, captured.out
        assert all(re.search(r"\d$", line) for line in found), captured.out


def test_a_part_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scale.main(["everything"])
    assert "everything" in capsys.readouterr().err


def test_figures_stand_beside_each_other_by_name_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    ours = [Figure("CPU", "us/read", 1.0), Figure("CPU", "us/write", 2.0)]
    print_table("many", {"coord": ours, "zookeeper": [Figure("CPU", "us/write", 300.0)]})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:3] == [["CPU", "us/read", "1.00"], ["CPU", "us/write", "2.00", "300"]]


def test_percentiles() -> None:
    timed = [Timed(0.0, number / 100) for number in range(101)]
    assert round(p99(timed), 6) == 0.99
    assert worst(timed) == 1.0
