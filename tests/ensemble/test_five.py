"""Five real members: two may go, and whoever is cut off from the other three serves nothing that is stale.

Clients read and write all the time (`workload`), and what they saw is checked in the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

import coord
from tests.ensemble.processes import EnsembleProcesses
from tests.ensemble.workload import SESSION_SECONDS, Journal, Worker

TEST_SECONDS = 60.0
ALL = 5


class Five:
    """The ensemble, one client of each member, and workers on each of those clients."""

    def __init__(self, ensemble: EnsembleProcesses, clients: dict[int, coord.Client]) -> None:
        self.ensemble = ensemble
        self.clients = clients
        self.journal = Journal()
        self.workers: dict[int, Worker] = {}

    async def progress(self, *ids: int) -> None:
        """Each of these members' clients has had something done since the call."""
        now = trio.current_time()
        await self.ensemble.until(
            lambda: all(self.workers[one].last_success > now for one in ids), f"progress of {ids}"
        )

    async def reunite(self) -> None:
        self.ensemble.revive()
        await self.ensemble.until_all_serve()
        await self.progress(*self.ensemble.ids)

    def separate(self, group: Sequence[int]) -> list[int]:
        """The others."""
        others = [one for one in self.ensemble.ids if one not in group]
        self.ensemble.switchboard.separate(group, others)
        return others


@asynccontextmanager
async def five(directory: Path, seed: int) -> AsyncIterator[Five]:
    """In the end all is healed, all members hold the same, and the clients' history is checked."""
    print(f"seed {seed}")
    with trio.fail_after(TEST_SECONDS):
        async with EnsembleProcesses(directory, ALL, proxied=True) as ensemble, AsyncExitStack() as stack:
            clients = {}
            for one in ensemble.ids:
                zk = coord.connect(ensemble.hosts(one), timeout=SESSION_SECONDS)
                clients[one] = await stack.enter_async_context(zk)
            members = Five(ensemble, clients)
            for path in ("/numbered", "/ephemeral"):
                await clients[1].create(path)
            await members.journal.renew_registers(clients[1])
            async with trio.open_nursery() as nursery:
                for one, zk in clients.items():
                    members.workers[one] = Worker(one, seed, members.journal)
                    nursery.start_soon(members.workers[one].run, zk)
                await members.progress(*ensemble.ids)
                yield members
                await members.reunite()
                nursery.cancel_scope.cancel()
            await ensemble.until_equal()
            await members.journal.conclude(clients.values())
            assert members.journal.done["writes"] > 100
            print(members.journal.summary())


@pytest.mark.trio
async def test_two_are_killed_the_leader_first_and_three_go_on(tmp_path: Path) -> None:
    async with five(tmp_path, seed=1) as members:
        ensemble = members.ensemble
        for _ in range(2):
            leader = await ensemble.leader()
            ensemble.kill(leader)
            await members.progress(*ensemble.running)
        first, second, third = ensemble.running
        ensemble.kill(third)
        assert await stays_unanswered(members.clients[first]), "two of five are no quorum"
        ensemble.spawn(third)
        await members.progress(first, second, third)


async def stays_unanswered(zk: coord.Client, seconds: float = 1.5) -> bool:
    """Is a write not acknowledged, and a linearizable read not answered, for so long?"""
    answered = False

    async def ask(write: bool) -> None:
        nonlocal answered
        try:
            await (zk.set("/ephemeral", b"") if write else zk.get("/numbered", linearizable=True))
            answered = True
        except coord.ConnectionLost:
            pass

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, True)
            nursery.start_soon(ask, False)
    return not answered


@pytest.mark.trio
@pytest.mark.parametrize("leader_is", ["with the two", "with the three"])
async def test_pitfall_24_three_go_on_without_two_whose_clients_are_told_nothing_stale(
    tmp_path: Path, leader_is: str
) -> None:
    async with five(tmp_path, seed=2) as members:
        ensemble = members.ensemble
        leader = await ensemble.leader()
        followers = ensemble.followers(leader)
        minority = [leader, followers[0]] if leader_is == "with the two" else followers[:2]
        majority = members.separate(minority)
        async with trio.open_nursery() as nursery:
            results: list[tuple[bytes, float]] = []

            async def read(one: int, written: trio.Event) -> None:
                """After a write of which nobody there can know."""
                await written.wait()
                while True:
                    try:
                        data, _ = await members.clients[one].get("/numbered", linearizable=True)
                        break
                    except coord.ConnectionLost:
                        continue
                results.append((data, trio.current_time()))

            written = trio.Event()
            for one in minority:
                nursery.start_soon(read, one, written)
            await members.clients[majority[0]].set("/numbered", b"new")
            written.set()
            await members.progress(*majority)
            assert await ensemble.leader(majority) in majority
            assert await stays_unanswered(members.clients[minority[1]])
            assert results == []
            await members.reunite()
        assert [data for data, _ in results] == [b"new"] * 2


@pytest.mark.trio
async def test_what_only_one_side_hears_costs_no_promise(tmp_path: Path) -> None:
    """One-way cuts: whom the leader does not reach, who does not reach the leader, and a ring of deafness."""
    async with five(tmp_path, seed=3) as members:
        ensemble, cut = members.ensemble, members.ensemble.switchboard.cut
        leader = await ensemble.leader()
        deaf = ensemble.followers(leader)[:2]
        for one in deaf:
            cut(leader, one)
        await members.progress(*(one for one in ensemble.ids if one not in deaf))
        assert await ensemble.leader([one for one in ensemble.ids if one not in deaf]) == leader
        await members.reunite()

        leader = await ensemble.leader()
        dumb = ensemble.followers(leader)[1:]
        for one in dumb:
            cut(one, leader)
        assert await ensemble.leader(dumb) != leader
        await members.progress(*dumb)
        await members.reunite()

        for one in ensemble.ids:
            cut(one, one % ALL + 1)
        done = members.journal.done
        enough = done["writes"] + 100
        await ensemble.until(lambda: done["writes"] > enough, "a hundred writes")
