"""Twelve callers share an API that bears three calls at once, and later five.

Each call is made with a permit of a semaphore. The API itself counts the calls that are in it: as many as
the limit and never more, while it is raised, too. Then a call hangs, and its caller is killed: nobody gets
its permit as long as its session may be alive, and somebody does as soon as it has ended.

Synopsis::

    coord demo rate_limit                    # or: python -m demos.rate_limit
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio
from trio_util import AsyncValue

import coord
from coord.testing import embedded_server
from demos._stage import Stage, perform, say
from recipes import PermitLost, Semaphore

HOSTS: Final = {"anna": 4, "bert": 4, "carl": 4}
"""How many callers each has."""
CALLERS: Final = tuple(f"{host}-{number}" for host, callers in HOSTS.items() for number in range(callers))
HANGER: Final = "zoe"
HANGING: Final = f"{HANGER}-0"
LIMIT: Final = 3
RAISED: Final = 5
SESSION_SECONDS: Final = 1.5
CALL_SECONDS: Final = 0.1

PERMITS: Final = "/api/permits"


# -- a host: a process of its own, with some callers ----------------------------------------------------


async def host(name: str, server: str, port: str, callers: str) -> None:
    async with coord.connect(server, timeout=SESSION_SECONDS) as zk:
        permits = Semaphore(zk, PERMITS, None, data=name.encode())  # the limit is the one that is stored

        async def caller(number: int) -> None:
            while True:
                try:
                    async with permits:
                        await call(int(port), f"{name}-{number}")
                except PermitLost:
                    say("has lost a permit: its call was cut off")

        async with trio.open_nursery() as nursery:
            say(f"begins to call, {callers} at once if it may")
            for number in range(int(callers)):
                nursery.start_soon(caller, number)


async def call(port: int, caller: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(caller.encode())
        await stream.receive_some()


# -- what they call -------------------------------------------------------------------------------------


class Api:
    """It knows nothing of permits. It counts the calls that are in it, and answers once there are as many as
    it `bears` and a moment has passed, in which one too many could come."""

    def __init__(self) -> None:
        self.bears = LIMIT
        self.at_once = AsyncValue(0)
        self.most = 0
        self.hanging = AsyncValue(False)
        self.answered: AsyncValue[Counter[str]] = AsyncValue(Counter())
        """calls by caller"""

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # a caller is gone
            caller = (await stream.receive_some()).decode()
            self.at_once.value += 1
            self.most = max(self.most, self.at_once.value)
            self.hanging.value |= caller == HANGING
            try:
                if caller == HANGING:
                    await stream.receive_some()  # nothing comes but the end of the connection
                else:
                    await self.at_once.wait_value(lambda calls: calls >= self.bears)
                    await trio.sleep(CALL_SECONDS)
            finally:
                self.hanging.value &= caller != HANGING
                self.at_once.value -= 1
            self.answered.value = self.answered.value + Counter([caller])
            await stream.send_all(b"done")

    async def answer_each(self) -> int:
        """Wait until each caller has had one more answer; returns how many calls were in it at most."""
        self.most, before = self.at_once.value, self.answered.value
        await self.answered.wait_value(lambda now: all(now[one] > before[one] for one in CALLERS))
        return self.most


# -- the story ------------------------------------------------------------------------------------------


async def play(stage: Stage) -> None:
    api = Api()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = str(listeners[0].socket.getsockname()[1])
    stage.nursery.start_soon(trio.serve_listeners, api.serve, listeners)
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        stage.step(f"{len(CALLERS)} callers on {len(HOSTS)} hosts, {LIMIT} permits")
        permits = Semaphore(zk, PERMITS, LIMIT)
        await permits.set_limit(LIMIT)
        for name, callers in HOSTS.items():
            await stage.start(name, server.connect_string, port, str(callers))
        most = await api.answer_each()
        stage.tell(f"has answered {api.answered.value.total()} calls, each caller's too", who="the API")
        stage.prove(f"there were {LIMIT} calls at once, and never more", most == LIMIT)

        stage.step(f"the limit is raised to {RAISED} while they call")
        await permits.set_limit(RAISED)
        api.bears = RAISED
        most = await api.answer_each()
        stage.tell(f"has answered {api.answered.value.total()} calls, each caller's too", who="the API")
        stage.prove(f"there were {RAISED} calls at once, and never more", most == RAISED)

        stage.step(f"a call of {HANGER}'s hangs, and she is killed while she holds the permit")
        await stage.start(HANGER, server.connect_string, port, "1")
        await api.hanging.wait_value(lambda hanging: hanging)
        stage.tell("her call hangs", who=HANGER)
        await stage.kill(HANGER)
        await api.hanging.wait_value(lambda hanging: not hanging)
        stage.prove("the permit of the dead is held still", HANGER in await holders(permits))
        began = trio.current_time()
        await api.at_once.wait_value(lambda calls: calls >= RAISED)
        seconds = trio.current_time() - began
        stage.tell(f"has {RAISED} calls at once again, {seconds:.1f} s later", who="the API")
        stage.prove(
            f"the permit was free when her session of {SESSION_SECONDS} s had ended, and not before",
            seconds > SESSION_SECONDS / 3 and HANGER not in await holders(permits),
        )
        most = max(api.most, await api.answer_each())
        stage.prove(f"and still, there were never more than {RAISED} calls at once", most == RAISED)


async def holders(permits: Semaphore) -> list[str]:
    return [holder.data.decode() for holder in await permits.holders()]


def main(argv: Sequence[str] | None = None) -> int:
    return perform("rate_limit", __doc__, play, host, argv)


if __name__ == "__main__":
    sys.exit(main())
