"""How long a client waits when the leader of three is killed: the same client for coord and Apache ZooKeeper.

Owns one client, by hand: it is connected to a follower, and writes. The leader is killed (SIGKILL); from that
moment until the client's next write is acknowledged is what is measured. A client that lost its connection
tries the members that are left in turn, each time with the session that it had.

Rules that hold here:

- A write that was under way at the kill does not count: the one that does is sent after it.
- The killed member is back, and everybody serves, before the next kill.

Synopsis::

    with Ensemble.temporary("coord", 3) as ensemble:
        seconds = failovers(ensemble, kills=10)
"""

from __future__ import annotations

import time
from itertools import cycle
from typing import Final

from benchmarks.ensembles import Ensemble, Member
from benchmarks.raw import NODE_EXISTS, RawSession, create, set_data

PATH: Final = "/bench-failover"
WRITE: Final = set_data(PATH, bytes(100))
WRITES_BEFORE: Final = 20
ANSWER_SECONDS: Final = 1.0
"""A member that does not answer for so long is given up for the next."""
PAUSE_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 60.0


def failovers(ensemble: Ensemble, kills: int) -> list[float]:
    """Seconds of each; raises `OSError` if the ensemble does not come back."""
    return [_failover(ensemble, number) for number in range(kills)]


def _failover(ensemble: Ensemble, number: int) -> float:
    leader = ensemble.leader()
    others = [member for member in ensemble.members if member is not leader]
    if number % 2:
        others.reverse()  # each follower has the client in turn
    session = RawSession.open(others[0].port, seconds=ANSWER_SECONDS)
    session.call(create(PATH), allowed=(NODE_EXISTS,))
    for _ in range(WRITES_BEFORE):
        session.call(WRITE)
    began = time.monotonic()
    leader.kill()
    session = _write(session, others, began + PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    session.close()
    leader.start()
    ensemble.until_all_serve()
    return seconds


def _write(session: RawSession, members: list[Member], ends: float) -> RawSession:
    """The session with which the write succeeded."""
    lost = False
    for member in cycle(members):
        try:
            if lost:
                session = RawSession.open(member.port, session, seconds=ANSWER_SECONDS)
            session.call(WRITE)
            return session
        except OSError:
            session.abandon()
            lost = True
        if time.monotonic() > ends:
            break
        time.sleep(PAUSE_SECONDS)
    raise OSError(f"no write succeeded for {PATIENCE_SECONDS} s after the leader was killed")
