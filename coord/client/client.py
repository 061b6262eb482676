"""The client: every operation of ZooKeeper as an async method, on one session that is kept alive.

Owns the translation between the caller's terms (paths below the chroot, seconds, keyword arguments) and
requests, and the life of the client's tasks. Must not know: sockets (see `link`), the protocol's order (see
`session`).

Synopsis::

    async with coord.connect("127.0.0.1:2181/app") as zk:
        await zk.create("/jobs", b"", make_parents=True)
        data, stat = await zk.get("/jobs")

Rules that hold:

- Any number of tasks use one client; their requests are pipelined on one connection. Cancelling a call
  leaves the client as usable as before.
- A read interrupted by a lost connection is repeated; a write is not: `ConnectionLost` says that its
  outcome is unknown. A call made without a connection waits for one: bound it with `trio.fail_after`.
- A call that the end of a session interrupts raises `SessionExpired`; the client then opens the next
  session by itself.
- Every `CoordError` carries the path and the operation as the caller named them.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from functools import partial
from math import inf
from random import Random
from types import TracebackType
from typing import Final, Self

import trio

from coord.client.calls import Call, SessionHandle, SessionState
from coord.client.guarantee import LiveSession
from coord.client.hosts import Addresses, open_stream, parse_connect_string
from coord.client.janitor import Janitor
from coord.client.link import Link
from coord.client.operations import Operations
from coord.client.paths import Chroot, check_path
from coord.client.requests import check_acl, check_version, named
from coord.client.session import Session
from coord.client.watching import Events, Node, States, Watch
from coord.errors import (
    AuthFailed,
    BadArguments,
    NoNode,
)
from coord.wire.records import (
    ACL,
    GetACLReply,
    Id,
    Op,
    PathRequest,
    SetACLRequest,
    Stat,
    StatReply,
    WhoAmIReply,
)

GOODBYE_SECONDS: Final = 1.0
"""How long leaving the `async with` block may take to close the session at the server."""

_READY = (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)


class Client(Operations):
    """See `coord.connect`, which makes one; entering it waits for the first session."""

    def __init__(
        self,
        link: Link,
        core: Session,
        chroot: Chroot,
        credentials: Sequence[Call] = (),
        patience: float = inf,
        hosts: str = "",
    ) -> None:
        """`credentials` are the calls that learn what becomes of those given from the start; `patience` is
        how many seconds entering may take."""
        super().__init__(link, chroot)
        self._core = core
        self._credentials = credentials
        self._patience = patience
        self.hosts = hosts
        """The connect string."""
        self._nurseries = trio.open_nursery()
        self._janitor_scope = trio.CancelScope(shield=True)
        self._janitor_stopped = trio.Event()
        self.janitor = Janitor(self)

    @property
    def session(self) -> LiveSession:
        """The session's id, state, timeout and guarantees; one object for the client's life."""
        return self._link.session

    @property
    def chroot(self) -> str:
        """The znode all paths are below; "" for none."""
        return self._chroot.path

    # -- life -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        nursery = await self._nurseries.__aenter__()
        nursery.start_soon(self._link.run)
        nursery.start_soon(self._run_janitor)
        try:
            with trio.fail_after(self._patience):
                await self._first_session()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _first_session(self) -> None:
        final = SessionState.AUTH_FAILED
        state = await self.session.state.wait_value(lambda state: state in (*_READY, final))
        for call in self._credentials:
            await self._link.wait(call)
        if state is final:
            raise AuthFailed(operation="connect")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(GOODBYE_SECONDS):
                if self._core.connected:
                    await self.janitor.idle()
                await self._link.goodbye()
            self._janitor_scope.cancel(reason="the client is closed")
            self._link.stop()
            await self._link.stopped.wait()
            await self._janitor_stopped.wait()
        # The tasks have ended, and the block's own exception is not the nursery's: it leaves as it is.
        await self._nurseries.__aexit__(None, None, None)

    async def _run_janitor(self) -> None:
        try:
            with self._janitor_scope:
                await self.janitor.run()
        finally:
            self._janitor_stopped.set()

    # -- access ---------------------------------------------------------------------------------------

    async def get_acl(self, path: str) -> tuple[list[ACL], Stat]:
        """The znode's ACL and Stat. Raises `NoNode`, `NoAuth`."""
        full = named(self._chroot, path, "get_acl")
        reply = await self._reply(self._reading("get_acl", Op.GET_ACL, path, PathRequest(full)), GetACLReply)
        return reply.acl, reply.stat

    async def set_acl(self, path: str, acl: Sequence[ACL], *, version: int = -1) -> Stat:
        """Replaces the ACL; `version` is compared with the Stat's aversion. Raises `NoNode`, `NoAuth`,
        `InvalidACL`, `BadVersion`."""
        full = named(self._chroot, path, "set_acl")
        check_acl(acl, path, "set_acl")
        check_version(version, path, "set_acl")
        body = SetACLRequest(full, list(acl), version).encode()
        return (await self._reply(Call(Op.SET_ACL, body, path=path, operation="set_acl"), StatReply)).stat

    async def add_auth(self, scheme: str, credentials: bytes | str) -> None:
        """Adds credentials, e.g. ``("digest", "user:password")``, to this and every later connection.

        Raises `AuthFailed` if the server refuses them; the client is unusable then.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        call = Call(Op.AUTH, b"", operation="add_auth")
        await self._link.wait(self._link.submit_auth(scheme, _bytes(credentials), call))

    async def who_am_i(self) -> list[Id]:
        """The identities that the server knows this client by."""
        call = self._reading("who_am_i", Op.WHO_AM_I, "", None)
        return (await self._reply(call, WhoAmIReply)).identities

    # -- watch ----------------------------------------------------------------------------------------

    def watch(self) -> Watch:
        """A one-shot watch, to be passed to reads in its `with` block."""
        return Watch(self._link, self._chroot)

    def watch_data(self, path: str) -> States[Node | None]:
        """The znode's data, now and whenever it differs; None while there is no such znode."""
        check_path(path, "watch_data")

        async def read(watch: Watch) -> Node | None:
            while True:
                try:
                    return Node(*await self.get(path, watch=watch))
                except NoNode:
                    if await self.exists(path, watch=watch) is None:
                        return None

        return States(self.watch(), read, lambda node: node and (node.stat.czxid, node.stat.mzxid))

    def watch_exists(self, path: str) -> States[Stat | None]:
        """The znode's Stat, now and whenever its data differs; None while there is no such znode."""
        check_path(path, "watch_exists")

        async def read(watch: Watch) -> Stat | None:
            return await self.exists(path, watch=watch)

        return States(self.watch(), read, lambda stat: stat and (stat.czxid, stat.mzxid))

    def watch_children(self, path: str) -> States[tuple[str, ...] | None]:
        """The children's names, sorted, now and whenever they differ; None while there is no such znode."""
        check_path(path, "watch_children")

        async def read(watch: Watch) -> tuple[str, ...] | None:
            while True:
                try:
                    return tuple(sorted(await self.children(path, watch=watch)))
                except NoNode:
                    if await self.exists(path, watch=watch) is None:
                        return None

        return States(self.watch(), read, lambda names: names)

    def add_watch(self, path: str, *, recursive: bool = True) -> Events:
        """A persistent watch: every event of the znode and, if `recursive`, of everything below it."""
        check_path(path, "add_watch")
        return Events(self._link, self._chroot, path, recursive=recursive)


