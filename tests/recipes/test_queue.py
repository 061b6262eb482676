"""The queue: nothing lost, one holder at a time, consumed once. Pitfalls are numbered as in the survey.

Pitfall 43, name and id lost on requeue: cannot occur, since an item that is given back stays at its place.
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client
from coord.wire.records import Op
from recipes import CURATOR, CURATOR_LATCH, KAZOO, Item, ItemLost, Layout, OutcomeUnknown, Queue
from tests.recipes.faults import TIMEOUT, cancel_everywhere, open_world
from tests.recipes.proxy import open_proxy

PATH = "/tasks"
ENTRIES, TAKEN = f"{PATH}/entries", f"{PATH}/taken"
LOCKS = "/tasks-locks"


def a_queue(zk: Client, layout: Layout = KAZOO) -> Queue:
    return Queue(zk, PATH, layout=layout, lock_path=LOCKS if layout == CURATOR else None)


each_layout = pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)


async def take_all(queue: Queue) -> list[bytes]:
    found = []
    while True:
        try:
            async with queue.take(wait=False) as item:
                found.append(item.data)
        except trio.WouldBlock:
            return found


async def until_marked(zk: Client, count: int, path: str = TAKEN) -> None:
    async with zk.watch_children(path) as states:
        async for names in states:
            if names is not None and len(names) == count:
                return


async def end_session(hosts: str, zk: Client) -> None:
    """Expire the client's session, as the server would: resumed by another connection and closed there."""
    async with coord.connect(hosts, session=zk.session.handle):
        pass


# -- order, layouts -----------------------------------------------------------------------------------


@pytest.mark.trio
@each_layout
async def test_by_priority_then_by_arrival(zk: Client, layout: Layout) -> None:
    queue = a_queue(zk, layout)
    for data, priority in [(b"d", 999), (b"b", 7), (b"c", 7), (b"a", 0), (b"e", 999)]:
        await queue.put(data, priority)
    assert await queue.put_all([b"f", b"g"], 999) != []
    assert await queue.put_all([]) == []
    assert await queue.size() == 7
    assert await take_all(queue) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]
    assert await queue.size() == 0


@pytest.mark.trio
async def test_what_is_no_item_does_not_count(zk: Client) -> None:
    queue = Queue(zk, "/q", layout=CURATOR, lock_path="/q/locks")
    await queue.put(b"one")
    async with queue.take():
        assert await queue.size() == 1
    assert await queue.size() == 0


@pytest.mark.trio
async def test_the_znodes_are_those_of_kazoo(zk: Client) -> None:
    queue = Queue(zk, PATH)
    assert await queue.put(b"data", 5) == "entry-005-0000000000"
    assert await queue.put(b"") == "entry-100-0000000001"
    assert (await zk.get(f"{ENTRIES}/entry-005-0000000000"))[0] == b"data"
    async with queue.take() as item:
        assert (item.name, item.data, item.raw, item.messages) == (
            *("entry-005-0000000000", b"data"),
            *(b"data", (b"data",)),
        )
        mark = await zk.exists(f"{TAKEN}/{item.name}")
        assert mark is not None
        assert (mark.ephemeral_owner, mark.czxid) == (zk.session.id, item.token)
        item.ensure()
        await item.verify()
    assert await zk.children(ENTRIES) == ["entry-100-0000000001"]
    assert await zk.children(TAKEN) == []


