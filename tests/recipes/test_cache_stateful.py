"""The cache under random changes and faults: always a tree, its events add up, and in the end it is right."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio

import coord
from coord import Node
from recipes import Cache, CachedTree, CacheEvents
from tests.recipes.faults import FAULTS, Member, Step, World, stateful
from tests.recipes.test_cache import apply, picture, replay, walk

ROOT = "/t"
PATHS = (ROOT, "/t/a", "/t/a/x", "/t/a/x/y", "/t/a-b", "/t/b", "/t/b/x", "/t/b/z")


@dataclass
class Follower:
    """A cache in a member's process, and two who follow it: one at once, one when the test has it read."""

    cache: CachedTree
    eager: CacheEvents
    lazy: CacheEvents
    eager_nodes: dict[str, Node]
    lazy_nodes: dict[str, Node] = field(default_factory=dict)


async def follow(member: Member, followers: dict[int, Follower]) -> None:
    async with Cache(member.zk, ROOT) as cache:
        one = Follower(cache, cache.events(), cache.events(), cache.snapshot(), cache.snapshot())
        followers[member.index] = one
        async for event in one.eager:
            apply(event, one.eager_nodes)


async def change(zk: coord.Client, action: str, path: str, number: int) -> None:
    data = str(number % 2).encode()
    try:
        match action:
            case "create":
                await zk.create(path, data)
            case "set":
                await zk.set(path, data)
            case "delete":
                await zk.delete_recursive(path)
            case "replace":
                async with zk.transaction() as transaction:
                    transaction.delete(path)
                    transaction.create(path, data)
            case "burst":
                for turn in range(12):
                    await zk.create(f"{path}/{turn}", b"")
                for turn in range(12):
                    await zk.delete(f"{path}/{turn}")
    except coord.RequestFailed:
        pass


@stateful(
    "follow", "create", "create", "set", "delete", "replace", "burst", "look", *FAULTS, members=2, examples=30
)
async def test_a_cache_ends_up_as_the_server_is(world: World, steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # So small that rounds meet changes half way, and readers fall behind.
        patch.setattr("recipes.cache.ZNODES_PER_REQUEST", 2)
        patch.setattr("recipes.cache.REQUESTS_PER_ROUND", 2)
        patch.setattr("recipes.cache.EVENTS_MAX", 8)
        await play(world, steps)


async def play(world: World, steps: list[Step]) -> None:
    followers: dict[int, Follower] = {}
    for path in PATHS[:4]:
        await world.zk.create(path)
    for number, step in enumerate(steps):
        member = world.members[step.member]
        if step.action == "follow":
            if member.index not in followers:
                member.start(follow, member, followers)
        elif step.action == "look":
            if one := followers.get(step.member):
                replay(one.lazy, one.lazy_nodes)
                assert one.lazy_nodes == one.cache.snapshot()
        elif step.action in FAULTS:
            if step.action == "crash":
                followers.pop(step.member, None)
            await world.inflict(step)
        elif step.number % 2:
            await change(world.zk, step.action, PATHS[step.number], number)
        else:  # in the middle of things
            async with trio.open_nursery() as nursery:
                for path in PATHS[step.number :]:
                    nursery.start_soon(change, world.zk, step.action, path, number)
                nursery.start_soon(change, world.zk, "replace", "/t/a/x", number)
                await world.zk.exists(ROOT)
                member.proxy.cut()
        await world.settle()
        for one in followers.values():
            assert one.eager_nodes == one.cache.snapshot()
            if not one.cache.stale:
                assert picture(one.cache.snapshot()) == await walk(world.zk, ROOT)
    await world.heal()
    server = await walk(world.zk, ROOT)
    for one in followers.values():
        assert not one.cache.stale
        assert picture(one.cache.snapshot()) == server
        replay(one.lazy, one.lazy_nodes)
        assert one.lazy_nodes == one.eager_nodes == one.cache.snapshot()