def _bytes(credentials: bytes | str) -> bytes:
    return credentials.encode() if isinstance(credentials, str) else credentials


def connect(
    hosts: str,
    *,
    timeout: float = 10.0,
    connect_timeout: float | None = None,
    patience: float = inf,
    read_only: bool = False,
    auth: Iterable[tuple[str, bytes | str]] = (),
    session: SessionHandle | None = None,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """A client of the servers in `hosts`: ``"host:port,host:port/chroot"``, the port 2181 if left out.

    Synopsis::

        async with coord.connect("127.0.0.1:2181", patience=30) as zk:
            ...

    `timeout` is the session's, in seconds, as asked for (`zk.session.timeout` is what the server granted).
    `connect_timeout`, in seconds, bounds one attempt with one server; by default a sixth of `timeout`, and
    at least one second. `read_only` accepts a server without a quorum (with its read-only mode enabled) for
    as long as there is no other: the state is then CONNECTED_READ_ONLY, reads may be old, writes and
    linearizable reads raise `NotReadOnly`, and no guard or lock is held. The client looks for a server with
    a quorum meanwhile, and moves to it: watches go on, the session is a new one, and nobody is told that one
    was lost, since a read-only one has nothing to lose. A real session that loses its quorum is not given up
    for a read-only one: it may live on. `auth` are (scheme, credentials) pairs. `session` carries on a
    session (its `handle`) of another client. `tls` makes the connections TLS.

    Entering it waits for the first session, `patience` seconds at most (a cancel scope around it would bound
    the block as well); leaving it closes the session, which deletes its ephemeral znodes, and takes a second
    at most. Raises `BadArguments` for a connect string it cannot read and, entered, `AuthFailed` or
    `trio.TooSlowError`.
    """
    if not 0 < timeout < 2**31 / 1000:
        raise BadArguments(f"the session timeout must be above 0 s and below 24 days, not {timeout}")
    addresses, chroot = parse_connect_string(hosts)
    core = Session(timeout, read_only=read_only, handle=session)
    calls: list[Call] = []
    for scheme, credentials in auth:
        calls.append(Call(Op.AUTH, b"", operation="connect"))
        core.add_auth(scheme, _bytes(credentials), calls[-1])
    link = Link(
        core,
        Addresses(addresses, Random()),
        connect_timeout=connect_timeout or max(1.0, timeout / 6),
        open_stream=partial(open_stream, tls=tls),
    )
    return Client(link, core, Chroot(chroot), calls, patience, hosts)
