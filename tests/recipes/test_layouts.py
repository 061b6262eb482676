"""Lines in which contenders stand that misread each other's names: refused, and not silently broken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from coord import Client
from recipes import (
    CURATOR,
    CURATOR_LATCH,
    KAZOO,
    Election,
    Grant,
    Layout,
    LayoutConflict,
    Lock,
    ReadWriteLock,
    Semaphore,
)
from tests.recipes.lines import until_empty, until_waiting

PATH = "/line"
U = "01234567-89ab-cdef-0123-456789abcdef"


Entry = Callable[[Client], AbstractAsyncContextManager[Grant]]


def kazoo_lock(zk: Client) -> Lock:
    return Lock(zk, PATH)


def kazoo_read(zk: Client) -> Lock:
    return ReadWriteLock(zk, PATH).read


def mutex(zk: Client) -> Lock:
    return Lock(zk, PATH, layout=CURATOR)


def curator_write(zk: Client) -> Lock:
    return ReadWriteLock(zk, PATH, layout=CURATOR).write


def latch(zk: Client) -> AbstractAsyncContextManager[Grant]:
    return Election(zk, PATH, layout=CURATOR_LATCH).lead()


FAMILIES: dict[str, Entry] = {
    "__lock__": kazoo_lock,
    "__rlock__": kazoo_read,
    "-lock-": mutex,
    "-__WRIT__": curator_write,
    "-latch-": latch,
}
FRIENDS = ({"__lock__", "__rlock__"},)
STRANGERS = [
    (mine, theirs)
    for mine in FAMILIES
    for theirs in FAMILIES
    if mine != theirs and not any({mine, theirs} <= friends for friends in FRIENDS)
]


@asynccontextmanager
async def nothing_of_ours_stays(zk: Client) -> AsyncIterator[None]:
    before = set(await zk.children(PATH))
    yield
    await zk.janitor.idle()
    assert set(await zk.children(PATH)) <= before


@pytest.mark.trio
@pytest.mark.parametrize(("mine", "theirs"), STRANGERS)
async def test_strangers_are_refused_whoever_came_first(zk: Client, mine: str, theirs: str) -> None:
    await zk.create(f"{PATH}/_c_{U}{theirs}", ephemeral=True, sequential=True, make_parents=True)
    async with nothing_of_ours_stays(zk):
        with pytest.raises(LayoutConflict, match="do not exclude each other"):
            async with FAMILIES[mine](zk):
                pytest.fail("granted")


@pytest.mark.trio
async def test_an_attempt_that_does_not_wait_is_told_as_well(zk: Client) -> None:
    async with mutex(zk):
        with pytest.raises(LayoutConflict):
            async with kazoo_lock(zk).acquire(wait=False):
                pytest.fail("granted")


@pytest.mark.trio
async def test_the_same_family_goes_together(zk: Client) -> None:
    async with ReadWriteLock(zk, PATH).read, ReadWriteLock(zk, PATH).read:
        with pytest.raises(trio.WouldBlock):
            async with Lock(zk, PATH).acquire(wait=False):
                pytest.fail("granted beside readers")
    async with Lock(zk, PATH):
        for side in (ReadWriteLock(zk, PATH).read, ReadWriteLock(zk, PATH).write):
            with pytest.raises(trio.WouldBlock):
                async with side.acquire(wait=False):
                    pytest.fail("granted beside a lock")
    async with Lock(zk, "/two", layout=CURATOR):
        with pytest.raises(trio.WouldBlock):  # a LeaderSelector is a mutex
            async with Lock(zk, "/two", layout=CURATOR).acquire(wait=False):
                pytest.fail("granted twice")


@pytest.mark.trio
async def test_a_stranger_that_comes_while_we_wait(zk: Client) -> None:
    """It is seen when our turn comes, before anything is granted."""
    first = await zk.create(f"{PATH}/_c_{U}-lock-", ephemeral=True, sequential=True, make_parents=True)
    refused = trio.Event()

    async def wait() -> None:
        with pytest.raises(LayoutConflict):
            async with mutex(zk):
                pytest.fail("granted")
        refused.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await until_waiting(zk, PATH, 2)
        stranger = await zk.create(f"{PATH}/{U.replace('-', '')}__lock__", ephemeral=True, sequential=True)
        assert not refused.is_set()
        await zk.delete(first)
        await refused.wait()
    await zk.janitor.idle()
    assert [f"{PATH}/{name}" for name in await zk.children(PATH)] == [stranger]


@pytest.mark.trio
@pytest.mark.parametrize("other", [kazoo_lock, curator_write], ids=["kazoo", "read/write"])
async def test_two_that_come_at_once_never_both_hold(zk: Client, other: Entry) -> None:
    """Whoever created its znode later sees the other's: at least one of them is refused."""
    refused: list[str] = []
    inside: list[str] = []

    async def attempt(name: str, lock: AbstractAsyncContextManager[Grant]) -> None:
        try:
            async with lock:
                inside.append(name)
                assert len(inside) == 1
                await zk.sync()
                inside.remove(name)
        except LayoutConflict:
            refused.append(name)

    for _ in range(5):
        refused.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, "mutex", mutex(zk))
            nursery.start_soon(attempt, "other", other(zk))
        assert refused
        await until_empty(zk, PATH)


@pytest.mark.trio
async def test_unknown_names_are_waited_for_and_refused_when_strict(zk: Client) -> None:
    unknown = await zk.create(f"{PATH}/n_", ephemeral=True, sequential=True, make_parents=True)
    held = trio.Event()

    async def wait() -> None:
        async with Lock(zk, PATH):
            held.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await until_waiting(zk, PATH, 2)
        strict: list[AbstractAsyncContextManager[Grant]] = [
            Lock(zk, PATH, strict=True),
            ReadWriteLock(zk, PATH, strict=True).read,
            Election(zk, PATH, strict=True).lead(),
        ]
        for one in strict:
            with pytest.raises(LayoutConflict):
                async with one:
                    pytest.fail("granted")
        assert not held.is_set()
        await zk.delete(unknown)
        await held.wait()


@pytest.mark.trio
async def test_the_queue_of_a_semaphore_is_a_line_as_well(zk: Client) -> None:
    await zk.create(f"{PATH}-__lock__/_c_{U}-lock-", ephemeral=True, sequential=True, make_parents=True)
    with pytest.raises(LayoutConflict):
        async with Semaphore(zk, PATH, 1):
            pytest.fail("granted")


@pytest.mark.trio
@pytest.mark.parametrize("layout", [KAZOO, CURATOR, CURATOR_LATCH], ids=lambda layout: layout.name)
async def test_pitfall_21_children_without_a_number_never_count(zk: Client, layout: Layout) -> None:
    for name in ("lease_holder", "ready", f"{U}__party__", "config"):
        await zk.create(f"{PATH}/{name}", make_parents=True)
    async with Lock(zk, PATH, layout=layout, strict=True):
        pass


@pytest.mark.trio
async def test_a_conflict_can_be_looked_at(zk: Client) -> None:
    """Those who only look are told of everybody, of whatever family."""
    await zk.create(f"{PATH}/_c_{U}-lock-", b"theirs", ephemeral=True, sequential=True, make_parents=True)
    (one,) = await Lock(zk, PATH, strict=True).contenders()
    assert one.data == b"theirs"
    async with Election(zk, PATH).observe() as leaders:
        assert await anext(leaders) == one
