"""The stage of the small demos: they fail when they should, and leave nothing behind, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from demos import _stage
from demos.__main__ import main, names, title
from demos._stage import Stage, perform
from demos.scheduler import SCHEDULERS
from tests.demos.playing import COLUMNS, ROOT, marked, started

DOC = "A title.\n\nWhat happens.\n\nSynopsis::\n\n    greet"


async def no_actor() -> None:
    raise AssertionError("nobody starts one")


def status_of(play: Callable[[Stage], Awaitable[None]], *arguments: str) -> int:
    return perform("scheduler", DOC, play, no_actor, arguments)


def test_what_is_so_is_proven(capsys: pytest.CaptureFixture[str]) -> None:
    async def play(stage: Stage) -> None:
        stage.step("first")
        stage.tell("hello")
        assert (await stage.hears("hel+o")).text == "hello"
        stage.prove("it was said", bool(stage.heard("hello")))
        stage.step("second")
        stage.prove("what was said before does not count", not stage.heard("hello"))

    assert status_of(play) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[:3] == ["A title.", "", "* first"]
    assert output[4:] == ["✓ it was said", "", "* second", "✓ what was said before does not count"]


def test_a_claim_that_does_not_hold_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    async def play(stage: Stage) -> None:
        stage.prove("pigs fly", False)

    assert status_of(play) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("✗ pigs fly\n")
    assert captured.err == "coord demo scheduler: this is not so: pigs fly\n"


def test_what_does_not_come_about_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hears("never")

    monkeypatch.setattr(_stage, "SECONDS_MAX", 0.01)
    assert status_of(play) == 1
    assert "has not come about" in capsys.readouterr().err


def test_an_actor_that_ends_by_itself_fails_the_demo(capfd: pytest.CaptureFixture[str]) -> None:
    async def play(stage: Stage) -> None:
        await stage.start("anna", "too", "many", "arguments")
        await trio.sleep_forever()

    assert status_of(play) == 1
    errors = capfd.readouterr().err
    assert "TypeError" in errors
    assert errors.endswith("anna has ended by itself\n")


def test_errors_of_the_story_itself_are_not_hidden() -> None:
    async def play(stage: Stage) -> None:
        raise KeyError("a mistake")

    with pytest.raises(ExceptionGroup) as caught:
        status_of(play)
    assert caught.group_contains(KeyError)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_however_it_ends_its_actors_end_with_it(how: signal.Signals) -> None:
    with started("scheduler") as (process, mark):
        assert process.stdout is not None
        assert any("job 1 begins" in line for line in process.stdout)
        assert len(list(marked(mark))) == 1 + len(SCHEDULERS)
        process.send_signal(how)
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)


def test_every_demo_is_listed_with_what_will_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "coord demo broker_cluster"
    assert f"    {title('scheduler')}" in lines
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert len(lines) == 2 * len(names())


def test_a_demo_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.startswith(
        "coord demo: there is no demo nonsense; there are: broker_cluster,"
    )


@pytest.mark.parametrize("name", names())
def test_each_is_a_module_to_run_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: coord demo" in capsys.readouterr().out


def test_without_its_command_a_demo_is_a_module() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "demos.scheduler", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("usage: coord demo scheduler")
