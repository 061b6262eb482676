"""The shell's connection: one client that lives between the lines, until it is closed or replaced.

Owns the client and the tasks around it, and what is told of its ups and downs. Must not know lines, nor where
what it tells goes.

Rules that hold here:

- Opening waits for nothing: the shell can be used before there is a server, and a command waits for it.
- Closing ends the session at the server, which deletes its ephemeral znodes, and takes a second at most.
- A connection lost, a session that expired and its successor are each told once.

Synopsis::

    connection = Connection(nursery, tell=lambda text, tone: print(text))
    await connection.open("127.0.0.1:2181", auth=())
    zk = await connection.client()
    connection.status()  # Status("CONNECTED", "127.0.0.1:2181", 0x1000000000001)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import is_not
from typing import NamedTuple

import trio

import coord
from coord import Client, SessionState
from coord.cli.shell.reader import Tone

Auth = Sequence[tuple[str, bytes | str]]

CONNECTED = (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)


class NotConnected(coord.CoordError):
    """The shell was told to close its session, or credentials were refused."""

    explanation = "not connected; `connect HOST:PORT` opens a session"


class Status(NamedTuple):
    state: str
    """zkCli's word for it: CONNECTING, CONNECTED, … CLOSED"""
    server: str
    """``host:port`` of the server, without a connection the connect string"""
    session_id: int
    """0 if there is none"""


class Connection:
    """See the module's text; `tell` is called with one line of text, and how it is meant."""

    def __init__(self, nursery: trio.Nursery, tell: Callable[[str, Tone], object]) -> None:
        self._nursery = nursery
        self._tell = tell
        self._client: Client | None = None
        self._ready = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._refused = False
        self._auth: list[tuple[str, bytes | str]] = []
        self.servers = ""
        """the connect string"""
        self.changed: Callable[[], object] = lambda: None
        """called when `status` may have changed"""

    async def open(self, servers: str, auth: Auth) -> None:
        """Closes what is open, and connects to `servers`. Raises `BadArguments`, with everything left as it
        was, for a connect string that cannot be read."""
        client = coord.connect(servers, auth=auth)
        await self.close()
        self.servers, self._client, self._refused, self._auth = servers, client, False, list(auth)
        self._ready, self._scope, self._ended = trio.Event(), trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._live, client, self._scope, self._ready, self._ended)

    async def close(self) -> bool:
        """Ends the session; was there one?"""
        if self._client is None:
            return False
        self._client = None
        self._scope.cancel(reason="the session is closed")
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self.changed()
        return True

    async def client(self) -> Client:
        """Waits until there is a session. Raises `NotConnected`, `AuthFailed`."""
        if self._client is not None:
            await self._ready.wait()
        if self._client is None:
            raise coord.AuthFailed if self._refused else NotConnected
        return self._client

    async def another(self, timeout: float) -> Client:
        """A client to be entered, of the same servers and with the same credentials, whose session has
        `timeout` seconds. Waits, and raises, as `client` does."""
        await self.client()
        return coord.connect(self.servers, timeout=timeout, auth=self._auth)

    async def add_auth(self, scheme: str, credentials: bytes) -> None:
        """Waits, and raises, as `client` does."""
        await (await self.client()).add_auth(scheme, credentials)
        self._auth.append((scheme, credentials))

    async def settled(self) -> None:
        """Waits until there is a session, or can be none."""
        await self._ready.wait()

    @property
    def connected(self) -> Client | None:
        """The client, if it has a connection at this moment."""
        client = self._client
        return client if client is not None and client.session.state.value in CONNECTED else None

    def status(self) -> Status:
        client = self._client
        if client is None:
            return Status("CLOSED", self.servers, 0)
        session = client.session
        connecting = session.generation == 0 and session.state.value is SessionState.SUSPENDED
        state = "CONNECTING" if connecting else session.state.value.name
        server = f"{session.server}{client.chroot}" if session.server else self.servers
        return Status(state, server, session.id)

    # -- the client's task ------------------------------------------------------------------------------

    async def _live(
        self, client: Client, scope: trio.CancelScope, ready: trio.Event, ended: trio.Event
    ) -> None:
        """The life of one client."""
        try:
            with scope:
                async with client:
                    self._tell(_welcome(client), Tone.GOOD)
                    ready.set()
                    await self._follow(client)
                raise coord.AuthFailed
        except coord.AuthFailed:
            self._client, self._refused = None, True
            self._tell("the server refused the credentials; the session is over", Tone.ECHO)
        finally:
            ready.set()
            ended.set()
            self.changed()

    async def _follow(self, client: Client) -> None:
        """Tells of each change that matters; returns when the credentials are refused."""
        session = client.session
        generation, name, lost = session.generation, hex(session.id), False
        state = session.state.value
        while state is not SessionState.AUTH_FAILED:
            self.changed()
            if state is SessionState.SUSPENDED:
                self._tell(f"connection lost; session {name} may live on", Tone.BAD)
                lost = True
            elif state in CONNECTED and session.generation != generation:
                gone = "its ephemeral znodes and one-shot watches are gone"
                self._tell(f"session {name} has expired: {gone}; {_welcome(client)}", Tone.BAD)
                generation, name, lost = session.generation, hex(session.id), False
            elif state in CONNECTED and lost:
                self._tell(_welcome(client), Tone.GOOD)
                lost = False
            state = await session.state.wait_value(partial(is_not, state))


def _welcome(client: Client) -> str:
    session = client.session
    said = f"connected to {session.server}, session {session.id:#x}"
    if session.state.value is SessionState.CONNECTED_READ_ONLY:
        said += ", read-only: the server has no quorum"
    return said
