"""The members' network over real sockets: three peers agree, whatever happens to their connections."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import cbor2
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.config import Config, Member
from coord.limits import STRANGERS_MAX
from coord.server import handshake
from coord.server.handshake import Identity, Purpose, Stranger, introduce, meet
from coord.server.peer_link import StreamLink
from coord.server.vote_line import Pauses
from coord.wire.frames import pack_frame
from coord.wire.member_codec import FROM_LEADERS, Message, MessageReader
from coord.wire.members import Append, Commit, Install, LinkMessage, NewLeader, Payload, Ping, Proposal
from coord.zab.links import Link
from tests.server.members import TestMember, an_ensemble, configs_of

SECRET = b"sixteen bytes or more"


def payloads(member: TestMember) -> list[bytes]:
    return [proposal.payload for proposal in member.log]


def is_over(member: TestMember, link: Link) -> bool:
    return link not in member.network._links


# -- agreement over the network -----------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("secret", [None, SECRET])
async def test_three_members_elect_a_leader_and_replicate(secret: bytes | None) -> None:
    configs = configs_of(3, secrets={1: secret, 2: secret, 3: secret} if secret else None)
    async with an_ensemble(configs) as ensemble:
        leader = await ensemble.leader()
        zxids = [leader.propose(b"%d" % index) for index in range(100)]
        await ensemble.until(lambda: ensemble.all_committed(zxids[-1]))
        for member in ensemble.running:
            assert payloads(member) == [b"%d" % index for index in range(100)]


@pytest.mark.trio
async def test_a_large_proposal_passes_with_small_ones_around_it() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        sent = [b"small", bytes(range(256)) * 40_000, b"small too"]
        last = [leader.propose(payload) for payload in sent][-1]
        await ensemble.until(lambda: ensemble.all_committed(last))
        assert all(payloads(member) == sent for member in ensemble.running)


@pytest.mark.trio
async def test_an_observer_follows() -> None:
    async with an_ensemble(configs_of(4, observers=1)) as ensemble:
        leader = await ensemble.leader()
        assert leader.my_id != 4
        zxid = leader.propose(b"x")
        await ensemble.until(lambda: ensemble.all_committed(zxid))
        assert payloads(ensemble.members[4]) == [b"x"]


@pytest.mark.trio
async def test_what_replicas_say_to_each_other_arrives() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        follower = next(one for one in ensemble.running if one is not leader)
        (link,) = follower.network._links
        follower.peer.say(link, Payload(b"forward"))
        follower.settle()
        await ensemble.until(lambda: (follower.my_id, b"forward") in leader.payloads)


@pytest.mark.trio
async def test_another_leads_when_the_leader_ends_and_it_returns_as_a_follower() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        first = await ensemble.leader()
        zxid = first.propose(b"before")
        await ensemble.until(lambda: ensemble.all_committed(zxid))
        await ensemble.stop(first.my_id)
        second = await ensemble.leader()
        assert second is not first
        zxid = second.propose(b"meanwhile")
        await ensemble.until(lambda: ensemble.all_committed(zxid))
        await ensemble.start(first.my_id)
        await ensemble.until(lambda: ensemble.all_follow(second) and ensemble.all_committed(zxid))
        assert payloads(first) == [b"before", b"meanwhile"]
        assert ensemble.leaders() == [second], "a member that returns disturbs nobody"


@pytest.mark.trio
async def test_a_link_that_is_cut_is_opened_again() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        epoch = leader.peer.epochs.current
        follower = next(one for one in ensemble.running if one is not leader)
        for index in range(5):
            ((link, connection),) = follower.network._links.items()
            connection.cut("by the test")
            await ensemble.until(partial(is_over, follower, link))
            zxid = leader.propose(b"%d" % index)
            await ensemble.leader()
            await ensemble.until(partial(ensemble.all_committed, zxid))
        assert payloads(follower) == [b"%d" % index for index in range(5)]
        assert leader.peer.epochs.current == epoch, "the others were a quorum all the time"


@pytest.mark.trio
async def test_a_leader_whose_links_are_all_cut_gives_up_and_one_leads_again() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        epoch = leader.peer.epochs.current
        for connection in leader.network._links.values():
            connection.cut("by the test")
        await ensemble.until(lambda: not leader.peer.leading)
        assert (await ensemble.leader()).peer.epochs.current > epoch


@pytest.mark.trio
async def test_a_role_that_ends_takes_its_links_with_it() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        links = set(leader.network._links)
        assert len(links) == 2
        leader.peer.step_down()
        leader.settle()
        await ensemble.until(lambda: not links & set(leader.network._links))
        await ensemble.leader()


# -- strangers ----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_member_with_another_secret_gets_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    secrets = {1: SECRET, 2: SECRET, 3: SECRET[::-1]}
    with caplog.at_level(logging.INFO):
        async with an_ensemble(configs_of(3, secrets=secrets)) as ensemble:
            await ensemble.until(lambda: len(ensemble.leaders()) == 1)
            leader = ensemble.leaders()[0]
            zxid = leader.propose(b"x")
            await ensemble.until(lambda: all(ensemble.members[one].peer.committed >= zxid for one in (1, 2)))
            outsider = ensemble.members[3]
            assert outsider.peer.leader is None
            assert not outsider.network._links
            assert all(not ensemble.members[one].network._hearing.get(3) for one in (1, 2))
    assert SECRET.decode() not in caplog.text
    reasons = {str(getattr(record, "fields", {}).get("reason", "")) for record in caplog.records}
    assert "it does not know the ensemble's secret (memberSecretFile)" in reasons


GARBAGE = [
    b"",
    b"\0",
    b"srvr",
    b"GET / HTTP/1.0\r\n\r\n",
    bytes(10_000),
    b"\xff" * 10_000,
    pack_frame(b""),
    pack_frame(b"\x81" * 500),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "peer", 2, 1])),
    pack_frame(cbor2.dumps(["coord", 3, "peer", 2, 1, bytes(32)])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "peer", 9, 1, bytes(32)])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "peer", 1, 1, bytes(32)])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "peer", 2, 3, bytes(32)])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "x" * 400, 2, 1, bytes(32)])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "peer", 2, 1, bytes(32)]))
    + pack_frame(cbor2.dumps([b"x"])),
    pack_frame(cbor2.dumps(["coord", handshake.VERSION, "election", 2, 1, bytes(32)])) + pack_frame(b"x"),
]


async def is_cut_off(stream: trio.SocketStream) -> bool:
    """Reads until the other side closes."""
    with trio.fail_after(5):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
    return True


@pytest.mark.trio
async def test_garbage_on_both_ports_is_cut_off_and_disturbs_nobody() -> None:
    async with an_ensemble(configs_of(3, secrets={1: SECRET, 2: SECRET, 3: SECRET})) as ensemble:
        leader = await ensemble.leader()
        epoch = leader.peer.epochs.current
        place = leader.config.members[leader.my_id]
        for port in (place.peer_port, place.election_port):
            for garbage in GARBAGE:
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    with suppress(trio.BrokenResourceError):  # it may be cut off before all is sent
                        await stream.send_all(garbage)
                        await stream.send_eof()
                    assert await is_cut_off(stream)
        zxid = leader.propose(b"x")
        await ensemble.until(lambda: ensemble.all_committed(zxid))
        assert leader.peer.epochs.current == epoch


@pytest.mark.trio
async def test_a_flood_of_silent_strangers_keeps_no_member_out() -> None:
    async with an_ensemble(configs_of(3)) as ensemble:
        leader = await ensemble.leader()
        place = leader.config.members[leader.my_id]
        async with trio.open_nursery() as nursery:
            first = await trio.open_tcp_stream("127.0.0.1", place.peer_port)
            for _ in range(STRANGERS_MAX):
                nursery.start_soon(is_open_until_the_end, place.peer_port)
            assert await is_cut_off(first), "the oldest one makes room"
            await first.aclose()
            follower = next(one for one in ensemble.running if one is not leader)
            ((link, connection),) = follower.network._links.items()
            connection.cut("by the test")
            await ensemble.until(partial(is_over, follower, link))
            await ensemble.leader()
            nursery.cancel_scope.cancel()


async def is_open_until_the_end(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port):
        await trio.sleep_forever()


@pytest.mark.trio
async def test_a_member_that_talks_nonsense_is_cut_off() -> None:
    """Only it: whoever has the secret may send proposals, but nothing may come of what is not a message."""
    configs = configs_of(3, secrets={1: SECRET, 2: SECRET, 3: SECRET})
    configs.pop(3)
    async with an_ensemble(configs) as ensemble:
        leader = await ensemble.leader()
        place = leader.config.members[leader.my_id]
        for purpose, port in ((Purpose.PEER, place.peer_port), (Purpose.ELECTION, place.election_port)):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await introduce(stream, Identity(3, SECRET), purpose, leader.my_id)
                await stream.send_all(
                    pack_frame(cbor2.dumps([12, 1 << 40]))
                )  # a Commit, which only leaders say
                assert await is_cut_off(stream)
        await ensemble.until(lambda: not any(link.member == 3 for link in leader.network._links))
        assert leader.peer.leading


@pytest.mark.trio
async def test_an_open_network_without_a_secret_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    config = configs_of(2)[1]
    names = {**config.members, 2: Member("zk2.example", 2888, 3888)}
    for changed, warned in (
        (config, False),
        (replace(config, members=names), True),
        (replace(config, members=names, member_secret=SECRET), False),
        (replace(config, quorum_listen_on_all_ips=True), True),
    ):
        caplog.clear()
        member = TestMember(changed, lambda: None)
        async with trio.open_nursery() as nursery:
            await nursery.start(member.run)
            member.stop()
        assert ("memberSecretFile" in caplog.text) is warned


@pytest.mark.trio
async def test_an_even_number_of_voters_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    alike = replace(configs_of(4)[1], groups={1: frozenset({1, 2}), 2: frozenset({3, 4})})
    for config, warning in (
        (configs_of(2)[1], "2 voters survive the loss of none, as 1 would"),
        (configs_of(3)[1], None),
        (configs_of(4)[1], "4 voters survive the loss of 1, as 3 would"),
        (configs_of(4, observers=1)[1], None),
        (configs_of(7, observers=1)[1], "6 voters survive the loss of 2, as 5 would"),
        (alike, None),
    ):
        caplog.clear()
        member = TestMember(config, lambda: None)
        async with trio.open_nursery() as nursery:
            await nursery.start(member.run)
            member.stop()
        reasons = [
            getattr(record, "fields", {}).get("reason")
            for record in caplog.records
            if record.levelno == logging.WARNING
        ]
        assert reasons == ([warning] if warning else [])


@pytest.mark.trio
async def test_a_port_in_use_is_named() -> None:
    config = configs_of(1)[1]
    taken = await trio.open_tcp_listeners(config.members[1].peer_port, host="127.0.0.1")
    member = TestMember(config, lambda: None)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="cannot listen for members on 127.0.0.1")):
        await member.run()
    for listener in taken:
        await listener.aclose()


# -- the handshake ------------------------------------------------------------------------------------

Outcome = list[int | str]


async def shake(
    opener: Identity,
    acceptor: Identity,
    *,
    wanted: int = 2,
    purposes: tuple[Purpose, Purpose] = (Purpose.PEER, Purpose.PEER),
) -> Outcome:
    """What both sides make of it: the acceptor's outcome, then the opener's."""
    ours, theirs = trio.testing.memory_stream_pair()
    outcomes: dict[str, int | str] = {}

    async def side(name: str, end: trio.abc.Stream, meeting: Callable[[], Awaitable[int | None]]) -> None:
        try:
            outcomes[name] = await meeting() or 0
        except Stranger as error:
            outcomes[name] = str(error)
        await end.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(side, "opener", ours, lambda: introduce(ours, opener, purposes[0], wanted))
        nursery.start_soon(side, "acceptor", theirs, lambda: meet(theirs, acceptor, purposes[1], {1, 3}))
    return [outcomes["acceptor"], outcomes["opener"]]


@pytest.mark.trio
async def test_members_recognise_each_other() -> None:
    for secret in (None, SECRET):
        assert await shake(Identity(1, secret), Identity(2, secret)) == [1, 0]
        assert await shake(Identity(3, secret), Identity(2, secret)) == [3, 0]


@pytest.mark.trio
async def test_strangers_are_told_from_members() -> None:
    me = Identity(2, SECRET)
    other = await shake(Identity(1, SECRET + b"!"), me)
    assert other[1] == "it does not know the ensemble's secret (memberSecretFile)"
    none = await shake(Identity(1, None), me)
    assert none[1] == "it has a secret (memberSecretFile), this member has none"
    mine = await shake(Identity(1, SECRET), Identity(2, None))
    assert mine[1] == "it has no secret (memberSecretFile), this member has one"
    wrong = await shake(Identity(1, SECRET), me, wanted=3)
    assert wrong[0] == "it wants member 3; this is member 2"
    port = await shake(Identity(1, SECRET), me, purposes=(Purpose.PEER, Purpose.ELECTION))
    assert port[0] == "it wants the peer port; this is the election port"
    nobody = await shake(Identity(4, SECRET), me)
    assert nobody[0] == "it says that it is member 4, which is none of the others"
    assert "sixteen" not in repr(me)


@pytest.mark.trio
async def test_a_proof_cannot_be_sent_back_or_used_again() -> None:
    """Somebody without the secret, who answers a member with the member's own words, and with older ones."""
    ours, theirs = trio.testing.memory_stream_pair()
    recorded: list[bytes] = []

    async def mirror() -> None:
        nonlocal recorded
        await handshake._send(ours, ["coord", handshake.VERSION, "peer", 1, 2, bytes(32)])
        match await handshake._receive(ours):
            case [int(), bytes(), bytes(proof)]:
                recorded.append(proof)
                await handshake._send(ours, [proof])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mirror)
        with pytest.raises(Stranger, match="does not know"):
            await meet(theirs, Identity(2, SECRET), Purpose.PEER, {1})
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mirror)
        with pytest.raises(Stranger, match="does not know"):
            await meet(theirs, Identity(2, SECRET), Purpose.PEER, {1})
    assert recorded[0] != recorded[1], "the same nonce from the opener, and yet another proof"


