"""One broker of the demo, a process of its own: it registers, and stands for controller.

Owns what a broker does. It stores no messages: a broker that is registered counts as having caught up.

It ends when its standard input does, so that it never outlives the demo, however that ended.
"""

from __future__ import annotations

import trio

import coord
from demos._picture import DECREE, PULSE, REFUSED
from demos._stage import while_input_lasts
from recipes import (
    BrokerInfo,
    BrokerRegistry,
    ControllerMoved,
    Term,
    Topics,
    assign,
)

TOPIC = "orders"
PARTITIONS = 6
REPLICATION = 3
PULSE_SECONDS = 0.2


class BrokerProcess:
    """Broker `broker_id` of a cluster of `size`; `session_seconds` is how long it may be silent."""

    def __init__(self, server: str, broker_id: int, size: int, session_seconds: float) -> None:
        self._server = server
        self._id = broker_id
        self._size = size
        self._session_seconds = session_seconds

    async def run(self) -> None:
        await while_input_lasts(self._serve)

    async def _serve(self) -> None:
        async with coord.connect(self._server, timeout=self._session_seconds) as self._zk:
            self._topics = Topics(self._zk)
            self._registry = BrokerRegistry(self._zk)
            info = BrokerInfo(self._id, [("PLAINTEXT", "127.0.0.1", 9092 + self._id)])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pulse)
                async with self._registry.register(info):
                    await self._registry.run_controller(self._id, self._control)

    async def _pulse(self) -> None:
        """Write something all the time: whoever watches sees whether this broker's writes go on."""
        path = f"{PULSE}/{self._id}"
        while True:
            try:
                await self._zk.ensure_path(path)
                await self._zk.set(path, b"")
            except (coord.ConnectionLost, coord.SessionExpired):
                pass  # the next one will do
            await trio.sleep(PULSE_SECONDS)

    async def _control(self, term: Term) -> None:
        """Elected: lead the cluster until the term ends."""
        try:
            await self._decree(term)
            async with self._registry.watch() as views:
                async for view in views:
                    if len(view.ids) >= self._size:
                        await self._create_topic(term, view.ids)
                    if view.bounced:  # gone and back: whatever they led has to be led by others first
                        await self._topics.settle(term, view.ids - view.bounced)
                    await self._topics.settle(term, view.ids)
        finally:
            if term.lost:
                await self._write_late(term)

    async def _decree(self, term: Term) -> None:
        """A write as only the controller may make it."""
        await self._zk.ensure_path(DECREE)
        async with term.transaction() as transaction:
            transaction.set(DECREE, b"%d %d" % (self._id, term.epoch))

    async def _create_topic(self, term: Term, ids: frozenset[int]) -> None:
        assignment = assign(ids, partitions=PARTITIONS, replication=min(REPLICATION, len(ids)))
        try:
            await self._topics.create(term, TOPIC, assignment)
        except (coord.NodeExists, coord.ConnectionLost):
            pass

    async def _write_late(self, term: Term) -> None:
        """What must never work: a controller that was stopped, and does not know of its successor, writes on.

        A recipe's body is cancelled in time, so this has to shield itself to be so careless.
        """
        with trio.move_on_after(20, shield=True):
            refusal = await self._refusal(term)
            await self._zk.ensure_path(REFUSED)
            await self._zk.create(f"{REFUSED}/{self._id}", refusal.encode())

    async def _refusal(self, term: Term) -> str:
        while True:
            try:
                await self._decree(term)
                return "it was not refused"
            except ControllerMoved as error:
                return str(error)
            except (coord.ConnectionLost, coord.SessionExpired):
                continue  # on this connection; the next one can carry the write
