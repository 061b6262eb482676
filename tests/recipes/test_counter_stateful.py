"""A counter under crashes, lost sessions and lost replies: the sum of what was added, and nothing else."""

from __future__ import annotations

from coord.wire.records import Op
from recipes import Counter, OutcomeUnknown
from tests.recipes.faults import EXPIRE, FAULTS, LOSABLE, Member, Step, World, stateful

PATH = "/counter"
BASE = 64
"""Every addition has a digit of its own, so the number tells how often each of them was made."""


@stateful("add", "add", "add", "insist", EXPIRE, *FAULTS, examples=25)
async def test_the_sum_of_what_was_added(world: World, steps: list[Step]) -> None:
    least: list[int] = []
    most: list[int | None] = []

    async def insist_on(member: Member) -> None:
        await add(member, insist=True)

    async def add(member: Member, insist: bool = False) -> None:
        digit = len(least)
        least.append(0)
        most.append(None if insist else 1)
        try:
            value = await Counter(member.zk, PATH).add(BASE**digit, at_least_once=insist)
        except OutcomeUnknown:
            assert not insist
            return
        assert value // BASE**digit % BASE >= 1
        least[digit] = 1

    for step in steps:
        member = world.members[step.member]
        if step.action.startswith("lose_reply"):
            op = Op.SET_DATA if step.number < 6 else Op.CREATE
            await world.inflict(step._replace(number=LOSABLE.index(op)))
        elif step.action in (EXPIRE, *FAULTS):
            await world.inflict(step)
        else:
            insist = step.action == "insist"
            for _ in range(1 + step.number % 3):
                member.start(insist_on if insist else add, member)
        if step.number % 2:
            await world.settle()
    await world.heal()
    value = await Counter(world.zk, PATH).value(linearizable=True)
    for digit, (low, high) in enumerate(zip(least, most, strict=True)):
        made = value // BASE**digit % BASE
        assert low <= made <= (BASE if high is None else high), f"addition {digit} was made {made} times"
    assert value < BASE ** len(least)
