"""Brokers that register, are watched, and elect a controller: Kafka's protocol in Kafka's own znodes.

Owns registration (`/brokers/ids`) and the view of who is there. The JSON is `kafka`'s, the election `term`'s,
what an elected controller does `controller`'s, and `topics` are another object's.

Rules that hold here:

- A broker's epoch is the czxid of its registration: a restart too quick to be missed in a list is seen by it.
- A registration comes back by itself after a session expired, with a new epoch, for as long as its block
  runs.
- A foreign registration under our id is waited for, at most as long as a dead session can last; then it is
  somebody alive, and `BrokerIdTaken`. One that is ours from an earlier session is deleted.
- Who wants to leave in good order asks the controller first (`leave`), which lets others lead before it
  agrees.

Synopsis::

    registry = BrokerRegistry(zk, chroot="/kafka")
    async with registry.register(BrokerInfo(1, [("PLAINTEXT", "host1", 9092)])) as me:
        async with registry.watch() as views:
            async for view in views:
                print(view.added, view.removed, view.bounced)
        await registry.leave(me)  # nobody is without a leader when the block ends
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from trio_util import AsyncValue

from coord import (
    Client,
    ConnectionLost,
    Loss,
    NodeExists,
    NoNode,
    RequestTooLarge,
    SessionExpired,
    Stat,
)
from recipes.beside import beside
from recipes.errors import BrokerIdTaken, ControllerMoved, EndpointTaken
from recipes.grant import Standing, let_go, let_go_of_name
from recipes.kafka import (
    BROKERS,
    RESERVED_BROKER_ID_MAX,
    SEQUENCE_ID,
    BadRecord,
    BrokerInfo,
    broker_path,
    decode_broker,
    encode_broker,
)
from recipes.leaving import leave
from recipes.names import TAKEOVER_TIMEOUTS, until_gone, whose
from recipes.term import Term, reign

T = TypeVar("T")


@dataclass(frozen=True)
class Broker:
    """A registered broker; `info` is None if its registration cannot be read."""

    id: int
    epoch: int
    info: BrokerInfo | None


@dataclass(frozen=True)
class BrokerView:
    """Who is registered, by id, and what is different from the view before."""

    brokers: dict[int, Broker]
    added: frozenset[int] = frozenset()
    removed: frozenset[int] = frozenset()
    bounced: frozenset[int] = frozenset()
    """registered anew since: to be treated as gone and come back"""

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self.brokers)

    @property
    def racks(self) -> dict[int, str | None]:
        """The racks that brokers say they are in, for `assign`."""
        return {broker: seen.info.rack if seen.info else None for broker, seen in self.brokers.items()}

    def after(self, earlier: BrokerView) -> BrokerView:
        """This view, with the differences from `earlier`."""
        stayed = self.ids & earlier.ids
        return replace(
            self,
            added=self.ids - earlier.ids,
            removed=earlier.ids - self.ids,
            bounced=frozenset(i for i in stayed if self.brokers[i].epoch != earlier.brokers[i].epoch),
        )


@dataclass
class Registration:
    """Our own registration. `epochs` holds the present epoch and can be waited on for the next one."""

    id: int
    info: BrokerInfo
    epochs: AsyncValue[int]
    sessions: set[int] = field(default_factory=set)
    """every session this registration was made in"""
    request: Standing | None = None
    """to leave, once granted"""

    @property
    def epoch(self) -> int:
        return self.epochs.value


class BrokerRegistry:
    """Kafka's brokers below `chroot` ("" for none)."""

    def __init__(self, zk: Client, chroot: str = "") -> None:
        self._zk = zk
        self.chroot = chroot.rstrip("/")

    # -- being there --------------------------------------------------------------------------------

    @asynccontextmanager
    async def register(
        self, info: BrokerInfo, *, takeover_seconds: float | None = None
    ) -> AsyncIterator[Registration]:
        """Be registered for the block; again after each session that expires.

        Without an id in `info` one is generated. Raises `EndpointTaken`, and `BrokerIdTaken` if another
        session holds the id for longer than `takeover_seconds` (1.5 session timeouts if None).
        """
        broker_id = await self._new_id() if info.id is None else info.id
        me = Registration(broker_id, replace(info, id=broker_id), AsyncValue(0))
        standing: Standing | None = None

        async def keep() -> None:
            nonlocal standing
            while True:
                if standing is not None:
                    await until_gone(self._zk, standing)
                standing = await self._enrol(me, takeover_seconds)

        try:
            standing = await self._enrol(me, takeover_seconds)
            async with beside(keep):
                yield me
        finally:
            await let_go_of_name(self._zk, self._path(broker_id))
            if me.request is not None:  # only now: without it, we would be given partitions to lead again
                await let_go(self._zk, me.request)

    async def leave(self, me: Registration) -> None:
        """Ask to leave (*controlled shutdown*); returns once the broker leads nothing that others have a
        replica of, and counts as in sync nowhere. Then end the block of `register`.

        Waits for as long as no other replica is in sync, or there is no controller: to be bounded by the
        caller. Cancelled, it takes the request back.
        """
        me.request = await leave(self._zk, self.chroot, me.id, me.epochs)

    async def _new_id(self) -> int:
        """The version of a znode that every newcomer writes to: unique without reading first."""
        path = self.chroot + SEQUENCE_ID
        while True:
            try:
                return (await self._zk.set(path, b"")).version + RESERVED_BROKER_ID_MAX
            except NoNode:
                await self._ensure(path)
            except (ConnectionLost, SessionExpired):
                continue  # at worst a number nobody uses

    async def _ensure(self, path: str) -> None:
        try:
            await self._zk.ensure_path(path)
        except SessionExpired:
            pass

    async def _enrol(self, me: Registration, takeover_seconds: float | None) -> Standing:
        while True:
            try:
                await self._refuse_clash(me.info)
                standing = await self._create(me)
                if standing is None:
                    standing = await self._whose(me, takeover_seconds)
            except RequestTooLarge:
                raise  # it would be as large the next time
            except (SessionExpired, ConnectionLost):
                continue  # if it was created after all, it will be found to be ours
            if standing is not None and standing.session_id == self._zk.session.id:
                me.sessions.add(standing.session_id)
                me.epochs.value = standing.czxid
                return standing

    async def _refuse_clash(self, info: BrokerInfo) -> None:
        ours = {(one.host, one.port) for one in info.endpoints}
        for other in (await self.brokers()).values():
            if other.id == info.id or other.info is None:
                continue
            for one in other.info.endpoints:
                if (one.host, one.port) in ours:
                    raise EndpointTaken(
                        f"{one.host}:{one.port} is broker {other.id}'s", path=self._path(other.id)
                    )

    def _path(self, broker_id: int) -> str:
        return self.chroot + broker_path(broker_id)

    async def _create(self, me: Registration) -> Standing | None:
        """Create the registration; None if there is one already."""
        data = encode_broker(me.info, timestamp_ms=round(time.time() * 1000))
        path = self._path(me.id)
        try:
            transaction = self._zk.transaction()
            # Empty, then filled: so the reply carries a Stat, and with it the epoch.
            transaction.create(path, None, ephemeral=True)
            transaction.set(path, data, version=0)
            _, stat = await transaction.commit()
            assert isinstance(stat, Stat)
            return Standing(path, stat.czxid, stat.ephemeral_owner)
        except NodeExists:
            return None
        except NoNode:
            await self._ensure(self.chroot + BROKERS)
            return await self._create(me)

    async def _whose(self, me: Registration, takeover_seconds: float | None) -> Standing | None:
        path = self._path(me.id)
        seconds = takeover_seconds
        if seconds is None:
            seconds = TAKEOVER_TIMEOUTS * self._zk.session.timeout
        taken = BrokerIdTaken(f"broker {me.id} is registered by another session", path=path)
        return await whose(self._zk, path, me.sessions, seconds=seconds, taken=taken)

    # -- seeing who is there ------------------------------------------------------------------------

    async def brokers(self) -> dict[int, Broker]:
        """Who is registered now, by id."""
        try:
            names = await self._zk.children(self.chroot + BROKERS)
        except NoNode:
            return {}
        found = {}
        for broker_id in sorted(int(name) for name in names if name.isdecimal()):
            broker = await self._read(broker_id)
            if broker is not None:
                found[broker_id] = broker
        return found

    async def _read(self, broker_id: int) -> Broker | None:
        try:
            data, stat = await self._zk.get(self._path(broker_id))
        except NoNode:
            return None
        try:
            return Broker(broker_id, stat.czxid, decode_broker(broker_id, data))
        except BadRecord:
            return Broker(broker_id, stat.czxid, None)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[BrokerView]]:
        """Views of who is registered: the present one first, then one whenever it differs.

        States, not events: whatever happens while nobody looks is summed up in the next view.
        """
        await self._ensure(self.chroot + BROKERS)
        views = self._views()
        try:
            yield views
        finally:
            await views.aclose()

    async def _views(self) -> AsyncGenerator[BrokerView]:
        last: BrokerView | None = None
        while True:
            with self._zk.watch() as watch:
                try:
                    await self._zk.children(self.chroot + BROKERS, watch=watch)
                    view = BrokerView(await self.brokers())
                    if last is None or view.brokers != last.brokers:
                        last = view.after(last or BrokerView({}))
                        yield last
                    await watch.wait()
                except NoNode:
                    await self._ensure(self.chroot + BROKERS)
                except SessionExpired:
                    pass  # look again in the new session

    # -- the controller -----------------------------------------------------------------------------

    async def run_controller(
        self, broker_id: int, fn: Callable[[Term], Awaitable[T]], *, policy: Loss = Loss.DEADLINE
    ) -> T:
        """Stand for controller; call `fn(term)` when elected and return its result; campaign again when
        moved.

        `fn` is cancelled when its term ends: the session cannot be guaranteed, or `/controller` is not ours.
        `ControllerMoved`, whether from there or raised by the term's own transactions, starts over.
        """
        while True:
            term: Term | None = None
            try:
                async with reign(self._zk, self.chroot, broker_id, policy) as term:
                    return await fn(term)
            except ControllerMoved:
                pass
            except SessionExpired:
                if term is not None and not term.lost:
                    raise
