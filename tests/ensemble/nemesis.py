"""Everything that happens to an ensemble in years, in ten minutes: real processes, disks, and connections.

Synopsis::

    python -m tests.ensemble.nemesis --seconds 600 --seed 7
    python -m tests.ensemble.nemesis --kills 20  # nothing but the leader's death, again and again

A seed chooses the faults: members are killed, stopped, restarted; cut off from each other, one-way too; words
come late; a disk is full, or lost. (One disk at a time, while all others are well, and until its member has
everything again: what was promised is on a quorum of the others.) Between them all is well again, and then
the ensemble must serve within seconds. All the time clients read and write (`workload`); what they saw is
checked in the end. Threads and the network's timing are the machine's, so a seed repeats the faults, not the
history.

Prints how long clients of the other members waited for a write when the leader was killed, when it was
stopped, and when it handed over. Exit status 1 for a broken promise; the members' logs are kept then.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

import coord
from coord import SessionState
from tests.ensemble.processes import EnsembleProcesses
from tests.ensemble.workload import SESSION_SECONDS, Journal, Worker, Wrong

SERVES_AGAIN_SECONDS = 20.0
REGISTERS_SECONDS = 10.0
CLIENTS = 6
PROBE_SECONDS = 60.0


class Nemesis:
    def __init__(self, directory: Path, seed: int, members: int, say: Callable[[str], None]) -> None:
        self.ensemble = EnsembleProcesses(directory, members, {"snapCount": "2000"}, proxied=True)
        self.journal = Journal()
        self.failovers: dict[str, list[float]] = {"killed": [], "stopped": [], "sent away": []}
        self.disconnected = 0
        """clients of a survivor that lost their connection when the leader was killed"""
        self.faults: Counter[str] = Counter()
        self._seed = seed
        self._random = random.Random(seed)
        self._say = say
        self._renewal = 0.0
        self._probes: dict[int, coord.Client] = {}
        self._background: trio.Nursery | None = None
        self._faults: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
            "kill the leader": (self._kill_leader, 8),
            "kill a follower": (self._kill_follower, 2),
            "kill some": (self._kill_some, 2),
            "kill all": (self._kill_all, 1),
            "stop the leader": (self._stop_leader, 5),
            "stop a follower": (self._stop_follower, 2),
            "restart": (self._restart, 2),
            "send the leader away": (self._send_leader_away, 3),
            "fill a disk": (self._fill_disk, 2),
            "wipe a disk": (self._wipe_disk, 1),
            "cut off the leader": (self._cut_off_leader, 2),
            "cut off somebody": (self._cut_off_somebody, 1),
            "split": (self._split, 1),
            "nobody hears the leader": (self._mute_leader, 2),
            "the leader hears nobody": (self._deafen_leader, 2),
            "cut some ways": (self._cut_some_ways, 3),
            "delay some ways": (self._delay_some_ways, 2),
            "reset connections": (self._reset_some, 2),
        }

    async def run(self, seconds: float) -> None:
        """Raises `AssertionError` for a broken promise, `coord.CoordError` for what no client should see."""
        await self._under_load(partial(self._play, seconds))

    async def run_kills(self, count: int) -> None:
        """The same, of the leader's death alone."""
        await self._under_load(partial(self._kill_leaders, count))

    async def _under_load(self, play: Callable[[coord.Client], Awaitable[None]]) -> None:
        async with self.ensemble, AsyncExitStack() as stack:
            for one in self.ensemble.ids:
                zk = coord.connect(self.ensemble.hosts(one), timeout=SESSION_SECONDS)
                self._probes[one] = await stack.enter_async_context(zk)
            control = await stack.enter_async_context(coord.connect(self.ensemble.hosts()))
            for path in ("/numbered", "/ephemeral", "/probe"):
                await control.create(path)
            await self._renew_registers(control)
            async with trio.open_nursery() as nursery:
                self._background = nursery
                for number in range(CLIENTS):
                    nursery.start_soon(self._work, number)
                await play(control)
                nursery.cancel_scope.cancel()
            await self._conclude(control)

    async def _play(self, seconds: float, control: coord.Client) -> None:
        """One fault after the other, each followed by a time in which all is well."""
        end = trio.current_time() + seconds
        names = list(self._faults)
        weights = [weight for _, weight in self._faults.values()]
        while trio.current_time() < end:
            (name,) = self._random.choices(names, weights)
            await self._suffer(name)
            await self._renew_registers(control)
            await trio.sleep(self._random.random() * 0.5)

    async def _kill_leaders(self, count: int, control: coord.Client) -> None:
        for _ in range(count):
            await self._suffer("kill the leader")
            await self._renew_registers(control)

    async def _suffer(self, name: str) -> None:
        """One fault, for a while; then all is well, or `AssertionError`."""
        self.faults[name] += 1
        began = trio.current_time()
        await self._faults[name][0]()
        await trio.sleep(self._random.choice((0.2, 1.0, 2.5, 4.0)) * self._random.uniform(0.5, 1.0))
        self.ensemble.revive()
        healed = trio.current_time()
        leader = await self.ensemble.until_all_serve(SERVES_AGAIN_SECONDS)
        self._say(
            f"{name}: {healed - began:.1f} s; all serve {trio.current_time() - healed:.2f} s later, "
            f"member {leader} leads; {self.journal.done['writes']} writes"
        )

    async def _renew_registers(self, control: coord.Client) -> None:
        """From time to time."""
        if trio.current_time() > self._renewal:
            await self.journal.renew_registers(control)
            self._renewal = trio.current_time() + REGISTERS_SECONDS

    async def _work(self, number: int) -> None:
        """One client, of all members or of only one, with two workers."""
        one = self.ensemble.ids[number % len(self.ensemble.ids)]
        hosts = self.ensemble.hosts(one) if number % 3 == 2 else self.ensemble.hosts()
        async with coord.connect(hosts, timeout=SESSION_SECONDS) as zk, trio.open_nursery() as nursery:
            for half in (0, 1):
                nursery.start_soon(Worker(2 * number + half, self._seed, self.journal).run, zk)

    async def _conclude(self, control: coord.Client) -> None:
        await self.ensemble.until_equal()
        await self.journal.conclude([control, *self._probes.values()])
        # The workers have closed their sessions, as far as they were connected: the others expire.
        with trio.fail_after(SESSION_SECONDS + SERVES_AGAIN_SECONDS):
            async with control.watch_children("/ephemeral") as states:
                async for names in states:
                    if not names:
                        break
        for one in self.ensemble.ids:
            text = self.ensemble.log(one, 1_000_000)
            if "Traceback" in text:
                raise Wrong(f"member {one} failed:\n{text[text.index('Traceback') :][:4000]}")

    # -- faults ---------------------------------------------------------------------------------------

    async def _kill_leader(self) -> None:
        leader = await self.ensemble.leader()
        probes = self._connected_probes(leader)
        self.ensemble.kill(leader)
        await self._measure("killed", probes)
        self.disconnected += sum(zk.session.state.value is not SessionState.CONNECTED for zk in probes)

    async def _stop_leader(self) -> None:
        leader = await self.ensemble.leader()
        probes = self._connected_probes(leader)
        self.ensemble.pause(leader)
        if self._random.random() < 0.7:
            await self._measure("stopped", probes)
        assert self._background is not None
        for path in self.journal.registers:
            self._background.start_soon(self._look_through, leader, path)

    async def _look_through(self, one: int, path: str) -> None:
        """A stopped member reads this first when it wakes: does it know that others have gone on?"""
        try:
            await self.journal.read(self._probes[one], -1, path)
        except coord.SessionExpired:
            pass

    def _connected_probes(self, leader: int) -> list[coord.Client]:
        return [
            zk
            for one, zk in self._probes.items()
            if one != leader and zk.session.state.value is SessionState.CONNECTED
        ]

    async def _measure(self, what: str, probes: Sequence[coord.Client]) -> None:
        """How long until the clients of all survivors have written."""
        began = trio.current_time()

        async def write(zk: coord.Client) -> None:
            try:
                await zk.set("/probe", b"")
            except coord.ConnectionLost:
                await zk.sync()

        with trio.fail_after(PROBE_SECONDS):
            async with trio.open_nursery() as nursery:
                for zk in probes:
                    nursery.start_soon(write, zk)
        if probes:
            self.failovers[what].append(trio.current_time() - began)

    async def _kill_follower(self) -> None:
        self.ensemble.kill(self._follower(await self.ensemble.leader()))

    async def _stop_follower(self) -> None:
        self.ensemble.pause(self._follower(await self.ensemble.leader()))

    async def _restart(self) -> None:
        await self._send_away(self._random.choice(self.ensemble.ids))

    async def _send_leader_away(self) -> None:
        leader = await self.ensemble.leader()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_away, leader)
            await self._measure("sent away", self._connected_probes(leader))

    async def _send_away(self, one: int) -> None:
        status = await self.ensemble.stop(one)
        assert status == 0, f"member {one} ended with status {status}"

    async def _fill_disk(self) -> None:
        one = self._random.choice(self.ensemble.ids)
        self.ensemble.fill_disk(one)
        status = await self.ensemble.ended(one)
        assert status == 1, f"member {one} ended with status {status}"

    async def _wipe_disk(self) -> None:
        one = self._random.choice(self.ensemble.ids)
        self.ensemble.kill(one)
        self.ensemble.wipe(one)

    async def _kill_some(self) -> None:
        ids = self.ensemble.ids
        self.ensemble.kill(*self._random.sample(ids, self._random.randrange(1, len(ids))))

    async def _kill_all(self) -> None:
        self.ensemble.kill(*self.ensemble.ids)

    async def _cut_off_leader(self) -> None:
        self._cut_off([await self.ensemble.leader()])

    async def _cut_off_somebody(self) -> None:
        self._cut_off([self._random.choice(self.ensemble.ids)])

    async def _split(self) -> None:
        ids = self.ensemble.ids
        self._cut_off(self._random.sample(ids, len(ids) // 2))

    async def _mute_leader(self) -> None:
        leader = await self.ensemble.leader()
        for other in self.ensemble.followers(leader):
            self.ensemble.switchboard.cut(leader, other)

    async def _deafen_leader(self) -> None:
        leader = await self.ensemble.leader()
        for other in self.ensemble.followers(leader):
            self.ensemble.switchboard.cut(other, leader)

    async def _cut_some_ways(self) -> None:
        for source, target in self._some_ways():
            self.ensemble.switchboard.cut(source, target)

    async def _delay_some_ways(self) -> None:
        for source, target in self._some_ways():
            self.ensemble.switchboard.delay(source, target, self._random.choice((0.02, 0.1, 0.5)))

    async def _reset_some(self) -> None:
        for source, target in self._some_ways():
            self.ensemble.switchboard.reset(source, target)

    def _cut_off(self, group: Sequence[int]) -> None:
        self.ensemble.switchboard.separate(group, [one for one in self.ensemble.ids if one not in group])

    def _follower(self, leader: int) -> int:
        return self._random.choice(self.ensemble.followers(leader))

    def _some_ways(self) -> list[tuple[int, int]]:
        ids = self.ensemble.ids
        ways = [(one, other) for one in ids for other in ids if one != other]
        return self._random.sample(ways, self._random.randrange(1, len(ways) // 2 + 1))

    # -- what came of it ------------------------------------------------------------------------------

    def summary(self) -> str:
        lines = [f"{number:4} {name}" for name, number in self.faults.most_common()]
        lines.append(self.journal.summary())
        for what, times in self.failovers.items():
            if times:
                lines.append(
                    f"leader {what} {len(times)} times: the clients of all others have written after "
                    f"{statistics.median(times) * 1000:.0f} ms (median), {max(times) * 1000:.0f} ms (worst)"
                )
        lines.append(f"clients of survivors that lost their connection to a kill: {self.disconnected}")
        return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=600, help="of trouble of every kind (default: 600)")
    length.add_argument("--kills", type=int, default=0, help="of the leader, and no other trouble")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--members", type=int, choices=(3, 5), help="default: as the seed says; 3 for --kills"
    )
    parser.add_argument("--directory", type=Path, help="keep the members' files here, whatever happens")
    options = parser.parse_args(argv)
    members = options.members or (3 if options.kills else random.Random(-options.seed).choice((3, 5)))
    directory = options.directory or Path(tempfile.mkdtemp(prefix="coord-nemesis-"))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} {line}", flush=True)

    say(f"{members} members, --seed {options.seed}")
    nemesis = Nemesis(directory, options.seed, members, say)
    wrong: list[BaseException] = []
    try:
        if options.kills:
            trio.run(nemesis.run_kills, options.kills)
        else:
            trio.run(nemesis.run, options.seconds)
    except* (AssertionError, coord.CoordError, trio.TooSlowError) as group:
        wrong = _leaves(group)
    print(nemesis.summary(), flush=True)
    for error in wrong:
        print(f"WRONG (--seed {options.seed}): {type(error).__name__}: {error}")
    print(f"the members' files: {directory}" if wrong else "all well", flush=True)
    if not wrong and not options.directory:
        shutil.rmtree(directory)
    return 1 if wrong else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
