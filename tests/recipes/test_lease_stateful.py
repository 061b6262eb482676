"""A lease under crashes, lost sessions and lost replies: one holder at a time, by a clock that all share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio

from recipes import Lease
from tests.recipes.faults import EXPIRE, FAULTS, Member, Step, World, stateful

PATH = "/lease"
SECONDS = 7
START = datetime(2030, 1, 1, tzinfo=UTC)


def clock() -> datetime:
    return START + timedelta(seconds=trio.current_time())


@stateful("take", "take", "release", EXPIRE, *FAULTS, examples=30)
async def test_one_holder_at_a_time(world: World, steps: list[Step]) -> None:
    known: dict[int, datetime] = {}
    """until when a member knows to have it"""
    busy: set[Member] = set()
    granted = 0

    async def take(member: Member) -> None:
        nonlocal granted
        end = await Lease(member.zk, PATH, SECONDS, str(member.index), clock=clock).take()
        busy.discard(member)
        if end is None or end <= clock():
            return
        granted += 1
        assert end <= clock() + timedelta(seconds=SECONDS)
        for other, until in known.items():
            assert other == member.index or until <= clock(), f"{other} has it until {until}"
        known[member.index] = end

    async def release(member: Member) -> None:
        known.pop(member.index, None)
        await Lease(member.zk, PATH, SECONDS, str(member.index), clock=clock).release()
        busy.discard(member)

    for step in steps:
        member = world.members[step.member]
        if step.action in (EXPIRE, *FAULTS):
            await world.inflict(step)
        elif member not in busy:
            busy.add(member)
            member.start(take if step.action == "take" else release, member)
        if step.number % 2:
            await world.settle()
    await world.heal()
    assert await world.zk.exists(PATH) is None or set(await world.zk.children(PATH)) <= {"lease_holder"}
    assert not busy & set(world.members)
    assert await Lease(world.zk, PATH, SECONDS, "afterwards", clock=clock).take() is not None
