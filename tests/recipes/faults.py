"""What can befall a recipe, in virtual time: cancelled anywhere, sessions lost, replies lost, processes dead.

Everything runs in one process under trio's autojump clock, server included: whoever waits for a second waits
for no time at all, and every deadline is met at its exact moment.

Cancelling at every checkpoint in turn, for tests with the fixtures `autojump_clock` and `zk`::

    async def attempt() -> None:
        async with Lock(zk, PATH):
            pass


    async def nothing_stays() -> None:
        await zk.janitor.idle()
        assert await zk.children(PATH) == []


    assert await cancel_everywhere(attempt, nothing_stays) > 10

Random histories, drawn and shrunk by hypothesis. A step is an action of the recipe's or one of `FAULTS`
(or `EXPIRE`), done by (or to) one of the members, with a number to choose by::

    @stateful("enter", "leave", *FAULTS, members=3)
    async def test_lock(world: World, steps: list[Step]) -> None:
        for step in steps:
            member = world.members[step.member]
            if step.action == "enter":
                member.start(contend, member)  # a task that dies with the member
            else:
                await world.inflict(step)
            await world.settle()
            assert len(holders) <= 1  # an invariant of the moment
        await world.heal()  # connections work again, dead sessions have expired
        assert ...  # what has to come true in the end
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVarTuple

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import coord
from coord.testing import EmbeddedServer, embedded_server
from coord.wire.records import Op
from tests.recipes.proxy import Proxy, open_proxy

Args = TypeVarTuple("Args")

TIMEOUT: Final = 10.0
"""of every member's session, in (virtual) seconds"""

FAULTS: Final = ("cut", "suspend", "resume", "lose_reply", "lose_reply_and_session", "crash", "pass")
"""cut: the connection breaks. suspend, resume: no connection gets through until then. lose_reply: of the next
request of some kind. crash: the process is gone, the session expires in time, and a new process takes its
place. pass: time goes by."""

EXPIRE: Final = "expire"
"""A fault more: the session is closed at once by somebody else who knows its password. No server does so to a
client that it has promised more time, so holders may overlap for a moment: tokens tell who is late."""

LOSABLE: Final = (Op.CREATE2, Op.DELETE, Op.MULTI, Op.SET_DATA, Op.CREATE)
"""the requests whose replies `lose_reply` loses, chosen by the step's number"""

PASSING: Final = (1.0, 3.0, 6.0, 11.0)
"""seconds that `pass` lets go by, chosen by the step's number"""


# -- cancelling anywhere --------------------------------------------------------------------------------