@pytest.mark.trio
async def test_the_znodes_are_those_of_curator(zk: Client) -> None:
    queue = Queue(zk, PATH, layout=CURATOR, lock_path=LOCKS)
    assert await queue.put(b"plain") == "queue-0000000000"
    assert await queue.put(b"later", 10) == "queue-10000000A0000000001"
    assert await queue.put(b"sooner", -2) == "queue-0FFFFFFFE0000000002"
    framed = bytes.fromhex("00010001 01 00000005") + b"plain" + bytes.fromhex("02")
    assert (await zk.get(f"{PATH}/queue-0000000000"))[0] == framed
    several = bytes.fromhex("00010001 01 00000001 61 01 00000000 02")
    await zk.create(f"{PATH}/queue-10000000B", several, sequential=True)  # by putMulti
    await zk.create(f"{PATH}/queue-|00000001|", framed, sequential=True)  # of a DistributedDelayQueue
    await zk.create(f"{PATH}/other")
    seen = []
    with pytest.raises(trio.WouldBlock):
        while True:
            async with queue.take(wait=False) as item:
                assert await zk.exists(f"{LOCKS}/{item.name}") is not None
                assert item.raw.startswith(framed[:4])
                seen.append(item.messages)
                if len(item.messages) != 1:
                    with pytest.raises(ValueError, match="2 messages"):
                        _ = item.data
    assert seen == [(b"plain",), (b"sooner",), (b"later",), (b"a", b"")]
    assert await zk.children(LOCKS) == []
    assert len(await zk.children(PATH)) == 2


@pytest.mark.trio
async def test_what_cannot_be_is_refused(zk: Client) -> None:
    with pytest.raises(ValueError, match="999"):
        await Queue(zk, PATH).put(b"", 1000)
    with pytest.raises(ValueError, match="32-bit"):
        await Queue(zk, PATH, layout=CURATOR).put(b"", 2**31)
    with pytest.raises(ValueError, match="lock path"):
        Queue(zk, PATH, lock_path=LOCKS)
    with pytest.raises(ValueError, match="layout"):
        Queue(zk, PATH, layout=CURATOR_LATCH)
    with pytest.raises(ValueError, match="lock_path"):
        async with Queue(zk, PATH, layout=CURATOR).take():
            pass
    with pytest.raises(coord.RequestTooLarge):
        await Queue(zk, PATH).put(bytes(2_000_000), at_least_once=True)


# -- taking -------------------------------------------------------------------------------------------


@pytest.mark.trio
@each_layout
async def test_it_is_consumed_or_given_back(zk: Client, layout: Layout) -> None:
    queue = a_queue(zk, layout)
    await queue.put_all([b"one", b"two"])
    failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        async with queue.take():
            raise failure
    assert caught.value is failure
    with trio.CancelScope() as scope:
        async with queue.take() as item:
            assert item.data == b"one"  # at its place still
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not item.consumed
    async with queue.take() as item:
        assert item.data == b"one"
    assert item.consumed
    assert await take_all(queue) == [b"two"]


@pytest.mark.trio
async def test_tokens_rise_each_time_that_an_item_is_taken(zk: Client) -> None:
    queue, tokens = Queue(zk, PATH), []
    await queue.put(b"")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with queue.take() as item:
                tokens.append(item.token)
                raise ZeroDivisionError
    assert tokens == sorted(set(tokens))


