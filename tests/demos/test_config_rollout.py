"""The demo of a configuration that is followed, and what its services take for one."""

from __future__ import annotations

import pytest

from demos.config_rollout import SERVICES, Settings
from tests.demos.playing import play, proven


def test_every_release_reaches_everybody_and_a_broken_one_nobody() -> None:
    lines = play("config_rollout")
    claims = proven(lines)
    assert [f"release {release}," in claims for release in (2, 3, 4)] == [True, False, True]
    assert "all services refused both, and kept release 2" in claims
    assert "no service has lost its session" in claims
    assert sum("JSONDecodeError" in line for line in lines) == len(SERVICES)
    assert sum("uses release 2" in line for line in lines) == 2 * len(SERVICES)
    assert not any("uses release 3" in line for line in lines)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'{"release": 1}',
        b'{"release": 1, "rate": 0}',
        b'{"release": 1, "rate": 1, "x": 1}',
    ],
)
def test_settings_that_are_nonsense_cannot_be(document: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        Settings.parse(document)


def test_settings() -> None:
    assert Settings.parse(b'{"release": 1, "rate": 2}') == Settings(1, 2)
