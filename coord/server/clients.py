"""The clients' input loop: one task owns every plain TCP socket through one selector.

An epoll or kqueue selector is itself a file descriptor that becomes readable when any of its sockets is
ready, so the task sleeps in trio until something is to be read and then takes everything that is ready in one
turn: receive, feed the connections, settle once, send once per connection. A task per connection costs four
times as much (see `benchmarks/`).

Owns sockets, their interest in reading and writing, and their unsent bytes. What the bytes mean is
`Connection`'s business; what a turn does beside them is `settle`'s.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import selectors
import socket
from typing import Protocol

import trio

from coord.limits import FILES_RESERVED, OUTBOX_BYTES_FATAL, RECEIVE_BYTES_MAX
from coord.logs import fields
from coord.server.carrier import Phase
from coord.server.connection import Connection
from coord.server.replica import Replica

log = logging.getLogger("coord.server")

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

ACCEPT_AGAIN_SECONDS = 0.5


def listen(address: str, port: int, backlog: int) -> socket.socket:
    """A listening socket; raises OSError with the address in its text."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=backlog if backlog > 0 else 1024)


def selector_is_pollable() -> bool:
    """Can a trio task sleep on this platform's selector?"""
    return hasattr(selectors.DefaultSelector, "fileno")


class Shell(Protocol):
    """What an input loop sees of the server: feed the replica in a turn, then settle."""

    replica: Replica

    def begin_turn(self) -> None: ...
    def settle(self) -> None: ...


def admit(replica: Replica, host: str, port: int) -> Connection | None:
    """`Replica.admit`, if there is a file descriptor to spare; a log that could not open its next segment
    for want of one would end the server."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = len(replica.lobby.connections)
    if files != resource.RLIM_INFINITY and connections >= max(files - FILES_RESERVED, files // 2):
        log.warning("too many connections", extra=fields(connections=connections, open_files_limit=files))
        return None
    return replica.lobby.admit(host, port)


class ClientSocket:
    """One client's socket: carries a `Connection`'s bytes."""

    __slots__ = ("_interest", "_lingers", "_owner", "_socket", "_unsent", "connection")

    def __init__(self, owner: ClientSockets, sock: socket.socket, connection: Connection) -> None:
        self._owner = owner
        self._socket = sock
        self._unsent: bytes | memoryview = b""
        self._interest = _READ
        self._lingers = False
        self.connection = connection

    def ready(self, mask: int) -> None:
        if mask & _WRITE:
            self.flush()
        if mask & _READ and self.connection.phase is not Phase.CLOSED:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"the connection broke: {error.strerror}")
            return
        if data and not self._lingers:
            self.connection.receive(data)
            self._set_interest()
        elif data:
            pass  # it has not heard the goodbye yet
        else:
            self.close("")

    def flush(self) -> None:
        """Send what can be sent now, and choose what to wait for next."""
        connection = self.connection
        if connection.phase is Phase.CLOSED:  # by its socket, after it became dirty in this same turn
            return
        new = connection.take_outbox()
        # A slow reader takes its megabytes in small pieces: each must not copy all the rest.
        data = b"".join((self._unsent, new)) if self._unsent and new else self._unsent or new
        if data:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.close(f"the connection broke: {error.strerror}")
                return
            data = memoryview(data)[sent:] if sent < len(data) else b""
        self._unsent = data
        connection.unsent_bytes = len(data)
        if len(data) > OUTBOX_BYTES_FATAL:
            self.close(f"the client reads too slowly: {len(data)} bytes wait for it")
        elif not data and connection.said_goodbye:
            self._linger()
        elif not data and connection.phase is Phase.CLOSING:
            self.close(connection.close_reason)
        else:
            connection.resume()
            self._set_interest()

    def _linger(self) -> None:
        """Nothing more is said. To close now could overtake what was: first the client hears it, and ends."""
        if not self._lingers:
            self._lingers = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close("")
                return
            self._owner.change_interest(self._socket, self, self._interest, _READ)
            self._interest = _READ

    def _set_interest(self) -> None:
        connection = self.connection
        interest = 0 if connection.congested or connection.phase is Phase.CLOSING else _READ
        if self._unsent:
            interest |= _WRITE
        if interest != self._interest:
            self._owner.change_interest(self._socket, self, self._interest, interest)
            self._interest = interest

    def close(self, reason: str) -> None:
        if self.connection.phase is Phase.CLOSED and self._socket.fileno() < 0:
            return
        self.connection.closed(reason)
        if self._socket.fileno() >= 0:
            self._owner.change_interest(self._socket, self, self._interest, 0)
            self._interest = 0
            # What was received and not read would turn the close into a reset, and a reset may overtake
            # the last reply on its way to the client.
            try:
                self._socket.recv(RECEIVE_BYTES_MAX)
            except OSError:
                pass
            self._socket.close()


class ClientSockets:
    """The selector and the listening socket. `settle` is called once at the end of each turn."""

    def __init__(self, shell: Shell, listener: socket.socket) -> None:
        self._shell = shell
        self._listener = listener
        self._accept_again_at = math.inf
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, _READ, None)

    async def run(self) -> None:
        """Serve until cancelled; then every socket is closed."""
        fileno = self._selector.fileno()
        try:
            while True:
                with trio.move_on_at(self._accept_again_at):
                    await trio.lowlevel.wait_readable(fileno)
                self._turn()
                if trio.current_time() >= self._accept_again_at:
                    self._accept_again_at = math.inf
                    self._selector.register(self._listener, _READ, None)
        finally:
            self._close()

    def _turn(self) -> None:
        self._shell.begin_turn()
        for key, mask in self._selector.select(0):
            if key.data is None:
                self._accept()
            else:
                key.data.ready(mask)
        self._shell.settle()

    def _accept(self) -> None:
        while True:
            try:
                sock, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    log.error("cannot accept a connection: %s; trying again shortly", error.strerror)
                    self._pause_accepting()
                    return
                continue  # that client is gone already
            connection = admit(self._shell.replica, peer[0], peer[1])
            if connection is None:
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.carrier = client = ClientSocket(self, sock, connection)
            self._selector.register(sock, _READ, client)

    def _pause_accepting(self) -> None:
        """Out of file descriptors: the listener stays readable, so it must not wake us until one is free."""
        self._selector.unregister(self._listener)
        self._accept_again_at = trio.current_time() + ACCEPT_AGAIN_SECONDS

    def change_interest(self, sock: socket.socket, client: ClientSocket, old: int, new: int) -> None:
        if old and new:
            self._selector.modify(sock, new, client)
        elif new:
            self._selector.register(sock, new, client)
        elif old:
            self._selector.unregister(sock)

    def _close(self) -> None:
        for connection in list(self._shell.replica.lobby.connections):
            carrier = connection.carrier
            if isinstance(carrier, ClientSocket):
                carrier.flush()
                carrier.close("")
        self._selector.close()
        self._listener.close()
