"""The lease by the wall clock. The pitfalls of locks (1 to 24) are its inner lock's: see `test_lock`.

Pitfall 21, children that are no contenders: `lease_holder` is one, and kazoo put it there.
"""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client
from coord.wire.records import Op
from recipes import Held, Lease, Lock, MultiLease
from recipes.lease import decode_lease, encode_lease
from tests.recipes.faults import cancel_everywhere, open_world
from tests.recipes.proxy import Proxy, open_proxy

PATH = "/leases/cleanup"
RECORD = f"{PATH}/lease_holder"
START = datetime(2030, 1, 31, 23, 59, 30, 600_000, tzinfo=UTC)


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.trio
async def test_one_holder_until_its_end(zk: Client, clock: Clock) -> None:
    one, two = (Lease(zk, PATH, 60, name, clock=clock) for name in ("one", "two"))
    assert await one.current() is None
    end = await one.take()
    assert end == datetime(2030, 2, 1, 0, 0, 30, tzinfo=UTC)  # in whole seconds, and not a fraction later
    assert await two.take() is None
    assert await two.current() == Held("one", end)
    clock.advance(30)
    assert await one.take() == end + timedelta(seconds=30)
    clock.advance(59)
    assert await two.take() is None
    clock.advance(0.4)  # the very end, as written
    assert await one.current() is None
    assert await two.take() is not None
    assert await one.take() is None
    await one.release()  # is not its to release
    assert await one.take() is None
    await two.release()
    assert await two.current() is None
    assert await one.take() is not None


@pytest.mark.trio
async def test_it_outlives_its_session(hosts: str, zk: Client, clock: Clock) -> None:
    async with coord.connect(hosts) as client:
        end = await Lease(client, PATH, 60, "one", clock=clock).take()
    assert await Lease(zk, PATH, 60, "two", clock=clock).take() is None
    assert await Lease(zk, PATH, 60, "one", clock=clock).take() == end
    assert await zk.children(PATH) == ["lease_holder"]


@pytest.mark.trio
async def test_the_znode_is_that_of_kazoo(zk: Client, clock: Clock) -> None:
    await Lease(zk, PATH, 60, clock=clock).take()
    data, stat = await zk.get(RECORD)
    assert json.loads(data) == {"version": 1, "holder": socket.gethostname(), "end": "2030-02-01T00:00:30"}
    assert stat.ephemeral_owner == 0
    newer = b'{"version": 2, "anything": "else"}'
    await zk.set(RECORD, newer)
    lease = Lease(zk, PATH, 60, clock=clock)
    assert await lease.take() is None  # a newer kazoo's: whose it is we cannot know
    assert await lease.current() is None
    await lease.release()
    assert (await zk.get(RECORD))[0] == newer


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"version": 1}', b'{"version": 1, "holder": "a", "end": "soon"}', b"\xff"]
)
def test_what_is_no_lease_is_told(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_lease(data)
    held = Held("naïve", START.replace(microsecond=0))
    assert decode_lease(encode_lease(held)) == held


@pytest.mark.trio
async def test_what_cannot_be_is_refused(zk: Client) -> None:
    for seconds in (0.5, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="1 to"):
            Lease(zk, PATH, seconds)
    with pytest.raises(ValueError, match="at least one"):
        MultiLease(zk, 0, PATH, 60)
    await zk.create(RECORD, b"rubbish", make_parents=True)
    with pytest.raises(ValueError, match=RECORD):
        await Lease(zk, PATH, 60).take()
    with pytest.raises(coord.RequestTooLarge):
        await Lease(zk, PATH, 60, "x" * 2_000_000).take()


@pytest.mark.trio
async def test_only_one_of_many_gets_it(hosts: str) -> None:
    ends: list[datetime | None] = []

    async def take(zk: Client, name: str) -> None:
        ends.append(await Lease(zk, PATH, 60, name).take())

    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(12):
            nursery.start_soon(take, (one, two)[index % 2], f"holder {index}")
    assert len([end for end in ends if end is not None]) == 1


@pytest.mark.trio
async def test_several_leases(zk: Client, clock: Clock) -> None:
    one, two, three = (MultiLease(zk, 2, PATH, 60, name, clock=clock) for name in ("one", "two", "three"))
    first = await one.take()
    assert first is not None
    clock.advance(10)
    second = await two.take()
    assert second is not None
    assert await three.take() is None
    assert await one.holders() == [Held("one", first), Held("two", second)]
    assert sorted(await zk.children(PATH)) == ["0", "1"]
    await one.release()
    assert await two.take() == second  # its own, although one before it is free
    assert await three.take() is not None
    assert [held.holder for held in await one.holders()] == ["three", "two"]


@pytest.mark.trio
async def test_whose_it_is_is_asked_for_at_the_leader(hosts: str, clock: Clock) -> None:
    """The server at hand may lag behind: a holder would take a second lease."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await MultiLease(zk, 2, PATH, 60, "one", clock=clock).take()
        assert proxy.requests[:4] == [Op.SYNC, Op.GET_DATA] * 2


# -- lost replies -------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True])
async def test_a_lost_reply_is_asked_for_again(
    hosts: str, zk: Client, clock: Clock, session_too: bool
) -> None:
    """Of creating the record, of setting it, of deleting it; and of the inner lock's own."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        lease = Lease(client, PATH, 60, "one", clock=clock)
        end = START.replace(microsecond=0) + timedelta(seconds=60)
        for op in (Op.MULTI, Op.MULTI, Op.CREATE2, Op.DELETE):
            proxy.swallow_reply(op, then_closed=session_too)
            async with trio.open_nursery() as nursery:
                if session_too:
                    nursery.start_soon(_end_session, hosts, client, proxy)
                assert await lease.take() == end
            assert proxy.lost.is_set()
            assert (await lease.current()) == Held("one", end)
        proxy.swallow_reply(Op.MULTI, then_closed=session_too)
        async with trio.open_nursery() as nursery:
            if session_too:
                nursery.start_soon(_end_session, hosts, client, proxy)
            await lease.release()
        assert await lease.current() is None
        await client.janitor.idle()
        async with Lock(zk, PATH).acquire(timeout=10):  # nothing is left of the inner locks
            pass


async def _end_session(hosts: str, client: Client, proxy: Proxy) -> None:
    await proxy.lost.wait()
    async with coord.connect(hosts, session=client.session.handle):
        pass
    proxy.reopen()


@pytest.mark.trio
async def test_cancelled_anywhere_it_leaves_no_lock(autojump_clock: MockClock, clock: Clock) -> None:
    async with open_world(1) as world:
        zk = world.members[0].zk
        lease, other = Lease(zk, PATH, 60, "one", clock=clock), Lease(world.zk, PATH, 60, "two", clock=clock)

        async def attempt() -> None:
            await lease.take()
            await lease.release()

        async def check() -> None:
            await zk.janitor.idle()
            await world.settle()
            present = await world.zk.children(PATH) if await world.zk.exists(PATH) else []
            assert present in ([], ["lease_holder"])
            assert (await other.take() is None) == (present != [])
            await lease.release()
            await other.release()

        assert await cancel_everywhere(attempt, check) > 20
