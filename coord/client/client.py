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
from random import Random
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

import trio

from coord.client.guarantee import LiveSession
from coord.client.hosts import Addresses, parse_connect_string
from coord.client.janitor import Janitor
from coord.client.link import Link
from coord.client.paths import Chroot, check_path, join, parent_of
from coord.client.requests import CreateOptions, create_request, named
from coord.client.session import Call, Session, SessionHandle, SessionState
from coord.client.transaction import Transaction
from coord.client.watches import Kind
from coord.client.watching import Events, Node, States, Watch
from coord.errors import (
    AuthFailed,
    CoordError,
    NodeExists,
    NoNode,
    NotEmpty,
    error_of,
)
from coord.wire.records import (
    ACL,
    REPLY_HEADER_BYTES,
    Children2Reply,
    ChildrenReply,
    DeleteRequest,
    EphemeralsReply,
    GetACLReply,
    GetDataReply,
    GetEphemeralsRequest,
    Id,
    NumberReply,
    Op,
    PathReply,
    PathRequest,
    PathStatReply,
    PathWatchRequest,
    Record,
    SetACLRequest,
    SetDataRequest,
    Stat,
    StatReply,
    WhoAmIReply,
    decode_multi_reply,
    encode_multi,
)

R = TypeVar("R", bound=Record)

GOODBYE_SECONDS: Final = 1.0
"""How long leaving the `async with` block may take to close the session at the server."""

_READY = (SessionState.CONNECTED, SessionState.CONNECTED_READ_ONLY)


class GetData(NamedTuple):
    """For `Client.multi_read`: yields (data, Stat)."""

    path: str


class GetChildren(NamedTuple):
    """For `Client.multi_read`: yields the children's names."""

    path: str


ReadResult = tuple[bytes, Stat] | list[str] | CoordError