@pytest.mark.trio
async def test_waiting_ends_with_a_put_a_give_back_or_the_timeout(zk: Client) -> None:
    queue = Queue(zk, PATH)
    with pytest.raises(trio.TooSlowError):
        async with queue.take(timeout=0.05):
            pytest.fail("there is nothing")
    taken: list[bytes] = []

    async def consume() -> None:
        async with queue.take(timeout=30) as item:
            taken.append(item.data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await queue.put(b"one")
    async with trio.open_nursery() as nursery:
        await queue.put(b"two")
        with pytest.raises(ZeroDivisionError):
            async with queue.take():
                nursery.start_soon(consume)
                with pytest.raises(trio.TooSlowError):
                    async with queue.take(timeout=0.05):
                        pytest.fail("held twice")
                raise ZeroDivisionError
    assert taken == [b"one", b"two"]


@pytest.mark.trio
async def test_many_consumers_take_each_item_once(hosts: str, zk: Client) -> None:
    """Two clients with eight tasks each, from an empty queue on; each is taken by one of them."""
    seen: list[bytes] = []
    done = trio.Event()

    async def consume(client: Client) -> None:
        while True:
            async with Queue(client, PATH).take() as item:
                seen.append(item.data)
                if len(seen) >= 60:
                    done.set()

    items = [str(number).encode() for number in range(60)]
    async with coord.connect(hosts) as one, coord.connect(hosts) as two, trio.open_nursery() as nursery:
        for index in range(16):
            nursery.start_soon(consume, (one, two)[index % 2])
        for start in range(0, 60, 20):
            await Queue(zk, PATH).put_all(items[start : start + 20])
        with trio.fail_after(30):
            await done.wait()
        async with zk.watch_children(ENTRIES) as states:
            async for names in states:
                if not names:
                    break
        nursery.cancel_scope.cancel()
    assert sorted(seen) == sorted(items)


@pytest.mark.trio
async def test_pitfall_42_what_is_put_first_in_line_is_taken_next(zk: Client) -> None:
    queue = Queue(zk, PATH)
    await queue.put_all([b"c", b"d"], 500)
    async with queue.take() as item:
        assert item.data == b"c"
        await queue.put(b"b", 100)
        async with queue.take() as second:
            assert second.data == b"b"
            await queue.put(b"a", 1)
        assert await take_all(queue) == [b"a", b"d"]


@pytest.mark.trio
async def test_pitfall_42_the_beaten_choose_within_the_highest_rank(zk: Client) -> None:
    """Everybody sees the first ones free that others take before them: none takes one of a lower rank."""
    queue = Queue(zk, PATH)
    await queue.put_all([b"high"] * 8, 1)
    await queue.put_all([b"low"] * 8, 2)
    order: list[bytes] = []
    ready = trio.Event()

    async def consume() -> None:
        async with queue.take() as item:
            order.append(item.data)
            if len(order) == 8:
                ready.set()
            await ready.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(consume)
    assert order == [b"high"] * 8


@pytest.mark.trio
async def test_pitfall_42_leftover_marks_harm_nobody(zk: Client) -> None:
    queue = Queue(zk, PATH)
    await queue.put(b"one")
    await zk.create(f"{TAKEN}/entry-000-0000000099", b"of a consumer long gone", make_parents=True)
    assert await take_all(queue) == [b"one"]
    assert await zk.children(TAKEN) == ["entry-000-0000000099"]  # which is not ours to take away


@pytest.mark.trio
async def test_pitfall_42_no_watch_is_left_behind(hosts: str, zk: Client) -> None:
    """kazoo #175: a watch for each item that was ever asked for."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        queue = Queue(client, PATH)
        await queue.put_all([b"one", b"two"])
        assert await take_all(queue) == [b"one", b"two"]
        for _ in range(3):
            with pytest.raises(trio.TooSlowError):
                async with queue.take(timeout=0.02):
                    pass
        await client.sync()
        before = len(proxy.requests)
        heard = proxy.events
        await zk.create(f"{ENTRIES}/x")
        await client.sync()
        assert proxy.events == heard
        assert len(proxy.requests) == before + 1


@pytest.mark.trio
async def test_pitfall_43_the_queue_itself_may_vanish(zk: Client) -> None:
    queue, got = Queue(zk, PATH), trio.Event()

    async def consume() -> None:
        async with queue.take() as item:
            assert item.data == b"one"
            got.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        async with zk.watch_exists(TAKEN) as states:
            async for stat in states:
                if stat is not None:
                    break
        await zk.delete_recursive(PATH)
        await queue.put(b"one")
        with trio.fail_after(10):
            await got.wait()
    await zk.delete_recursive(PATH)
    assert await queue.size() == 0
    with pytest.raises(trio.WouldBlock):
        async with queue.take(wait=False):
            pass


# -- consuming with writes ----------------------------------------------------------------------------


@pytest.mark.trio
@each_layout
async def test_writes_join_the_consumption(zk: Client, layout: Layout) -> None:
    queue = a_queue(zk, layout)
    await queue.put_all([b"17", b"4"])
    await zk.create("/total", b"0")
    async with queue.take() as item:
        async with item.consume() as writes:
            writes.set("/total", item.data, version=0)
            writes.create("/log-", item.data, sequential=True)
            writes.check("/")
        assert item.consumed
        stat, created, checked = writes.results
        assert isinstance(stat, coord.Stat)
        assert (stat.version, str(created)[:5], checked) == (1, "/log-", None)
        assert await writes.commit() == writes.results  # done, and not done again
        with pytest.raises(RuntimeError, match="consumed already"):
            item.consume()
    assert (await zk.get("/total"))[0] == b"17"
    with pytest.raises(coord.BadVersion) as caught:
        async with queue.take() as item:
            async with item.consume() as writes:
                writes.set("/total", item.data, version=0)
                writes.delete("/total")
    assert caught.value.path == "/total"
    assert not item.consumed
    async with queue.take() as item:
        with pytest.raises(coord.NoNode):
            async with item.consume() as writes:
                writes.set("/missing", b"")
        await item.verify()
    assert item.consumed  # the failure did not leave the block
    assert await queue.size() == 0
    assert await zk.children(LOCKS if layout == CURATOR else TAKEN) == []


@pytest.mark.trio
async def test_a_fenced_write_leaves_the_item_ours(zk: Client) -> None:
    queue = Queue(zk, PATH)
    await queue.put(b"one")
    with pytest.raises(ItemLost):
        async with queue.take() as item:
            async with item.transaction() as transaction:
                transaction.create("/step")
            await item.verify()
            await zk.delete(f"{TAKEN}/{item.name}")
            async with item.transaction() as transaction:
                transaction.create("/step2")
    assert await zk.exists("/step2") is None
    assert await take_all(queue) == [b"one"]


@pytest.mark.trio
@pytest.mark.parametrize("with_writes", [False, True])
async def test_an_item_that_others_meddled_with_is_lost(zk: Client, with_writes: bool) -> None:
    """As kazoo's and Curator's consumers can, who finish after their session has expired."""
    queue = Queue(zk, PATH)

    async def finish(item: Item) -> None:
        async with item.consume() as writes:
            if with_writes:
                writes.create("/effect")

    await queue.put(b"one")
    with pytest.raises(ItemLost, match="somebody else"):
        async with queue.take() as item:
            await zk.delete(f"{ENTRIES}/{item.name}")  # consumed under our hands
            await finish(item)
    assert await zk.children(TAKEN) == []
    await queue.put(b"two")
    with pytest.raises(ItemLost, match="somebody else"):
        async with queue.take() as item:
            await zk.delete(f"{TAKEN}/{item.name}")  # and taken by another
            other = await zk.create(f"{TAKEN}/{item.name}", b"kazoo's")
            await finish(item)
    assert (await zk.get(other))[0] == b"kazoo's"  # still the other's
    assert await queue.size() == 1
    assert await zk.exists("/effect") is None


# -- losing it ----------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_pitfall_43_the_body_is_stopped_when_the_session_ends(hosts: str, zk: Client) -> None:
    """Curator #605: two consumers at work on one item after a session died."""
    await Queue(zk, PATH).put(b"one")
    async with coord.connect(hosts, timeout=30) as client:
        with pytest.raises(ItemLost) as caught:
            async with Queue(client, PATH).take() as item:
                await end_session(hosts, client)
                await trio.sleep_forever()
        assert item.lost
        assert item.name in str(caught.value)
        async with Queue(zk, PATH).take(timeout=10) as again:
            assert (again.data, again.token > item.token) == (b"one", True)


@pytest.mark.trio
async def test_a_write_for_an_item_that_another_has_by_now_is_refused(hosts: str, zk: Client) -> None:
    """The znode that would be checked is there: it is the other's, by the same name."""
    await Queue(zk, PATH).put(b"one")
    async with coord.connect(hosts, timeout=30) as client:
        with pytest.raises(ItemLost):
            async with Queue(client, PATH).take() as item:
                await end_session(hosts, client)
                with trio.CancelScope(shield=True):  # a program that does not stop when told to
                    await client.session.state.wait_value(coord.SessionState.EXPIRED)
                    await client.session.state.wait_value(coord.SessionState.CONNECTED)
                    async with Queue(zk, PATH).take(timeout=10):
                        async with item.transaction() as late:
                            late.create("/late")
    assert await zk.exists("/late") is None


@pytest.mark.trio
async def test_the_body_is_stopped_before_another_can_have_the_item(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        one, two = world.members
        order: list[str] = []

        async def consume() -> None:
            async with Queue(two.zk, PATH).take():
                order.append("the other has it")

        await Queue(world.zk, PATH).put(b"")
        with pytest.raises(ItemLost):
            async with Queue(one.zk, PATH).take():
                two.start(consume)
                await world.settle()
                one.proxy.close()
                begin = trio.current_time()
                try:
                    await trio.sleep_forever()
                finally:
                    order.append("the body was stopped")
                    assert trio.current_time() - begin == pytest.approx(TIMEOUT * 5 / 6, abs=0.01)
        await world.heal()
        assert order == ["the body was stopped", "the other has it"]


@pytest.mark.trio
async def test_pitfall_43_a_waiting_consumer_sees_what_came_while_it_was_cut_off(
    hosts: str, zk: Client
) -> None:
    for ends in (False, True):
        async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
            got = trio.Event()

            async def consume(client: Client = client, got: trio.Event = got) -> None:
                async with Queue(client, PATH).take() as item:
                    assert item.data == b"one"
                    got.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume)
                while proxy.requests.count(Op.GET_CHILDREN) < 4:  # it has looked, and looks on
                    await client.sync()
                proxy.close()
                await client.session.state.wait_value(coord.SessionState.SUSPENDED)
                await Queue(zk, PATH).put(b"one")
                if ends:
                    await end_session(hosts, client)
                proxy.reopen()
                with trio.fail_after(10):
                    await got.wait()


@pytest.mark.trio
async def test_leaving_waits_for_no_connection(hosts: str, zk: Client) -> None:
    await Queue(zk, PATH).put(b"one")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        with pytest.raises(ZeroDivisionError):
            async with Queue(client, PATH).take():
                proxy.close()
                await client.session.state.wait_value(coord.SessionState.SUSPENDED)
                left = trio.current_time()
                raise ZeroDivisionError
        assert trio.current_time() - left < 0.5
        assert len(await zk.children(TAKEN)) == 1
        proxy.reopen()
        async with Queue(zk, PATH).take(timeout=10) as item:  # the janitor has given it back
            assert item.data == b"one"


# -- lost replies -------------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True])
async def test_pitfall_41_a_put_whose_reply_was_lost(hosts: str, zk: Client, session_too: bool) -> None:
    await zk.ensure_path(ENTRIES)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.MULTI, then_closed=session_too)
        with pytest.raises(OutcomeUnknown):
            await Queue(client, PATH).put(b"once")
        if session_too:
            await end_session(hosts, client)
            proxy.reopen()
        assert await take_all(Queue(zk, PATH)) == [b"once"]
        proxy.swallow_reply(Op.MULTI)
        assert await Queue(client, PATH).put(b"twice", at_least_once=True)
        assert await take_all(Queue(zk, PATH)) == [b"twice", b"twice"]


