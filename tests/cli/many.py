"""Many znodes at once, for tests of work that takes its time, and that work ended somewhere in its midst."""

from __future__ import annotations

import trio

import coord


def create_many(server: str, root: str, count: int, data: bytes = b"") -> list[str]:
    """`count` znodes, `root` included, a hundred to a parent; returns their paths as `ls -R` has them."""
    parents = [f"{root}/{number:03}" for number in range(-(-(count - 1) // 100))]
    children = [f"{parents[number // 100]}/{number:05}" for number in range(count - 1) if number % 100]
    paths = [root, *parents, *children]

    async def create() -> None:
        async with coord.connect(server) as zk:
            for at in range(0, count, 500):
                async with zk.transaction() as transaction:
                    for path in paths[at : at + 500]:
                        transaction.create(path, data)

    trio.run(create)
    return paths


async def cancel_after_turns(scope: trio.CancelScope, turns: int) -> None:
    """After so many turns of the scheduler: at another moment of the work for each number."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()
