"""kazoo's own LockingQueue on the same path, in threads beside ours."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

import coord
from recipes import Queue
from tests.kazoo_client import kazoo_client
from tests.servers import ServerProcess

ITEMS = 40


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"/queues/{tmp_path.name}"


@pytest.mark.trio
async def test_each_item_is_worked_on_by_one(server: ServerProcess, path: str) -> None:
    seen: list[bytes] = []
    working: set[bytes] = set()
    guard = threading.Lock()
    expected = sorted(b"%s %d" % (who, i) for who in (b"kazoo", b"ours") for i in range(ITEMS // 2))

    def begin(data: bytes) -> None:
        with guard:
            assert data not in working
            working.add(data)

    def end(data: bytes) -> None:
        with guard:
            working.discard(data)
            seen.append(data)

    def theirs() -> None:
        with kazoo_client(server.hosts) as client:
            queue = client.LockingQueue(path)
            queue.put_all([b"kazoo %d" % i for i in range(ITEMS // 2)])
            while len(seen) < ITEMS:
                data = queue.get(timeout=0.1)
                if data is not None:
                    begin(data)
                    client.exists("/")
                    end(data)
                    assert queue.consume()

    async def ours(zk: coord.Client) -> None:
        queue = Queue(zk, path)
        while len(seen) < ITEMS:
            try:
                async with queue.take(timeout=0.1) as item:
                    begin(item.data)
                    await zk.exists("/")
                    end(item.data)
            except trio.TooSlowError:
                pass

    async with coord.connect(server.hosts) as zk:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await Queue(zk, path).put_all([b"ours %d" % i for i in range(ITEMS // 2)])
                for _ in range(2):
                    nursery.start_soon(ours, zk)
                nursery.start_soon(trio.to_thread.run_sync, theirs)
        assert await zk.children(f"{path}/entries") == await zk.children(f"{path}/taken") == []
    assert sorted(seen) == expected


@pytest.mark.trio
async def test_what_one_holds_the_other_does_not_get(server: ServerProcess, path: str) -> None:
    """Ours is given back, and theirs comes free with its session; the priorities are one order."""
    async with coord.connect(server.hosts) as zk:
        queue = Queue(zk, path)
        with kazoo_client(server.hosts) as client:
            theirs = client.LockingQueue(path)

            def ask(timeout: float) -> bytes | None:
                found = theirs.get(timeout=timeout)
                return None if found is None else bytes(found)

            await queue.put(b"second", 500)
            await trio.to_thread.run_sync(theirs.put, b"first", 7)
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 (the block is what raises)
                async with queue.take() as item:
                    assert item.data == b"first"
                    assert await trio.to_thread.run_sync(ask, 1) == b"second"
                    assert await trio.to_thread.run_sync(theirs.consume)
                    assert await trio.to_thread.run_sync(ask, 0.1) is None
                    raise ZeroDivisionError
            assert await trio.to_thread.run_sync(ask, 10) == b"first"
            assert await trio.to_thread.run_sync(theirs.holds_lock)
            with pytest.raises(trio.WouldBlock):
                async with queue.take(wait=False):
                    pytest.fail("held twice")
        async with queue.take(timeout=10) as item:
            assert item.data == b"first"
        assert await queue.size() == 0


@pytest.mark.trio
async def test_a_kazoo_that_waits_is_woken_by_what_we_give_back(server: ServerProcess, path: str) -> None:
    got: list[bytes] = []
    looked = threading.Event()
    async with coord.connect(server.hosts) as zk:
        queue = Queue(zk, path)
        with kazoo_client(server.hosts) as client:
            children = client.get_children

            def list_and_tell(where: str, *arguments: object) -> object:
                names = children(where, *arguments)
                if where.endswith("/taken"):
                    looked.set()
                return names

            client.get_children = list_and_tell
            theirs = client.LockingQueue(path)

            def wait() -> None:
                got.append(theirs.get(timeout=20))
                theirs.consume()

            await queue.put(b"one")
            async with trio.open_nursery() as nursery:
                with pytest.raises(ZeroDivisionError):  # noqa: PT012 (the block is what raises)
                    async with queue.take():
                        nursery.start_soon(trio.to_thread.run_sync, wait)
                        assert await trio.to_thread.run_sync(looked.wait, 10)
                        raise ZeroDivisionError
    assert got == [b"one"]
