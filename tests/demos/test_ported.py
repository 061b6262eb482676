"""The programs that are shown twice, as `coord demo` runs them: both halves, or one, or without kazoo."""

from __future__ import annotations

import subprocess
import sys

import pytest

from demos.__main__ import main

SHOWN = {
    "kazoo_job": ["anna is charged", "bert is charged", "carl is charged"],
    "kazoo_service": ["round 1", "round 2", "round 3"],
    "kazoo_config": ["{'batch': 50}, workers: host1"],
}


@pytest.mark.parametrize("name", SHOWN)
def test_both_halves_do_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 0
    lines = [line.strip().partition(" of term")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["with kazoo:", *SHOWN[name], "with coord:", *SHOWN[name]]


def test_one_half_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kazoo_job", "--with", "coord"]) == 0
    assert capsys.readouterr().out.startswith("with coord:\n  anna is charged\n")


@pytest.mark.parametrize("name", SHOWN)
def test_without_kazoo_one_line_says_so(name: str) -> None:
    code = (
        f"import sys; sys.modules['kazoo'] = None\nfrom demos.__main__ import main; sys.exit(main(['{name}'"
    )
    told = [
        subprocess.run([sys.executable, "-c", code + rest], capture_output=True, text=True, check=False)
        for rest in ("]))", ", '--with', 'coord']))")
    ]
    assert told[0].returncode == 1
    assert told[0].stderr == (
        f"coord demo {name}: kazoo is not installed: pip install kazoo, or choose --with coord\n"
    )
    assert (told[1].returncode, told[1].stderr) == (0, "")
    assert SHOWN[name][0] in told[1].stdout
