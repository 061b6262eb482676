"""The benchmark of the server runs, and says why where it cannot. How fast anything is, is not for a test."""

from __future__ import annotations

import dataclasses
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import server
from benchmarks.__main__ import SELECTION
from benchmarks.ensembles import APACHE, COORD, Ensemble
from benchmarks.server import ROWS, Generator, measure, show

NO_COMPILER = "the load generator needs a C compiler"
TINY = [dataclasses.replace(row, operations=2 * row.connections * row.outstanding) for row in ROWS]


@pytest.mark.skipif(shutil.which("cc") is None, reason=NO_COMPILER)
def test_every_row_is_measured_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sides, names = measure([COORD], 3, 1, TINY, kills=1)
    side = sides[COORD]
    assert "coord" in names[COORD]
    for figure in (side.rates, side.p50_us, side.p99_us, side.cpu_us):
        assert list(figure) == [row.title for row in ROWS]
    assert all(values[0] > 0 for values in side.rates.values())
    assert all(side.p50_us[row.title] <= side.p99_us[row.title] for row in ROWS)
    assert len(side.start_seconds) == len(side.memory_bytes) == len(side.failover_seconds) == 1

    show(sides, {"command": "make it"})
    shown = capsys.readouterr().out
    assert [row.title for row in ROWS if row.title not in shown] == []
    assert "a new leader" in shown


@pytest.mark.skipif(shutil.which("cc") is None, reason=NO_COMPILER)
def test_what_was_measured_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.json"
    words = ["--members", "1", "--rounds", "1", "--only", "reads 1x1", "--quick", "--alone"]
    assert server.main([*words, "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    assert data["command"] == " ".join(["python -m benchmarks.server", *words, "--json", str(file)])
    assert list(data["sides"]) == [COORD]
    assert list(data["sides"][COORD]["rates"]) == ["reads 1x1"]
    assert data["machine"] in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("cc") is None, reason=NO_COMPILER)
def test_a_load_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    generator = Generator(tmp_path)
    with pytest.raises(OSError, match="reads 1x1: load: cannot connect"):
        generator.run(ROWS[0], "127.0.0.1:1")


def test_without_a_compiler_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert server.main(["--members", "1"]) == 1
    assert "it needs a compiler" in capsys.readouterr().err


def test_without_java_there_is_no_zookeeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match="java is not installed"):
        Ensemble(APACHE, 1, tmp_path)


def test_a_server_that_ends_by_itself_is_told_with_its_last_words() -> None:
    config = {"tickTime": "no number"}
    with (
        pytest.raises(OSError, match=r"does not serve: .*tickTime"),
        Ensemble.temporary(COORD, 1, config=config),
    ):
        pass


def test_the_selection_names_what_there_is() -> None:
    assert [name for name, *_ in SELECTION if find_spec(f"benchmarks.{name}") is None] == []
