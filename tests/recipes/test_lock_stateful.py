"""Random histories of locks and elections, against what they promise whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from coord import ConnectionLost, NoNode, SessionExpired
from recipes import CURATOR, CURATOR_LATCH, KAZOO, Contender, Election, Grant, Layout, Lock, LockLost
from tests.recipes.faults import FAULTS, Member, Step, World, stateful

PATH, STORE = "/lock", "/store"


@dataclass
class Holders:
    """Who is in the block right now, and who was; `tokens` is what an outside store has been shown."""

    inside: dict[int, tuple[Member, Grant]] = field(default_factory=dict)
    past: list[tuple[Member, Grant]] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    tokens: list[int] = field(default_factory=list)
    leave: dict[int, trio.Event] = field(default_factory=dict)

    def check(self) -> None:
        """One at most, and it is the one whose token such a store would take."""
        assert len(self.inside) <= 1
        assert self.tokens == sorted(set(self.tokens))
        for _, grant in self.inside.values():
            assert grant.token == self.tokens[-1]
            assert not grant.lost

    async def hold(self, member: Member, number: int, grant: Grant) -> None:
        self.tokens.append(grant.token)
        self.inside[number] = member, grant
        try:
            self.check()
            await self.leave[number].wait()
        finally:
            del self.inside[number]
            self.past.append((member, grant))

    def let_go(self) -> None:
        for number in self.inside:
            self.leave[number].set()


async def write(grant: Grant) -> None:
    """Write our token to ZooKeeper's own store, if we still may."""
    try:
        async with grant.transaction() as transaction:
            transaction.set(STORE, b"%d" % grant.token)
    except (LockLost, ConnectionLost, SessionExpired):
        pass


async def nobody_is_left(world: World) -> None:
    assert await world.zk.exists(PATH) is None or await world.zk.children(PATH) == []


async def play_lock(world: World, steps: list[Step], layout: Layout) -> None:
    holders = Holders()
    await world.zk.create(STORE, b"0")

    async def contend(member: Member, number: int, wait: bool) -> None:
        holders.waiting.add(number)
        try:
            async with Lock(member.zk, PATH, layout=layout).acquire(wait=wait) as grant:
                await holders.hold(member, number, grant)
        except (LockLost, trio.WouldBlock):
            pass
        finally:
            holders.waiting.remove(number)

    stored = 0
    for number, step in enumerate(steps):
        member = world.members[step.member]
        match step.action:
            case "enter" | "try":
                holders.leave[number] = trio.Event()
                member.start(contend, member, number, step.action == "enter")
            case "leave":
                holders.let_go()
            case "write":
                for holder, grant in holders.inside.values():
                    holder.start(write, grant)
            case "write late":
                for late, grant in holders.past:
                    if late in world.members:
                        late.start(write, grant)
            case _:
                await world.inflict(step)
        await world.settle()
        holders.check()
        before, stored = stored, int((await world.zk.get(STORE))[0])
        assert stored >= before  # no write of an older grant came after one of a younger
    for event in holders.leave.values():
        event.set()
    await world.heal()
    holders.check()
    assert holders.waiting == set()  # everybody had a turn, or was told at once
    await nobody_is_left(world)


ACTIONS = ("enter", "enter", "try", "leave", "write", "write late")


@stateful(*ACTIONS, *FAULTS, steps=25, examples=20)
async def test_locks(world: World, steps: list[Step]) -> None:
    await play_lock(world, steps, KAZOO)


@stateful(*ACTIONS, *FAULTS, steps=25, examples=8)
async def test_locks_in_curators_layout(world: World, steps: list[Step]) -> None:
    await play_lock(world, steps, CURATOR)


async def play_election(world: World, steps: list[Step]) -> None:
    """One leader a token, terms in order; whoever watches sees the last of them."""
    holders = Holders()
    seen: list[Contender | None] = []

    async def campaign(member: Member, number: int) -> None:
        holders.waiting.add(number)
        try:
            election = Election(member.zk, PATH, b"%d" % number, layout=CURATOR_LATCH)
            assert await election.run(lambda term: lead(member, number, term), pause=0.0) == number
        finally:
            holders.waiting.remove(number)

    async def lead(member: Member, number: int, term: Grant) -> int:
        await holders.hold(member, number, term)
        return number

    async def observe() -> None:
        async with Election(world.zk, PATH).observe() as leaders:
            async for leader in leaders:
                seen.append(leader)  # noqa: PERF401 (each at its time)

    async def the_last_is_seen() -> None:
        first = next(iter(await Election(world.zk, PATH).contenders()), None)
        assert seen[-1] == first
        if holders.inside:
            assert first is not None
            assert first.czxid == holders.tokens[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(observe)
        await world.settle()
        for number, step in enumerate(steps):
            member = world.members[step.member]
            match step.action:
                case "campaign":
                    holders.leave[number] = trio.Event()
                    member.start(campaign, member, number)
                case "step down":
                    holders.let_go()
                case "proclaim":
                    for _, term in holders.inside.values():
                        try:
                            await world.zk.set(term.path, b"hear, hear")
                        except NoNode:
                            pass
                case _:
                    await world.inflict(step)
            await world.settle()
            holders.check()
            await the_last_is_seen()
        for event in holders.leave.values():
            event.set()
        await world.heal()
        holders.check()
        assert holders.waiting == set()  # everybody has led, and its result was not dropped
        await nobody_is_left(world)
        nursery.cancel_scope.cancel()


@stateful("campaign", "campaign", "step down", "proclaim", *FAULTS, steps=25, examples=15)
async def test_elections(world: World, steps: list[Step]) -> None:
    await play_election(world, steps)
