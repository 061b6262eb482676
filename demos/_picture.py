"""What the znodes say: the demo's own picture of the cluster, kept by watches; and what its servers say.

Owns what was observed and when. It believes no broker: every entry is read by a client of its own. The
servers are asked for their modes, each by itself.

Synopsis::

    picture = Picture(zk, ensemble.servers)
    nursery.start_soon(picture.follow)
    await picture.until(lambda p: p.controller == 2, seconds=10)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import trio
from trio_util import AsyncValue

import coord
from coord.testing import LocalServer, Status
from recipes import Broker, BrokerInfo, BrokerRegistry, PartitionState, TopicPartition, Topics
from recipes.kafka import CONTROLLER, CONTROLLER_EPOCH, decode_controller, decode_epoch

DECREE = "/demo/decree"
"""Each controller writes its id and epoch here; a stale one tries to overwrite its successor's."""
REFUSED = "/demo/refused"
"""Below it, a broker whose late write was refused says so."""
PULSE = "/demo/pulse"
"""Below it, each broker writes to a znode of its own, all the time."""

ASK_SECONDS: Final = 0.1
PULSES_KEPT: Final = 1000
MODES: Final = {
    "leader": "leads",
    "follower": "follows",
    "waiting": "waits for a leader",
    "silent": "is gone",
}


class Happening(NamedTuple):
    at: float
    text: str