@pytest.mark.trio
@each_layout
@pytest.mark.parametrize("session_too", [False, True])
async def test_a_take_whose_reply_was_lost(hosts: str, zk: Client, layout: Layout, session_too: bool) -> None:
    await a_queue(zk, layout).put(b"one")
    await zk.ensure_path(LOCKS if layout == CURATOR else TAKEN)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.MULTI, then_closed=session_too)
        done = trio.Event()

        async def consume() -> None:
            async with a_queue(client, layout).take() as item:
                assert proxy.lost.is_set()
                await item.verify()
                assert (item.data, item.lost) == (b"one", False)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await proxy.lost.wait()
            if session_too:
                await end_session(hosts, client)
                proxy.reopen()
            with trio.fail_after(10):
                await done.wait()
    assert await a_queue(zk, layout).size() == 0
    assert await zk.children(LOCKS if layout == CURATOR else TAKEN) == []


@pytest.mark.trio
@pytest.mark.parametrize("forged", [False, True])
async def test_a_take_that_was_lost_and_overtaken_is_not_ours(hosts: str, zk: Client, forged: bool) -> None:
    """What is found there is another consumer's, or (`forged`) bears our mark, but is not this session's."""
    await Queue(zk, PATH).put(b"one")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        if forged:
            await zk.ensure_path(TAKEN)
            proxy.swallow_reply(Op.MULTI, then_closed=True)
        else:
            proxy.hold_off()
            proxy.lose_request(Op.MULTI)
        tokens = []

        async def consume() -> None:
            async with Queue(client, PATH).take() as item:
                tokens.append(item.token)
                await item.verify()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await proxy.lost.wait()
            (name,) = await zk.children(ENTRIES)
            path, mark = f"{TAKEN}/{name}", b"another"
            if forged:
                mark, _ = await zk.get(path)
                await zk.delete(path)
            await zk.create(path, mark, ephemeral=True, make_parents=True)
            proxy.reopen()
            while proxy.requests.count(Op.SYNC) < 1:
                await zk.sync()
            await client.sync()
            assert tokens == []
            await zk.delete(path)
    assert len(tokens) == 1


