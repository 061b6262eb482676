"""The counter: every change on top of the one before. Pitfalls are numbered as in the survey."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import coord
from coord import Client
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import INT32, INT64, TEXT, Counter, OutcomeUnknown
from recipes.counter import Codec, N
from tests.recipes.faults import cancel_everywhere, open_world
from tests.recipes.proxy import Proxy, open_proxy

PATH = "/stats/hits"


@pytest.mark.trio
@pytest.mark.parametrize("codec", [TEXT, INT32, INT64], ids=repr)
async def test_adding_setting_comparing(zk: Client, codec: Codec) -> None:
    counter = Counter(zk, PATH, 5, codec=codec)
    assert await counter.value() == 5
    assert await zk.exists(PATH) is None  # reading makes nothing
    assert await counter.add(2) == 7
    assert await counter.add(-10) == -3
    assert await counter.set(40) == 40
    assert await counter.compare_and_set(39, 0) is False
    assert await counter.compare_and_set(40, 41) is True
    assert await counter.update(lambda value: value * 2) == 82
    assert await counter.value(linearizable=True) == 82


@pytest.mark.trio
async def test_the_bytes_are_those_of_the_others(zk: Client) -> None:
    for number, (codec, data) in enumerate(
        [(TEXT, b"-2"), (INT32, b"\xff\xff\xff\xfe"), (INT64, b"\xff\xff\xff\xff\xff\xff\xff\xfe")]
    ):
        await Counter(zk, f"/n{number}", codec=codec).add(-2)
        assert (await zk.get(f"/n{number}"))[0] == data
    floating = Counter(zk, "/float", 1.0)
    assert await floating.add(0.25) == 1.25
    assert (await zk.get("/float"))[0] == b"1.25"
    assert await floating.add(1) == 2.25
    assert isinstance(await floating.set(3), float)
    await zk.create("/empty", b"")
    assert await Counter(zk, "/empty", 3).add(1) == 4


@given(st.integers(-(2**31), 2**31 - 1))
def test_numbers_come_back(value: int) -> None:
    for codec in (TEXT, INT32, INT64):
        assert codec.decode(codec.encode(value), int) == value
    assert TEXT.decode(TEXT.encode(value / 7), float) == value / 7


@pytest.mark.trio
async def test_what_has_no_room_is_not_written(zk: Client) -> None:
    for codec, bits in ((INT32, 32), (INT64, 64)):
        counter = Counter(zk, f"/n{bits}", 2 ** (bits - 1) - 1, codec=codec)
        with pytest.raises(OverflowError, match=f"{bits} bits"):
            await counter.add(1)
        await counter.set(-(2 ** (bits - 1)))
        with pytest.raises(OverflowError):
            await counter.add(-1)
        assert await counter.value() == -(2 ** (bits - 1))
    assert await Counter(zk, "/text", 2**64).add(1) == 2**64 + 1


@pytest.mark.trio
async def test_what_cannot_be_is_refused(zk: Client) -> None:
    with pytest.raises(TypeError, match="INT32 writes integers"):
        Counter(zk, PATH, 0.5, codec=INT32)
    with pytest.raises(OverflowError):
        Counter(zk, PATH, 2**31, codec=INT32)
    with pytest.raises(TypeError, match="counts in int, not in float"):
        await Counter(zk, PATH).add(0.5)  # type: ignore[arg-type]  # what is refused
    await zk.ensure_path(PATH)
    await zk.set(PATH, b"many")
    for codec in (TEXT, INT64):
        with pytest.raises(ValueError, match=f"{PATH} holds no {codec!r}"):
            await Counter(zk, PATH, codec=codec).add(1)
    with pytest.raises(coord.RequestTooLarge):
        await Counter(zk, "/big", codec=_Verbose()).add(2, at_least_once=True)
    with pytest.raises(coord.RequestTooLarge):
        await Counter(zk, "/bigger", 2, codec=_Verbose()).add(2, at_least_once=True)


class _Verbose:
    """A codec of the user's own, with no sense of measure."""

    def encode(self, value: float) -> bytes:
        return b"%d" % value + (bytes(2_000_000) if value > 1 else b"")

    def decode(self, data: bytes, kind: type[N]) -> N:
        return kind(data)


@pytest.mark.trio
async def test_many_at_once(hosts: str) -> None:
    async def add(zk: Client) -> None:
        results.extend([await Counter(zk, PATH).add(1) for _ in range(5)])

    results: list[int] = []
    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(8):
            nursery.start_soon(add, (one, two)[index % 2])
    assert sorted(results) == list(range(1, 41))  # each change has a result of its own


