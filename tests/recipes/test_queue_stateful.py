"""A queue under crashes, lost sessions and lost replies: nothing is lost, and nothing consumed comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

import coord
from coord.wire.records import Op
from recipes import CURATOR, KAZOO, Item, ItemLost, Layout, OutcomeUnknown, Queue
from tests.recipes.faults import EXPIRE, FAULTS, LOSABLE, TIMEOUT, Member, Step, World, stateful

PATH, LOCKS = "/queue", "/locks"


class Failed(Exception):
    """A body that gives its item back."""


@dataclass(eq=False)
class Hold:
    """A body at work."""

    item: Item
    member: Member
    order: str = ""
    """how it is to end"""
    given: trio.Event = field(default_factory=trio.Event)


@dataclass
class History:
    """What the consumers saw; each of them asserts what must hold when it does something."""

    layout: Layout
    overlapping: bool
    """whether two may work on one item for a moment, since a session was closed by somebody else"""
    put: dict[str, bytes] = field(default_factory=dict)
    maybe_put: set[bytes] = field(default_factory=set)
    holds: list[Hold] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    consumed: set[str] = field(default_factory=set)
    maybe_consumed: set[str] = field(default_factory=set)
    count: int = 0
    scopes: list[trio.CancelScope] = field(default_factory=list)

    def queue(self, zk: coord.Client) -> Queue:
        return Queue(zk, PATH, layout=self.layout, lock_path=LOCKS if self.layout == CURATOR else None)

    async def produce(self, member: Member, priority: int) -> None:
        self.count += 1
        data = str(self.count).encode()
        self.maybe_put.add(data)
        try:
            name = await self.queue(member.zk).put(data, priority)
        except OutcomeUnknown:
            return
        self.maybe_put.discard(data)
        self.put[name] = data

    async def consume(self, member: Member) -> None:
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            while True:
                try:
                    async with self.queue(member.zk).take() as item:
                        await self.work(Hold(item, member))
                    self.consumed.add(item.name)
                except (ItemLost, OutcomeUnknown, Failed):
                    pass

    async def work(self, hold: Hold) -> None:
        name = hold.item.name
        assert name not in self.consumed, "a consumed item came back"
        others = [one for one in self.holds if one.item.name == name and not one.item.lost]
        assert self.overlapping or not others
        assert hold.item.token > self.tokens.get(name, 0)
        self.tokens[name] = hold.item.token
        self.holds.append(hold)
        try:
            await hold.given.wait()
            if hold.order == "fail":
                raise Failed
            self.maybe_consumed.add(name)
            if hold.order == "write":
                async with hold.item.consume() as writes:
                    writes.create(f"/done/{name}")  # twice would be NodeExists, and end the test
                self.consumed.add(name)
        finally:
            self.holds.remove(hold)

    def act(self, step: Step, member: Member) -> None:
        if step.action == "put":
            member.start(self.produce, member, step.number % 3)
        elif step.action == "take":
            member.start(self.consume, member)
        else:
            held = [hold for hold in self.holds if hold.member is member and not hold.order]
            if held:
                hold = held[step.number % len(held)]
                hold.order = step.action
                hold.given.set()

    async def check_the_end(self, world: World) -> None:
        assert self.holds == []
        left: dict[str, bytes] = {}
        while True:
            try:
                async with self.queue(world.zk).take(wait=False) as item:
                    left[item.name] = item.data
            except trio.WouldBlock:
                break
        for name, data in self.put.items():
            assert left.get(name, data) == data
            assert (name in left) or name in self.consumed | self.maybe_consumed, "an item was lost"
        assert not left.keys() & self.consumed, "a consumed item came back"
        strays = [data for name, data in left.items() if name not in self.put]
        assert len(strays) == len(set(strays))
        assert set(strays) <= self.maybe_put
        done = set(await world.zk.children("/done"))
        assert not done & left.keys(), "written, but not consumed"
        assert await world.zk.children(LOCKS if self.layout == CURATOR else f"{PATH}/taken") == []


async def play(world: World, steps: list[Step], history: History) -> None:
    await world.zk.create("/done")
    for member in world.members:
        for action in ("put", "take", "take"):
            history.act(Step(action, member.index, 0), member)
    await world.settle()
    for step in steps:
        member = world.members[step.member]
        if step.action.startswith("lose_reply"):
            # Of what a queue sends: putting, taking, consuming (MULTI), giving back (DELETE).
            op = Op.DELETE if step.number > 5 else Op.MULTI
            await world.inflict(step._replace(number=LOSABLE.index(op)))
        elif step.action == "stall":
            member.proxy.close()
            await trio.sleep(1.2 * TIMEOUT)  # others have what it held, and it does not know of it
        elif step.action in (EXPIRE, *FAULTS):
            await world.inflict(step)
        else:
            history.act(step, member)
        await world.settle()
    await world.heal()
    for scope in history.scopes:
        scope.cancel()  # whoever waits or works: what is held is given back
    for member in world.members:
        await member.zk.janitor.idle()
    await world.settle()
    await history.check_the_end(world)


ACTIONS = ("put", "put", "take", "finish", "finish", "write", "write", "fail", "stall", *FAULTS)


@stateful(*ACTIONS, examples=20)
async def test_kazoos_layout(world: World, steps: list[Step]) -> None:
    await play(world, steps, History(KAZOO, overlapping=False))


@stateful(*ACTIONS, EXPIRE, examples=12)
async def test_curators_layout_and_sessions_closed_by_others(world: World, steps: list[Step]) -> None:
    await play(world, steps, History(CURATOR, overlapping=True))