@pytest.mark.trio
async def test_who_is_shielded_from_the_loss_cannot_consume_it(hosts: str, zk: Client) -> None:
    await Queue(zk, PATH).put(b"one")
    async with coord.connect(hosts, timeout=30) as client:
        with pytest.raises(ItemLost, match="its session is over"):
            async with Queue(client, PATH).take() as item:
                with trio.CancelScope(shield=True):
                    await end_session(hosts, client)
                    async with Queue(zk, PATH).take(timeout=10) as other:
                        while client.session.generation == 1:
                            with suppress(coord.SessionExpired):
                                await client.sync()
                        with pytest.raises(ItemLost):
                            await item.consume().commit()
                        await other.verify()
                await item.consume().commit()
    assert other.consumed


@pytest.mark.trio
@pytest.mark.parametrize("with_writes", [False, True])
async def test_pitfall_41_a_consumption_whose_reply_was_lost(
    hosts: str, zk: Client, with_writes: bool
) -> None:
    """It was done, once, and the session's end alone leaves open for whom."""
    queue = Queue(zk, PATH)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        await queue.put(b"one")
        async with Queue(client, PATH).take() as item:
            proxy.swallow_reply(Op.MULTI)
            async with item.consume() as writes:
                if with_writes:
                    writes.create("/effect-", sequential=True)
            assert proxy.lost.is_set()
            assert item.consumed
        assert await queue.size() == 0
        await queue.put(b"two")
        with pytest.raises(ItemLost, match="unless it was consumed"):
            async with Queue(client, PATH).take() as item:
                proxy.swallow_reply(Op.MULTI, then_closed=True)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_end_when_lost, hosts, client, proxy)
                    await trio.lowlevel.checkpoint()
                    consumption = item.consume()
                    if with_writes:
                        consumption.create("/effect-", sequential=True)
                    try:
                        await consumption.commit()
                    except ItemLost as error:
                        raised = error
                raise raised
        assert await queue.size() == 0
        effects = [name for name in await zk.children("/") if name.startswith("effect")]
        assert len(effects) == (2 if with_writes else 0)
        await until_marked(zk, 0)