class Picture:
    """The cluster as seen through `zk`; times are seconds since the picture was begun."""

    def __init__(self, zk: coord.Client, servers: Sequence[LocalServer]) -> None:
        self._zk = zk
        self._servers = servers
        self._registry = BrokerRegistry(zk)
        self._topics = Topics(zk)
        self._began = trio.current_time()
        self._changes = AsyncValue(0)
        self.brokers: dict[int, Broker] = {}
        self.seen: dict[int, BrokerInfo] = {}
        """every broker that was ever registered"""
        self.controller: int | None = None
        self.controller_epoch = 0
        self.assignments: dict[TopicPartition, tuple[int, ...]] = {}
        self.partitions: dict[TopicPartition, PartitionState] = {}
        self.decrees: list[tuple[int, int]] = []
        """(broker, epoch) of every decree seen, in order"""
        self.refused: dict[int, str] = {}
        self.servers: dict[int, Status] = {}
        self.pulses: deque[tuple[float, int]] = deque(maxlen=PULSES_KEPT)
        """(when, broker) of the brokers' latest writes, in order"""
        self.feed: list[Happening] = []

    @property
    def now(self) -> float:
        return trio.current_time() - self._began

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self.brokers)

    @property
    def registrations(self) -> dict[int, int]:
        """The epoch of each registered broker: the zxid that created its znode."""
        return {broker: seen.epoch for broker, seen in self.brokers.items()}

    @property
    def leading_server(self) -> int | None:
        return next((server for server, seen in self.servers.items() if seen.mode == "leader"), None)

    def settled_without(self, server: int) -> bool:
        """One of the other servers leads, the rest follow it."""
        modes = sorted(seen.mode for one, seen in self.servers.items() if one != server)
        return modes == ["follower"] * (len(modes) - 1) + ["leader"]

    def writing_since(self, moment: float) -> frozenset[int]:
        """The brokers that have written later than that."""
        return frozenset(broker for when, broker in self.pulses if when > moment)

    def longest_pause(self, moment: float) -> float:
        """The longest time between two writes of any one broker, the second of them later than `moment`."""
        longest, latest = 0.0, dict[int, float]()
        for when, broker in self.pulses:
            if when > moment:
                longest = max(longest, when - latest.get(broker, when))
            latest[broker] = when
        return longest

    def note(self, text: str) -> None:
        """Add a line to the feed."""
        self.feed.append(Happening(self.now, text))
        self._changes.value += 1

    @property
    def topics(self) -> set[str]:
        return {which.topic for which in self.assignments}

    @property
    def racks(self) -> dict[int, str | None]:
        """Where the brokers that were ever seen say they are."""
        return {broker: info.rack for broker, info in self.seen.items()}

    def led_by(self, broker: int) -> list[TopicPartition]:
        return [which for which, state in self.partitions.items() if state.leader == broker]

    def all_led(self, live: frozenset[int]) -> bool:
        """Every partition is led by one of `live`, with all its live replicas in sync and nobody else."""
        return bool(self.partitions) and all(
            (state := self.partitions.get(which)) is not None
            and state.leader in live
            and set(state.isr) == live.intersection(replicas)
            for which, replicas in self.assignments.items()
        )

    def as_assigned(self) -> bool:
        """Every partition is led by its preferred leader, with all its replicas in sync."""
        return bool(self.partitions) and all(
            (state := self.partitions.get(which)) is not None
            and state.leader == replicas[0]
            and set(state.isr) == set(replicas)
            for which, replicas in self.assignments.items()
        )

    async def until(self, condition: Callable[[Picture], bool], *, seconds: float) -> None:
        """Wait until what was observed fulfils `condition`; raises `trio.TooSlowError`."""
        with trio.fail_after(seconds):
            await self._changes.wait_value(lambda _: condition(self))

    async def changed(self) -> None:
        await self._changes.wait_transition()

    # -- the watchers -------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Keep the picture up to date until cancelled."""
        async with trio.open_nursery() as nursery:
            for server in self._servers:
                nursery.start_soon(self._follow_server, server)
            nursery.start_soon(self._follow_pulses)
            nursery.start_soon(self._follow_brokers)
            nursery.start_soon(self._follow_controller)
            nursery.start_soon(self._follow_epoch)
            nursery.start_soon(self._follow_topics)
            nursery.start_soon(self._follow_decrees)
            nursery.start_soon(self._follow_refusals)

    async def _follow_server(self, server: LocalServer) -> None:
        while True:
            status, old = await server.status(), self.servers.get(server.id)
            self.servers[server.id] = status
            if old is None or old.mode != status.mode:
                zxid = f", zxid {status.zxid:#x}" if status.zxid else ""
                self.note(f"server {server.id} {MODES.get(status.mode, status.mode)}{zxid}")
            elif old != status:
                self._changes.value += 1
            await trio.sleep(ASK_SECONDS)

    async def _follow_pulses(self) -> None:
        await self._zk.ensure_path(PULSE)
        async with self._zk.add_watch(PULSE, recursive=True) as events:
            async for event in events:
                if isinstance(event, coord.WatchEvent) and event.path != PULSE:
                    self.pulses.append((self.now, int(event.path.rpartition("/")[2])))
                    self._changes.value += 1

    async def _follow_brokers(self) -> None:
        async with self._registry.watch() as views:
            async for view in views:
                self.brokers = view.brokers
                self.seen |= {one: seen.info for one, seen in view.brokers.items() if seen.info}
                for broker in sorted(view.added):
                    self.note(f"broker {broker} registered, epoch {view.brokers[broker].epoch:#x}")
                for broker in sorted(view.bounced):
                    self.note(f"broker {broker} registered anew, epoch {view.brokers[broker].epoch:#x}")
                for broker in sorted(view.removed):
                    self.note(f"broker {broker} is gone")

    async def _follow_controller(self) -> None:
        async with self._zk.watch_data(CONTROLLER) as nodes:
            async for node in nodes:
                self.controller = None if node is None else decode_controller(node.data)
                self.note("no controller" if node is None else f"broker {self.controller} is the controller")

    async def _follow_epoch(self) -> None:
        async with self._zk.watch_data(CONTROLLER_EPOCH) as nodes:
            async for node in nodes:
                if node is not None:
                    self.controller_epoch = decode_epoch(node.data)
                    self._changes.value += 1

    async def _follow_topics(self) -> None:
        async with self._topics.watch() as views:
            async for view in views:
                for topic in sorted(self.topics - view.topics.keys()):
                    self.note(f"topic {topic} is gone")
                for topic in sorted(view.topics.keys() - self.topics):
                    self.note(f"topic {topic} is there, {len(view.topics[topic].replicas)} partitions")
                self.assignments = {
                    TopicPartition(topic, number): replicas
                    for topic, record in view.topics.items()
                    for number, replicas in record.replicas.items()
                }
                self._note_leaders(view.states)
                self.partitions = view.states
                self._changes.value += 1

    def _note_leaders(self, states: dict[TopicPartition, PartitionState]) -> None:
        for which, state in states.items():
            old = self.partitions.get(which)
            if old is None or old.leader != state.leader:
                leader = "nobody" if state.leader < 0 else f"broker {state.leader}"
                self.note(f"{which} is led by {leader}")

    async def _follow_decrees(self) -> None:
        async with self._zk.watch_data(DECREE) as nodes:
            async for node in nodes:
                if node is not None and node.data:
                    broker, epoch = map(int, node.data.split())
                    self.decrees.append((broker, epoch))
                    self._changes.value += 1

    async def _follow_refusals(self) -> None:
        await self._zk.ensure_path(REFUSED)
        async with self._zk.watch_children(REFUSED) as states:
            async for names in states:
                for name in names or ():
                    if int(name) not in self.refused:
                        data, _ = await self._zk.get(f"{REFUSED}/{name}")
                        self.refused[int(name)] = data.decode()
                        self.note(f"broker {name}'s late write was refused")
