"""A configuration under random changes and faults: never a bad value, and in the end the latest good one."""

from __future__ import annotations

import trio

from coord import NoNode
from recipes import LiveConfig, watch_config
from tests.recipes.faults import FAULTS, Step, World, stateful


@stateful("set", "spoil", "delete", *FAULTS, members=1, examples=25)
async def test_in_the_end_it_is_the_latest_good_value(world: World, steps: list[Step]) -> None:
    configs: dict[int, LiveConfig[int]] = {}
    good: set[int] = {0}

    async def follow(number: int) -> None:
        async with watch_config(world.members[0].zk, "/c", int, default=0) as config:
            configs[0] = config
            await trio.sleep_forever()

    async def write(data: bytes | None) -> None:
        try:
            if data is None:
                await world.zk.delete("/c")
            elif await world.zk.exists("/c"):
                await world.zk.set("/c", data)
            else:
                await world.zk.create("/c", data)
        except NoNode:
            pass

    for number, step in enumerate(steps, start=1):
        if step.action == "set":
            good.add(number)
            await write(b"%d" % number)
        elif step.action == "spoil":
            await write(b"spoilt")
        elif step.action == "delete":
            await write(None)
        else:
            await world.inflict(step)
        if not configs or step.action == "crash":
            configs.clear()
            world.members[0].start(follow, number)
        await world.settle()
        for config in configs.values():
            assert config.value in good
    await world.heal()
    for config in configs.values():
        try:
            data, stat = await world.zk.get("/c")
        except NoNode:
            assert (config.value, config.error) == (0, None)
            continue
        if data == b"spoilt":
            assert isinstance(config.error, ValueError)
        else:
            assert (config.value, config.error) == (int(data), None)
            assert config.stat is not None
            assert config.stat.mzxid == stat.mzxid
