"""Clients that read and write while an ensemble is in trouble, and what must be true of what they saw.

Promises that are checked, each of which has its own way to be broken:

- registers (writes, compare-and-set by version, linearizable reads) are linearizable: `linearizability`;
- plain reads may be old, but one client never sees a version after a newer one, over all its connections;
- a sequential znode has a name that no other one ever had, an acknowledged one stays, and each is made once;
- an ephemeral znode is there exactly as long as its session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

import trio

import coord
from tests.linearizability import ANY, Kind, Operation, State, check

INITIAL = State(b"", 0)
SESSION_SECONDS = 10.0
PAUSE_SECONDS = 0.02
REGISTERS = 4


class Wrong(AssertionError):
    """A promise was broken."""


@dataclass
class Journal:
    """What all clients saw."""

    operations: list[Operation] = field(default_factory=list)
    numbered: dict[str, bytes] = field(default_factory=dict)
    """sequential znodes whose creation was acknowledged: name -> data"""
    perhaps_numbered: set[bytes] = field(default_factory=set)
    """data of those whose creation may have happened"""
    done: Counter[str] = field(default_factory=Counter)
    registers: list[str] = field(default_factory=list)
    """those in use now; older ones rest, which keeps histories short"""
    all_registers: list[str] = field(default_factory=list)

    async def renew_registers(self, zk: coord.Client) -> None:
        first = len(self.all_registers)
        new = [f"/registers/{number}" for number in range(first, first + REGISTERS)]
        for path in new:
            try:
                await zk.create(path, INITIAL.value, make_parents=True)
            except (coord.ConnectionLost, coord.NodeExists):
                await zk.ensure_path(path)
        self.registers = new
        self.all_registers += new

    async def read(self, zk: coord.Client, client: int, path: str) -> State:
        """A linearizable read, noted down."""
        called = trio.current_time()
        data, stat = await zk.get(path, linearizable=True)
        state, returned = State(data, stat.version), trio.current_time()
        self.operations.append(Operation(path, client, Kind.READ, called, returned, result=state))
        return state

    async def conclude(self, clients: Iterable[coord.Client]) -> None:
        """Reads everything from everybody, and checks all there is to check."""
        for zk in clients:
            for path in self.all_registers:
                await self.read(zk, -1, path)
            await self._check_numbered(zk)
        await trio.to_thread.run_sync(check, self.operations, INITIAL)

    async def _check_numbered(self, zk: coord.Client) -> None:
        names = set(await zk.children("/numbered", linearizable=True))
        missing = self.numbered.keys() - names
        if missing:
            raise Wrong(f"acknowledged and lost: {sorted(missing)}")
        found: dict[str, bytes] = {}

        async def look(name: str) -> None:
            found[name] = (await zk.get(f"/numbered/{name}"))[0]

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(look, name)
        false = {name: (data, found[name]) for name, data in self.numbered.items() if found[name] != data}
        if false:
            raise Wrong(f"another one than was acknowledged: {false}")
        twice = [data for data, times in Counter(found.values()).items() if times > 1]
        if twice:
            raise Wrong(f"created more than once: {twice}")
        strange = set(found.values()) - set(self.numbered.values()) - self.perhaps_numbered
        if strange:
            raise Wrong(f"created by nobody: {strange}")

    def summary(self) -> str:
        unknown = sum(one.unknown for one in self.operations)
        kinds = ", ".join(f"{number} {name}" for name, number in sorted(self.done.items()))
        return f"{kinds}; the outcome of {unknown} is unknown"


class Worker:
    """One client with one thing under way at a time. Run several with one `coord.Client` for a pipeline."""

    def __init__(self, number: int, seed: int, journal: Journal) -> None:
        self._number = number
        self._random = Random(f"{seed}/{number}")
        self._journal = journal
        self._versions: dict[str, int] = {}
        self._writes = 0
        self._ephemeral = ""
        self._generation = 0
        self.last_success = trio.current_time()
        self._choices = [
            (self._write, 30),
            (self._compare_and_set, 15),
            (self._read, 30),
            (self._glance, 15),
            (self._number_one, 5),
            (self._be_there, 5),
        ]

    async def run(self, zk: coord.Client) -> None:
        """Until cancelled, or `Wrong`."""
        while True:
            (act,) = self._random.choices(
                [act for act, _ in self._choices], [weight for _, weight in self._choices]
            )
            try:
                await act(zk)
                self.last_success = trio.current_time()
            except (coord.ConnectionLost, coord.SessionExpired):
                self._journal.done["interrupted"] += 1
            await trio.sleep(self._random.random() * PAUSE_SECONDS)

    def _register(self) -> str:
        return self._random.choice(self._journal.registers)

    def _saw(self, path: str, version: int) -> None:
        known = self._versions.get(path, 0)
        if version < known:
            raise Wrong(f"client {self._number} saw version {version} of {path} after {known}")
        self._versions[path] = version

    async def _write(self, zk: coord.Client) -> None:
        await self._set(zk, self._register(), ANY)

    async def _compare_and_set(self, zk: coord.Client) -> None:
        path = self._register()
        await self._set(zk, path, self._versions.get(path, 0))

    async def _set(self, zk: coord.Client, path: str, expected: int) -> None:
        self._writes += 1
        value = b"%d/%d" % (self._number, self._writes)
        called, returned, result = trio.current_time(), inf, None
        try:
            stat = await zk.set(path, value, version=expected)
            returned, result = trio.current_time(), State(value, stat.version)
            self._saw(path, stat.version)
            self._journal.done["writes"] += 1
        except coord.BadVersion:
            returned = trio.current_time()
            self._journal.done["refused writes"] += 1
        finally:  # cancelled, too: then the outcome is unknown
            self._journal.operations.append(
                Operation(path, self._number, Kind.WRITE, called, returned, value, expected, result)
            )

    async def _read(self, zk: coord.Client) -> None:
        path = self._register()
        state = await self._journal.read(zk, self._number, path)
        self._saw(path, state.version)
        self._journal.done["linearizable reads"] += 1

    async def _glance(self, zk: coord.Client) -> None:
        path = self._register()
        try:
            _, stat = await zk.get(path)
        except coord.NoNode:  # a register that is new, of which this member has not heard
            if path in self._versions:
                raise Wrong(f"client {self._number} does not see {path} any more") from None
            return
        self._saw(path, stat.version)
        self._journal.done["plain reads"] += 1

    async def _number_one(self, zk: coord.Client) -> None:
        self._writes += 1
        data = b"%d/%d" % (self._number, self._writes)
        self._journal.perhaps_numbered.add(data)
        path = await zk.create("/numbered/n-", data, sequential=True)
        name = path.rpartition("/")[2]
        if name in self._journal.numbered:
            raise Wrong(f"{name} was given twice")
        self._journal.numbered[name] = data
        self._journal.done["sequential creates"] += 1

    async def _be_there(self, zk: coord.Client) -> None:
        """An ephemeral znode for each session; it is there as long as the session is."""
        generation, owner = zk.session.generation, zk.session.id
        if generation != self._generation:
            self._ephemeral = f"/ephemeral/{self._number}-{generation}"
            try:
                await zk.create(self._ephemeral, ephemeral=True)
            except coord.NodeExists:
                pass  # the reply to an earlier attempt was lost
            self._generation = generation
        stat = await zk.exists(self._ephemeral, linearizable=True)
        if zk.session.generation == generation and (stat is None or stat.ephemeral_owner != owner):
            raise Wrong(f"the session 0x{owner:x} lives, its {self._ephemeral} does not: {stat}")
        self._journal.done["ephemeral checks"] += 1