@pytest.mark.trio
async def test_a_silent_stranger_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    for side in (
        lambda end: meet(end, Identity(2, SECRET), Purpose.PEER, {1}),
        lambda end: introduce(end, Identity(2, SECRET), Purpose.PEER, 1),
    ):
        _, theirs = trio.testing.memory_stream_pair()
        with pytest.raises(Stranger, match="does not say who it is"):
            await side(theirs)


@settings(max_examples=50)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_make_a_stranger(data: bytes, framed: bool) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(pack_frame(data) if framed else data)
        await ours.send_eof()
        with pytest.raises(Stranger):
            await meet(theirs, Identity(2, SECRET), Purpose.PEER, {1})

    trio.run(main)


@pytest.mark.trio
async def test_what_follows_the_handshake_is_left_in_the_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def opener() -> None:
            await introduce(ours, Identity(1, SECRET), Purpose.PEER, 2)
            await ours.send_all(b"hello")

        nursery.start_soon(opener)
        await meet(theirs, Identity(2, SECRET), Purpose.PEER, {1})
        assert await theirs.receive_some() == b"hello"


# -- one link -----------------------------------------------------------------------------------------


class NoTurns:
    def begin_turn(self) -> None:
        pass

    def settle(self) -> None:
        pass


def a_link(stream: trio.abc.Stream, *, to_leader: bool = False, unsent_max: int = 1000) -> StreamLink:
    link = StreamLink(Link(2, 1), stream, NoTurns(), to_leader=to_leader)
    link.unsent_max = unsent_max
    return link


