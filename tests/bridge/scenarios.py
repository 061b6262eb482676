"""One scenario for each recipe and each part of the client, written for asyncio; for threads, it is the same
text less `async` and `await`, which is what the bridge promises.

In each, `c` is `coord.aio` or `coord.blocking`, `zk` a client of it.
"""

# ruff: noqa: PT017  # no pytest here: the text is to run for both sides

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

Scenario = Callable[..., Any]


async def reads_and_writes(c: Any, zk: Any) -> None:
    await zk.ensure_chroot()
    assert await zk.create("/a", b"1") == "/a"
    path, stat = await zk.create_with_stat("/a/b", b"")
    await zk.ensure_path("/x/y")
    assert (await zk.get("/a"))[0] == b"1"
    assert await zk.exists("/nowhere") is None
    assert await zk.children("/a") == ["b"]
    assert (await zk.children_with_stat("/a"))[0] == ["b"]
    assert (await zk.multi_read([c.GetData("/a")]))[0][0] == b"1"
    assert (await zk.set("/a", b"2", version=0)).version == 1
    await zk.sync("/a")
    assert await zk.count_descendants("/a") == 1
    assert await zk.ephemerals() == []
    await zk.delete(path, version=stat.version)
    await zk.delete_recursive("/x")
    acl, stat = await zk.get_acl("/a")
    assert acl == list(c.OPEN_ACL)
    await zk.set_acl("/a", c.READ_ACL)
    await zk.add_auth("digest", "me:secret")
    assert any(one.scheme == "digest" for one in await zk.who_am_i())
    assert zk.chroot == ""
    assert zk.janitor.pending == 0
    await zk.janitor.idle()
    try:
        await zk.create("/a")
    except c.NodeExists as error:
        assert (error.path, error.operation) == ("/a", "create")


async def transactions(c: Any, zk: Any) -> None:
    async with zk.transaction() as transaction:
        transaction.create("/a", b"")
        transaction.check("/a", 0)
        transaction.set("/a", b"1")
    assert len(transaction) == 3
    assert transaction.results[0] == "/a"
    boom = ValueError("boom")
    try:
        async with zk.transaction() as transaction:
            transaction.delete("/a")
            raise boom
    except ValueError as error:
        assert error is boom
    assert await zk.exists("/a")


async def sessions(c: Any, zk: Any) -> None:
    assert zk.session.state.value is c.SessionState.CONNECTED
    assert await zk.session.state.wait_value(lambda state: state is c.SessionState.CONNECTED)
    async for state in zk.session.state.eventual_values():
        assert state is c.SessionState.CONNECTED
        break
    assert zk.session.handle.id == zk.session.id
    with zk.session.guard(c.Loss.EXPIRED) as guard:
        assert not guard.lost
        guard.ensure()
    assert not await guard.wait_lost()


async def watches(c: Any, zk: Any) -> None:
    with zk.watch() as watch:
        assert await zk.exists("/a", watch=watch) is None
        await zk.create("/a", b"1")
        event = await watch.wait()
    assert (event.path, event.type) == ("/a", c.EventType.CREATED)
    async with zk.watch_data("/a") as nodes, zk.watch_exists("/a") as stats, zk.watch_children("/a") as names:
        assert await names.receive() == ()
        assert (await stats.receive()).version == 0
        async for node in nodes:
            if node is None:
                break
            assert node.data == b"1"
            await zk.delete("/a")
    async with zk.add_watch("/b", recursive=True) as events:
        await zk.create("/b")
        await zk.create("/b/c")
        assert [(await events.receive()).path, (await events.receive()).path] == ["/b", "/b/c"]


