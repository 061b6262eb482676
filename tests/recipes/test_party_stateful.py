"""The party under random faults: in the end everybody sees exactly those that are there, and until then no
view contradicts the one before."""

from __future__ import annotations

import trio

from recipes import CURATOR, KAZOO, Layout, Membership, Party, PartyView
from tests.recipes.faults import EXPIRE, FAULTS, Member, Step, World, stateful

PATH = "/members"


class Joined:
    """The members' memberships, and the last view that each observer has seen."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.memberships: dict[int, tuple[Membership, trio.Event]] = {}
        self.joining: set[int] = set()
        self.seen: dict[object, PartyView] = {}

    async def belong(self, member: Member) -> None:
        leave = trio.Event()
        name = f"member {member.index}" if self.layout == CURATOR else None
        data = b"%d.%d" % (member.index, member.incarnation)
        self.joining.add(member.index)
        try:
            async with Party(member.zk, PATH, layout=self.layout).join(data, name=name) as me:
                self.memberships[member.index] = me, leave
                await leave.wait()
        finally:
            self.joining.discard(member.index)
            self.memberships.pop(member.index, None)

    async def observe(self, party: Party, key: object) -> None:
        self.seen.pop(key, None)
        async with party.watch() as changes:
            async for view in changes:
                before = self.seen.get(key, PartyView(frozenset()))
                assert view.after(before) == view
                assert view.members != before.members or key not in self.seen
                assert len({one.name for one in view}) == len(view)
                self.seen[key] = view


async def play(world: World, steps: list[Step], layout: Layout) -> None:
    joined = Joined(layout)

    def watch(member: Member) -> None:
        member.start(joined.observe, Party(member.zk, PATH, layout=layout), member.index)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(joined.observe, Party(world.zk, PATH, layout=layout), "outside")
        for member in world.members:
            watch(member)
        for step in steps:
            member = world.members[step.member]
            if step.action == "join":
                if step.member not in joined.joining:
                    member.start(joined.belong, member)
            elif step.action == "leave":
                if step.member in joined.memberships:
                    joined.memberships[step.member][1].set()
            else:
                await world.inflict(step)
                if world.members[step.member] is not member:
                    watch(world.members[step.member])
            await world.settle()
        await world.heal()
        expected = {(me.name, me.czxid, me.data) for me, _ in joined.memberships.values()}
        assert len(expected) == len(joined.joining)
        assert all(me.present.value for me, _ in joined.memberships.values())
        for view in (*joined.seen.values(), PartyView(await Party(world.zk, PATH, layout=layout).members())):
            assert {(one.name, one.czxid, one.data) for one in view} == expected
        assert joined.seen.keys() == {"outside", 0, 1, 2}
        nursery.cancel_scope.cancel()


ACTIONS = ("join", "join", "leave", EXPIRE, *FAULTS)


@stateful(*ACTIONS, members=3, examples=12)
async def test_everybody_sees_who_is_there(world: World, steps: list[Step]) -> None:
    await play(world, steps, KAZOO)


@stateful(*ACTIONS, members=3, examples=12)
async def test_everybody_sees_who_is_there_by_fixed_names(world: World, steps: list[Step]) -> None:
    await play(world, steps, CURATOR)
