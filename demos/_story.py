"""The demo's story: what happens to the cluster, step by step, and how each step is proven.

Owns the steps and their order. Each is proven by the picture, which believes no broker: by the znodes, and by
what the servers say of themselves; each has a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

import coord
from coord.testing import LocalEnsemble
from demos._cluster import Cluster
from demos._picture import Picture
from demos._stage import NotObserved
from recipes import Topics, assign
from recipes.kafka import BROKERS, state_path, topic_path
from recipes.kafka_requests import marker_path

ORDERS: Final = "orders"
PAYMENTS: Final = "payments"
REPLICATION: Final = 3
"""Two of the four brokers may be gone at once."""
HOLD_SECONDS: Final = 4.0
"""A session that is not kept alive is over by then, with the servers' own grace."""
STEP_SECONDS: Final = 15.0
"""The deadline of each step; most of it is the time a session lasts."""


@dataclass
class Step:
    """One thing to be proven; `seconds` is how long it took to be observed."""

    title: str
    observed: str = ""
    seconds: float | None = None
    failed: bool = False


class Story:
    """The steps, in order. `steps` says how far it has come."""

    def __init__(
        self,
        zk: coord.Client,
        ensemble: LocalEnsemble,
        cluster: Cluster,
        picture: Picture,
        pause: float = 0.0,
    ) -> None:
        """`zk` is the operator's, who creates topics. `pause` is in seconds, after each step: for an audience
        that reads along."""
        self._zk = zk
        self._topics = Topics(zk)
        self._servers = {server.id: server for server in ensemble.servers}
        self._cluster = cluster
        self._picture = picture
        self._all = frozenset(cluster.racks)
        self._pause = pause
        self.steps: list[Step] = []
        self._tell: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("the brokers register, elect a controller, partitions get leaders", self._begin),
            ("a topic is created: on every rack, and led at once", self._create_topic),
            ("a broker leaves in good order: others lead before it goes", self._leave),
            ("it returns: a new epoch, and it leads its partitions again", self._return_broker),
            ("the leading server is killed: no broker loses its session", self._kill_server),
            ("a broker is killed: its znode goes, others lead its partitions", self._kill_broker),
            ("a broker hangs: its session expires, others lead its partitions", self._hang_broker),
            ("it wakes: registers with a new epoch, leads its partitions again", self._wake_broker),
            ("the controller hangs: another takes over, in the next epoch", self._hang_controller),
            ("it wakes: its late write is refused by the server", self._wake_controller),
            ("the controller is killed: another takes over, in the next epoch", self._kill_controller),
            ("the killed server returns: it catches up, and follows", self._return_server),
            ("all brokers return: preferred leaders lead, all replicas in sync", self._return_all),
            ("a topic is deleted: none of its znodes is left", self._delete_topic),
        ]
        self.steps = [Step(title) for title, _ in self._tell]

    @property
    def done(self) -> bool:
        return all(step.seconds is not None for step in self.steps)

    async def run(self) -> None:
        """Play all steps; stops at the first that is not observed in time."""
        for step, (_, play) in zip(self.steps, self._tell, strict=True):
            self._picture.note(f"* {step.title}")
            began = trio.current_time()
            try:
                step.observed = await play()
            except NotObserved as error:
                step.failed = True
                self._picture.note(str(error))
                return
            step.seconds = trio.current_time() - began
            self._picture.note(f"  observed: {step.observed}")
            await trio.sleep(self._pause)

    async def _until(self, condition: Callable[[Picture], bool]) -> None:
        try:
            await self._picture.until(condition, seconds=STEP_SECONDS)
        except trio.TooSlowError:
            raise NotObserved(f"not observed within {STEP_SECONDS:.0f} s") from None

    def _follower(self) -> int:
        """A live broker that is not the controller, and leads something."""
        picture = self._picture
        return max(i for i in picture.ids if i != picture.controller and picture.led_by(i))

    async def _begin(self) -> str:
        for broker in sorted(self._all):
            await self._cluster.start(broker)
        await self._until(lambda p: p.ids == self._all and p.controller in self._all)
        await self._topics.create(ORDERS, self._spread(partitions=6))
        await self._until(lambda p: ORDERS in p.topics and p.as_assigned())
        controller, epoch = self._reigning()
        led = len(self._picture.partitions)
        return f"brokers {_list(self._all)}; controller {controller} in epoch {epoch}; {led} partitions led"

    def _spread(self, *, partitions: int) -> dict[int, tuple[int, ...]]:
        racks = self._picture.racks
        return assign(self._all, partitions=partitions, replication=REPLICATION, racks=racks)

    async def _create_topic(self) -> str:
        racks = self._picture.racks
        await self._topics.create(PAYMENTS, self._spread(partitions=3))
        await self._until(lambda p: PAYMENTS in p.topics and p.as_assigned())
        spread = {frozenset(racks[one] for one in ids) for ids in self._picture.assignments.values()}
        if spread != {frozenset(racks.values())}:
            raise NotObserved("a partition is not on every rack")
        return f"{PAYMENTS} is led; each partition has replicas on racks {', '.join(self._racks())}"

    def _racks(self) -> list[str]:
        return sorted({rack for rack in self._picture.racks.values() if rack})

    async def _leave(self) -> str:
        broker, before = self._follower(), self._picture.partitions
        led = len(self._picture.led_by(broker))
        self._left, self._left_epoch = broker, self._picture.brokers[broker].epoch
        self._cluster.ask_to_leave(broker)
        await self._until(
            lambda p: broker not in p.ids and not any(broker in one.isr for one in p.partitions.values())
        )
        went = await self._zk.exists(BROKERS)
        assert went is not None
        for which, state in self._picture.partitions.items():
            written = await self._zk.exists(state_path(*which))
            if written is None or written.mzxid > went.pzxid:
                raise NotObserved(f"it went before {which} was handed over")
            if state.leader_epoch > before[which].leader_epoch + 1:
                raise NotObserved(f"{which} was without a leader for a moment")
        await self._cluster.ended(broker)
        return (
            f"what broker {broker} led ({led} of the partitions) is led by others, "
            "after one election each; only then it went"
        )

    async def _return_broker(self) -> str:
        broker, old = self._left, self._left_epoch
        await self._cluster.start(broker)
        await self._until(lambda p: broker in p.ids and p.as_assigned())
        new, led = self._picture.brokers[broker].epoch, len(self._picture.led_by(broker))
        return f"broker {broker} has epoch {new:#x} after {old:#x} and leads {led} of the partitions"

    async def _kill_server(self) -> str:
        picture, leader = self._picture, self._picture.leading_server
        assert leader is not None
        self._killed_server = leader
        before, reign = picture.registrations, self._reigning()
        await self._servers[leader].kill()
        killed = picture.now
        await self._until(lambda p: p.settled_without(leader) or self._disturbed(before, reign))
        took = picture.now - killed
        await self._until(lambda p: p.now > killed + HOLD_SECONDS or self._disturbed(before, reign))
        now = picture.now
        await self._until(lambda p: p.writing_since(now) == self._all or self._disturbed(before, reign))
        if self._disturbed(before, reign):
            raise NotObserved("a broker, or the controller, has lost its place")
        pause = picture.longest_pause(killed)
        return (
            f"server {picture.leading_server} leads {took:.2f} s after server {leader} was killed; "
            "same broker epochs, same controller; "
            f"no broker's writes paused for over {pause:.2f} s"
        )

    def _disturbed(self, registrations: dict[int, int], reign: tuple[int, int]) -> bool:
        picture = self._picture
        return (
            picture.registrations != registrations or (picture.controller, picture.controller_epoch) != reign
        )

    async def _return_server(self) -> str:
        server, picture = self._killed_server, self._picture
        written = max(seen.zxid for seen in picture.servers.values())
        await self._servers[server].start()
        await self._until(
            lambda p: (
                p.settled_without(0)
                and p.servers[server].mode == "follower"
                and p.servers[server].zxid >= written
            )
        )
        return (
            f"server {server} follows server {picture.leading_server} and has applied "
            f"what was written without it, up to zxid {written:#x}"
        )

    async def _kill_broker(self) -> str:
        self._killed = self._follower()
        led = self._picture.led_by(self._killed)
        await self._cluster.kill(self._killed)
        return await self._gone(self._killed, len(led))

    async def _gone(self, broker: int, led: int) -> str:
        await self._until(lambda p: broker not in p.ids and p.all_led(p.ids))
        return f"broker {broker} is gone; what it led ({led} of the partitions) is led by others"

    async def _hang_broker(self) -> str:
        self._hung = self._follower()
        self._hung_epoch = self._picture.brokers[self._hung].epoch
        led = self._picture.led_by(self._hung)
        self._cluster.stop(self._hung)
        return await self._gone(self._hung, len(led))

    async def _wake_broker(self) -> str:
        broker, old = self._hung, self._hung_epoch
        self._cluster.wake(broker)
        await self._until(
            lambda p: (
                broker in p.ids
                and p.brokers[broker].epoch > old
                and p.all_led(p.ids)
                and bool(p.led_by(broker))
            )
        )
        new, led = self._picture.brokers[broker].epoch, len(self._picture.led_by(broker))
        return f"broker {broker} has epoch {new:#x} after {old:#x} and leads {led} of the partitions"

    async def _hang_controller(self) -> str:
        self._old, self._old_epoch = self._reigning()
        self._cluster.stop(self._old)
        return await self._succeeded(self._old, self._old_epoch)

    def _reigning(self) -> tuple[int, int]:
        assert self._picture.controller is not None
        return self._picture.controller, self._picture.controller_epoch

    async def _succeeded(self, old: int, old_epoch: int) -> str:
        await self._until(
            lambda p: (
                p.controller not in (None, old)
                and p.controller_epoch == old_epoch + 1
                and bool(p.decrees)
                and p.decrees[-1] == (p.controller, p.controller_epoch)
                and old not in p.ids
                and p.all_led(p.ids)
            )
        )
        controller, epoch = self._reigning()
        return f"controller {controller} in epoch {epoch} after {old} in epoch {old_epoch}"

    async def _wake_controller(self) -> str:
        old, decree, seen = self._old, self._picture.decrees[-1], len(self._picture.decrees)
        self._cluster.wake(old)
        await self._until(
            lambda p: old in p.refused and old in p.ids and p.all_led(p.ids) and bool(p.led_by(old))
        )
        if self._picture.decrees[seen - 1 :] != [decree]:
            raise NotObserved("the late write has happened")
        return (
            f"broker {old}'s write of epoch {self._old_epoch} was refused; {decree[0]}'s decree still stands"
        )

    async def _kill_controller(self) -> str:
        old, epoch = self._reigning()
        await self._cluster.kill(old)
        self._killed_controller = old
        return await self._succeeded(old, epoch)

    async def _return_all(self) -> str:
        for broker in (self._killed, self._killed_controller):
            await self._cluster.start(broker)
        await self._until(lambda p: p.ids == self._all and p.as_assigned())
        return f"brokers {_list(self._all)}; {len(self._picture.partitions)} partitions as they were assigned"

    async def _delete_topic(self) -> str:
        await self._topics.delete(PAYMENTS)
        await self._until(lambda p: PAYMENTS not in p.topics)
        path = topic_path(PAYMENTS)
        with trio.fail_after(STEP_SECONDS):
            async with self._zk.watch_exists(marker_path(PAYMENTS)) as markers:
                async for marker in markers:
                    if marker is None:
                        break
        if await self._zk.exists(path, linearizable=True) is not None:
            raise NotObserved(f"{path} is still there")
        return f"{path}, its partitions and the request to delete it are gone"


def _list(ids: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ids)))