async def lock(c: Any, zk: Any) -> None:
    mine = c.Lock(zk, "/lock", data=b"me")
    async with mine as grant:
        assert grant.token > 0
        assert not grant.lost
        grant.ensure()
        await grant.verify()
        assert [one.data for one in await mine.contenders()] == [b"me"]
        async with grant.transaction() as writes:
            writes.create("/done", b"")
        assert await mine.request_release() == 1
        await grant.wait_revoked()
        try:
            async with mine:
                raise AssertionError
        except RuntimeError as error:
            assert "holds, or waits for" in str(error)
        try:
            async with c.Lock(zk, "/lock").acquire(wait=False):
                raise AssertionError
        except c.WouldBlock:
            pass
    assert not await grant.wait_lost()
    async with mine.watch_holders() as holders:
        assert await holders.receive() == ()


async def read_write_lock(c: Any, zk: Any) -> None:
    rw = c.ReadWriteLock(zk, "/rw")
    async with rw.read as one, c.ReadWriteLock(zk, "/rw").read as another:
        assert one.token < another.token
        assert len(await rw.contenders()) == 2
    async with rw.write as grant, rw.downgrade(grant) as reading:
        assert not reading.lost


async def semaphore(c: Any, zk: Any) -> None:
    permits = c.Semaphore(zk, "/permits", 2, data=b"me")
    async with permits as one, permits.acquire(wait=False):
        assert isinstance(one, c.Grant)
        assert len(await permits.holders()) == 2
        assert await permits.contenders() == []
    await permits.set_limit(3)
    async with permits.acquire(permits=3, timeout=5):
        pass
    async with permits.watch_holders() as holders:
        assert await holders.receive() == ()


async def election(c: Any, zk: Any) -> None:
    candidates = c.Election(zk, "/lead", data=b"me")

    async def serve(term: Any) -> Any:
        assert isinstance(term, c.Grant)
        assert [one.data for one in await candidates.contenders()] == [b"me"]
        async with candidates.observe() as leaders:
            async for leader in leaders:
                return leader.data, term.token
        return None

    data, token = await candidates.run(serve)
    assert data == b"me"
    async with candidates.lead() as term:
        assert term.token > token

    async def fail(term: Any) -> None:
        raise boom

    boom = ValueError("boom")
    try:
        await candidates.run(fail)
    except ValueError as error:
        assert error is boom


async def barrier(c: Any, zk: Any) -> None:
    gate = c.Barrier(zk, "/gate")
    await gate.close()
    assert await gate.closed()
    await gate.open()
    await gate.wait()


async def double_barrier(c: Any, zk: Any) -> None:
    async with c.DoubleBarrier(zk, "/phase", 1) as place:
        assert not place.lost
    async with c.DoubleBarrier(zk, "/phase", 1).enter(timeout=5):
        pass


async def queue(c: Any, zk: Any) -> None:
    items = c.Queue(zk, "/queue")
    await items.put(b"1", priority=50)
    await items.put_all([b"2", b"3"])
    assert await items.size() == 3
    boom = ValueError("boom")
    try:
        async with items.take() as item:
            assert item.data == b"1"
            raise boom
    except ValueError as error:
        assert error is boom
    async with items.take() as item:
        assert (item.data, item.messages) == (b"1", (b"1",))
        item.ensure()
        await item.verify()
        async with item.consume() as writes:
            writes.create("/result", item.data)
        assert item.consumed
    async with items.take(timeout=5) as item:
        assert item.data == b"2"
    assert await items.size() == 1


async def counter(c: Any, zk: Any) -> None:
    hits = c.Counter(zk, "/hits")
    assert await hits.add(2) == 2
    assert await hits.update(lambda value: value * 10) == 20
    assert await hits.compare_and_set(20, 5)
    assert await hits.set(7) == 7
    assert await hits.value() == 7
    async with hits.watch() as values:
        async for value in values:
            assert value == 7
            break
    assert await c.Counter(zk, "/float", 0.5, codec=c.TEXT).add(1) == 1.5


async def party(c: Any, zk: Any) -> None:
    for layout in (c.KAZOO, c.KAZOO_SHALLOW):
        members = c.Party(zk, f"/party{layout.name}", layout=layout)
        async with members.join(b"host7") as me, members.watch() as changes:
            assert me.data == b"host7"
            assert await me.present.wait_value(True)
            async for view in changes:
                assert [one.data for one in view] == [b"host7"]
                break
        assert await members.members() == frozenset()


