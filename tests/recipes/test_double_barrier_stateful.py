"""The double barrier under random faults: it lets nobody through early, and traps nobody.

What the server has seen (`History`, from a recursive watch) says who may be inside; the bodies' own
beginnings and ends, in one process and one virtual time, say who had to wait for whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

import coord
from coord import EventType, WatchEvent
from recipes import BarrierLost, DoubleBarrier
from tests.recipes.faults import EXPIRE, FAULTS, Member, Step, World, stateful

PATH = "/phase"
READY = PATH + "/ready"


@dataclass
class History:
    """Who was ever in a round, by the znodes' comings and goings."""

    count: int
    present: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    """paths of members that were there when `ready` was made"""
    allowed: set[str] = field(default_factory=set)
    """those, and whoever came while one of them was there: some of these are late, and not let in"""
    ready: bool = False

    def hear(self, event: WatchEvent) -> None:
        if event.path == READY:
            self.ready = event.type in (EventType.CREATED, EventType.DATA_CHANGED)
            if event.type is EventType.CREATED:
                assert len(self.present) >= self.count
                assert not self.present & self.counted, "a new round before the old one was over"
                self.counted |= self.present
                self.allowed |= self.present
        elif event.path.startswith(PATH + "/"):
            if event.type is EventType.CREATED:
                if self.ready and self.present & self.allowed:
                    self.allowed.add(event.path)
                self.present.add(event.path)
            elif event.type is EventType.DELETED:
                self.present.discard(event.path)

    async def follow(self, zk: coord.Client, task_status: trio.TaskStatus[None]) -> None:
        async with zk.add_watch(PATH) as events:
            task_status.started()
            async for event in events:
                assert isinstance(event, WatchEvent)
                self.hear(event)


class Attempts:
    """The tasks that go through the barrier: at most one of each member's."""

    def __init__(self, count: int, *, guaranteed: bool) -> None:
        self.count = count
        self.guaranteed = guaranteed
        self.under_way: dict[int, trio.Event] = {}
        self.inside: dict[object, str] = {}
        self.done = 0

    async def go_through(self, member: Member, leave: trio.Event) -> None:
        me = object()
        self.under_way[member.index] = leave
        ahead: set[object] = set()
        try:
            async with DoubleBarrier(member.zk, PATH, self.count) as place:
                self.inside[me] = place.path
                try:
                    await leave.wait()
                    ahead = set(self.inside) - {me}
                finally:
                    del self.inside[me]
            still = ahead & self.inside.keys()
            assert not (self.guaranteed and still), (
                f"{member} went on while {[self.inside[one] for one in still]} had not finished"
            )
            self.done += 1
        except BarrierLost:
            pass
        finally:
            if self.under_way.get(member.index) is leave:
                del self.under_way[member.index]

    def start(self, member: Member) -> None:
        if member.index not in self.under_way:
            member.start(self.go_through, member, trio.Event())

    def finish(self, index: int) -> None:
        if index in self.under_way:
            self.under_way[index].set()


async def play(world: World, steps: list[Step], count: int, *, guaranteed: bool = True) -> None:
    """`guaranteed` False: sessions may end without warning, so others may go on before a body has stopped."""
    await world.zk.ensure_path(PATH)
    history, attempts = History(count), Attempts(count, guaranteed=guaranteed)
    async with trio.open_nursery() as nursery:
        await nursery.start(history.follow, world.zk)
        for step in steps:
            member = world.members[step.member]
            if step.action == "enter":
                attempts.start(member)
            elif step.action == "leave":
                attempts.finish(step.member)
            else:
                await world.inflict(step)
            await world.settle()
            assert set(attempts.inside.values()) <= history.allowed
        await world.heal()
        for _ in range(2):  # whoever is in a round ends it, and then all of them make one more
            for index in list(attempts.under_way):
                attempts.finish(index)
            await world.settle()
            assert attempts.inside == {}
            for member in world.members:
                attempts.start(member)
            await world.settle()
        for index in list(attempts.under_way):
            attempts.finish(index)
        await world.settle()
        assert attempts.under_way == {}
        assert attempts.done >= len(world.members)
        assert set(await world.zk.children(PATH)) == set()
        nursery.cancel_scope.cancel()


ACTIONS = ("enter", "enter", "leave", "leave", *FAULTS)


@stateful(*ACTIONS, members=3, examples=12)
async def test_three_of_three(world: World, steps: list[Step]) -> None:
    await play(world, steps, 3)


@stateful(*ACTIONS, members=3, examples=12)
async def test_two_of_three(world: World, steps: list[Step]) -> None:
    await play(world, steps, 2)


@stateful(EXPIRE, *ACTIONS, members=3, examples=12)
async def test_two_of_three_whose_sessions_end_without_warning(world: World, steps: list[Step]) -> None:
    await play(world, steps, 2, guaranteed=False)
