"""The engine against a server's end of a socket that the test itself speaks for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.bench.engine import FIRST_XID, PING_NS, Engine
from coord.cli.bench.tally import LOST, OUT_OF_ORDER, UNANSWERED
from coord.cli.bench.workload import Plan, Workload, workload_of
from coord.wire.frames import FrameBuffer
from coord.wire.records import Op, Xid

_REPLY = Struct(">iiqi")


def reply(xid: int, error: int = 0, body: bytes = b"") -> bytes:
    return _REPLY.pack(16 + len(body), xid, 1, error) + body


class Peer:
    """A server's end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self._frames = FrameBuffer(1 << 24)

    def heard(self) -> list[tuple[int, int]]:
        """xid and opcode of what has come."""
        try:
            while data := self.sock.recv(1 << 20):
                self._frames.receive(data)
        except BlockingIOError:
            pass
        numbers = Struct(">ii")
        return [numbers.unpack_from(frame) for frame in self._frames.frames()]

    def say(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))


@contextmanager
def engaged(count: int = 1, outstanding: int = 1) -> Iterator[tuple[Engine, list[Peer]]]:
    with Engine(outstanding) as engine:
        peers = []
        for number in range(count):
            mine, its = socket.socketpair()
            mine.setblocking(False)
            engine.add(mine, f"server{number}")
            peers.append(Peer(its))
        try:
            yield engine, peers
        finally:
            for peer in peers:
                peer.sock.close()


def workload(operation: str = "get", **plan: int) -> Workload:
    return workload_of(operation, Plan(operations=(operation,), **plan), "/bench")


def test_each_connection_has_so_many_in_flight_and_one_more_for_each_reply() -> None:
    with engaged(2, outstanding=3) as (engine, (one, other)):
        engine.start(workload())
        assert one.heard() == other.heard() == [(FIRST_XID + n, Op.GET_DATA) for n in range(3)]
        one.say(reply(FIRST_XID), reply(FIRST_XID + 1, body=b"data"))
        engine.run(0.001)
        assert [xid for xid, _ in one.heard()] == [FIRST_XID + 3, FIRST_XID + 4]
        assert other.heard() == []
        assert (engine.in_flight, engine.tally.done) == (6, 2)


def test_a_limit_is_exact_and_then_it_is_idle() -> None:
    with engaged(2, outstanding=4) as (engine, peers):
        engine.start(workload(), limit=11)
        seen = 0
        while not engine.idle:
            for peer in peers:
                heard = peer.heard()
                seen += len(heard)
                peer.say(*(reply(xid) for xid, _ in heard))
            engine.run(0.001)
        assert seen == engine.tally.done == engine.tally.counts[0].latencies.count == 11


def test_stopped_it_waits_for_the_replies_that_are_due() -> None:
    with engaged(outstanding=2) as (engine, (peer,)):
        engine.start(workload())
        engine.stop()
        engine.run(0.001)
        assert not engine.idle
        peer.say(reply(FIRST_XID), reply(FIRST_XID + 1))
        engine.run(1)
        assert engine.idle
        assert len(peer.heard()) == 2
        engine.start(workload("set"))  # the next window, with xids that go on
        assert peer.heard() == [(FIRST_XID + 2, Op.SET_DATA), (FIRST_XID + 3, Op.SET_DATA)]


@given(st.lists(st.integers(1, 60), max_size=20), st.lists(st.sampled_from([0, 0, 0, -101]), min_size=5))
def test_replies_in_any_pieces(cuts: list[int], errors: list[int]) -> None:
    """Among them pings and errors."""
    count = len(errors)
    with engaged(outstanding=count) as (engine, (peer,)):
        engine.start(workload("mixed"), limit=count)
        stream = b"".join(
            reply(Xid.PING) + reply(FIRST_XID + at, error, bytes(at % 7)) for at, error in enumerate(errors)
        )
        for cut in cuts:
            peer.say(stream[:cut])
            stream = stream[cut:]
            engine.run(0)
            engine.run(0.0001)
        peer.say(stream)
        while not engine.idle:
            engine.run(0.01)
        whole = engine.tally.together()
        assert whole.latencies.count == errors.count(0)
        assert whole.errors.total() == count - errors.count(0)
        assert set(whole.errors) <= {"no node"}


def test_who_hangs_up_has_failed_what_was_in_flight_and_the_others_go_on() -> None:
    with engaged(2, outstanding=3) as (engine, (one, other)):
        engine.start(workload())
        one.say(reply(FIRST_XID))
        engine.run(0.001)
        one.sock.close()
        engine.run(0.001)
        assert engine.lost == {"server0": 1}
        assert engine.tally.counts[0].errors == {LOST: 3}
        assert engine.in_flight == 3
        other.say(reply(FIRST_XID))
        engine.run(0.001)
        assert len(other.heard()) == 4
        other.sock.close()
        engine.run(1)
        assert engine.idle
        assert engine.tally.counts[0].errors == {LOST: 6}