async def _end_when_lost(hosts: str, client: Client, proxy: object) -> None:
    await proxy.lost.wait()  # type: ignore[attr-defined]  # a Proxy
    await end_session(hosts, client)
    proxy.reopen()  # type: ignore[attr-defined]  # likewise


@pytest.mark.trio
async def test_a_consumption_that_did_not_arrive_is_tried_again(hosts: str, zk: Client) -> None:
    queue = Queue(zk, PATH)
    await queue.put(b"one")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        async with Queue(client, PATH).take() as item:
            proxy.lose_request(Op.MULTI)
            async with item.consume() as writes:
                writes.create("/effect")
        assert proxy.lost.is_set()
    assert await queue.size() == 0
    assert await zk.exists("/effect") is not None


@pytest.mark.trio
@pytest.mark.parametrize("with_writes", [False, True])
async def test_a_lost_reply_and_a_meddler_leave_writes_unknown(
    hosts: str, zk: Client, with_writes: bool
) -> None:
    """Curator's consumers delete item and mark by their names, even after their session has expired."""
    await Queue(zk, PATH).put(b"one")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:

        async def meddle() -> None:
            await proxy.lost.wait()
            if with_writes:
                await zk.delete(f"{TAKEN}/{item.name}")
            else:
                await zk.create(f"{ENTRIES}/{item.name}")
            proxy.reopen()

        with pytest.raises(OutcomeUnknown if with_writes else ItemLost):
            async with Queue(client, PATH).take() as item:
                proxy.swallow_reply(Op.MULTI, then_closed=True)
                consumption = item.consume()
                if with_writes:
                    consumption.create("/effect")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(meddle)
                    try:
                        await consumption.commit()
                    except (OutcomeUnknown, ItemLost) as error:
                        raised = error
                raise raised


