"""A live copy of a tree. Pitfalls are numbered as in the survey of recipes.

Pitfall 49: cannot occur, since one persistent watch covers the tree, and does not end with a missing znode.
Pitfall 50: cannot occur, since that watch is of one kind; arming it again is the client's business and test.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import coord
from coord import ACL, OPEN_ACL, Client, Id, NoAuth, Node, Perms, Resynced, SessionState
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import Added, Cache, CachedTree, CacheEvents, Removed, Updated
from tests.recipes.faults import cancel_everywhere
from tests.recipes.proxy import Proxy, open_proxy

CLOSED_TO_READERS = [ACL(Perms.ALL & ~Perms.READ, Id("world", "anyone"))]
NOBODY = [ACL(Perms.ALL, Id("digest", "nobody:nothing"))]


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


async def walk(zk: Client, path: str) -> dict[str, tuple[bytes, int, int]]:
    """What is below `path`, read znode by znode: what a cache has to agree with."""
    try:
        data, stat = await zk.get(path)
        names = await zk.children(path)
    except coord.NoNode:
        return {}
    found = {path: (data, stat.czxid, stat.mzxid)}
    for name in names:
        found |= await walk(zk, path.rstrip("/") + "/" + name)
    return found


def picture(nodes: dict[str, Node]) -> dict[str, tuple[bytes, int, int]]:
    return {path: (node.data, node.stat.czxid, node.stat.mzxid) for path, node in nodes.items()}


def replay(events: CacheEvents, nodes: dict[str, Node]) -> list[str]:
    """Apply what is there to `nodes`, each event checked to be possible; returns the events in short."""
    told: list[str] = []
    while True:
        try:
            event = events.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return told
        apply(event, nodes)
        told.append(short(event))


def apply(event: Added | Updated | Removed | Resynced, nodes: dict[str, Node]) -> None:
    match event:
        case Added(path, node):
            assert path not in nodes
            # Parents first; the topmost has none.
            assert not nodes or path.rpartition("/")[0] in nodes
            nodes[path] = node
        case Updated(path, node, old):
            assert nodes[path] == old
            assert old.stat.czxid == node.stat.czxid
            nodes[path] = node
        case Removed(path, node):
            assert nodes.pop(path) == node
            assert not [one for one in nodes if one.startswith(path + "/")]  # children first


def short(event: Added | Updated | Removed | Resynced) -> str:
    match event:
        case Added(path, node):
            return f"+{path}={node.data.decode()}"
        case Updated(path, node):
            return f"{path}={node.data.decode()}"
        case Removed(path):
            return f"-{path}"
        case _:
            return "resynced"


async def until_agreed(cache: CachedTree, zk: Client) -> None:
    """Until the cache is as the server is now."""
    wanted = await walk(zk, cache.path)
    with trio.fail_after(20):
        await cache.until(lambda cache: not cache.stale and picture(cache.snapshot()) == wanted)


# -- the copy -------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_entered_it_has_everything_and_it_follows(zk: Client) -> None:
    await zk.create("/s/a/x", b"1", make_parents=True)
    await zk.create("/s/b", b"2")
    await zk.create("/sibling")
    async with Cache(zk, "/s") as cache:
        assert not cache.stale
        assert list(cache) == ["/s", "/s/a", "/s/a/x", "/s/b"]
        assert (cache["/s/a/x"].data, cache["/s/b"].data, len(cache)) == (b"1", b"2", 4)
        assert cache["/s/b"].stat == (await zk.get("/s/b"))[1]
        assert "/sibling" not in cache
        assert cache.children("/s") == ["a", "b"]
        assert cache.children("/s/b") == []
        with pytest.raises(KeyError):
            cache.children("/s/c")
        await zk.set("/s/b", b"3")
        await zk.create("/s/c/deep", b"4", make_parents=True)
        await zk.delete_recursive("/s/a")
        await until_agreed(cache, zk)
        assert list(cache) == ["/s", "/s/b", "/s/c", "/s/c/deep"]
        assert cache.children("/s") == ["b", "c"]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("depth", "paths"), [(0, ["/s"]), (1, ["/s", "/s/a"]), (2, ["/s", "/s/a", "/s/a/b"])]
)
async def test_it_goes_as_deep_as_it_is_told(zk: Client, depth: int, paths: list[str]) -> None:
    await zk.create("/s")
    async with Cache(zk, "/s", depth=depth) as late:
        await zk.create("/s/a/b/c/d", make_parents=True)
        async with Cache(zk, "/s", depth=depth) as cache:
            assert list(cache) == paths
            await zk.set("/s/a/b/c/d", b"unseen")
            await zk.set("/s", b"seen")
            for one in (cache, late):
                await one.until(lambda cache: cache["/s"].data == b"seen")
                assert list(one) == paths


@pytest.mark.trio
async def test_a_cache_of_the_root(zk: Client) -> None:
    await zk.create("/a/b", make_parents=True)
    async with Cache(zk, "/") as cache:
        assert {"/", "/a", "/a/b"} <= set(cache)
        assert "a" in cache.children("/")
        await zk.create("/c")
        await cache.until(lambda cache: "/c" in cache)
        assert cache["/c"].data == b""


@pytest.mark.trio
async def test_pitfall_47_what_does_not_exist_yet_is_an_empty_cache(zk: Client) -> None:
    """And the root may come and go (CURATOR-183)."""
    async with Cache(zk, "/s/t") as cache:
        assert len(cache) == 0
        assert not cache.stale
        events, nodes = cache.events(), cache.snapshot()
        await zk.create("/s/t/a", make_parents=True)
        await cache.until(lambda cache: len(cache) == 2)
        await zk.delete("/s/t/a")
        await zk.delete("/s/t")
        await cache.until(lambda cache: len(cache) == 0)
        await zk.create("/s/t", b"again")
        await cache.until(lambda cache: len(cache) == 1)
        assert replay(events, nodes) == ["+/s/t=", "+/s/t/a=", "-/s/t/a", "-/s/t", "+/s/t=again"]


@pytest.mark.trio
async def test_many_znodes_are_few_requests_and_a_burst_is_one_read(hosts: str, zk: Client) -> None:
    await zk.create("/s")
    for begin in range(0, 1000, 200):
        async with zk.transaction() as transaction:
            for number in range(begin, begin + 200):
                transaction.create(f"/s/{number:04}", b"x")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        async with Cache(reader, "/s") as cache:
            assert len(cache) == 1001
            reads = [op for op in proxy.requests if op in (Op.MULTI_READ, Op.GET_DATA, Op.GET_CHILDREN)]
            assert len(reads) <= 1 + 1000 // 15 + 5  # (each round's last may be short)
            before = len(proxy.requests)
            async with zk.transaction() as transaction:
                for number in range(500):
                    transaction.set("/s/0007", str(number).encode())
            await until_agreed(cache, zk)
            assert cache["/s/0007"].data == b"499"
            assert len(proxy.requests) - before < 50


@pytest.mark.trio
async def test_answers_that_are_too_long_together_are_asked_for_one_by_one(
    zk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        await zk.create(f"/s/{name}", b"x" * 100, make_parents=True)
    monkeypatch.setattr("coord.state.reads.MULTI_READ_REPLY_BYTES_MAX", 200)
    async with Cache(zk, "/s") as cache:
        await until_agreed(cache, zk)
        assert cache["/s/c"].data == b"x" * 100


@pytest.mark.trio
async def test_what_may_not_be_read(zk: Client) -> None:
    await zk.create("/s/open", make_parents=True)
    await zk.create("/s/closed", acl=NOBODY)
    async with Cache(zk, "/s") as cache:
        assert list(cache) == ["/s", "/s/open"]
        await zk.create("/s/later", acl=NOBODY)
        await zk.set("/s/open", b"1")
        await cache.until(lambda cache: cache["/s/open"].data == b"1")
        assert list(cache) == ["/s", "/s/open"]
        await zk.create("/s/open/below", b"")
        await zk.create("/s/seen", acl=CLOSED_TO_READERS)
        await zk.create("/s/seen/below", b"")
        await zk.set_acl("/s/seen", OPEN_ACL)  # of which no event tells
        await zk.set("/s/seen", b"2")
        await cache.until(lambda cache: "/s/seen/below" in cache)
    with pytest.raises(NoAuth):
        async with Cache(zk, "/s/closed"):
            pytest.fail("entered")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="/s is -1"):
        Cache(None, "/s", depth=-1)  # type: ignore[arg-type]  # refused before the client is looked at


@pytest.mark.trio
async def test_a_path_that_is_none(zk: Client) -> None:
    with pytest.raises(coord.BadArguments):
        async with Cache(zk, "s"):
            pytest.fail("entered")


# -- events ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_events_lead_from_one_snapshot_to_the_next(zk: Client) -> None:
    await zk.create("/s/a/x", b"1", make_parents=True)
    async with Cache(zk, "/s") as cache:
        events, nodes = cache.events(), cache.snapshot()
        async with zk.transaction() as transaction:
            transaction.create("/s/n")
            transaction.create("/s/n/m")
            transaction.create("/s/n/m/o", b"2")
        await until_agreed(cache, zk)
        async with zk.transaction() as transaction:
            transaction.delete("/s/a/x")
            transaction.delete("/s/a")
            transaction.set("/s/n", b"3")
        await until_agreed(cache, zk)
        told = replay(events, nodes)
        assert told[:3] == ["+/s/n=", "+/s/n/m=", "+/s/n/m/o=2"]
        assert told[-3:].index("-/s/a/x") < told[-3:].index("-/s/a")
        assert len(told) == 6
        assert nodes == cache.snapshot() == events.snapshot


@pytest.mark.trio
async def test_pitfall_47_deleted_and_created_again_is_another_znode(hosts: str, zk: Client) -> None:
    """With the same data and version (CURATOR-391), below it, too; seen from near and after an absence."""
    await zk.create("/s/a/x", b"1", make_parents=True)

    async def replace() -> None:
        async with zk.transaction() as transaction:
            transaction.delete("/s/a/x")
            transaction.delete("/s/a")
            transaction.create("/s/a")
            transaction.create("/s/a/x", b"1")

    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        async with Cache(reader, "/s") as cache:
            events, nodes = cache.events(), cache.snapshot()
            await replace()
            await until_agreed(cache, zk)
            told = replay(events, nodes)
            assert [one for one in told if "x" not in one] == ["-/s/a", "+/s/a="]
            assert told.count("+/s/a/x=1") == told.count("-/s/a/x") >= 1
            proxy.close()
            await cache.until(lambda cache: cache.stale)
            await replace()
            proxy.reopen()
            await until_agreed(cache, zk)
            assert replay(events, nodes) == ["resynced", "-/s/a/x", "-/s/a", "+/s/a=", "+/s/a/x=1"]
            assert nodes == cache.snapshot()


@pytest.mark.trio
async def test_a_slow_reader_gets_the_difference(zk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.cache.EVENTS_MAX", 3)
    await zk.create("/s/old", make_parents=True)
    async with Cache(zk, "/s") as cache:
        events, nodes = cache.events(), cache.snapshot()
        for number in range(10):
            await zk.create(f"/s/{number}")
        await zk.delete("/s/0")
        await zk.delete("/s/old")
        await zk.set("/s", b"new")
        await until_agreed(cache, zk)
        first = await events.receive()
        assert first == Resynced()
        # While it goes through the difference, more comes: it gets on nevertheless.
        told = 0
        while told < 11:
            await zk.set("/s", str(told).encode())
            await until_agreed(cache, zk)
            event = await events.receive()
            apply(event, nodes)
            told += not isinstance(event, Resynced)
        replay(events, nodes)
        assert nodes == cache.snapshot() == events.snapshot


@pytest.mark.trio
async def test_a_reader_waits_and_ends_with_the_cache(zk: Client) -> None:
    heard: list[str] = []
    something = trio.Event()

    async def follow(events: CacheEvents) -> None:
        async for event in events:
            heard.append(short(event))
            something.set()

    async with trio.open_nursery() as nursery:
        async with Cache(zk, "/s") as cache:
            nursery.start_soon(follow, cache.events())
            await trio.testing.wait_all_tasks_blocked()
            await zk.create("/s")
            await something.wait()
        # The loop ends by itself here.
    assert heard == ["+/s="]
    assert cache.stale
    with pytest.raises(trio.EndOfChannel):
        await cache.events().receive()
    with pytest.raises(trio.ClosedResourceError):
        await cache.until(lambda cache: False)
    events = cache.events()
    await events.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await events.receive()


@pytest.mark.trio
async def test_several_tasks_share_a_reader(zk: Client) -> None:
    got: list[str] = []
    async with trio.open_nursery() as nursery:
        async with Cache(zk, "/s") as cache:
            events = cache.events()

            async def read() -> None:
                async for event in events:
                    assert isinstance(event, Added)
                    got.append(event.path)

            for _ in range(3):
                nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await zk.create("/s")
            await cache.until(lambda cache: "/s" in cache)
        nursery.cancel_scope.deadline = trio.current_time() + 5
    assert not nursery.cancel_scope.cancelled_caught  # all of them heard of the end
    assert got == ["/s"]


@pytest.mark.trio
async def test_who_waits_hears_of_the_end(zk: Client) -> None:
    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await cache.until(lambda cache: False)

    async with trio.open_nursery() as nursery:
        async with Cache(zk, "/s") as cache:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()


# -- losing connection and session ------------------------------------------------------------------------


async def absence(proxy: Proxy, hosts: str, reader: Client, *, session_too: bool) -> None:
    proxy.close()
    await reader.session.state.wait_value(SessionState.SUSPENDED)
    if session_too:
        await end_session(hosts, reader)


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True], ids=["connection", "session"])
async def test_pitfall_48_what_happened_in_our_absence(hosts: str, zk: Client, session_too: bool) -> None:
    for name in ("changed", "deleted", "stays"):
        await zk.create(f"/s/{name}", b"1", make_parents=True)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        async with Cache(reader, "/s") as cache:
            events, nodes = cache.events(), cache.snapshot()
            await absence(proxy, hosts, reader, session_too=session_too)
            await cache.until(lambda cache: cache.stale)
            assert cache["/s/changed"].data == b"1"
            await zk.set("/s/changed", b"2")
            await zk.delete("/s/deleted")
            await zk.create("/s/new/below", b"3", make_parents=True)
            await zk.create("/s/of_a_moment")
            await zk.delete("/s/of_a_moment")
            proxy.reopen()
            await until_agreed(cache, zk)
            told = replay(events, nodes)
            assert told[0] == "resynced"
            assert sorted(told[1:]) == ["+/s/new/below=3", "+/s/new=", "-/s/deleted", "/s/changed=2"]
            assert nodes == cache.snapshot()
            await zk.set("/s/stays", b"4")  # and it goes on
            await until_agreed(cache, zk)
            assert replay(events, nodes) == ["/s/stays=4"]


@pytest.mark.trio
async def test_stale_until_everything_was_read_again(hosts: str, zk: Client) -> None:
    await zk.create("/s/a", b"1", make_parents=True)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        async with Cache(reader, "/s") as cache:
            await absence(proxy, hosts, reader, session_too=False)
            await zk.set("/s/a", b"2")
            proxy.reopen()
            # Never fresh with the old data.
            await cache.until(lambda cache: not cache.stale)
            assert cache["/s/a"].data == b"2"


@pytest.mark.trio
async def test_more_events_than_the_client_keeps(zk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are dropped without any loss of connection: what they told of is found all the same."""
    monkeypatch.setattr("coord.client.watching.EVENTS_MAX", 5)
    await zk.create("/s/a/b", make_parents=True)
    async with Cache(zk, "/s") as cache:
        events, nodes = cache.events(), cache.snapshot()
        async with zk.transaction() as transaction:
            transaction.delete("/s/a/b")
            for number in range(100):
                transaction.create(f"/s/a/{number}")
        await until_agreed(cache, zk)
        assert "resynced" in replay(events, nodes)
        assert nodes == cache.snapshot()