@pytest.mark.trio
async def test_watching(zk: Client) -> None:
    """Pitfall 45: the state is read anew, so it is not the one of before a lost connection either."""
    counter = Counter(zk, PATH, 7)
    seen = []
    async with counter.watch() as values:
        async for value in values:
            seen.append(value)
            match seen:
                case [7]:
                    await counter.add(1)
                case [7, 8]:
                    await counter.set(8)  # no other number: no new state
                    await zk.delete(PATH)
                case [7, 8, 7]:
                    break
    assert seen == [7, 8, 7]


# -- pitfalls -----------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True])
async def test_pitfall_44_a_lost_reply_adds_nothing_twice(hosts: str, zk: Client, session_too: bool) -> None:
    counter = Counter(zk, PATH)
    await counter.add(1)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.SET_DATA, then_closed=session_too)
        async with trio.open_nursery() as nursery:
            if session_too:
                nursery.start_soon(_end_session, hosts, client, proxy)
            with pytest.raises(OutcomeUnknown):
                await Counter(client, PATH).add(10)
        assert await counter.value(linearizable=True) == 11
        proxy.swallow_reply(Op.SET_DATA)
        assert await Counter(client, PATH).add(100, at_least_once=True) == 211


async def _end_session(hosts: str, client: Client, proxy: Proxy) -> None:
    await proxy.lost.wait()
    async with coord.connect(hosts, session=client.session.handle):
        pass
    proxy.reopen()


@pytest.mark.trio
async def test_pitfall_44_a_lost_request_is_made_again(hosts: str, zk: Client) -> None:
    await Counter(zk, PATH).add(1)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.lose_request(Op.SET_DATA)
        assert await Counter(client, PATH).add(10) == 11
        assert proxy.lost.is_set()
        # But not when somebody else came in between: it might have been us.
        proxy.lose_request(Op.SET_DATA)

        async def meddle() -> None:
            await proxy.lost.wait()
            await Counter(zk, PATH).add(0)
            proxy.reopen()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meddle)
            proxy.hold_off()
            with pytest.raises(OutcomeUnknown):
                await Counter(client, PATH).add(100)
    assert await Counter(zk, PATH).value() == 11


@pytest.mark.trio
async def test_pitfall_44_another_session_cannot_tell(hosts: str, zk: Client) -> None:
    """The number is as it was, but the look is not ordered with what was asked in the session before."""
    await Counter(zk, PATH).add(1)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.hold_off()
        proxy.lose_request(Op.SET_DATA)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_session, hosts, client, proxy)
            with pytest.raises(OutcomeUnknown):
                await Counter(client, PATH).add(10)


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True])
async def test_a_lost_reply_to_the_create_does_not_matter(hosts: str, zk: Client, session_too: bool) -> None:
    await zk.create("/stats")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.CREATE, then_closed=session_too)
        async with trio.open_nursery() as nursery:
            if session_too:
                nursery.start_soon(_end_session, hosts, client, proxy)
            assert await Counter(client, PATH, 5).add(1) == 6
        assert proxy.lost.is_set()


@pytest.mark.trio
async def test_pitfall_45_versions_wrap() -> None:
    """After 2147483647 comes -2147483648, and once around -1, which cannot be asked for: it means "any"."""
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        counter = Counter(zk, PATH)
        await counter.add(1)
        assert server.server is not None
        node = server.server.replica.machine.tree.nodes[PATH]
        for count, version in enumerate((2**31 - 1, -(2**31), -2, -1), 2):
            node.version = version
            assert await counter.add(1) == count
        node.version = -1
        async with trio.open_nursery() as nursery:
            for _ in range(4):  # all of them read it at version -1, and are overtaken but for one
                nursery.start_soon(counter.add, 10)
        assert await counter.value() == 45


@pytest.mark.trio
async def test_cancelled_anywhere_it_is_added_once_or_not(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        counter, looking = Counter(world.members[0].zk, PATH), Counter(world.zk, PATH)
        known, before = 0, 0

        async def attempt() -> None:
            nonlocal known
            known = await counter.add(1)

        async def check() -> None:
            nonlocal before, known
            await world.settle()
            value = await looking.value()
            assert value in (before, before + 1)
            assert not known or value == known
            before, known = value, 0
            if value % 2:
                await world.zk.delete(PATH)  # so that it has to be made, too
                before = 0

        assert await cancel_everywhere(attempt, check) > 10
