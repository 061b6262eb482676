"""The operations of ZooKeeper as async methods: create, read, change, in the caller's terms.

Owns the translation between arguments and results on one side and requests and replies on the other. Must
not know: the life of sessions and connections (see `client`, which is this plus that).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import trio

from coord.client.calls import Call
from coord.client.link import Link
from coord.client.paths import Chroot, check_path, join, parent_of
from coord.client.requests import CreateOptions, check_version, create_request, named
from coord.client.single import Single
from coord.client.transaction import Transaction
from coord.client.watches import Kind
from coord.client.watching import Watch
from coord.errors import CoordError, NoAuth, NodeExists, NoNode, NotEmpty, NotReadOnly, error_of
from coord.wire.brief import pack_path_watch, pack_set_data, read_data_stat, read_stat
from coord.wire.records import (
    ACL,
    REPLY_HEADER_BYTES,
    Children2Reply,
    ChildrenReply,
    DeleteRequest,
    EphemeralsReply,
    GetEphemeralsRequest,
    NumberReply,
    Op,
    PathReply,
    PathRequest,
    PathStatReply,
    PathWatchRequest,
    Record,
    Stat,
    decode_multi_reply,
    encode_multi,
)

R = TypeVar("R", bound=Record)


class GetData(NamedTuple):
    """For `Client.multi_read`: yields (data, Stat)."""

    path: str


class GetChildren(NamedTuple):
    """For `Client.multi_read`: yields the children's names."""

    path: str


ReadResult = tuple[bytes, Stat] | list[str] | CoordError


