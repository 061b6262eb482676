"""Read/write locks: who goes with whom, in which order, and the way from writing to reading.

Pitfall 20: cannot occur, since a grant is an object of one block, and no thread or lock owns it.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import CURATOR, CURATOR_LATCH, KAZOO, Kind, Layout, Lock, LockLost, ReadWriteLock
from tests.recipes.faults import TIMEOUT, cancel_everywhere, open_world
from tests.recipes.lines import end_session, until_empty, until_waiting
from tests.recipes.lost_replies import lose_reply
from tests.recipes.proxy import open_proxy

PATH = "/rw"
Attempt = Callable[[Client], Awaitable[None]]
layouts = pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)


class Line:
    """Tasks that stand in line, one after the other; `inside` is who has got in, in that order."""

    def __init__(
        self, zk: Client, nursery: trio.Nursery, layout: Layout = KAZOO, *, looking: Client | None = None
    ) -> None:
        """`looking` is the client that looks at the line; `zk` if None."""
        self.zk = looking or zk
        self.rw = ReadWriteLock(zk, PATH, layout=layout)
        self.inside: list[str] = []
        self.leave: dict[str, trio.Event] = {}
        self._nursery = nursery
        self._changed = trio.Event()

    async def join(self, name: str) -> None:
        """By a task of this name: a reader if it begins with r."""
        self.leave[name] = trio.Event()
        count = len(await Lock(self.zk, PATH).contenders())
        self._nursery.start_soon(self._hold, name)
        await until_waiting(self.zk, PATH, count + 1)

    async def go(self, *names: str) -> None:
        for name in names:
            self.leave[name].set()
            while name in self.inside:
                await self._changed.wait()

    async def until_inside(self, *names: str) -> None:
        while set(self.inside) != set(names):
            await self._changed.wait()
        await self.zk.sync()
        assert set(self.inside) == set(names)

    async def _hold(self, name: str) -> None:
        side = self.rw.read if name.startswith("r") else self.rw.write
        async with side.acquire(data=name.encode()):
            self._change(self.inside.append, name)
            await self.leave[name].wait()
            self._change(self.inside.remove, name)

    def _change(self, how: Callable[[str], None], name: str) -> None:
        how(name)
        self._changed.set()
        self._changed = trio.Event()


# -- who goes with whom --------------------------------------------------------------------------------


@pytest.mark.trio
@layouts
async def test_pitfall_11_everybody_gets_in_in_order_and_readers_together(zk: Client, layout: Layout) -> None:
    async with trio.open_nursery() as nursery:
        line = Line(zk, nursery, layout)
        for name in ("w1", "r1", "r2", "r3", "w2", "r4", "r5"):
            await line.join(name)
        kinds = [one.kind for one in await line.rw.contenders()]
        assert [kind is Kind.READ for kind in kinds] == [False, True, True, True, False, True, True]
        assert [one.data for one in await line.rw.read.contenders()][:2] == [b"w1", b"r1"]
        await line.until_inside("w1")
        await line.go("w1")
        await line.until_inside("r1", "r2", "r3")
        await line.go("r1", "r3")
        await line.until_inside("r2")  # the writer behind waits for the last of them
        await line.go("r2")
        await line.until_inside("w2")
        await line.go("w2")
        await line.until_inside("r4", "r5")
        await line.go("r4", "r5")
    assert await zk.children(PATH) == []


@pytest.mark.trio
async def test_many_readers_and_writers_at_once(hosts: str) -> None:
    readers = writers = most = 0
    tokens: list[int] = []

    async def contend(zk: Client, write: bool) -> None:
        nonlocal readers, writers, most
        rw = ReadWriteLock(zk, PATH)
        for _ in range(3):
            async with rw.write if write else rw.read as grant:
                readers, writers = readers + (not write), writers + write
                most = max(most, readers)
                assert writers == 0 or (writers, readers) == (1, 0)
                if write:
                    tokens.append(grant.token)
                await zk.sync()
                readers, writers = readers - (not write), writers - write

    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(24):
            nursery.start_soon(contend, (one, two)[index % 2], index % 4 == 0)
    assert most > 1
    assert len(tokens) == 18
    assert tokens == sorted(tokens)


@pytest.mark.trio
async def test_pitfall_9_each_waits_for_one_other(hosts: str, zk: Client) -> None:
    """A reader watches the nearest writer before it, a writer its nearest predecessor."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as waiters:
        async with trio.open_nursery() as nursery:
            line = Line(waiters, nursery, looking=zk)
            async with ReadWriteLock(zk, PATH).write:
                for name in ("r1", "r2", "w2", "r3"):
                    await line.join(name)
                while proxy.requests.count(Op.GET_DATA) < 4:  # each asks for whom it waits for, once
                    await waiters.sync()
            await line.until_inside("r1", "r2")
            assert proxy.events == 1  # of the writer they both wait for
            await line.go("r1")
            await line.until_inside("r2")
            assert proxy.events == 1
            await line.go("r2")
            await line.until_inside("w2")
            assert proxy.events == 2
            await line.go("w2")
            await line.until_inside("r3")
            assert proxy.events == 3
            await line.go("r3")


