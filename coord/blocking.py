"""coord for programs of threads: the client and every recipe, as calls that wait and `with` blocks.

The names are those of `coord` and `recipes`. What is ``await f(…)`` there is ``f(…)`` here, `async with` is
`with`, and `async for` is `for`. Any number of threads use one client. Behind all clients of a process there
is one thread that runs trio, so that heartbeats go on whatever the callers do.

Synopsis::

    from coord.blocking import Lock, connect, fail_after

    with connect("127.0.0.1:2181") as zk:
        with Lock(zk, "/jobs/nightly", data=b"host7") as grant:
            while work_is_left() and not grant.lost:
                ...
        with fail_after(5):  # TooSlowError, which is a TimeoutError
            data, stat = zk.get("/config")
        print(zk.exists("/config", timeout=1))

What differs, since a thread cannot be cancelled:

- When the lock is lost, the block runs on. `grant.lost` tells, `grant.ensure()` raises, and so does the end
  of the block: `LockLost`, as for trio, unless the block has raised something itself.
- Every call that waits takes a `timeout` in seconds. `fail_after` and `move_on_after` bound all of a thread's
  calls in a block. Ctrl-C interrupts whatever waits; what was half acquired is given back first.
- Functions that coord calls (`Election.run`) get a thread of their own, and are waited for: they end when
  `grant.lost` is true. What one waits for then is cancelled, once, and what it does at its end is done.
  Conditions and parsers are called in trio's thread, and must not wait.
- After a fork, the child connects anew: clients of the parent raise `ForkedClient`. Clients that nobody has
  closed are closed at the end of the process.
"""

from __future__ import annotations

import trio

import coord
import recipes
from coord.bridge import threads
from coord.bridge.deadlines import fail_after, move_on_after
from coord.bridge.facade import Facades
from coord.bridge.living import LIVING, public_names
from coord.bridge.portal import TooSlowError

_MIXINS = {
    coord.Client: threads.StartableClient,
    recipes.Grant: threads.StoppableGrant,
    recipes.Term: threads.StoppableGrant,
}
_names = public_names(Facades(threads.Threads(), LIVING, _MIXINS)) | {
    "ClosedResourceError": trio.ClosedResourceError,
    "EndOfChannel": trio.EndOfChannel,
    "TooSlowError": TooSlowError,
    "WouldBlock": trio.WouldBlock,
    "fail_after": fail_after,
    "move_on_after": move_on_after,
}
globals().update(_names)
__all__ = sorted(_names)  # what type checkers see is in blocking.pyi
