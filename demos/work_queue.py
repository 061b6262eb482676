"""A work queue whose workers are killed: each item is done exactly once.

Three workers take parcels from a queue and enter each in a ledger: in the transaction that takes the parcel
out of the queue. Two are killed while they hold a parcel, one is frozen until others have done everything,
and woken. What they held was taken again, yet nothing is missing from the ledger, and nothing is there twice.

Synopsis::

    coord demo work_queue                    # or: python -m demos.work_queue
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

import trio

import coord
from coord.testing import embedded_server
from demos._stage import Stage, perform, say
from recipes import ItemLost, Queue

PARCELS: Final = tuple(f"parcel-{number:02}" for number in range(1, 11))
KILLED: Final = ("anna", "bert")
FROZEN: Final = "carl"
SUBSTITUTES: Final = ("dora", "emil")
SESSION_SECONDS: Final = 1.5
WORK_SECONDS: Final = 0.5

QUEUE: Final = "/parcels"
LEDGER: Final = "/ledger"
"""Below it is an entry for each time that a parcel was done: one done twice would be there twice."""


# -- a worker: a process of its own ---------------------------------------------------------------------


async def worker(name: str, server: str) -> None:
    async with coord.connect(server, timeout=SESSION_SECONDS) as zk:
        queue = Queue(zk, QUEUE)
        say("waits for parcels")
        while True:
            try:
                async with queue.take() as item:
                    parcel = item.data.decode()
                    say(f"has {parcel}")
                    await trio.sleep(WORK_SECONDS)  # whatever there is to be done for it
                    async with item.consume() as writes:  # all or nothing, and only while it is ours
                        writes.create(f"{LEDGER}/{parcel} ", name.encode(), sequential=True)
                    say(f"has done {parcel}")
            except ItemLost:
                say(f"has lost {parcel}")


# -- the story ------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        stage.step(f"three workers wait for parcels; {len(PARCELS)} are put into the queue")
        await zk.create(LEDGER)
        for name in (*KILLED, FROZEN):
            await stage.start(name, server.connect_string)
        for name in (*KILLED, FROZEN):
            await stage.hears("waits", name)
        await Queue(zk, QUEUE).put_all([parcel.encode() for parcel in PARCELS])
        for name in (*KILLED, FROZEN):
            await stage.hears("has done", name)

        stage.step(f"{' and '.join(KILLED)} are killed, {FROZEN} is frozen, each while holding a parcel")
        held: dict[str, str] = {}

        async def strike(name: str) -> None:
            held[name] = (await stage.hears("has parcel", name)).text.split()[1]
            if name == FROZEN:
                stage.freeze(name)
            else:
                await stage.kill(name)

        async with trio.open_nursery() as nursery:
            for name in (*KILLED, FROZEN):
                nursery.start_soon(strike, name)
        ledger = await entries(zk)
        stage.prove(f"{', '.join(sorted(held.values()))} are not done", not ledger & Counter(held.values()))

        stage.step(f"{' and '.join(SUBSTITUTES)} do the rest, and what was held, when its sessions end")
        for name in SUBSTITUTES:
            await stage.start(name, server.connect_string)
        async with zk.watch_children(LEDGER) as states:
            async for names in states:
                if len(names or ()) >= len(PARCELS):
                    break
        again = [parcel for parcel in held.values() if stage.heard(f"has {parcel}")]
        stage.prove("what was held was taken again, once", len(again) == len(held))

        stage.step(f"{FROZEN} wakes")
        stage.wake(FROZEN)
        await stage.hears(f"has lost {held[FROZEN]}", FROZEN)
        ledger = await entries(zk)
        stage.prove(
            f"all {len(PARCELS)} parcels are in the ledger, each exactly once",
            ledger == Counter(PARCELS),
        )
        stage.prove("the queue is empty", await Queue(zk, QUEUE).size() == 0)


async def entries(zk: coord.Client) -> Counter[str]:
    """How often each parcel is in the ledger."""
    return Counter(name.split()[0] for name in await zk.children(LEDGER))


def main(argv: Sequence[str] | None = None) -> int:
    return perform("work_queue", __doc__, play, worker, argv)


if __name__ == "__main__":
    sys.exit(main())
