"""The replicated set of sessions, and the leader's count of their silence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coord.state.sessions import Expiry, Sessions


def test_sessions() -> None:
    sessions = Sessions()
    sessions.add(7, 4000)
    assert 7 in sessions
    assert sessions.timeout_of(7) == 4000
    assert list(sessions.items()) == [(7, 4000)]
    sessions.remove(7)
    assert len(sessions) == 0
    assert sessions.timeout_of(7) is None


def test_a_silent_session_expires_once_with_the_beat_of_its_timeout() -> None:
    expiry = Expiry()
    expiry.add(1, 3)
    assert [expiry.beat() for _ in range(5)] == [[], [], [1], [], []]
    assert 1 not in expiry
    assert not expiry.touch(1)


def test_every_touch_gives_the_whole_timeout() -> None:
    expiry = Expiry()
    expiry.add(1, 3)
    for _ in range(10):
        assert expiry.beat() == []
        assert expiry.touch(1)
    assert [expiry.beat() for _ in range(3)] == [[], [], [1]]


def test_restart_gives_everybody_a_full_timeout() -> None:
    expiry = Expiry()
    expiry.add(1, 3)
    expiry.add(2, 5)
    expiry.beat()
    expiry.beat()
    expiry.restart()
    assert [expiry.beat() for _ in range(5)] == [[], [], [1], [], [2]]


def test_another_timeout_counts_from_now() -> None:
    expiry = Expiry()
    expiry.add(1, 50)
    expiry.beat()
    expiry.add(1, 2)  # shorter: the place in the queue moves forward
    assert [expiry.beat() for _ in range(2)] == [[], [1]]
    assert all(expiry.beat() == [] for _ in range(60))


def test_a_removed_session_does_not_expire_even_if_its_id_comes_again() -> None:
    expiry = Expiry()
    expiry.add(1, 3)
    expiry.beat()
    expiry.remove(1)
    expiry.remove(1)
    expiry.add(1, 9)
    assert [beat for beat in range(1, 12) if expiry.beat()] == [9]


Action = tuple[str, int, int]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 4), st.integers(1, 6)),
            st.tuples(
                st.sampled_from(["touch", "remove", "beat", "beat", "restart"]), st.integers(1, 4), st.just(0)
            ),
        ),
        max_size=80,
    )
)
def test_against_counters(actions: list[Action]) -> None:
    """The naive way: a count of silent beats for each session."""
    expiry = Expiry()
    silent: dict[int, int] = {}
    timeouts: dict[int, int] = {}
    for action, session_id, timeout in actions:
        if action == "add":
            expiry.add(session_id, timeout)
            timeouts[session_id], silent[session_id] = timeout, 0
        elif action == "touch":
            assert expiry.touch(session_id) == (session_id in silent)
            silent |= {session_id: 0} if session_id in silent else {}
        elif action == "remove":
            expiry.remove(session_id)
            silent.pop(session_id, None)
        elif action == "restart":
            expiry.restart()
            silent = dict.fromkeys(silent, 0)
        else:
            silent = {each: beats + 1 for each, beats in silent.items()}
            gone = {each for each, beats in silent.items() if beats >= timeouts[each]}
            expired = expiry.beat()
            assert len(expired) == len(gone)
            assert set(expired) == gone
            silent = {each: beats for each, beats in silent.items() if each not in gone}
        assert len(expiry) == len(silent)
