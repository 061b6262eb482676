"""The link between a client's session and a server: one task that connects, converses, and reconnects.

Owns the sockets, the clock and the waiting: it feeds the sans-I/O `Session` and carries out what comes of
it. Must not know: znodes, paths, what a request means.

Rules that hold:

- After anything that happened to the core, `settle` runs, and never awaits: it wakes the callers whose
  calls are finished, tells the watchers, and has the writer send what there is, once per turn.
- Only where nobody else is about to ask anything (nothing is under way, and the last turn woke no more than
  one caller), a request is sent at once, since nothing would be gained by gathering.
- A caller waits in its own task; there is no task per call. Cancelling it abandons the call and nothing
  else.
- The task is shielded from the caller's cancellation, so that closing can still say goodbye; it ends when
  `stop` says so, or when the credentials are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from coord.client.calls import Call, Ended, Fired, Opened, SessionState
from coord.client.guarantee import LiveSession
from coord.client.hosts import Address, Addresses
from coord.client.lease import SILENCE
from coord.client.line import Line, line_of
from coord.client.read_write import BROKEN, OpenStream, find
from coord.client.session import Session
from coord.client.watches import Watcher, Watches
from coord.errors import ClientClosed, ConnectionLost, CoordError, error_of
from coord.wire.records import Op

logger = logging.getLogger("coord.client")


class Link:
    """See the module's text. `connect_timeout` is in seconds, for one attempt including the handshake."""

    def __init__(
        self,
        core: Session,
        addresses: Addresses,
        *,
        connect_timeout: float,
        open_stream: OpenStream,
    ) -> None:
        self.session = LiveSession(core)
        self._core = core
        self._addresses = addresses
        self._connect_timeout = connect_timeout
        self._open_stream = open_stream
        self._scope = trio.CancelScope(shield=True)
        self._wake = trio.Event()
        self._line: Line | None = None
        self._woken = 0  # callers, when the server was heard last
        self.stopped = trio.Event()
        self.closed = False

    # -- for callers ----------------------------------------------------------------------------------

    def submit(self, call: Call) -> Call:
        """Has `call` sent, after those submitted before; `wait` then waits for what becomes of it."""
        if self.closed:
            raise ClientClosed(path=call.path, operation=call.operation)
        self._core.submit(call)
        if call.finished:
            self.settle()
        elif self._line is not None and self._woken <= 1 and self._core.quiet:
            self._send_now(self._line)
        else:
            self._wake.set()
        return call

    def _send_now(self, line: Line) -> None:
        if line.direct and not line.behind:
            line.send(self._core.outgoing(trio.current_time()))
        if line.behind or self._core.has_outgoing:
            self._wake.set()

    def submit_auth(self, scheme: str, auth: bytes, call: Call) -> Call:
        if self.closed:
            raise ClientClosed(operation=call.operation)
        self._core.add_auth(scheme, auth, call)
        self.settle()
        return call

    async def wait(self, call: Call) -> bytes:
        """The whole reply frame of `call`, header included. Raises what became of it otherwise.

        Cancelled, it abandons the call: one not sent yet never will be, of another the outcome stays open.
        """
        if call.finished:
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled:
                self.abandon(call)
                raise
        else:
            call.waiter = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())

            def abort(_: object) -> trio.lowlevel.Abort:
                self.abandon(call)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        return reply_of(call)

    def abandon(self, call: Call) -> None:
        self._core.abandon(call)

    @property
    def watches(self) -> Watches:
        return self._core.watches

    def forget(self, watcher: Watcher) -> None:
        """`watcher` wants to hear of nothing any more."""
        self._core.forget(watcher)
        self.settle()

    async def ask(self, call: Call) -> bytes:
        """Submits `call` and waits for it; a caller that is cancelled already submits nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.wait(self.submit(call))

    # -- the task -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the session connected until `stop`."""
        try:
            with self._scope:
                while self._goes_on and self._core.state is not SessionState.AUTH_FAILED:
                    await self._attempt(await self._addresses.next())
        finally:
            self.stopped.set()

    @property
    def _goes_on(self) -> bool:
        """Once the session is closed, the server ends the connection itself: that is no reason for another,
        unless the server goes and leaves it to the next one."""
        return not self.closed or self._core.moving

    def stop(self, error: type[CoordError] = ClientClosed) -> None:
        """Ends the task and fails whoever still waits for a reply."""
        self.closed = True
        self._scope.cancel(reason="the client is closed")
        for call in self._core.take_calls():
            call.error = error(path=call.path, operation=call.operation)
            self._wake_caller(call)
        self._core.close()
        for watcher in self.watches.end_session() | self.watches.lasting():
            watcher.session_ended()
        self.session.end("the client was closed")
        self.settle()

    async def goodbye(self) -> None:
        """Closes the session at the server, which deletes its ephemeral znodes; returns when it has."""
        if not self._core.connected and not self._core.moving:
            return
        call = self.submit(Call(Op.CLOSE_SESSION, b"", operation="closeSession"))
        self.closed = True
        try:
            await self.wait(call)
        except CoordError as error:
            logger.debug("session not closed in good order: %s", error)

    async def _attempt(self, address: Address) -> None:
        """One connection, from opening it to its end."""
        core = self._core
        line: Line | None = None
        try:
            with trio.fail_after(self._connect_timeout):
                line = line_of(await self._open_stream(address))
                await self._shake_hands(line)
            self._addresses.succeeded()
            self.session.server = f"{address.host.name}:{address.host.port}"
            logger.info("connected to %s, session %s", _name(address), hex(core.id))
            await self._converse(line)
        except trio.TooSlowError:
            logger.info("no answer in time from %s", _name(address))
        except (CoordError, *BROKEN) as error:
            logger.info("no connection to %s: %s", _name(address), error)
        finally:
            self.session.server = ""
            if self._goes_on:
                core.detach()
                self.settle()
            if line is not None:
                await line.close()

    async def _shake_hands(self, line: Line) -> None:
        self._core.attach(trio.current_time())
        line.send(self._core.outgoing(trio.current_time()))
        await line.drained()
        while not self._core.connected:
            await self._receive(line)

    async def _converse(self, line: Line) -> None:
        """Sends and receives until the connection is over."""
        async with trio.open_nursery() as nursery:

            async def until_over(part: Callable[[Line], Awaitable[None]]) -> None:
                try:
                    await part(line)
                except (CoordError, *BROKEN) as error:
                    self._log_end(str(error))
                except trio.TooSlowError:
                    self._log_end("the server takes no more requests")
                finally:
                    self._line = None  # what is asked from now on is for the next one
                    nursery.cancel_scope.cancel(reason="the connection is over")

            self._line = line
            nursery.start_soon(until_over, self._send_all)
            if self._core.state is SessionState.CONNECTED_READ_ONLY:
                nursery.start_soon(until_over, self._leave_for_a_quorum)
            await until_over(self._receive_all)

    async def _leave_for_a_quorum(self, _line: Line) -> None:
        """Returns, which ends the connection, when there is a better one to be had."""
        address = await find(self._addresses, self._open_stream, self._connect_timeout)
        self._addresses.prefer(address)
        self._log_end(f"{_name(address)} has a quorum")

    def _log_end(self, why: str) -> None:
        if not self.closed:
            logger.info("connection lost, session %s: %s", hex(self._core.id), why)

    async def _receive_all(self, line: Line) -> None:
        while True:
            await self._receive(line)

    async def _receive(self, line: Line) -> None:
        data = await line.receive()
        if not data:
            raise ConnectionLost("the server closed the connection")
        try:
            self._core.receive(data, trio.current_time())
        finally:
            self._woken = self.settle()

    async def _send_all(self, line: Line) -> None:
        """Sends what there is, once per turn, and pings when it is time."""
        core = self._core
        while True:
            with trio.move_on_at(core.next_tick):
                await self._wake.wait()
            self._wake = trio.Event()
            core.tick(trio.current_time())
            while line.behind or core.has_outgoing:
                if not line.behind:
                    line.send(core.outgoing(trio.current_time()))
                if line.behind:
                    await self._drain(line)

    async def _drain(self, line: Line) -> None:
        timeout = self._core.lease.timeout
        try:
            with trio.fail_after(timeout / 3):
                await line.drained()
        except BROKEN:
            # What the server said before it closed is still to be read: the other task sees the end.
            await trio.sleep(timeout * SILENCE)
            raise

    # -- carrying out what the core has concluded -----------------------------------------------------

    def settle(self) -> int:
        """Returns how much has happened."""
        core = self._core
        outcomes = core.take_outcomes()
        for happened in outcomes:
            if isinstance(happened, Call):
                self._wake_caller(happened)
            else:
                self._tell(happened)
        self.session.refresh()
        if core.has_outgoing:
            self._wake.set()
        return len(outcomes)

    def _wake_caller(self, call: Call) -> None:
        call.finished = True
        wake, call.waiter = call.waiter, None
        if wake is not None:
            wake()

    def _tell(self, happened: Fired | Opened | Ended) -> None:
        if isinstance(happened, Fired):
            for watcher in happened.watchers:
                watcher.fired(happened.event)
        elif isinstance(happened, Opened):
            for watcher in happened.lasting:
                watcher.resynced()
        else:
            logger.warning("session over: %s", self._core.state.name)
            self.session.end("the session has expired")
            for watcher in happened.watchers:
                watcher.session_ended()


def reply_of(call: Call) -> bytes:
    """The whole reply frame of a finished call, header included. Raises what became of it otherwise."""
    if call.error is None:
        return call.reply
    if isinstance(call.error, int):
        raise error_of(call.error, path=call.path, operation=call.operation)
    raise call.error


def _name(address: Address) -> str:
    host, port = address.host
    return f"{host}:{port}" if host == address.ip else f"{host}:{port} ({address.ip})"
