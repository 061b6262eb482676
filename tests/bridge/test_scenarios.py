"""Every recipe, and every kind of call, through both facades."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest

import coord
import recipes
from coord import aio, blocking
from coord.bridge.living import LIVING, RECIPES
from tests.bridge.conftest import World
from tests.bridge.scenarios import SCENARIOS, Scenario, for_threads

TEXT = "".join(inspect.getsource(one) for one in SCENARIOS.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_a_thread(world: World, name: str) -> None:
    with blocking.connect(world.hosts) as zk:
        for_threads(SCENARIOS[name])(blocking, zk)


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_asyncio(world: World, name: str) -> None:
    async def main(scenario: Scenario) -> None:
        async with aio.connect(world.hosts) as zk:
            await scenario(aio, zk)

    asyncio.run(main(SCENARIOS[name]))


def test_a_controller_keeps_brokers_and_topics_in_order(world: World) -> None:
    async def main() -> None:
        async with aio.connect(world.hosts) as zk:
            registry, topics = aio.BrokerRegistry(zk), aio.Topics(zk)
            info = aio.BrokerInfo(1, [("PLAINTEXT", "host1", 9092)])
            async with registry.register(info) as me, asyncio.TaskGroup() as group:
                controller = aio.Controller(zk)
                running = group.create_task(registry.run_controller(me.id, controller.run))
                await topics.create("orders", aio.assign([1], partitions=1, replication=1))
                async with topics.watch() as views:
                    async for view in views:
                        if view.topics and not view.leaderless:
                            break
                await registry.leave(me)
                running.cancel()

    asyncio.run(main())


def test_every_recipe_and_every_call_of_the_client_is_in_a_scenario() -> None:
    used = set(re.findall(r"\bc\.(\w+)", TEXT)) | {"Controller"}
    assert {one.__name__ for one in RECIPES} - used == set()
    members = {**vars(coord.Client.__mro__[1]), **vars(coord.Client)}
    calls = {name for name, one in members.items() if name[0] != "_" and one is not coord.Client.SINGLES}
    assert calls - set(re.findall(r"\bzk\.(\w+)", TEXT)) == set()


@pytest.mark.parametrize("module", [aio, blocking])
def test_every_public_name_is_there(module: object) -> None:
    missing = [name for name in (*coord.__all__, *recipes.__all__) if not hasattr(module, name)]
    assert missing == []
    made_by_recipes = {one for one in vars(recipes).values() if isinstance(one, type)} & set(LIVING)
    assert all(getattr(module, one.__name__) is not one for one in made_by_recipes)


def test_whatever_awaits_is_for_the_other_side() -> None:
    """A new class with coroutine methods in `recipes` or `coord` needs a place in `LIVING`."""
    public = [getattr(coord, n) for n in coord.__all__] + [getattr(recipes, n) for n in recipes.__all__]
    awaiting = [
        one
        for one in public
        if isinstance(one, type)
        and any(inspect.iscoroutinefunction(member) for _, member in inspect.getmembers(one))
    ]
    assert [one for one in awaiting if one not in LIVING] == []
