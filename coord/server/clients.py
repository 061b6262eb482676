"""Clients by the selector: the listening socket, and one `ClientSocket` for each client.

Owns these sockets, their interest in reading and writing, and their unsent bytes. What the bytes mean is
`Connection`'s business; when they are looked at, that of `sockets`.
"""

from __future__ import annotations

import errno
import logging
import resource
import socket

import trio

from coord.limits import FILES_RESERVED, OUTBOX_BYTES_FATAL, RECEIVE_BYTES_MAX
from coord.logs import fields
from coord.server.carrier import Phase
from coord.server.connection import Connection
from coord.server.replica import Replica
from coord.server.sockets import READ, WRITE, Sockets

log = logging.getLogger("coord.server")

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

ACCEPT_AGAIN_SECONDS = 0.5


def listen(address: str, port: int, backlog: int) -> socket.socket:
    """A listening socket; raises OSError with the address in its text."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=backlog if backlog > 0 else 1024)


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

    __slots__ = ("_interest", "_lingers", "_socket", "_sockets", "_unsent", "connection")

    def __init__(self, sockets: Sockets, sock: socket.socket, connection: Connection) -> None:
        """Watched from now on."""
        self._sockets = sockets
        self._socket = sock
        self._unsent: bytes | memoryview = b""
        self._interest = READ
        self._lingers = False
        self.connection = connection
        sockets.watch(sock, self, READ)

    def ready(self, mask: int) -> None:
        if mask & WRITE:
            self.flush()
        if mask & READ and self.connection.phase is not Phase.CLOSED:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._sockets.receive(self._socket)
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
            self._watch_for(READ)

    def _set_interest(self) -> None:
        connection = self.connection
        interest = 0 if connection.congested or connection.phase is Phase.CLOSING else READ
        if self._unsent:
            interest |= WRITE
        self._watch_for(interest)

    def _watch_for(self, interest: int) -> None:
        if interest != self._interest:
            self._interest = interest
            self._sockets.watch(self._socket, self, interest)

    def close(self, reason: str) -> None:
        if self.connection.phase is Phase.CLOSED and self._socket.fileno() < 0:
            return
        self.connection.closed(reason)
        if self._socket.fileno() >= 0:
            self._watch_for(0)
            # What was received and not read would turn the close into a reset, and a reset may overtake
            # the last reply on its way to the client.
            try:
                self._socket.recv(RECEIVE_BYTES_MAX)
            except OSError:
                pass
            self._socket.close()


class Listener:
    """The listening socket."""

    def __init__(self, replica: Replica, sockets: Sockets, listener: socket.socket) -> None:
        self._replica = replica
        self._sockets = sockets
        self._listener = listener
        self._exhausted = trio.Event()
        listener.setblocking(False)

    async def run(self) -> None:
        """Serve until cancelled; then every client's socket is closed."""
        try:
            while True:
                self._exhausted = trio.Event()
                self._sockets.watch(self._listener, self, READ)
                await self._exhausted.wait()
                await trio.sleep(ACCEPT_AGAIN_SECONDS)
        finally:
            self._close()

    def ready(self, mask: int) -> None:
        while True:
            try:
                sock, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    log.error("cannot accept a connection: %s; trying again shortly", error.strerror)
                    # The listener stays readable, so it must not wake us until there are some again.
                    self._sockets.watch(self._listener, self, 0)
                    self._exhausted.set()
                    return
                continue  # that client is gone already
            connection = admit(self._replica, peer[0], peer[1])
            if connection is None:
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.carrier = ClientSocket(self._sockets, sock, connection)

    def _close(self) -> None:
        for connection in list(self._replica.lobby.connections):
            carrier = connection.carrier
            if isinstance(carrier, ClientSocket):
                carrier.flush()
                carrier.close("")