class Operations:
    """What a `Client` can be asked to do with znodes."""

    def __init__(self, link: Link, chroot: Chroot) -> None:
        self._link = link
        self._chroot = chroot

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
        are. With `container`, what is created is a container. Repeated by itself if the connection breaks."""
        check_path(path, "ensure_path")
        await self._ensure(self._chroot.inside(path), CreateOptions(acl, container=container))

    async def ensure_chroot(self, *, acl: Sequence[ACL] | None = None) -> None:
        """Creates the chroot and everything missing above it. `connect` does not: not everybody may."""
        await self._ensure(self._chroot.inside("/"), CreateOptions(acl))

    async def _ensure(self, full: str, options: CreateOptions) -> None:
        """`ensure_path` in the server's terms: the path itself first, then upwards as far as needed."""
        if full == "/":
            await trio.lowlevel.checkpoint()
            return
        path = self._chroot.outside(full)
        op, request = create_request(Chroot(), full, b"", options)
        try:
            call = Call(op, request.encode(), path=path, operation="ensure_path", repeatable=True)
            await self._link.ask(call)
        except NodeExists:
            pass
        except NoNode:
            await self._ensure(parent_of(full), options)
            await self._ensure(full, options)
        except (NoAuth, NotReadOnly):
            # The server asks for the right to create before it looks whether there is anything to create.
            look = self._reading("ensure_path", Op.EXISTS, path, PathWatchRequest(full, False))
            try:
                await self._link.ask(look)
                return
            except NoNode:
                pass
            raise

    # -- read -----------------------------------------------------------------------------------------

    async def get(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> tuple[bytes, Stat]:
        """The znode's data and Stat. Null data reads as b"". Raises `NoNode`, `NoAuth`.

        `watch` hears of the next change of the data, or the znode's end. `linearizable` has the server catch
        up with the leader first (a sync in the same go): the result is no older than this call.
        """
        single = self._get(path, watch=watch)
        return single.read(await self._look(single.call, linearizable=linearizable))

    def _get(self, path: str, *, watch: Watch | None = None) -> Single[tuple[bytes, Stat]]:
        call = self._looking("get", Op.GET_DATA, path, Kind.DATA, watch)
        return Single(self._link, call, _data_and_stat)

    async def exists(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> Stat | None:
        """The znode's Stat, or None if there is none. `watch` hears of its next change, end or creation."""
        try:
            call = self._looking("exists", Op.EXISTS, path, Kind.DATA, watch)
            frame = await self._look(call, linearizable=linearizable)
        except NoNode:
            return None
        return read_stat(frame, REPLY_HEADER_BYTES)

    async def children(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> list[str]:
        """The names (not paths) of the znode's children, in no order. Raises `NoNode`, `NoAuth`.

        `watch` hears of the next child created or deleted, or the znode's own end.
        """
        single = self._children(path, watch=watch)
        return single.read(await self._look(single.call, linearizable=linearizable))

    def _children(self, path: str, *, watch: Watch | None = None) -> Single[list[str]]:
        call = self._looking("children", Op.GET_CHILDREN, path, Kind.CHILDREN, watch)
        return Single(self._link, call, _names)

    async def children_with_stat(
        self, path: str, *, watch: Watch | None = None, linearizable: bool = False
    ) -> tuple[list[str], Stat]:
        """As `children`, with the znode's Stat."""
        call = self._looking("children", Op.GET_CHILDREN2, path, Kind.CHILDREN, watch)
        frame = await self._look(call, linearizable=linearizable)
        reply = Children2Reply.from_bytes(frame, REPLY_HEADER_BYTES)
        return reply.children, reply.stat

    def _looking(self, name: str, op: Op, path: str, kind: Kind, watch: Watch | None) -> Call:
        full = named(self._chroot, path, name)
        body = pack_path_watch(full, watch is not None)
        arms = None if watch is None else (kind, full, watch)
        return Call(op, body, path=path, operation=name, repeatable=True, watch=arms)

    async def _look(self, call: Call, *, linearizable: bool) -> bytes:
        """The reply's frame; if `linearizable`, that of a read as new as this."""
        if not linearizable:
            return await self._link.ask(call)
        await trio.lowlevel.checkpoint_if_cancelled()
        sync = self._link.submit(self._sync_call(self._chroot.inside(call.path or "/"), call.path))
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

    async def multi_read(
        self, reads: Sequence[GetData | GetChildren], *, linearizable: bool = False
    ) -> list[ReadResult]:
        """Several reads of one and the same state; an error stands in the place of what could not be read.
        `linearizable` as with `get`."""
        operations: list[tuple[int, Record]] = []
        for read in reads:
            op = Op.GET_DATA if isinstance(read, GetData) else Op.GET_CHILDREN
            operations.append((op, PathWatchRequest(named(self._chroot, read.path, "multi_read"), False)))
        body = encode_multi(operations)
        call = Call(Op.MULTI_READ, body, operation="multi_read", repeatable=True)
        frame = await self._look(call, linearizable=linearizable)
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
        single = self._set(path, data, version=version)
        return single.read(await self._link.ask(single.call))

    def _set(self, path: str, data: bytes | None, *, version: int = -1) -> Single[Stat]:
        full = named(self._chroot, path, "set")
        check_version(version, path, "set")
        call = Call(Op.SET_DATA, pack_set_data(full, data, version), path=path, operation="set")
        return Single(self._link, call, _stat)

    async def delete(self, path: str, *, version: int = -1) -> None:
        """Deletes the znode. Raises `NoNode`, `NoAuth`, `NotEmpty`, and `BadVersion` as `set` does."""
        await self._link.ask(self._delete(path, version=version).call)

    def _delete(self, path: str, *, version: int = -1) -> Single[None]:
        full = named(self._chroot, path, "delete")
        check_version(version, path, "delete")
        body = DeleteRequest(full, version).encode()
        return Single(self._link, Call(Op.DELETE, body, path=path, operation="delete"), _nothing)

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

    # -- requests -------------------------------------------------------------------------------------

    def _reading(self, name: str, op: Op, path: str, request: Record | None) -> Call:
        body = request.encode() if request else b""
        return Call(op, body, path=path, operation=name, repeatable=True)

    async def _reply(self, call: Call, record: type[R]) -> R:
        return record.from_bytes(await self._link.ask(call), REPLY_HEADER_BYTES)

    # The methods that are one request and one reply (unless linearizable), and what makes that of each. For
    # the bridge, and not for users: so it is no docstring, which the reference would show.
    SINGLES: ClassVar[dict[Callable[..., Any], Callable[..., Single[Any]]]]


Operations.SINGLES = {
    Operations.get: Operations._get,
    Operations.children: Operations._children,
    Operations.set: Operations._set,
    Operations.delete: Operations._delete,
}


def _data_and_stat(frame: bytes) -> tuple[bytes, Stat]:
    data, stat = read_data_stat(frame, REPLY_HEADER_BYTES)
    return data or b"", stat


def _stat(frame: bytes) -> Stat:
    return read_stat(frame, REPLY_HEADER_BYTES)


def _names(frame: bytes) -> list[str]:
    return ChildrenReply.from_bytes(frame, REPLY_HEADER_BYTES).children


def _nothing(_frame: bytes) -> None:
    pass
