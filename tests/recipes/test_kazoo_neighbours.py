"""kazoo's own Lock and Election on the same paths, in threads beside ours."""

from __future__ import annotations

import threading

import pytest
import trio

from coord import Client
from recipes import Election, Grant, Lock
from tests.kazoo_client import kazoo_client

PATH = "/shared/lock"


async def until_waiting(zk: Client, count: int) -> None:
    async with zk.watch_children(PATH) as states:
        async for names in states:
            if names is not None and len(names) == count:
                return


@pytest.mark.trio
async def test_kazoo_and_we_exclude_each_other(hosts: str, zk: Client) -> None:
    inside, most, entered = 0, 0, 0
    guard = threading.Lock()

    def enter(change: int) -> None:
        nonlocal inside, most, entered
        with guard:
            inside += change
            most = max(most, inside)
            entered += change > 0

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            for _ in range(10):
                with client.Lock(PATH, "kazoo"):
                    enter(+1)
                    client.exists("/")
                    enter(-1)

    async def ours() -> None:
        for _ in range(10):
            async with Lock(zk, PATH):
                enter(+1)
                await zk.exists("/")
                enter(-1)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trio.to_thread.run_sync, theirs)
            nursery.start_soon(ours)
    assert (most, entered) == (1, 40)


@pytest.mark.trio
async def test_the_order_is_one_and_the_data_is_read_both_ways(hosts: str, zk: Client) -> None:
    order: list[str] = []
    shown: list[str] = []
    looked = trio.Event()

    def theirs(token: trio.lowlevel.TrioToken) -> None:
        with kazoo_client(hosts) as client:
            shown.extend(client.Lock(PATH).contenders())
            trio.from_thread.run_sync(looked.set, trio_token=token)
            with client.Lock(PATH, "kazoo's"):
                order.append("kazoo")

    async def ours() -> None:
        async with Lock(zk, PATH, b"our second"):
            order.append("ours")

    async with trio.open_nursery() as nursery, Lock(zk, PATH, b"our first"):
        nursery.start_soon(trio.to_thread.run_sync, theirs, trio.lowlevel.current_trio_token())
        await looked.wait()
        await until_waiting(zk, 2)
        nursery.start_soon(ours)
        await until_waiting(zk, 3)
        line = [contender.data for contender in await Lock(zk, PATH).contenders()]
        assert line == [b"our first", b"kazoo's", b"our second"]
    assert shown == ["our first"]
    assert order == ["kazoo", "ours"]


@pytest.mark.trio
async def test_one_election(hosts: str, zk: Client) -> None:
    led: list[str] = []

    def theirs() -> None:
        with kazoo_client(hosts) as client:
            client.Election(PATH, "kazoo").run(led.append, "kazoo")

    async def serve(term: Grant) -> None:
        nursery.start_soon(trio.to_thread.run_sync, theirs)
        await until_waiting(zk, 2)
        await term.verify()
        led.append("ours")

    async with trio.open_nursery() as nursery:
        await Election(zk, PATH).run(serve)
    assert led == ["ours", "kazoo"]