class _Countdown(trio.abc.Instrument):
    """Cancels `scope` after so many steps of whatever tasks there are: at every moment something can have
    happened in, at the server too."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._left = steps
        self._scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel(reason="cancelled by the test")


async def cancel_everywhere(
    attempt: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]]
) -> int:
    """Run `attempt` again and again, cancelled one step later each time until it comes to its end; `check`
    after each run. Returns how often it was cancelled."""
    steps = 0
    while True:
        steps += 1
        with trio.CancelScope() as scope:
            countdown = _Countdown(steps, scope)
            trio.lowlevel.add_instrument(countdown)
            try:
                await attempt()
            finally:
                trio.lowlevel.remove_instrument(countdown)
        await check()
        if not scope.cancelled_caught:
            return steps - 1


# -- a world of members ---------------------------------------------------------------------------------


class Step(NamedTuple):
    action: str
    member: int
    number: int


class Member:
    """One process: a client behind a proxy of its own, and the tasks that use it."""

    def __init__(self, index: int, incarnation: int) -> None:
        self.index = index
        self.incarnation = incarnation
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.zk: coord.Client
        self.proxy: Proxy
        self.tasks: trio.Nursery

    def __repr__(self) -> str:
        return f"<member {self.index}.{self.incarnation}>"

    def start(self, fn: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Run ``fn(*args)`` in this process. What it raises ends the test, unless the process is dead."""
        self.tasks.start_soon(fn, *args)

    async def live(self, hosts: str, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self.scope:
                async with (
                    open_proxy(hosts) as self.proxy,
                    coord.connect(self.proxy.hosts, timeout=TIMEOUT) as self.zk,
                    trio.open_nursery() as self.tasks,
                ):
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self.ended.set()

    async def die(self) -> None:
        """Gone like a process under SIGKILL: nothing that it tries on its way out reaches the server."""
        self.proxy.close()
        self.scope.cancel()
        await self.ended.wait()


@dataclass
class World:
    """A server, its `members`, and `zk`: a client that nothing befalls, to look with."""

    server: EmbeddedServer
    zk: coord.Client
    members: list[Member]
    _nursery: trio.Nursery

    async def inflict(self, step: Step) -> None:
        """Do one of `FAULTS`, or `EXPIRE`, to the step's member."""
        member = self.members[step.member]
        match step.action:
            case "cut":
                member.proxy.cut()
            case "suspend":
                member.proxy.close()
            case "resume":
                member.proxy.reopen()
            case "lose_reply":
                member.proxy.swallow_reply(LOSABLE[step.number % len(LOSABLE)])
            case "lose_reply_and_session":
                member.proxy.swallow_reply(LOSABLE[step.number % len(LOSABLE)], then_closed=True)
            case _ if step.action == EXPIRE:
                await self.expire(member)
            case "crash":
                await self.crash(member)
            case "pass":
                await trio.sleep(PASSING[step.number % len(PASSING)])
            case other:
                raise ValueError(f"{other} is not a fault")

    async def expire(self, member: Member) -> None:
        """End the member's session at the server: resumed by another connection, and closed there."""
        if member.zk.session.id and member.zk.session.state.value is coord.SessionState.CONNECTED:
            with trio.move_on_after(1):
                async with coord.connect(self.server.connect_string, session=member.zk.session.handle):
                    pass

    async def crash(self, member: Member) -> Member:
        """The member is dead; returns the one that takes its place in `members`."""
        await member.die()
        return await self.join(Member(member.index, member.incarnation + 1))

    async def join(self, member: Member) -> Member:
        await self._nursery.start(member.live, self.server.connect_string)
        self.members[member.index : member.index + 1] = [member]
        return member

    async def settle(self) -> None:
        """Until everybody waits for something that needs more than no time."""
        await trio.testing.wait_all_tasks_blocked()

    async def heal(self) -> None:
        """Let every connection through again; return when whoever died is surely gone, and all is quiet."""
        for member in self.members:
            member.proxy.heal()
        await trio.sleep(3 * TIMEOUT)
        await self.settle()


@asynccontextmanager
async def open_world(members: int) -> AsyncIterator[World]:
    """To be used under an autojump clock."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(embedded_server(tick_time=1.0))
        zk = await stack.enter_async_context(coord.connect(server.connect_string, timeout=TIMEOUT))
        nursery = await stack.enter_async_context(trio.open_nursery())
        world = World(server, zk, [], nursery)
        for index in range(members):
            await world.join(Member(index, 0))
        yield world
        for member in world.members:
            member.scope.cancel()


def stateful(
    *actions: str, members: int = 3, steps: int = 30, examples: int = 40
) -> Callable[[Callable[[World, list[Step]], Awaitable[None]]], Callable[[], None]]:
    """Make a test of ``fn(world, steps)``: `examples` histories of up to `steps` steps each."""
    step = st.builds(Step, st.sampled_from(actions), st.integers(0, members - 1), st.integers(0, 7))

    def decorate(fn: Callable[[World, list[Step]], Awaitable[None]]) -> Callable[[], None]:
        @settings(
            max_examples=examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        # (Without a least size, hypothesis draws five steps on average: too few for anything to go wrong.)
        @given(steps=st.lists(step, min_size=min(10, steps), max_size=steps))
        def test(steps: list[Step]) -> None:
            async def play() -> None:
                async with open_world(members) as world:
                    await fn(world, steps)

            trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=True)

        test.__name__ = fn.__name__
        test.__doc__ = fn.__doc__
        return test

    return decorate
