"""The barrier: nobody waits in vain, or goes too early. Pitfalls are numbered as in the survey of recipes."""

# ruff: noqa: SIM117 (a nursery in a `with` of its own ends before what its tasks use)

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import OPEN_ACL, READ_ACL, Client, NotEmpty, SessionExpired, SessionState
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import Barrier
from tests.recipes.faults import cancel_everywhere
from tests.recipes.proxy import open_proxy

PATH = "/gates/one"


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


class Waiter:
    """A task that waits; `passed` once it has gone on."""

    def __init__(self, zk: Client, nursery: trio.Nursery) -> None:
        self.passed = trio.Event()
        self._zk = zk
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await Barrier(self._zk, PATH).wait()
        self.passed.set()

    async def still_waits(self) -> bool:
        """After everything that was under way between server and client has been heard."""
        for _ in range(3):
            try:
                await self._zk.sync()
            except SessionExpired:
                pass
        return not self.passed.is_set()


@pytest.mark.trio
async def test_who_waits_goes_on_when_it_is_opened(hosts: str, zk: Client) -> None:
    barrier = Barrier(zk, PATH)
    await barrier.wait()  # open from the start
    await barrier.close()
    await barrier.close()
    assert await barrier.closed()
    async with coord.connect(hosts, timeout=30) as other, trio.open_nursery() as nursery:
        waiters = [Waiter(zk, nursery), Waiter(other, nursery)]
        for waiter in waiters:
            assert await waiter.still_waits()
        await Barrier(other, PATH).open()
    await barrier.open()
    assert not await barrier.closed()
    await barrier.wait()


@pytest.mark.trio
async def test_pitfall_37_other_events_let_nobody_through(zk: Client) -> None:
    await Barrier(zk, PATH).close()
    async with trio.open_nursery() as nursery:
        waiter = Waiter(zk, nursery)
        assert await waiter.still_waits()
        await zk.set(PATH, b"something")
        assert await waiter.still_waits()
        await Barrier(zk, PATH).open()


@pytest.mark.trio
async def test_pitfall_40_waiting_outlasts_connections_and_sessions(hosts: str, zk: Client) -> None:
    await Barrier(zk, PATH).close()
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            waiter = Waiter(other, nursery)
            assert await waiter.still_waits()
            proxy.cut()
            assert await waiter.still_waits()
            await end_session(hosts, other)
            assert await waiter.still_waits()
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            await Barrier(zk, PATH).open()
            proxy.reopen()
            await waiter.passed.wait()


@pytest.mark.trio
async def test_pitfall_48_an_opening_that_is_over_lets_through_too(hosts: str, zk: Client) -> None:
    await Barrier(zk, PATH).close()
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        async with trio.open_nursery() as nursery:
            waiter = Waiter(other, nursery)
            assert await waiter.still_waits()
            proxy.close()
            await other.session.state.wait_value(SessionState.SUSPENDED)
            await Barrier(zk, PATH).open()
            await Barrier(zk, PATH).close()
            proxy.reopen()
            await waiter.passed.wait()


@pytest.mark.trio
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("reclosed", [False, True])
async def test_lost_replies(hosts: str, zk: Client, expired: bool, reclosed: bool) -> None:
    """Neither change is made twice: what somebody else closed meanwhile stays closed."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as other:
        barrier = Barrier(other, PATH)
        for op, change in ((Op.CREATE, barrier.close), (Op.DELETE, barrier.open)):
            await zk.ensure_path("/gates")
            proxy.swallow_reply(op, then_closed=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                await proxy.lost.wait()
                if expired:
                    await end_session(hosts, other)
                if reclosed and op is Op.DELETE:
                    await Barrier(zk, PATH).close()
                proxy.reopen()
            assert await Barrier(zk, PATH).closed() == (op is Op.CREATE or reclosed)


@pytest.mark.trio
async def test_its_acl_is_that_of_no_parent(zk: Client) -> None:
    barrier = Barrier(zk, "/some/where/gate", acl=READ_ACL)
    await barrier.close()
    assert [(await zk.get_acl(path))[0] for path in ("/some/where", barrier.path)] == [
        list(OPEN_ACL),
        list(READ_ACL),
    ]
    await barrier.open()


@pytest.mark.trio
async def test_what_lies_below_is_not_swept_away(zk: Client) -> None:
    await zk.create(PATH + "/child", make_parents=True)
    with pytest.raises(NotEmpty):
        await Barrier(zk, PATH).open()


@pytest.mark.trio
async def test_cancelled_anywhere(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        barrier = Barrier(zk, PATH)

        async def attempt() -> None:
            await barrier.close()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(barrier.wait)
                await barrier.open()

        async def usable() -> None:
            await barrier.close()
            await barrier.open()
            assert await zk.exists(PATH) is None

        assert await cancel_everywhere(attempt, usable) > 10