@pytest.mark.trio
async def test_giving_back_although_the_reply_is_lost(hosts: str, zk: Client) -> None:
    """The janitor tries again; what it finds there meanwhile is another's, and stays."""
    await Queue(zk, PATH).put(b"one")
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        proxy.swallow_reply(Op.DELETE, then_closed=True)
        with pytest.raises(ZeroDivisionError):
            async with Queue(client, PATH).take():
                raise ZeroDivisionError
        async with Queue(zk, PATH).take(timeout=10) as item:
            proxy.reopen()
            await client.janitor.idle()
            await item.verify()


# -- cancelled anywhere -------------------------------------------------------------------------------


@pytest.mark.trio
@pytest.mark.parametrize("with_writes", [False, True])
async def test_cancelled_anywhere_nothing_is_lost_or_doubled(
    autojump_clock: MockClock, with_writes: bool
) -> None:
    async with open_world(1) as world:
        zk = world.members[0].zk
        queue = Queue(zk, PATH)
        await world.zk.create("/effects")
        done = 0

        async def attempt() -> None:
            nonlocal done
            async with queue.take() as item:
                if with_writes:
                    async with item.consume() as writes:
                        writes.create("/effects/", sequential=True)
                done += 1

        async def check() -> None:
            nonlocal done
            await zk.janitor.idle()
            assert await world.zk.children(TAKEN) == []
            left = await Queue(world.zk, PATH).size()
            if with_writes:
                effects = await world.zk.children("/effects")
                assert len(effects) == 1 - left
                for name in effects:
                    await world.zk.delete(f"/effects/{name}")
            elif left == 0:
                assert done == 1
            done = 0
            if left == 0:
                await Queue(world.zk, PATH).put(b"next")

        await Queue(world.zk, PATH).put(b"first")
        assert await cancel_everywhere(attempt, check) > 20


@pytest.mark.trio
async def test_cancelled_while_it_waits_it_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_world(2) as world:
        zk = world.members[0].zk
        await Queue(world.zk, PATH).put(b"one")

        async def attempt() -> None:
            async with trio.open_nursery() as nursery:

                async def give_back() -> None:
                    with pytest.raises(ZeroDivisionError):
                        async with Queue(world.zk, PATH).take(wait=False):
                            held.set()
                            await trio.sleep(1)
                            raise ZeroDivisionError

                held = trio.Event()
                nursery.start_soon(give_back)
                await held.wait()
                with pytest.raises(ZeroDivisionError):
                    async with Queue(zk, PATH).take():
                        raise ZeroDivisionError

        async def check() -> None:
            await zk.janitor.idle()
            await world.zk.janitor.idle()
            assert await world.zk.children(TAKEN) == []
            assert await Queue(world.zk, PATH).size() == 1

        assert await cancel_everywhere(attempt, check) > 20


@pytest.mark.trio
async def test_cancelled_anywhere_a_put_is_there_once_or_not(autojump_clock: MockClock) -> None:
    async with open_world(1) as world:
        queue = Queue(world.members[0].zk, PATH)

        async def attempt() -> None:
            await queue.put(b"one")

        async def check() -> None:
            await world.settle()
            assert len(await take_all(Queue(world.zk, PATH))) <= 1
            await world.zk.delete_recursive(PATH)

        await Queue(world.zk, PATH).put(b"")
        await check()
        assert await cancel_everywhere(attempt, check) > 5