@pytest.mark.trio
async def test_an_attempt_that_does_not_wait(zk: Client) -> None:
    rw, other = ReadWriteLock(zk, PATH), ReadWriteLock(zk, PATH)
    async with rw.read.acquire(wait=False), other.read.acquire(wait=False):
        with pytest.raises(trio.WouldBlock):
            async with Lock(zk, PATH).acquire(wait=False):
                pytest.fail("granted")
        assert len(await zk.children(PATH)) == 2
        with pytest.raises(trio.TooSlowError):
            async with ReadWriteLock(zk, PATH).write.acquire(timeout=0.05):
                pytest.fail("granted")
    async with rw.write.acquire(wait=False):
        with pytest.raises(trio.WouldBlock):
            async with other.read.acquire(wait=False):
                pytest.fail("granted")


@pytest.mark.trio
async def test_a_task_cannot_wait_for_itself(zk: Client) -> None:
    rw = ReadWriteLock(zk, PATH)
    async with rw.read:
        with pytest.raises(RuntimeError, match="cannot become a writer"):
            async with rw.write:
                pytest.fail("upgraded")
        with pytest.raises(RuntimeError, match="already"):
            async with rw.read:
                pytest.fail("entered twice")
    async with rw.write:
        with pytest.raises(RuntimeError, match="downgrade"):
            async with rw.read:
                pytest.fail("entered twice")
    async with rw.read:  # and the failed attempts did no harm
        assert len(await zk.children(PATH)) == 1


def test_a_layout_without_readers_is_refused() -> None:
    with pytest.raises(ValueError, match="curator-latch has no read names"):
        ReadWriteLock(None, PATH, layout=CURATOR_LATCH)  # type: ignore[arg-type]  # it is not looked at


# -- from writing to reading ---------------------------------------------------------------------------


@pytest.mark.trio
@layouts
async def test_pitfall_12_a_writer_becomes_a_reader_and_no_writer_comes_between(
    zk: Client, layout: Layout
) -> None:
    async with trio.open_nursery() as nursery:
        line = Line(zk, nursery, layout)
        rw = ReadWriteLock(zk, PATH, b"me", layout=layout)
        async with rw.write as grant:
            for name in ("r1", "w1", "r2"):
                await line.join(name)
            async with rw.downgrade(grant) as reading:
                assert reading.token > grant.token
                assert layout.marker(Kind.READ) in reading.path
                assert reading.path[-10:] == grant.path[-10:]
                first, *_ = await rw.contenders()
                assert (first.path, first.data, first.kind) == (reading.path, b"me", Kind.READ)
                assert await zk.exists(grant.path) is None
                await line.until_inside("r1")  # another reader may come in, the writer behind it not
                with pytest.raises(LockLost, match="downgraded"):
                    grant.ensure()
                with pytest.raises(LockLost):
                    async with grant.transaction() as transaction:
                        transaction.create("/by-a-writer")
                async with reading.transaction() as transaction:
                    transaction.create("/by-a-reader")
                await line.go("r1")
                assert line.inside == []
            assert await zk.exists(reading.path) is None
            await line.until_inside("w1")
        assert not grant.lost
        await line.go("w1")
        await line.go("r2")


@pytest.mark.trio
async def test_what_cannot_be_downgraded(zk: Client) -> None:
    rw = ReadWriteLock(zk, PATH)
    async with ReadWriteLock(zk, "/other").write as other, rw.read as reading:
        for grant in (other, reading):
            with pytest.raises(ValueError, match="not a grant of"):
                async with rw.downgrade(grant):
                    pytest.fail("downgraded")
    async with rw.write as grant:
        async with rw.downgrade(grant):
            with pytest.raises(LockLost, match="downgraded"):
                async with rw.downgrade(grant):
                    pytest.fail("downgraded twice")
    with pytest.raises(LockLost):
        async with rw.write as grant:
            await zk.delete(grant.path)
            async with rw.downgrade(grant):
                pytest.fail("nothing was left to downgrade")
    await zk.janitor.idle()
    assert await zk.children(PATH) == []


