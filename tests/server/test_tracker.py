"""How long a leader waits for a session that shows no life, by what others may know and it does not."""

from __future__ import annotations

import pytest

from coord.config import Config, Member
from coord.server.tracker import SessionTracker

TIMEOUT_MS = 4000
ALONE = Config()
MEMBERS = {one: Member("127.0.0.1", 1000 + one, 2000 + one) for one in (1, 2, 3)}
OBSERVED = {1: MEMBERS[1], 2: MEMBERS[2]._replace(role="observer")}


def beats_until_expiry(config: Config) -> int:
    tracker = SessionTracker(config, 1)
    tracker.lead({7: TIMEOUT_MS})
    return next(beat for beat in range(1, 1000) if tracker.beat() == [7])


def test_a_server_alone_waits_for_the_timeout() -> None:
    assert beats_until_expiry(ALONE) == TIMEOUT_MS // ALONE.beat_ms + 1


@pytest.mark.parametrize("members", [MEMBERS, OBSERVED], ids=["three voters", "a voter and an observer"])
def test_a_leader_waits_for_what_others_may_have_heard(members: dict[int, Member]) -> None:
    """Two silences, in which one who follows no more may have answered pings; the pause between reports;
    and a sixth of the timeout, which the client does not count on."""
    config = Config(members=members, my_id=1)
    more = 2 * config.silence_ms + 2 * config.beat_ms + TIMEOUT_MS / 6
    assert beats_until_expiry(config) * config.beat_ms >= TIMEOUT_MS + more


def test_longer_heartbeats_cost_a_longer_wait() -> None:
    slow = Config(members=MEMBERS, my_id=1, heartbeat_ms=500)
    assert beats_until_expiry(slow) > beats_until_expiry(Config(members=MEMBERS, my_id=1)) + 10
