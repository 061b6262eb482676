"""What the znodes say: the demo's own picture of the cluster, kept by watches and nothing else.

Owns what was observed and when. It believes no process: every entry is read from the server by a client of
its own.

Synopsis::

    picture = Picture(zk)
    nursery.start_soon(picture.follow_brokers)
    await picture.until(lambda p: p.controller == 2, seconds=10)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio
from trio_util import AsyncValue

import coord
from recipes import Broker, BrokerRegistry, PartitionState, TopicPartition, Topics
from recipes.kafka import CONTROLLER, CONTROLLER_EPOCH, TOPICS, decode_controller, decode_epoch

DECREE = "/demo/decree"
"""Each controller writes its id and epoch here; a stale one tries to overwrite its successor's."""
REFUSED = "/demo/refused"
"""Below it, a broker whose late write was refused says so."""


class Happening(NamedTuple):
    at: float
    text: str


class Picture:
    """The cluster as seen through `zk`; times are seconds since the picture was begun."""

    def __init__(self, zk: coord.Client) -> None:
        self._zk = zk
        self._registry = BrokerRegistry(zk)
        self._topics = Topics(zk)
        self._began = trio.current_time()
        self._changes = AsyncValue(0)
        self.brokers: dict[int, Broker] = {}
        self.seen: set[int] = set()
        """every broker that was ever registered"""
        self.controller: int | None = None
        self.controller_epoch = 0
        self.assignments: dict[TopicPartition, tuple[int, ...]] = {}
        self.partitions: dict[TopicPartition, PartitionState] = {}
        self.decrees: list[tuple[int, int]] = []
        """(broker, epoch) of every decree seen, in order"""
        self.refused: dict[int, str] = {}
        self.feed: list[Happening] = []

    @property
    def now(self) -> float:
        return trio.current_time() - self._began

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self.brokers)

    def note(self, text: str) -> None:
        """Add a line to the feed."""
        self.feed.append(Happening(self.now, text))
        self._changes.value += 1

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
            nursery.start_soon(self._follow_brokers)
            nursery.start_soon(self._follow_controller)
            nursery.start_soon(self._follow_epoch)
            nursery.start_soon(self._follow_topics)
            nursery.start_soon(self._follow_decrees)
            nursery.start_soon(self._follow_refusals)

    async def _follow_brokers(self) -> None:
        async with self._registry.watch() as views:
            async for view in views:
                self.brokers = view.brokers
                self.seen |= view.ids
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
        await self._zk.ensure_path(TOPICS)
        async with self._zk.add_watch(TOPICS, recursive=True) as events:
            await self._read_topics()
            async for _ in events:
                await self._read_topics()

    async def _read_topics(self) -> None:
        self.assignments = await self._topics.assignments()
        for which in self.assignments:
            state, old = await self._topics.state(which), self.partitions.get(which)
            if state is None or state == old:
                continue
            self.partitions[which] = state
            if old is None or old.leader != state.leader:
                leader = "nobody" if state.leader < 0 else f"broker {state.leader}"
                self.note(f"{which} is led by {leader}")
        self._changes.value += 1

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
