"""Members of an ensemble without servers: real peers and real sockets, and a disk that is done at once.

Synopsis::

    async with Ensemble(3) as ensemble:
        leader = await ensemble.leader()
        leader.propose(b"payload")
        await ensemble.until(lambda: ensemble.all_committed(leader.peer.committed))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from coord.config import Config, Member
from coord.server.peers import PeerNetwork
from coord.server.surroundings import Surroundings
from coord.wire.members import Proposal
from coord.zab.peer import Epochs, Peer
from coord.zab.quorum import Majority
from tests.servers import free_ports

TICK_SECONDS = 0.01


class TestMember:
    """The shell of one member; its log and epochs outlive `stop`."""

    __test__ = False

    def __init__(self, config: Config, told: Callable[[], object]) -> None:
        self.config = config
        self.log: list[Proposal] = []
        self.epochs = Epochs(0, 0)
        self.payloads: list[tuple[int, bytes]] = []
        self._told = told
        self._scope: trio.CancelScope | None = None

    @property
    def my_id(self) -> int:
        return self.config.my_id

    @property
    def runs(self) -> bool:
        return self._scope is not None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        voters = {one for one, member in self.config.members.items() if member.votes}
        observers = sorted(set(self.config.members) - voters)
        self.peer = Peer(
            self.my_id,
            Majority(voters),
            last_zxid=self.log[-1].last_zxid if self.log else 0,
            epochs=self.epochs,
            observers=observers,
        )
        self.network = PeerNetwork(self, self.peer, self.config, Surroundings().member_stream)
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                self.settle()
                await nursery.start(self.network.run)
                nursery.start_soon(self._run_clock)
                task_status.started()
        self._scope = None
        self._told()

    def stop(self) -> None:
        assert self._scope is not None
        self._scope.cancel()

    async def _run_clock(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self.begin_turn()
            self.peer.tick()
            self.settle()

    def begin_turn(self) -> None:
        pass

    def settle(self) -> None:
        peer = self.peer
        while (work := peer.take_work()) is not None or peer.fetches:
            if work is not None:
                assert work.install is None
                if work.truncate is not None:
                    self.log = [one for one in self.log if one.last_zxid <= work.truncate]
                self.log += work.proposals
                self.epochs = work.epochs or self.epochs
                peer.persisted(work.ticket)
            fetches, peer.fetches = peer.fetches, []
            for fetch in fetches:
                peer.fetched(fetch, None, [one for one in self.log if one.last_zxid > fetch.after])
        for link, data in peer.payloads:
            self.payloads.append((link.member, data))
        peer.payloads.clear()
        self.network.update()
        self._told()

    def propose(self, payload: bytes) -> int:
        """The zxid it got."""
        self.begin_turn()
        zxid = self.peer.next_zxid
        self.peer.propose(Proposal(zxid, zxid, payload))
        self.settle()
        return zxid


class Ensemble:
    def __init__(self, configs: Mapping[int, Config], nursery: trio.Nursery) -> None:
        self._changed = trio.lowlevel.ParkingLot()
        self._nursery = nursery
        self.members = {one: TestMember(config, self._changed.unpark_all) for one, config in configs.items()}

    @property
    def running(self) -> list[TestMember]:
        return [member for member in self.members.values() if member.runs]

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(20):
            while not condition():
                await self._changed.park()

    async def start(self, member: int) -> None:
        await self._nursery.start(self.members[member].run)

    async def stop(self, member: int) -> None:
        self.members[member].stop()
        await self.until(lambda: not self.members[member].runs)

    def leaders(self) -> list[TestMember]:
        return [member for member in self.running if member.peer.leading]

    async def leader(self) -> TestMember:
        """The one that leads, once all that run follow it."""
        await self.until(lambda: len(self.leaders()) == 1 and self.all_follow(self.leaders()[0]))
        return self.leaders()[0]

    def all_follow(self, leader: TestMember) -> bool:
        return all(one.peer.leader == leader.my_id and one.peer.in_touch for one in self.running)

    def all_committed(self, zxid: int) -> bool:
        return all(one.peer.committed >= zxid for one in self.running)


def configs_of(
    count: int, *, observers: int = 0, secrets: Mapping[int, bytes] | None = None
) -> dict[int, Config]:
    """Of members 1 … count on free ports of the loopback interface; the last ones are observers."""
    ports = iter(free_ports(2 * count))
    members = {
        one: Member(
            "127.0.0.1", next(ports), next(ports), "observer" if one > count - observers else "participant"
        )
        for one in range(1, count + 1)
    }
    base = Config(members=members, my_id=1)
    return {one: replace(base, my_id=one, member_secret=secrets[one] if secrets else None) for one in members}


@asynccontextmanager
async def an_ensemble(configs: Mapping[int, Config]) -> AsyncIterator[Ensemble]:
    """Started; gone at the end of the block."""
    async with trio.open_nursery() as nursery:
        ensemble = Ensemble(configs, nursery)
        for member in configs:
            await ensemble.start(member)
        yield ensemble
        nursery.cancel_scope.cancel()
