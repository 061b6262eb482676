"""coord for programs of asyncio: the client and every recipe, with the names and signatures for trio.

`coord` and `recipes` for trio are the reference: what is said there of tasks and cancellation holds here for
tasks of asyncio. Any number of tasks and event loops use one client. Behind all clients of a process there is
one thread that runs trio, so that heartbeats go on while an event loop is busy.

Synopsis::

    import asyncio
    from coord import aio


    async def main():
        async with aio.connect("127.0.0.1:2181") as zk:
            async with aio.Lock(zk, "/jobs/nightly", data=b"host7") as grant:
                ...  # cancelled, and LockLost raised, when the lock can no longer be guaranteed
            async with asyncio.timeout(5):
                data, stat = await zk.get("/config")


    asyncio.run(main())

What differs:

- The body of a lock is cancelled as `asyncio.timeout` does it, and a loop that is busy hears of it late:
  right before a side effect, `grant.ensure()` asks.
- `TooSlowError` (of `acquire(timeout=…)`) is a `TimeoutError`, too.
- Functions that coord awaits (`Election.run`) are `async def`s for asyncio, and run in the caller's loop.
  Conditions and parsers are called in trio's thread, and must not wait.
- After a fork, the child connects anew: clients of the parent raise `ForkedClient`.
"""

from __future__ import annotations

import trio

import coord
from coord.bridge import loops
from coord.bridge.facade import Facades
from coord.bridge.living import LIVING, public_names
from coord.bridge.portal import TooSlowError

_names = public_names(Facades(loops.Loops(), LIVING, {coord.Client: loops.EnteredClient})) | {
    "ClosedResourceError": trio.ClosedResourceError,
    "EndOfChannel": trio.EndOfChannel,
    "TooSlowError": TooSlowError,
    "WouldBlock": trio.WouldBlock,
}
globals().update(_names)
__all__ = sorted(_names)  # what type checkers see is in aio.pyi