async def cache(c: Any, zk: Any) -> None:
    await zk.create("/tree/a", b"1", make_parents=True)
    async with c.Cache(zk, "/tree") as tree:
        assert tree["/tree/a"].data == b"1"
        assert (len(tree), list(tree), "/tree/b" in tree) == (2, ["/tree", "/tree/a"], False)
        assert tree.children("/tree") == ["a"]
        assert not tree.stale
        assert set(tree.snapshot()) == {"/tree", "/tree/a"}
        events = tree.events()
        await zk.delete("/tree/a")
        await tree.until(lambda tree: "/tree/a" not in tree)
        assert events.receive_nowait().path == "/tree/a"
    async for _ in events:
        raise AssertionError


async def config(c: Any, zk: Any) -> None:
    async with c.watch_config(zk, "/config", parse=int, default=1) as live:
        assert live.value == 1
        await zk.create("/config", b"2")
        assert await live.wait_value(lambda value: value == 2) == 2
        async for value in live.eventual_values():
            assert value == 2
            break
        assert live.stat.version == 0
        await zk.set("/config", b"none")
        await zk.set("/config", b"3")
        assert await live.wait_value(lambda value: value > 2) == 3
    async with c.watch_config(zk, "/config", lambda data: data.decode()) as live:
        assert live.value == "3"


async def partitioner(c: Any, zk: Any) -> None:
    class Enough(Exception):
        pass

    async def work(item: Any, grant: Any) -> None:
        grant.ensure()
        done.add(item)
        if len(done) == 1:
            raise Enough

    done: set[str] = set()
    shares = c.Partitioner(zk, "/work", items={"a"}, settle=0)
    assert shares.items == {"a"}
    try:
        await shares.run(work)
    except Enough:
        pass
    except ExceptionGroup as group:
        assert group.subgroup(Enough)
    assert done == {"a"}


async def lease(c: Any, zk: Any) -> None:
    mine = c.Lease(zk, "/lease", 60, holder="me")
    assert await mine.take() is not None
    assert (await mine.current()).holder == "me"
    assert await c.Lease(zk, "/lease", 60, holder="you").take() is None
    await mine.release()
    several = c.MultiLease(zk, 2, "/leases", 60, holder="me")
    assert await several.take() is not None
    assert [one.holder for one in await several.holders()] == ["me"]
    await several.release()


async def brokers(c: Any, zk: Any) -> None:
    registry, topics = c.BrokerRegistry(zk, chroot="/kafka"), c.Topics(zk, chroot="/kafka")
    info = c.BrokerInfo(1, [("PLAINTEXT", "host1", 9092)], rack="a")

    class Enough(Exception):
        pass

    async def control(term: Any) -> None:
        assert (term.broker_id, term.lost) == (1, False)
        assert isinstance(term, c.Term)
        await topics.settle(term, [1])
        raise Enough

    async with registry.register(info) as me:
        assert me.epoch == me.epochs.value
        async with registry.watch() as views:
            async for view in views:
                assert view.ids == {1}
                break
        await topics.create("orders", c.assign([1], partitions=2, replication=1))
        try:
            await registry.run_controller(me.id, control)
        except Enough:
            pass
        async with topics.watch() as views:
            async for view in views:
                if not view.leaderless:
                    break
        assert [str(which) for which in view.led_by(1)] == ["orders-0", "orders-1"]


SCENARIOS: dict[str, Scenario] = {
    name: one
    for name, one in list(globals().items())
    if inspect.iscoroutinefunction(one) and one.__module__ == __name__
}


def for_threads(scenario: Scenario) -> Scenario:
    """The same, for `coord.blocking`."""
    text = re.sub(r"\b(async|await) ", "", textwrap.dedent(inspect.getsource(scenario)))
    names: dict[str, Any] = {"Any": Any}
    exec(compile(text, f"{scenario.__name__}, for threads", "exec", dont_inherit=True), names)
    return names[scenario.__name__]  # type: ignore[no-any-return]  # the function that the text defines
