"""Many znodes at once, for tests of work that takes its time."""

from __future__ import annotations

import trio

import coord


def create_many(server: str, root: str, count: int, data: bytes = b"") -> list[str]:
    """`count` znodes, `root` included, a hundred to a parent; returns their paths as `ls -R` has them."""
    paths = [root]
    for number in range(count - 1):
        parent = f"{root}/{number // 100:03}"
        paths.append(f"{parent}/{number:05}" if number % 100 else parent)

    async def create() -> None:
        async with coord.connect(server) as zk:
            for at in range(0, count, 500):
                async with zk.transaction() as transaction:
                    for path in paths[at : at + 500]:
                        transaction.create(path, data)

    trio.run(create)
    return paths