@pytest.mark.trio
async def test_stale_until_all_was_read_although_part_of_it_changes(
    zk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event of what was lost is lost, that of its parent comes with the word that some are."""
    monkeypatch.setattr("coord.client.watching.EVENTS_MAX", 5)
    await zk.create("/s/a/lost", b"old", make_parents=True)
    async with Cache(zk, "/s") as cache, trio.open_nursery() as nursery:

        async def change() -> None:
            async with zk.transaction() as transaction:
                transaction.set("/s/a/lost", b"new")
                for _ in range(8):
                    transaction.set("/s/a", b"")

        nursery.start_soon(change)
        await cache.until(lambda cache: cache.stale)
        await cache.until(lambda cache: not cache.stale)
        assert cache["/s/a/lost"].data == b"new"


@pytest.mark.trio
async def test_a_read_whose_answer_is_lost_is_asked_again(hosts: str, zk: Client) -> None:
    await zk.create("/s/a", b"1", make_parents=True)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        for op in (Op.ADD_WATCH, Op.MULTI_READ):
            proxy.swallow_reply(op)
            async with Cache(reader, "/s") as cache:
                assert proxy.lost.is_set()
                await until_agreed(cache, zk)
        proxy.swallow_reply(Op.MULTI_READ, then_closed=True)
        async with trio.open_nursery() as nursery:

            async def enter() -> None:
                async with Cache(reader, "/s") as cache:
                    assert cache["/s/a"].data == b"1"

            nursery.start_soon(enter)
            await proxy.lost.wait()
            await end_session(hosts, reader)
            proxy.reopen()


# -- leaving --------------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_what_the_block_raises_leaves_as_it_is(zk: Client, failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        async with Cache(zk, "/s"):
            raise failure
    assert caught.value is failure
    with trio.CancelScope() as scope:
        async with Cache(zk, "/s"):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.trio
async def test_a_closed_client_ends_the_block(hosts: str) -> None:
    async with trio.open_nursery() as nursery:
        ready, leave = trio.Event(), trio.Event()

        async def use(task_status: trio.TaskStatus[Client]) -> None:
            async with coord.connect(hosts, timeout=30) as zk:
                task_status.started(zk)
                await leave.wait()

        zk = await nursery.start(use)
        with pytest.raises(coord.ClientClosed):
            async with Cache(zk, "/s"):
                ready.set()
                leave.set()
                await trio.sleep_forever()


@pytest.mark.trio
async def test_one_description_is_used_by_many(zk: Client) -> None:
    await zk.create("/s")
    description = Cache(zk, "/s")
    async with description as one, description as two:
        assert one is not two
        assert dict(one) == dict(two)
    assert one.stale
    async with description as outer:
        async with description as inner:
            pass
        await zk.create("/s/later")  # the watch of one is not that of the other
        with trio.fail_after(10):
            await outer.until(lambda cache: "/s/later" in cache)
        assert "/s/later" not in inner
    assert two.stale


@pytest.mark.trio
async def test_pitfall_51_cancelled_anywhere_it_leaves_no_watch(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string, timeout=30) as zk:
        await zk.create("/s/a", make_parents=True)

        async def attempt() -> None:
            async with Cache(zk, "/s") as cache:
                await zk.set("/s/a", b"")
                await cache.until(lambda cache: cache["/s/a"].stat.version > 0)

        async def nothing_stays() -> None:
            await zk.sync()
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with stream:
                await stream.send_all(b"wchs")
                answer = b"".join([chunk async for chunk in stream])
            assert b"Total watches:0" in answer, answer
            await zk.delete("/s/a")
            await zk.create("/s/a")

        assert await cancel_everywhere(attempt, nothing_stays) > 20