class Client:
    """See `coord.connect`, which makes one; entering it waits for the first session."""

    def __init__(self, link: Link, core: Session, chroot: Chroot) -> None:
        self._link = link
        self._core = core
        self._chroot = chroot
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
            state = await self.session.state.wait_value(
                lambda state: state in (*_READY, SessionState.AUTH_FAILED)
            )
            if state is SessionState.AUTH_FAILED:
                raise AuthFailed(operation="connect")
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

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

    # -- create ---------------------------------------------------------------------------------------

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] | None = None,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        make_parents: bool = False,
    ) -> str:
        """Creates a znode and returns its path (with the number that `sequential` appends).

        `acl` defaults to `OPEN_ACL`. An ephemeral one goes with the session; a container when its last child
        has gone; one with a `ttl` (seconds) when it has neither changed nor had children for so long.
        `make_parents` creates what is missing above it first, with the same ACL.

        Raises `NodeExists`, `NoNode` (no parent), `NoChildrenForEphemerals`, `NoAuth`, `InvalidACL`,
        `QuotaExceeded`, `BadArguments`; `Unimplemented` for a ttl if the server is not set up for it.
        """
        options = CreateOptions(acl, ephemeral, sequential, container, ttl)
        frame, with_stat = await self._create(path, data, options, make_parents, with_stat=False)
        reply = (PathStatReply if with_stat else PathReply).from_bytes(frame, REPLY_HEADER_BYTES)
        return self._chroot.outside(reply.path)

    async def create_with_stat(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] | None = None,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
        make_parents: bool = False,
    ) -> tuple[str, Stat]:
        """As `create`; returns the new znode's Stat as well, whose czxid is a fencing token."""
        options = CreateOptions(acl, ephemeral, sequential, container, ttl)
        frame, _ = await self._create(path, data, options, make_parents, with_stat=True)
        reply = PathStatReply.from_bytes(frame, REPLY_HEADER_BYTES)
        return self._chroot.outside(reply.path), reply.stat

    async def _create(
        self, path: str, data: bytes | None, options: CreateOptions, make_parents: bool, *, with_stat: bool
    ) -> tuple[bytes, bool]:
        """The reply's frame, and whether it holds a Stat."""
        op, request = create_request(self._chroot, path, data, options, with_stat=with_stat)
        body = request.encode()
        while True:
            try:
                frame = await self._link.ask(Call(op, body, path=path, operation="create"))
                return frame, op != Op.CREATE
            except NoNode:
                if not make_parents:
                    raise
                await self.ensure_path(parent_of(path), acl=options.acl)

    async def ensure_path(
        self, path: str, *, acl: Sequence[ACL] | None = None, container: bool = False
    ) -> None:
        """Creates the znode and everything missing above it, the chroot included; those there stay as they
        are. With `container`, what is created is a container."""
        check_path(path, "ensure_path")
        missing = [path]
        while missing:
            step = missing[-1]
            try:
                if step == "/":
                    await self._create_chroot(acl)
                else:
                    await self.create(step, acl=acl, container=container)
                missing.pop()
            except NodeExists:
                missing.pop()
            except NoNode:
                missing.append(parent_of(step))

    async def ensure_chroot(self, *, acl: Sequence[ACL] | None = None) -> None:
        """Creates the chroot and everything missing above it. `connect` does not: not everybody may."""
        await self._create_chroot(acl)

    async def _create_chroot(self, acl: Sequence[ACL] | None) -> None:
        if self._chroot.path:
            await self._above().ensure_path(self._chroot.path, acl=acl)

    def _above(self) -> Client:
        """The same client without its chroot."""
        return Client(self._link, self._core, Chroot())

    # -- read -----------------------------------------------------------------------------------------

    async def get(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> tuple[bytes, Stat]:
        """The znode's data and Stat. Null data reads as b"". Raises `NoNode`, `NoAuth`.

        `watch` hears of the next change of the data, or the znode's end. `linearizable` has the server catch
        up with the leader first (a sync in the same go): the result is no older than this call.
        """
        frame = await self._read("get", Op.GET_DATA, path, Kind.DATA, watch, linearizable)
        reply = GetDataReply.from_bytes(frame, REPLY_HEADER_BYTES)
        return reply.data or b"", reply.stat

    async def exists(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> Stat | None:
        """The znode's Stat, or None if there is none. `watch` hears of its next change, end or creation."""
        try:
            frame = await self._read("exists", Op.EXISTS, path, Kind.DATA, watch, linearizable)
        except NoNode:
            return None
        return StatReply.from_bytes(frame, REPLY_HEADER_BYTES).stat

    async def children(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> list[str]:
        """The names (not paths) of the znode's children, in no order. Raises `NoNode`, `NoAuth`.

        `watch` hears of the next child created or deleted, or the znode's own end.
        """
        frame = await self._read("children", Op.GET_CHILDREN, path, Kind.CHILDREN, watch, linearizable)
        return ChildrenReply.from_bytes(frame, REPLY_HEADER_BYTES).children

    async def children_with_stat(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> tuple[list[str], Stat]:
        """As `children`, with the znode's Stat."""
        frame = await self._read("children", Op.GET_CHILDREN2, path, Kind.CHILDREN, watch, linearizable)
        reply = Children2Reply.from_bytes(frame, REPLY_HEADER_BYTES)
        return reply.children, reply.stat

    async def _read(
        self, name: str, op: Op, path: str, kind: Kind, watch: Watch | None, linearizable: bool
    ) -> bytes:
        full = named(self._chroot, path, name)
        body = PathWatchRequest(full, watch is not None).encode()
        arms = None if watch is None else (kind, full, watch)
        call = Call(op, body, path=path, operation=name, repeatable=True, watch=arms)
        if not linearizable:
            return await self._link.ask(call)
        await trio.lowlevel.checkpoint_if_cancelled()
        sync = self._link.submit(self._sync_call(full, path))
        self._link.submit(call)
        try:
            await self._link.wait(sync)
        except BaseException:
            self._link.abandon(call)
            raise
        return await self._link.wait(call)

    def _sync_call(self, full: str, path: str) -> Call:
        return Call(Op.SYNC, PathRequest(full).encode(), path=path, operation="sync", repeatable=True)

    async def sync(self, path: str = "/") -> None:
        """Returns when the server has caught up with everything the leader had committed by this call."""
        await self._link.ask(self._sync_call(named(self._chroot, path, "sync"), path))

    async def count_descendants(self, path: str) -> int:
        """How many znodes are below this one, at any depth. Raises `NoNode`."""
        full = named(self._chroot, path, "count_descendants")
        call = self._reading("count_descendants", Op.GET_ALL_CHILDREN_NUMBER, path, PathRequest(full))
        return (await self._reply(call, NumberReply)).number

    async def ephemerals(self, prefix: str = "/") -> list[str]:
        """The paths of this session's ephemeral znodes that begin with `prefix`."""
        check_path(prefix, "ephemerals", sequential=True)
        request = GetEphemeralsRequest(self._chroot.path + prefix)
        call = self._reading("ephemerals", Op.GET_EPHEMERALS, prefix, request)
        return [self._chroot.outside(path) for path in (await self._reply(call, EphemeralsReply)).paths]

    async def multi_read(self, reads: Sequence[GetData | GetChildren]) -> list[ReadResult]:
        """Several reads of one and the same state; an error stands in the place of what could not be read."""
        operations: list[tuple[int, Record]] = []
        for read in reads:
            op = Op.GET_DATA if isinstance(read, GetData) else Op.GET_CHILDREN
            operations.append((op, PathWatchRequest(named(self._chroot, read.path, "multi_read"), False)))
        body = encode_multi(operations)
        frame = await self._link.ask(Call(Op.MULTI_READ, body, operation="multi_read", repeatable=True))
        results: list[ReadResult] = []
        replies = decode_multi_reply(frame, REPLY_HEADER_BYTES)
        for read, (kind, code, reply) in zip(reads, replies, strict=True):
            if kind == Op.ERROR:
                results.append(error_of(code, path=read.path, operation="multi_read"))
            else:
                results.append(reply.children if kind == Op.GET_CHILDREN else (reply.data or b"", reply.stat))
        return results

    # -- change ---------------------------------------------------------------------------------------

    async def set(self, path: str, data: bytes | None, *, version: int = -1) -> Stat:
        """Replaces the data; returns the new Stat. Raises `NoNode`, `NoAuth`, and `BadVersion` unless the
        znode has this `version` (-1: any)."""
        full = named(self._chroot, path, "set")
        body = SetDataRequest(full, data, version).encode()
        return (await self._reply(Call(Op.SET_DATA, body, path=path, operation="set"), StatReply)).stat

    async def delete(self, path: str, *, version: int = -1) -> None:
        """Deletes the znode. Raises `NoNode`, `NoAuth`, `NotEmpty`, and `BadVersion` as `set` does."""
        full = named(self._chroot, path, "delete")
        body = DeleteRequest(full, version).encode()
        await self._link.ask(Call(Op.DELETE, body, path=path, operation="delete"))

    async def delete_recursive(self, path: str) -> None:
        """Deletes the znode and everything below it; not atomically. What others delete meanwhile is as
        good; what they create is deleted too. Raises `NoNode` if there was no such znode."""
        children = await self.children(path)
        while True:
            for name in children:
                try:
                    await self.delete_recursive(join(path, name))
                except NoNode:
                    pass
            try:
                await self.delete(path)
                return
            except NotEmpty:
                children = await self.children(path)

    def transaction(self) -> Transaction:
        """Several changes, all or nothing: note them down, then `commit` (or use it with `async with`)."""
        return Transaction(self._link.ask, self._chroot)

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

    # -- requests -------------------------------------------------------------------------------------

    def _reading(self, name: str, op: Op, path: str, request: Record | None) -> Call:
        body = request.encode() if request else b""
        return Call(op, body, path=path, operation=name, repeatable=True)

    async def _reply(self, call: Call, record: type[R]) -> R:
        return record.from_bytes(await self._link.ask(call), REPLY_HEADER_BYTES)


def _bytes(credentials: bytes | str) -> bytes:
    return credentials.encode() if isinstance(credentials, str) else credentials


def connect(
    hosts: str,
    *,
    timeout: float = 10.0,
    connect_timeout: float | None = None,
    read_only: bool = False,
    auth: Iterable[tuple[str, bytes | str]] = (),
    session: SessionHandle | None = None,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """A client of the servers in `hosts`: ``"host:port,host:port/chroot"``, the port 2181 if left out.

    Synopsis::

        with trio.fail_after(30):
            async with coord.connect("127.0.0.1:2181") as zk:
                ...

    `timeout` is the session's, in seconds, as asked for (`zk.session.timeout` is what the server granted).
    `connect_timeout`, in seconds, bounds one attempt with one server; by default a sixth of `timeout`, and
    at least one second. `read_only` accepts servers without a quorum. `auth` are (scheme, credentials)
    pairs. `session` carries on a session (its `handle`) of another client. `tls` makes the connections TLS.

    Entering it waits, however long it takes, for the first session; leaving it closes the session (which
    deletes its ephemeral znodes) and takes a second at most. Raises `BadArguments` for a connect string it
    cannot read and, entered, `AuthFailed`.
    """
    addresses, chroot = parse_connect_string(hosts)
    core = Session(timeout, read_only=read_only, handle=session)
    for scheme, credentials in auth:
        core.add_auth(scheme, _bytes(credentials), None)
    link = Link(
        core,
        Addresses(addresses, Random()),
        connect_timeout=connect_timeout or max(1.0, timeout / 6),
        tls=tls,
    )
    return Client(link, core, Chroot(chroot))
