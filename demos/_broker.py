"""One broker of the demo, a process of its own: it registers, stands for controller, and leads partitions.

Owns what a broker does. It stores no messages: a follower has caught up with its leader as soon as it is
registered, and the leader says so.

It leaves in good order when told to (SIGTERM); and it ends when its standard input does, so that it never
outlives the demo, however that ended.
"""

from __future__ import annotations

import signal

import trio

import coord
from demos._picture import DECREE, PULSE, REFUSED
from demos._stage import while_input_lasts
from recipes import (
    BrokerInfo,
    BrokerRegistry,
    Controller,
    ControllerMoved,
    NotLeader,
    Registration,
    Term,
    Topics,
)

PULSE_SECONDS = 0.2


class BrokerProcess:
    """Broker `broker_id` in a rack; `session_seconds` is how long it may be silent."""

    def __init__(self, server: str, broker_id: int, rack: str, session_seconds: float) -> None:
        self._server = server
        self._info = BrokerInfo(broker_id, [("PLAINTEXT", "127.0.0.1", 9092 + broker_id)], rack)
        self._id = broker_id
        self._session_seconds = session_seconds

    async def run(self) -> None:
        await while_input_lasts(self._serve)

    async def _serve(self) -> None:
        async with coord.connect(self._server, timeout=self._session_seconds) as self._zk:
            self._topics = Topics(self._zk)
            self._registry = BrokerRegistry(self._zk)
            async with self._registry.register(self._info) as me, trio.open_nursery() as nursery:
                nursery.start_soon(self._pulse)
                nursery.start_soon(self._registry.run_controller, self._id, self._control)
                nursery.start_soon(self._follow_brokers, me)
                nursery.start_soon(self._follow_topics, me)
                await _until_told_to_leave()
                await self._registry.leave(me)
                nursery.cancel_scope.cancel()

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

    # -- as a leader --------------------------------------------------------------------------------------

    async def _follow_brokers(self, me: Registration) -> None:
        async with self._registry.watch() as views:
            async for _ in views:
                await self._keep_in_sync(me)

    async def _follow_topics(self, me: Registration) -> None:
        async with self._topics.watch() as views:
            async for _ in views:
                await self._keep_in_sync(me)

    async def _keep_in_sync(self, me: Registration) -> None:
        """Of what we lead, every replica that is there has all there is."""
        try:
            view = await self._topics.view()
            for which in view.led_by(me.id):
                state, replicas = view.states[which], view.topics[which.topic].replicas[which.partition]
                missing = set(replicas).difference(state.isr)
                await self._topics.change_isr(
                    which, leader=me.id, leader_epoch=state.leader_epoch, add=missing
                )
        except (NotLeader, coord.SessionExpired):
            pass  # the next view tells what we lead now

    # -- as the controller --------------------------------------------------------------------------------

    async def _control(self, term: Term) -> None:
        """Elected: lead the cluster until the term ends."""
        try:
            await self._decree(term)
            await Controller(self._zk).run(term)
        finally:
            if term.lost:
                await self._write_late(term)

    async def _decree(self, term: Term) -> None:
        """A write as only the controller may make it."""
        await self._zk.ensure_path(DECREE)
        async with term.transaction() as transaction:
            transaction.set(DECREE, b"%d %d" % (self._id, term.epoch))

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


async def _until_told_to_leave() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return
