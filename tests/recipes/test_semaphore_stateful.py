"""Random histories of semaphores, against what they promise whatever happens."""

from __future__ import annotations

import trio

from recipes import CURATOR, KAZOO, Layout, PermitLost, Semaphore
from tests.recipes.faults import FAULTS, Member, Step, World, stateful

PATH = "/sem"


async def play(world: World, steps: list[Step], layout: Layout) -> None:
    inside: dict[int, int] = {}
    waiting: set[int] = set()
    tokens: list[int] = []
    leave: dict[int, trio.Event] = {}
    limit = most = 2
    held: set[str] = set()
    shared_count = None if layout is KAZOO else "/count"
    leases = PATH if layout is KAZOO else f"{PATH}/leases"
    looking = Semaphore(world.zk, PATH, None, layout=layout, shared_count=shared_count)
    await looking.set_limit(limit)

    async def contend(member: Member, number: int, permits: int, wait: bool) -> None:
        waiting.add(number)
        semaphore = Semaphore(member.zk, PATH, None, layout=layout, shared_count=shared_count)
        try:
            async with semaphore.acquire(permits, wait=wait) as lease:
                tokens.append(lease.token)
                inside[number] = permits
                try:
                    assert sum(inside.values()) <= most
                    assert len(set(tokens)) == len(tokens)
                    await leave[number].wait()
                finally:
                    del inside[number]
        except (PermitLost, trio.WouldBlock):
            pass
        except ValueError:
            assert permits > 1  # than there are at the time
        finally:
            waiting.remove(number)

    for number, step in enumerate(steps):
        member = world.members[step.member]
        match step.action:
            case "take" | "take two" | "try":
                leave[number] = trio.Event()
                permits = 2 if step.action == "take two" else 1
                member.start(contend, member, number, permits, step.action != "try")
            case "leave":
                if inside:
                    leave[list(inside)[step.number % len(inside)]].set()
            case "set limit":
                most = max(most, step.number % 4)
                await looking.set_limit(step.number % 4)
            case _:
                await world.inflict(step)
        await world.settle()
        before, held = held, set(await world.zk.children(leases) if await world.zk.exists(leases) else [])
        # What was given out was given out within the limit; what is in a block is held at the server as well.
        new_limit = step.number % 4 if step.action == "set limit" else limit
        assert held <= before or len(held) <= max(limit, new_limit)
        assert len(held) >= sum(inside.values())
        limit = new_limit
    most = 3
    await looking.set_limit(most)
    for event in leave.values():
        event.set()
    await world.heal()
    assert waiting == set()  # everybody had a turn
    assert await looking.holders() == ()
    assert await looking.contenders() == []


ACTIONS = ("take", "take", "take two", "try", "leave", "leave", "set limit")


@stateful(*ACTIONS, *FAULTS, steps=25, examples=20)
async def test_semaphores(world: World, steps: list[Step]) -> None:
    await play(world, steps, KAZOO)


@stateful(*ACTIONS, *FAULTS, steps=25, examples=8)
async def test_semaphores_in_curators_layout(world: World, steps: list[Step]) -> None:
    await play(world, steps, CURATOR)
