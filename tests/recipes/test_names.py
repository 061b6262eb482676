"""Names that others may want, too: the same rules for a broker's id and for a member's name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock

from coord import Client, CoordError, RequestTooLarge, SessionState
from recipes import CURATOR, BrokerIdTaken, BrokerInfo, BrokerRegistry, MemberNameTaken, Party
from tests.recipes.faults import TIMEOUT, open_world

Claim = Callable[..., AbstractAsyncContextManager[object]]


def register(zk: Client, extra: str = "") -> AbstractAsyncContextManager[object]:
    return BrokerRegistry(zk).register(BrokerInfo(7, [("PLAINTEXT", "host", 9092)], rack=extra))


def join(zk: Client, extra: str = "") -> AbstractAsyncContextManager[object]:
    return Party(zk, "/brokers/ids", layout=CURATOR).join(extra.encode(), name="7")


PATH = "/brokers/ids/7"
BOTH = pytest.mark.parametrize(
    ("claim", "taken"), [(register, BrokerIdTaken), (join, MemberNameTaken)], ids=["broker", "member"]
)


@BOTH
@pytest.mark.trio
async def test_it_is_taken_although_its_owner_changes_its_data(
    autojump_clock: MockClock, claim: Claim, taken: type[CoordError]
) -> None:
    async with open_world(2) as world, trio.open_nursery() as nursery:
        one, two = (member.zk for member in world.members)

        async def change() -> None:
            while True:
                await trio.sleep(1)
                data, _ = await one.get(PATH)
                await one.set(PATH, data)

        async with claim(one):
            nursery.start_soon(change)
            begin = trio.current_time()
            with trio.fail_after(5 * TIMEOUT), pytest.raises(taken):
                async with claim(two):
                    pytest.fail("claimed")
            assert trio.current_time() - begin == pytest.approx(1.5 * TIMEOUT, abs=0.1)
            nursery.cancel_scope.cancel()


@BOTH
@pytest.mark.trio
async def test_who_was_cut_off_looks_again_before_it_gives_up(
    autojump_clock: MockClock, claim: Claim, taken: type[CoordError]
) -> None:
    async with open_world(2) as world:
        one, two = world.members
        claimed = trio.Event()

        async def take_over() -> None:
            async with claim(two.zk):
                claimed.set()

        async with claim(one.zk):
            two.start(take_over)
            await world.settle()
            two.proxy.close()
            await two.zk.session.state.wait_value(SessionState.SUSPENDED)
        await trio.sleep(2 * TIMEOUT)
        two.proxy.reopen()
        with trio.fail_after(TIMEOUT):  # the client may be pausing between two attempts
            await claimed.wait()


@BOTH
@pytest.mark.trio
async def test_data_that_no_server_takes_are_told(
    autojump_clock: MockClock, claim: Claim, taken: type[CoordError]
) -> None:
    async with open_world(1) as world:
        with trio.fail_after(5 * TIMEOUT), pytest.raises(RequestTooLarge):
            async with claim(world.members[0].zk, "x" * 1_100_000):
                pytest.fail("claimed")
