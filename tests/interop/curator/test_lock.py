"""Our locks and Curator's InterProcessMutex on one path."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from kazoo.client import KazooClient

import coord
from coord import Client
from recipes import CURATOR, KAZOO, Layout, LayoutConflict, Lock, LockLost
from tests.interop.curator.driver import (
    SECONDS,
    Curator,
    CuratorClient,
    CuratorError,
    Jvm,
    Mutex,
    needs_curator,
    until_waiting,
)

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/shared/lock"
NAME = re.compile(r"_c_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-lock-[0-9]{10}")
"""as Curator writes them"""
SHORT = 1.0
"""seconds of a session that a test lets expire"""


def ours(zk: Client, data: bytes = b"ours", *, layout: Layout = CURATOR) -> Lock:
    return Lock(zk, PATH, data, layout=layout)


async def test_we_exclude_each_other_and_tokens_only_rise(zk: Client, curator: Curator, hosts: str) -> None:
    inside, most, tokens, who = 0, 0, [], []

    async def enter(name: str, token: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        tokens.append(token)
        who.append(name)
        await zk.exists("/")  # a round trip, in which others have every chance to come in
        inside -= 1

    async def we(name: str) -> None:
        for _ in range(15):
            async with ours(zk) as grant:
                await enter(name, grant.token)

    async def they(name: str, mutex: Mutex) -> None:
        for _ in range(15):
            held = await mutex.acquire()
            assert held is not None
            await enter(name, held.token)
            await mutex.release()

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(curator.client(hosts)) for _ in range(3)]
        mutexes = [await client.mutex(PATH) for client in clients]
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(we, f"ours {number}")
                nursery.start_soon(they, f"Curator's {number}", mutexes[number])
    assert (most, len(tokens)) == (1, 90)
    assert tokens == sorted(set(tokens))
    # They did take turns: nobody had it all before somebody else began.
    assert sum(one[:4] != other[:4] for one, other in pairwise(who)) > 10


async def test_the_order_is_one_and_is_seen_both_ways(zk: Client, java: CuratorClient, hosts: str) -> None:
    order: list[str] = []
    mutexes = [await java.mutex(PATH) for _ in range(2)]

    async def we(name: str) -> None:
        async with ours(zk, name.encode()):
            order.append(name)

    async def they(number: int) -> None:
        assert await mutexes[number].acquire() is not None
        order.append(f"Curator {number}")
        await mutexes[number].release()

    async with trio.open_nursery() as nursery, ours(zk, b"first") as grant:
        nursery.start_soon(they, 0)
        await until_waiting(zk, PATH, 2)
        nursery.start_soon(we, "second")
        await until_waiting(zk, PATH, 3)
        nursery.start_soon(they, 1)
        await until_waiting(zk, PATH, 4)
        line = await ours(zk).contenders()
        assert [one.data for one in line] == [b"first", b"curator", b"second", b"curator"]
        watching = await java.mutex(PATH)
        assert await watching.participants() == [one.path for one in line]
        assert line[0].path == grant.path
        assert all(NAME.fullmatch(name) for name in await zk.children(PATH))
    assert order == ["Curator 0", "second", "Curator 1"]


async def test_who_waits_in_vain_holds_nobody_up(zk: Client, java: CuratorClient) -> None:
    mutex, other = await java.mutex(PATH), await java.mutex(PATH)
    async with ours(zk):
        assert await mutex.acquire(seconds=0.1) is None  # its time is over
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                with pytest.raises(CuratorError, match="InterruptedException"):
                    await other.acquire()

            nursery.start_soon(give_up)
            await until_waiting(zk, PATH, 2)
            await other.interrupt()
        await until_waiting(zk, PATH, 1)
    assert await mutex.acquire() is not None
    with pytest.raises(trio.TooSlowError):
        async with ours(zk).acquire(timeout=0.1):
            raise AssertionError("Curator holds it")
    with pytest.raises(trio.WouldBlock):
        async with ours(zk).acquire(wait=False):
            raise AssertionError("Curator holds it")
    await mutex.release()
    await until_waiting(zk, PATH, 0)
    async with ours(zk).acquire(wait=False):
        pass


async def test_curators_session_ends_while_it_holds(zk: Client, curator: Curator, hosts: str) -> None:
    async with curator.client(hosts) as java:
        mutex = await java.mutex(PATH)
        held = await mutex.acquire()
        assert held is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(java.expire)
            with trio.fail_after(SECONDS):
                async with ours(zk) as grant:
                    assert grant.token > held.token


async def test_our_session_ends_while_we_hold(hosts: str, java: CuratorClient) -> None:
    mutex = await java.mutex(PATH)
    waited = trio.Event()
    async with trio.open_nursery() as nursery, coord.connect(hosts) as zk:
        with pytest.raises(LockLost):
            async with ours(zk) as grant:

                async def they() -> None:
                    held = await mutex.acquire()
                    assert held is not None
                    assert held.token > grant.token
                    waited.set()

                nursery.start_soon(they)
                await until_waiting(zk, PATH, 2)
                async with coord.connect(hosts, session=zk.session.handle):
                    pass
                await trio.sleep_forever()
        with trio.fail_after(SECONDS):
            await waited.wait()


async def test_a_jvm_that_dies_or_stops_is_followed(zk: Client, hosts: str, tmp_path: Path) -> None:
    """Killed, a JVM leaves its session to expire. Stopped past its session, it finds its lock gone."""
    with Jvm(tmp_path) as jvm:
        async with jvm.talk() as curator, curator.client(hosts, timeout=SHORT) as java:
            mutex = await java.mutex(PATH)
            held = await mutex.acquire()
            assert held is not None
            jvm.pause()
            with trio.fail_after(SECONDS):
                async with ours(zk) as grant:
                    assert grant.token > held.token
                    jvm.resume()
                    while await java.states.receive() != ["LOST"]:
                        pass
                    assert not await zk.exists(held.path)
            while await java.states.receive() != ["RECONNECTED"]:
                pass
            await mutex.release()
            assert await mutex.acquire() is not None
            jvm.kill()
        with trio.fail_after(SECONDS):
            async with ours(zk):
                pass


async def test_a_layout_that_curator_does_not_wait_for_is_refused(
    zk: Client, java: CuratorClient, hosts: str
) -> None:
    """kazoo's names and Curator's cannot share a line: Curator goes past kazoo's."""
    mutex = await java.mutex(PATH)
    assert await mutex.acquire() is not None
    with pytest.raises(LayoutConflict):
        async with ours(zk, layout=KAZOO):
            raise AssertionError("Curator's names are foreign to it")
    await mutex.release()

    def hold(released: trio.Event, held: trio.Event, token: trio.lowlevel.TrioToken) -> None:
        client = KazooClient(hosts, timeout=30)
        client.start(timeout=SECONDS)
        try:
            with client.Lock(PATH, "kazoo"):
                trio.from_thread.run_sync(held.set, trio_token=token)
                trio.from_thread.run(released.wait, trio_token=token)
        finally:
            client.stop()
            client.close()

    released, held = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        token = trio.lowlevel.current_trio_token()
        nursery.start_soon(trio.to_thread.run_sync, hold, released, held, token)
        await held.wait()
        with pytest.raises(LayoutConflict):
            async with ours(zk):
                raise AssertionError("kazoo's names are foreign to it")
        released.set()
    await until_waiting(zk, PATH, 0)


async def test_each_can_ask_the_other_to_let_go(zk: Client, java: CuratorClient) -> None:
    """Curator's Revoker writes into the holder's znode: a fenced transaction goes on to work."""
    mutex = await java.mutex(PATH)
    async with ours(zk) as grant:
        await java.revoke(grant.path)
        with trio.fail_after(SECONDS):
            await grant.wait_revoked()
        async with grant.transaction() as transaction:
            transaction.create("/done", b"")
        await grant.verify()
    await mutex.make_revocable()
    held = await mutex.acquire()
    assert held is not None
    assert await ours(zk).request_release() == 1
    assert await mutex.event() == ["revoke"]
    await mutex.release()