@pytest.mark.parametrize(
    "frames",
    [
        [reply(FIRST_XID + 1)],
        [reply(FIRST_XID), reply(FIRST_XID)],
        [reply(FIRST_XID), reply(FIRST_XID + 1), reply(FIRST_XID + 2), reply(FIRST_XID + 3)],
        [_REPLY.pack(3, FIRST_XID, 1, 0)],
        [_REPLY.pack(-20, FIRST_XID, 1, -101)],
    ],
)
def test_replies_that_nobody_asked_for_end_the_connection(frames: list[bytes]) -> None:
    with engaged(outstanding=3) as (engine, (peer,)):
        engine.start(workload(), limit=3)
        peer.say(*frames)
        engine.run(1)
        assert engine.idle
        assert not engine.connections
        assert engine.tally.done == 3
        assert set(engine.tally.counts[0].errors) <= {OUT_OF_ORDER}
        assert engine.lost == {"server0": 1}


def test_a_connection_that_breaks_between_two_parts_of_what_is_sent_is_lost_once() -> None:
    """The cycle ends in the midst of it, so there are two."""
    with engaged(2, outstanding=3) as (engine, (one, other)):
        engine.start(workload(), limit=20)
        middle = engine.connections[0]
        middle.place = workload().cycle - 1
        one.heard()
        one.say(*(reply(FIRST_XID + n) for n in range(3)))
        one.sock.close()
        engine.run(0.001)
        assert engine.lost == {"server0": 1}
        assert engine.tally.counts[0].errors == {LOST: 1}
        for xid in range(FIRST_XID, FIRST_XID + 16):
            other.say(reply(xid))
            engine.run(0.001)
        assert engine.idle
        assert engine.tally.done == 20


def test_who_says_nothing_is_given_up() -> None:
    with engaged(2, outstanding=2) as (engine, peers):
        engine.start(workload(), limit=3)
        peers[0].say(reply(FIRST_XID), reply(FIRST_XID + 1))
        engine.run(0.001)
        engine.give_up(UNANSWERED)
        assert engine.idle
        assert engine.tally.counts[0].errors == {UNANSWERED: 1}
        assert [one.server for one in engine.connections] == ["server0"]


def test_large_requests_are_sent_in_pieces() -> None:
    """More than the socket takes at once."""
    with engaged(outstanding=3) as (engine, (peer,)):
        engine.start(workload("set", size=1_000_000, keys=2), limit=4)
        heard: list[tuple[int, int]] = []
        while not engine.idle:
            new = peer.heard()
            heard += new
            peer.say(*(reply(xid) for xid, _ in new))
            engine.run(0.001)
        assert [xid for xid, _ in heard] == [FIRST_XID + n for n in range(4)]


def test_at_a_rate_requests_take_turns_and_wait_for_room() -> None:
    with engaged(2, outstanding=2) as (engine, peers):
        engine.start(workload(), rate=1e6)
        engine.run(0.01)
        assert [len(peer.heard()) for peer in peers] == [2, 2]
        peers[0].say(reply(FIRST_XID))
        engine.run(0.01)
        assert [len(peer.heard()) for peer in peers] == [1, 0]
        assert engine.tally.done == 1
        engine.stop()
        assert engine.backlog > 1000


def test_at_a_rate_a_latency_counts_from_when_the_request_was_due() -> None:
    """The second one is due after a millisecond, and there is no room before the first was answered."""
    with engaged() as (engine, (peer,)):
        engine.start(workload(), limit=2, rate=1000)
        engine.run(0.05)
        assert len(peer.heard()) == 1
        peer.say(reply(FIRST_XID))
        engine.run(0.001)
        assert len(peer.heard()) == 1
        peer.say(reply(FIRST_XID + 1))
        engine.run(1)
        assert engine.idle
        assert engine.tally.counts[0].latencies.least > 45e6


def test_a_session_that_has_nothing_to_ask_lives_on_pings() -> None:
    with engaged(2) as (engine, peers):
        engine.start(workload(), rate=0.001)
        for connection in engine.connections:
            connection.sent_at -= PING_NS
        engine.run(0.001)
        ping = (Xid.PING, Op.PING)
        assert [peer.heard() for peer in peers] == [[(FIRST_XID, Op.GET_DATA)], [ping]]
        peers[1].say(reply(Xid.PING))
        peers[0].say(reply(FIRST_XID))
        engine.run(0.001)
        assert (engine.in_flight, engine.tally.done, len(engine.connections)) == (0, 1, 2)


def test_at_a_low_rate_it_sleeps_until_the_next_one() -> None:
    with engaged() as (engine, (peer,)):
        engine.start(workload(), limit=3, rate=200)
        heard = 0
        while not engine.idle:
            new = peer.heard()
            heard += len(new)
            peer.say(*(reply(xid) for xid, _ in new))
            engine.run(0.002)
        assert heard == 3
