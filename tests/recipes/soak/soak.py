"""Many processes that want the same locks, permits and items, on an ensemble that loses its leader.

Owns the processes and the trouble that they are put to. The store that the locks protect is `store`, what
each process does is `contender`, what must be true of it is `records`. And here: when the trouble is over
everybody gets its turn again, and when all have ended no znode of theirs is left.
"""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

import coord
from recipes import Queue
from tests.ensemble.processes import EnsembleProcesses
from tests.recipes.soak.order import (
    CONSUMED_PATH,
    CURATOR_PATH,
    KAZOO_PATH,
    PERMITS,
    PERMITS_PATH,
    QUEUE_PATH,
    Order,
    Work,
)
from tests.recipes.soak.records import Findings, Record, broken_promises, progress, report
from tests.recipes.soak.store import Store, lines

CALM_SECONDS = 60.0
"""within which everybody has another turn, after the trouble"""
END_SECONDS = 30.0


class Role(NamedTuple):
    library: str
    work: Work
    path: str


@dataclass
class Contender(Record):
    """One of them, over all its lives."""

    process: trio.Process | None = None
    stopped: bool = False

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """To the process and its children."""
        if self.process is not None and self.runs:
            os.killpg(self.process.pid, number)


class Soak:
    def __init__(
        self,
        directory: Path,
        roles: Sequence[Role],
        *,
        seed: int = 0,
        timeout: float = 2.0,
        say: Callable[[str], None] = print,
    ) -> None:
        """`timeout` is of the contenders' sessions, in seconds."""
        # Short: a dead leader is missed, and a dead contender's session expires, within a few seconds.
        config = {"tickTime": "1000"}
        self.ensemble = EnsembleProcesses(directory / "ensemble", 3, config)
        self.store = Store()
        self.contenders: dict[str, Contender] = {}
        self.leaders_killed = 0
        self.wrong: list[str] = []
        self._findings = Findings([], [])
        self._directory = directory
        self._roles = roles
        self._timeout = timeout
        self._random = random.Random(seed)
        self._say = say
        self._ending = False
        self._began = 0.0

    async def run(self, seconds: float) -> None:
        """Trouble for that long, then calm, then the end. What was wrong is in `wrong`."""
        async with self.ensemble, trio.open_nursery() as nursery:
            await nursery.start(self.store.run)
            await self._prepare()
            try:
                async with trio.open_nursery() as living:
                    for contender in self.contenders.values():
                        living.start_soon(self._live, contender)
                    await self._everybody_again("at the beginning")
                    self._began = trio.current_time()
                    with trio.move_on_after(seconds):
                        async with trio.open_nursery() as trouble:
                            trouble.start_soon(self._trouble_leader)
                            trouble.start_soon(self._trouble_contenders, trouble)
                    await self._calm()
                    await self._end()
            finally:
                for contender in self.contenders.values():
                    contender.signal(signal.SIGKILL)
            await self._look_at_what_is_left()
            nursery.cancel_scope.cancel()
        self.wrong += broken_promises(list(self.contenders.values()), self.store, self._findings)

    async def _prepare(self) -> None:
        async with coord.connect(self.ensemble.hosts()) as zk:
            await zk.ensure_path(CONSUMED_PATH)
        for number, role in enumerate(self._roles, start=1):
            who = f"{role.library}-{number}"
            home = self._directory / who
            home.mkdir()
            hosts = self.ensemble.hosts()
            order = Order(who, *role, hosts, self._timeout, self.store.port, str(home))
            self.contenders[who] = Contender(order)

    # -- lives ----------------------------------------------------------------------------------------

    async def _live(self, contender: Contender) -> None:
        """One process after the other, as long as they are killed."""
        log = Path(contender.order.directory) / "log"
        while True:
            with log.open("ab") as errors:
                process = contender.process = await trio.lowlevel.open_process(
                    contender.order.command(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            assert process.stdout is not None
            async for line in lines(process.stdout):
                contender.take(line.decode())
            status = await process.wait()
            if status == 0 and self._ending:
                return
            if status != -signal.SIGKILL:
                last = log.read_text(errors="replace")[-3000:]
                self.wrong.append(f"{contender.order.who} ended by itself, status {status}:\n{last}")
                return

    # -- trouble --------------------------------------------------------------------------------------

    async def _trouble_leader(self) -> None:
        while True:
            await trio.sleep(self._random.uniform(1, 3))
            leader = await self.ensemble.leader()
            self.ensemble.kill(leader)
            self.leaders_killed += 1
            self._say(f"killed the leader, member {leader}; {progress(list(self.contenders.values()))}")
            await trio.sleep(self._random.uniform(0.3, 2))
            self.ensemble.spawn(leader)
            await trio.sleep(self._random.uniform(2, 5))

    async def _trouble_contenders(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self._random.uniform(1, 4))
            victim = await self._victim()
            if self._random.random() < 0.5:
                victim.kills += 1
                victim.signal(signal.SIGKILL)
            elif not victim.stopped:
                nursery.start_soon(self._stop, victim)

    async def _stop(self, victim: Contender) -> None:
        """For longer than its session lasts, even as a new leader has it."""
        since = trio.current_time()
        victim.stops.append((since, math.inf))
        victim.stopped = True
        victim.signal(signal.SIGSTOP)
        try:
            await trio.sleep(2 * self._timeout + self._random.uniform(0.5, 3))
        finally:
            victim.signal(signal.SIGCONT)
            victim.stopped = False
            victim.stops[-1] = (since, trio.current_time())

    async def _victim(self) -> Contender:
        """Mostly the next to be granted something, in the middle of what it does then."""
        if self._random.random() < 0.7:
            with trio.move_on_after(1):
                return self.contenders[await self.store.next_holder()]
        return self._random.choice(list(self.contenders.values()))

    # -- the end --------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        self.ensemble.revive()
        await self.ensemble.until_all_serve()
        await self._everybody_again("when the trouble was over")

    async def _everybody_again(self, when: str) -> None:
        before = {who: one.rounds for who, one in self.contenders.items()}

        def waiting() -> list[str]:
            return [who for who, one in self.contenders.items() if one.rounds == before[who]]

        with trio.move_on_after(CALM_SECONDS):
            while waiting() and not self.wrong:
                await trio.sleep(0.05)
        if late := waiting():
            self.wrong.append(f"{when} these had no turn within {CALM_SECONDS} s: {late}")

    async def _end(self) -> None:
        self._ending = True
        for contender in self.contenders.values():
            if contender.process is not None and contender.runs:
                contender.process.terminate()
        with trio.move_on_after(END_SECONDS) as scope:
            for contender in self.contenders.values():
                if contender.process is not None:
                    await contender.process.wait()
        if scope.cancelled_caught:
            running = [who for who, one in self.contenders.items() if one.runs]
            self.wrong.append(f"these did not end within {END_SECONDS} s: {running}")

    async def _look_at_what_is_left(self) -> None:
        async with coord.connect(self.ensemble.hosts()) as zk:
            for role in sorted(set(self._roles)):
                for path in LEAVES_NOTHING_AT[role.work](role.path):
                    await self._expect_nothing(zk, path)
            consumed = [
                (await zk.get(f"{CONSUMED_PATH}/{name}"))[0].decode()
                for name in await zk.children(CONSUMED_PATH)
            ]
            self._findings = Findings(consumed, await self._drain(zk))

    async def _drain(self, zk: coord.Client) -> list[str]:
        remaining = []
        queue = Queue(zk, QUEUE_PATH)
        with trio.move_on_after(END_SECONDS):
            try:
                while True:
                    async with queue.take(wait=False) as item:
                        remaining.append(item.data.decode())
            except trio.WouldBlock:
                return remaining
        self.wrong.append(f"the queue is not empty after {END_SECONDS} s")
        return remaining

    async def _expect_nothing(self, zk: coord.Client, path: str) -> None:
        left: Sequence[str] | None = None
        with trio.move_on_after(self._timeout + 5):
            async with zk.watch_children(path) as states:
                async for left in states:
                    if not left:
                        return
        self.wrong.append(f"left at {path}: {left}")

    def report(self) -> str:
        table = report(list(self.contenders.values()), self.store, self._findings, self._began)
        return f"{table}\nthe leader was killed {self.leaders_killed} times"


LEAVES_NOTHING_AT: dict[Work, Callable[[str], list[str]]] = {
    Work.LOCK: lambda path: [path],
    Work.PERMIT: lambda path: [path, f"{path}-__lock__"],
    Work.QUEUE: lambda path: [f"{path}/taken"],
}
"""where everybody's ephemeral znodes are"""


def cast(size: int, *, curator: bool) -> list[Role]:
    """Of 20: 6 want Curator's lock, 7 kazoo's, 4 a permit, 3 items. Few are Curator's: each is a JVM.

    Without Curator, kazoo's lock is wanted by all who want one.
    """
    # With fewer of coord's, none could be one too many.
    others = _mixed(PERMITS + 1, Work.PERMIT, PERMITS_PATH, "coord")
    others += _mixed(1, Work.PERMIT, PERMITS_PATH, "kazoo")
    others += _mixed(max(2, size // 6), Work.QUEUE, QUEUE_PATH)
    half = (size - len(others)) // 2
    if curator:
        roles = _mixed(max(1, half // 3), Work.LOCK, CURATOR_PATH, "curator")
        roles += _mixed(half - len(roles), Work.LOCK, CURATOR_PATH, "coord")
    else:
        roles = _mixed(half, Work.LOCK, KAZOO_PATH)
    return roles + _mixed(size - len(others) - half, Work.LOCK, KAZOO_PATH) + others


def _mixed(size: int, work: Work, path: str, *libraries: str) -> list[Role]:
    chosen = libraries or ("coord", "kazoo")
    return [Role(chosen[number % len(chosen)], work, path) for number in range(size)]
