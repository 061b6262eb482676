"""Random histories of read/write locks, against what they promise whatever happens."""

from __future__ import annotations

import trio

from recipes import CURATOR, KAZOO, Grant, Layout, LockLost, ReadWriteLock
from tests.recipes.faults import FAULTS, Member, Step, World, stateful

PATH = "/rw"


async def play(world: World, steps: list[Step], layout: Layout) -> None:
    readers: dict[int, Grant] = {}
    writers: dict[int, Grant] = {}
    waiting: set[int] = set()
    written: list[int] = []
    leave: dict[int, trio.Event] = {}
    over = trio.Event()

    def check() -> None:
        assert len(writers) <= 1
        assert not (readers and writers)
        assert written == sorted(set(written))
        # Who reads was let in after the last who wrote.
        assert all(grant.token > written[-1] for grant in readers.values() if written)

    async def hold(inside: dict[int, Grant], number: int, grant: Grant) -> None:
        inside[number] = grant
        try:
            check()
            await leave[number].wait()
        finally:
            del inside[number]

    async def read(member: Member, number: int) -> None:
        async with ReadWriteLock(member.zk, PATH, layout=layout).read as grant:
            await hold(readers, number, grant)

    async def write(member: Member, number: int) -> None:
        async with ReadWriteLock(member.zk, PATH, layout=layout).write as grant:
            written.append(grant.token)
            await hold(writers, number, grant)

    async def downgrade(member: Member, number: int) -> None:
        rw = ReadWriteLock(member.zk, PATH, layout=layout)
        async with rw.write as grant:
            written.append(grant.token)
            await hold(writers, number, grant)
            if not over.is_set():
                leave[number] = trio.Event()
            async with rw.downgrade(grant) as reading:
                assert written[-1] == grant.token  # nobody has written since
                await hold(readers, number, reading)

    async def contend(action: str, member: Member, number: int) -> None:
        waiting.add(number)
        try:
            await {"read": read, "write": write, "downgrade": downgrade}[action](member, number)
        except LockLost:
            pass
        finally:
            waiting.remove(number)

    for number, step in enumerate(steps):
        member = world.members[step.member]
        if step.action in ("read", "write", "downgrade"):
            leave[number] = trio.Event()
            member.start(contend, step.action, member, number)
        elif step.action == "leave":
            inside = [*readers, *writers]
            if inside:
                leave[inside[step.number % len(inside)]].set()
        else:
            await world.inflict(step)
        await world.settle()
        check()
    over.set()
    for event in leave.values():
        event.set()
    await world.heal()
    check()
    assert waiting == set()
    assert await world.zk.exists(PATH) is None or await world.zk.children(PATH) == []


ACTIONS = ("read", "read", "write", "downgrade", "leave", "leave")


@stateful(*ACTIONS, *FAULTS, steps=25, examples=20)
async def test_read_write_locks(world: World, steps: list[Step]) -> None:
    await play(world, steps, KAZOO)


@stateful(*ACTIONS, *FAULTS, steps=25, examples=8)
async def test_read_write_locks_in_curators_layout(world: World, steps: list[Step]) -> None:
    await play(world, steps, CURATOR)
