"""The demo of a limit that many share: the API itself counts."""

from __future__ import annotations

from tests.demos.playing import play, proven


def test_the_limit_is_kept() -> None:
    claims = proven(play("rate_limit"))
    assert "there were 3 calls at once, and never more" in claims
    assert "there were 5 calls at once, and never more" in claims
    assert "the permit of the dead is held still" in claims
    assert "the permit was free when her session of 1.5 s had ended, and not before" in claims
    assert "and still, there were never more than 5 calls at once" in claims