@pytest.mark.trio
@pytest.mark.parametrize("where", ["read", "write", "downgrade"])
async def test_the_body_is_cancelled_when_the_session_ends(hosts: str, where: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        rw = ReadWriteLock(zk, PATH)

        async def lose() -> None:
            await end_session(hosts, zk)
            await trio.sleep_forever()

        with pytest.raises(LockLost, match="read lock" if where == "read" else "lock"):
            if where == "read":
                async with rw.read:
                    await lose()
            async with rw.write as grant:
                if where == "write":
                    await lose()
                async with rw.downgrade(grant):
                    await lose()
        async with rw.write:  # nothing is remembered
            pass
        async with rw.read.acquire(on_loss="move_on") as grant:
            await lose()
        assert grant.lost


@pytest.mark.trio
async def test_what_is_raised_in_the_inner_block_leaves_as_it_is(zk: Client) -> None:
    rw, failure = ReadWriteLock(zk, PATH), ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with rw.write as grant, rw.downgrade(grant):
            raise failure
    assert caught.value is failure
    with trio.move_on_after(10) as scope:
        async with rw.write as grant, rw.downgrade(grant):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await until_empty(zk, PATH)


@pytest.mark.trio
@pytest.mark.parametrize("executed", [True, False])
async def test_a_downgrade_that_was_cancelled_leaves_nothing_held(
    hosts: str, zk: Client, executed: bool
) -> None:
    """Whether it was done is unknown then: the block around it must not believe that it writes alone."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as slow:
        rw = ReadWriteLock(slow, PATH)
        async with rw.write as grant:
            if executed:
                proxy.swallow_reply(Op.MULTI, then_closed=True)
            else:
                proxy.hold_off()
                proxy.lose_request(Op.MULTI)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_when, proxy.lost, scope)
                    async with rw.downgrade(grant):
                        pytest.fail("downgraded")
            proxy.reopen()
            async with Lock(zk, PATH).acquire(timeout=5):  # another has it now
                with pytest.raises(LockLost, match="given up"):
                    grant.ensure()
        assert await zk.children(PATH) == []
        assert slow.session.generation == 1


async def cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@pytest.mark.trio
async def test_a_downgrade_that_no_request_can_carry(zk: Client) -> None:
    rw = ReadWriteLock(zk, PATH, bytes(1_048_500))
    with trio.fail_after(10), pytest.raises(coord.errors.RequestTooLarge):
        async with rw.write.acquire(data=b"small") as grant, rw.downgrade(grant):
            pytest.fail("downgraded")
    await zk.janitor.idle()
    assert await zk.children(PATH) == []


# -- what goes wrong ----------------------------------------------------------------------------------


async def read(zk: Client) -> None:
    async with ReadWriteLock(zk, PATH).read as grant:
        await grant.verify()


async def write(zk: Client) -> None:
    async with ReadWriteLock(zk, PATH).write as grant:
        await grant.verify()


async def downgrade(zk: Client) -> None:
    rw = ReadWriteLock(zk, PATH)
    async with rw.write as grant, rw.downgrade(grant) as reading:
        await reading.verify()


@pytest.mark.trio
@pytest.mark.parametrize("session", [False, True], ids=["session kept", "session lost"])
@pytest.mark.parametrize(
    ("attempt", "op"),
    [(read, Op.CREATE2), (read, Op.DELETE), (write, Op.CREATE2), (write, Op.DELETE), (downgrade, Op.MULTI)],
)
async def test_lost_replies(autojump_clock: MockClock, attempt: Attempt, op: Op, session: bool) -> None:
    done: list[str] = []

    async def try_it(zk: Client) -> None:
        try:
            await attempt(zk)
            done.append("done")
        except LockLost:
            done.append("lost")

    async with open_world(1) as world:
        await lose_reply(world, op, try_it, session=session)
        assert done == ["lost" if (op, session) == (Op.MULTI, True) else "done"]
        assert await world.zk.children(PATH) == []
        assert world.members[0].zk.session.generation == 1 + session


@pytest.mark.trio
@pytest.mark.parametrize("attempt", [read, write, downgrade])
async def test_cancelled_anywhere_it_leaves_no_znode(autojump_clock: MockClock, attempt: Attempt) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        await zk.create(PATH)

        async def nothing_stays() -> None:
            await zk.janitor.idle()
            assert await zk.children(PATH) == []

        assert await cancel_everywhere(lambda: attempt(zk), nothing_stays) > 15


@pytest.mark.trio
async def test_a_reader_is_stopped_before_a_writer_can_come_in(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        one, two = world.members
        written = trio.Event()

        async def overwrite() -> None:
            async with ReadWriteLock(two.zk, PATH).write:
                written.set()

        with pytest.raises(LockLost):
            async with ReadWriteLock(one.zk, PATH).read:
                two.start(overwrite)
                await world.settle()
                one.proxy.close()
                begin = trio.current_time()
                await trio.sleep_forever()
        assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.01)
        assert not written.is_set()
        await written.wait()
