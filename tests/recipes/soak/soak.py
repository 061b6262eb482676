"""Many processes that want the same locks, and an ensemble whose leader dies again and again.

Owns the processes and the trouble that they are put to. The store that the locks protect is `store`, what
each process does is `contender`, what must be true of it is `records`. And here: when the trouble is over
everybody gets the lock again, and when all have ended no znode is left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

import coord
from tests.ensemble.processes import EnsembleProcesses
from tests.recipes.soak.contender import CURATOR_PATH, KAZOO_PATH, Order
from tests.recipes.soak.records import Record, broken_promises, progress, report
from tests.recipes.soak.store import Store, lines

CALM_SECONDS = 60.0
"""within which everybody gets the lock once more, after the trouble"""
END_SECONDS = 30.0


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
        plan: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        timeout: float = 2.0,
        say: Callable[[str], None] = print,
    ) -> None:
        """`plan` is a library and a path for each contender; `timeout` is of their sessions, in seconds."""
        # Short: a dead leader is missed, and a dead contender's session expires, within a few seconds.
        config = {"tickTime": "1000"}
        self.ensemble = EnsembleProcesses(directory / "ensemble", 3, config)
        self.store = Store()
        self.contenders: dict[str, Contender] = {}
        self.leaders_killed = 0
        self.wrong: list[str] = []
        self._directory = directory
        self._plan = plan
        self._timeout = timeout
        self._random = random.Random(seed)
        self._say = say
        self._ending = False
        self._began = 0.0

    async def run(self, seconds: float) -> None:
        """Trouble for that long, then calm, then the end. What was wrong is in `wrong`."""
        async with self.ensemble, trio.open_nursery() as nursery:
            await nursery.start(self.store.run)
            self._prepare()
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
            await self._look_for_leftovers()
            nursery.cancel_scope.cancel()
        self.wrong += broken_promises(list(self.contenders.values()), self.store.counters, self._timeout)

    def _prepare(self) -> None:
        for number, (library, path) in enumerate(self._plan, start=1):
            who = f"{library}-{number}"
            home = self._directory / who
            home.mkdir()
            order = Order(
                who, library, path, self.ensemble.hosts(), self._timeout, self.store.port, str(home)
            )
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
            self._say(f"killed the leader, member {leader}; {progress(self.store.counters)}")
            await trio.sleep(self._random.uniform(0.3, 2))
            self.ensemble.spawn(leader)
            await trio.sleep(self._random.uniform(2, 5))

    async def _trouble_contenders(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self._random.uniform(1, 4))
            victim = await self._victim()
            if self._random.random() < 0.5:
                victim.tally["killed"] += 1
                victim.signal(signal.SIGKILL)
            elif not victim.stopped:
                nursery.start_soon(self._stop, victim)

    async def _stop(self, victim: Contender) -> None:
        """For longer than its session lasts, even as a new leader has it."""
        victim.tally["stopped"] += 1
        victim.stopped = True
        victim.signal(signal.SIGSTOP)
        try:
            await trio.sleep(2 * self._timeout + self._random.uniform(0.5, 3))
        finally:
            victim.signal(signal.SIGCONT)
            victim.stopped = False
            victim.woken.append(trio.current_time())

    async def _victim(self) -> Contender:
        """Mostly the next to be granted a lock, in the middle of what it does then."""
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
        before = {who: len(one.acknowledged) for who, one in self.contenders.items()}

        def waiting() -> list[str]:
            return [who for who, one in self.contenders.items() if len(one.acknowledged) == before[who]]

        with trio.move_on_after(CALM_SECONDS):
            while waiting() and not self.wrong:
                await trio.sleep(0.05)
        if late := waiting():
            self.wrong.append(f"{when} these did not get the lock within {CALM_SECONDS} s: {late}")

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
            running = [
                who for who, one in self.contenders.items() if one.process and not one.process.returncode
            ]
            self.wrong.append(f"these did not end within {END_SECONDS} s: {running}")

    async def _look_for_leftovers(self) -> None:
        async with coord.connect(self.ensemble.hosts()) as zk:
            for path in sorted({path for _, path in self._plan}):
                left: Sequence[str] | None = None
                with trio.move_on_after(self._timeout + 5):
                    async with zk.watch_children(path) as states:
                        async for left in states:
                            if not left:
                                break
                if left:
                    self.wrong.append(f"left at {path}: {left}")

    def report(self) -> str:
        table = report(list(self.contenders.values()), self.store.counters, self._began)
        return f"{table}\nthe leader was killed {self.leaders_killed} times"


def plan(size: int, *, curator: bool) -> list[tuple[str, str]]:
    """Half of them at each path, without Curator all at kazoo's. Few are Curator's: each is a JVM."""
    if not curator:
        return [(("coord", "kazoo")[number % 2], KAZOO_PATH) for number in range(size)]
    javas = max(1, size // 6)
    ours = size // 2 - javas
    return [
        *[("curator", CURATOR_PATH)] * javas,
        *[("coord", CURATOR_PATH)] * ours,
        *[(("coord", "kazoo")[number % 2], KAZOO_PATH) for number in range(size - size // 2)],
    ]
