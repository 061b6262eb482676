"""The harness of the recipes' fault tests, shown to do what it says, on the lock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import coord
from coord.testing import embedded_server
from recipes import Lock, LockLost
from tests.recipes.faults import EXPIRE, FAULTS, TIMEOUT, Step, World, cancel_everywhere, open_world, stateful

PATH = "/lock"


@pytest.mark.trio
async def test_every_checkpoint_is_tried(autojump_clock: MockClock) -> None:
    reached: list[int] = []

    async def attempt() -> None:
        for step in range(5):
            reached.append(step)
            await trio.lowlevel.checkpoint()

    async def check() -> None:
        reached.append(-1)

    assert await cancel_everywhere(attempt, check) >= 5
    runs = " ".join(map(str, reached)).split(" -1")
    assert {len(run.split()) for run in runs} == set(range(6))


@pytest.mark.trio
async def test_deadlines_are_met_to_the_moment(autojump_clock: MockClock) -> None:
    """The body is stopped a sixth of the timeout before the session can expire; then the next one holds."""
    async with open_world(2) as world:
        one, two = world.members
        held = trio.Event()
        with pytest.raises(LockLost):  # noqa: PT012 (the block is what raises)
            async with Lock(one.zk, PATH):
                two.start(_hold, two.zk, held)
                await world.settle()
                one.proxy.close()
                begin = trio.current_time()
                await trio.sleep_forever()
        assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.01)
        assert not held.is_set()
        await held.wait()
        assert trio.current_time() - begin == pytest.approx(TIMEOUT, abs=1.1)  # a tick of the server


async def _hold(zk: coord.Client, held: trio.Event) -> None:
    async with Lock(zk, PATH):
        held.set()
        await trio.sleep_forever()


@pytest.mark.trio
async def test_a_cancelled_acquire_leaves_nothing(autojump_clock: MockClock) -> None:
    async with (
        embedded_server() as server,
        coord.connect(server.connect_string) as zk,
    ):
        await zk.create(PATH)

        async def attempt() -> None:
            async with Lock(zk, PATH):
                pass

        async def nothing_stays() -> None:
            await zk.janitor.idle()
            assert await zk.children(PATH) == []

        assert await cancel_everywhere(attempt, nothing_stays) > 10


@stateful("enter", "leave", *FAULTS, members=3)
async def test_one_holds_the_lock_whatever_happens(world: World, steps: list[Step]) -> None:
    await contend_at_random(world, steps, overlapping=False)


@stateful("enter", "leave", EXPIRE, *FAULTS, members=3)
async def test_no_update_is_lost_to_one_that_comes_late(world: World, steps: list[Step]) -> None:
    await contend_at_random(world, steps, overlapping=True)


async def contend_at_random(world: World, steps: list[Step], *, overlapping: bool) -> None:
    """Holders read a counter when they come and write what follows when they go, fenced by their grants."""
    holders: list[int] = []
    leave: dict[int, trio.Event] = {}
    written, unknown = 0, 0
    await world.zk.create("/counter", b"0")

    async def contend(zk: coord.Client, number: int) -> None:
        nonlocal written, unknown
        async with Lock(zk, PATH).acquire(on_loss="move_on") as grant:
            holders.append(number)
            try:
                assert len(holders) == 1 or overlapping
                value = int((await zk.get("/counter", linearizable=True))[0])
                await leave[number].wait()
                async with grant.transaction() as transaction:
                    transaction.set("/counter", b"%d" % (value + 1))
                written += 1
            except coord.ConnectionLost:
                unknown += 1
            except (LockLost, coord.SessionExpired):
                pass
            finally:
                holders.remove(number)

    for number, step in enumerate(steps):
        member = world.members[step.member]
        if step.action == "enter":
            leave[number] = trio.Event()
            member.start(contend, member.zk, number)
        elif step.action == "leave":
            for one in holders:
                leave[one].set()
        else:
            await world.inflict(step)
        await world.settle()
    for event in leave.values():
        event.set()
    await world.heal()
    assert holders == []
    assert written <= int((await world.zk.get("/counter"))[0]) <= written + unknown
    assert await world.zk.exists(PATH) is None or await world.zk.children(PATH) == []
