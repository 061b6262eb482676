"""Sharing out under random faults: one at an item at a time, in the end all items evenly with somebody."""

from __future__ import annotations

import trio

from coord import NoNode
from recipes import Partitioner
from tests.recipes.faults import FAULTS, Member, Step, World, stateful
from tests.recipes.test_partitioner import ITEMS, PATH, Floor


class Run:
    """A member's part, until it is told to leave or its process dies."""

    def __init__(self, member: Member, number: int) -> None:
        self.member = member
        # Equal identifiers among members are nothing special.
        self.identifier = f"m{member.index % 2}"
        self.name = f"{member.index}.{number}"
        self.scope = trio.CancelScope()
        self.settle = float(number % 3)

    async def take_part(self, floor: Floor) -> None:
        with self.scope:
            partitioner = Partitioner(self.member.zk, PATH, ITEMS, self.identifier, settle=self.settle)
            await partitioner.run(floor.worker(self.name))


@stateful("join", "join", "leave", *FAULTS, members=3)
async def test_items_are_shared_out(world: World, steps: list[Step]) -> None:
    floor = Floor()  # which fails if two are at one item
    runs: dict[int, Run] = {}
    for number, step in enumerate(steps):
        member = world.members[step.member]
        match step.action:
            case "join":
                if member.index not in runs:
                    runs[member.index] = Run(member, number)
                    member.start(runs[member.index].take_part, floor)
            case "leave":
                if member.index in runs:
                    runs.pop(member.index).scope.cancel()
            case fault:
                if fault == "crash":
                    runs.pop(member.index, None)
                await world.inflict(step)
        await world.settle()
    await world.heal()
    shares = {run.name: floor.of(run.name) for run in runs.values()}
    assert sorted("".join(shares.values())) == (sorted(ITEMS) if runs else [])
    assert set(floor.at.values()) <= set(shares)
    sizes = [len(share) for share in shares.values()]
    assert not sizes or max(sizes) - min(sizes) <= 1
    for tokens in floor.tokens.values():
        assert tokens == sorted(set(tokens))
    for run in runs.values():
        run.scope.cancel()
    await world.settle()
    assert floor.at == {}
    for path in (f"{PATH}/party", *(f"{PATH}/locks/{item}" for item in ITEMS)):
        try:
            assert await world.zk.children(path) == []
        except NoNode:
            pass
