"""Our queues and Curator's DistributedQueue and DistributedPriorityQueue at one path, with one lockPath."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

from collections import Counter

import pytest
import trio

import coord
from coord import Client
from recipes import CURATOR, ItemLost, Queue
from tests.interop.curator.driver import SECONDS, Curator, CuratorClient, needs_curator

pytestmark = [*needs_curator, pytest.mark.trio]

PATH, LOCKS = "/shared/queue", "/shared/queue-locks"


def ours(zk: Client) -> Queue:
    return Queue(zk, PATH, layout=CURATOR, lock_path=LOCKS)


async def until_empty(zk: Client) -> None:
    with trio.fail_after(SECONDS):
        for path in (PATH, LOCKS):
            async with zk.watch_children(path) as states:
                async for names in states:
                    if not names:
                        break


async def test_each_item_goes_to_one_consumer_of_either(zk: Client, curator: Curator, hosts: str) -> None:
    got: Counter[str] = Counter()
    takers: Counter[str] = Counter()
    size, all_there = 120, trio.Event()

    def take(item: str, who: str) -> None:
        got[item] += 1
        takers[who] += 1
        if len(got) == size:
            all_there.set()

    async def we() -> None:
        while True:
            async with ours(zk).take() as item:
                take(item.data.decode(), "we")

    async def they() -> None:
        async with curator.client(hosts) as java:
            queue = await java.queue(PATH, lock_path=LOCKS, consumes=True)
            await queue.start()
            try:
                while True:
                    _, item = await queue.event()
                    take(item, "they")
            finally:
                with trio.CancelScope(shield=True):
                    await queue.close()

    async with curator.client(hosts) as java, trio.open_nursery() as nursery:
        producer = await java.queue(PATH, lock_path=LOCKS)
        await producer.start()
        for _ in range(2):
            nursery.start_soon(we)
            nursery.start_soon(they)
        for number in range(size // 2):
            await producer.put(f"theirs {number}")
            await ours(zk).put(f"ours {number}".encode())
        with trio.fail_after(SECONDS):
            await all_there.wait()
        await until_empty(zk)
        nursery.cancel_scope.cancel()
    assert set(got.values()) == {1}
    assert takers["we"] > 0
    assert takers["they"] > 0


async def test_priorities_are_the_same_numbers(zk: Client, java: CuratorClient) -> None:
    order = [-5, -1, 0, 3, 3, 70, 2**31 - 1]
    theirs = await java.priority_queue(PATH, lock_path=LOCKS)
    await theirs.start()
    for index in (3, 6, 1, 4, 0, 5, 2):
        if index % 2:
            await theirs.put(f"{order[index]}", order[index])
        else:
            await ours(zk).put(f"{order[index]}".encode(), order[index])
    names = sorted(await zk.children(PATH))
    taken: list[int] = []
    for _ in range(4):
        async with ours(zk).take(wait=False) as item:
            assert item.name == names[len(taken)]
            taken.append(int(item.data))
    consumer = await java.priority_queue(PATH, lock_path=LOCKS, consumes=True)
    await consumer.start()
    taken += [int((await consumer.event())[1]) for _ in range(3)]
    assert taken == order
    await consumer.close()


async def test_what_curator_was_at_when_its_session_ended_comes_again(
    zk: Client, curator: Curator, hosts: str
) -> None:
    async with curator.client(hosts) as java:
        consumer = await java.queue(PATH, lock_path=LOCKS, consumes=True)
        await consumer.start()
        await ours(zk).put(b"slow")
        assert await consumer.event() == ["item", "slow"]
        with pytest.raises(trio.WouldBlock):
            async with ours(zk).take(wait=False):
                raise AssertionError("Curator is at it")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(java.expire)
            with trio.fail_after(SECONDS):
                async with ours(zk).take() as item:
                    assert item.data == b"slow"
        await consumer.go()
        await until_empty(zk)
        await consumer.close()


async def test_what_we_were_at_when_our_session_ended_comes_again(
    zk: Client, java: CuratorClient, hosts: str
) -> None:
    async with coord.connect(hosts) as mortal:
        await ours(zk).put(b"once more")
        with pytest.raises(ItemLost):
            async with ours(mortal).take():
                consumer = await java.queue(PATH, lock_path=LOCKS, consumes=True)
                await consumer.start()
                async with coord.connect(hosts, session=mortal.session.handle):
                    pass
                await trio.sleep_forever()
    # Curator's consumers look again when the list of items changes, and not when one is given back.
    await ours(zk).put(b"another")
    assert [await consumer.event() for _ in range(2)] == [["item", "once more"], ["item", "another"]]
    await until_empty(zk)
    await consumer.close()