def nothing(messages: list[Message]) -> None:
    raise AssertionError(messages)


@pytest.mark.trio
async def test_a_reader_that_is_too_slow_is_cut_off() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()  # what is sent waits until it is read
    link = a_link(ours)
    link.send(NewLeader(1, 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, nothing)
        for zxid in range(1, 6):
            link.send(Append(Proposal(zxid, zxid, bytes(100))))
        assert link.reason == ""
        for zxid in range(6, 16):
            link.send(Append(Proposal(zxid, zxid, bytes(100))))
        assert "reads too slowly" in link.reason
    await theirs.aclose()


@pytest.mark.trio
async def test_a_synchronisation_may_be_larger_than_what_may_wait() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    link = a_link(ours)
    said: list[LinkMessage] = [
        Install(5, (bytes(5000), bytes(7000))),
        *(Append(Proposal(zxid, zxid, bytes(500))) for zxid in range(6, 16)),
        NewLeader(1, 15),
        Commit(15),
    ]
    for message in said:
        link.send(message)
    heard: list[Message] = []
    reader = MessageReader(FROM_LEADERS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, nothing)
        while len(heard) < len(said):
            heard += reader.receive(bytes(await theirs.receive_some()))
        await theirs.aclose()
    assert heard == said
    assert link.reason == ""


@pytest.mark.trio
async def test_all_that_has_come_is_received_in_one_turn() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    there, here = a_link(ours), a_link(theirs, to_leader=True)
    said: list[LinkMessage] = [Ping(number) for number in range(50)]
    for message in said:
        there.send(message)
    turns: list[list[Message]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.run, nothing)

        def receive(messages: list[Message]) -> None:
            turns.append(messages)
            nursery.cancel_scope.cancel()

        nursery.start_soon(here.run, receive)
    assert turns == [said]


@pytest.mark.trio
async def test_pauses_grow_and_can_be_cut_short(autojump_clock: trio.testing.MockClock) -> None:
    pauses = Pauses(0.01, 0.2)
    lengths = []
    for _ in range(10):
        began = trio.current_time()
        await pauses.pause()
        lengths.append(trio.current_time() - began)
    assert 0.004 <= lengths[0] <= 0.011
    assert all(0.09 <= length <= 0.21 for length in lengths[5:])
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(pauses.pause)
        await trio.testing.wait_all_tasks_blocked()
        pauses.hurry()
    assert trio.current_time() == began


def test_a_config_never_shows_the_secret() -> None:
    assert "sixteen" not in repr(Config(member_secret=SECRET))
