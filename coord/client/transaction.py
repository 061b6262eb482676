"""Transactions: several changes in one, all or nothing (ZooKeeper's multi).

Owns the list of operations and what became of them. Must not know: connections.

Synopsis::

    async with zk.transaction() as tx:  # sent at the end of the block
        tx.check("/leader", version=3)
        tx.set("/state", b"on")
        tx.delete("/todo/1")
    tx.results  # [None, Stat(...), None]
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from coord.client.calls import Call
from coord.client.paths import Chroot
from coord.client.requests import CreateOptions, check_version, create_request, named
from coord.errors import CoordError, ErrorCode, RequestFailed, RolledBack, error_of
from coord.wire.records import (
    ACL,
    REPLY_HEADER_BYTES,
    CheckVersionRequest,
    DeleteRequest,
    Op,
    PathReply,
    PathStatReply,
    Record,
    SetDataRequest,
    Stat,
    StatReply,
    decode_multi_reply,
    encode_multi,
)

Result = str | Stat | None
"""What an operation of a transaction yields: create its path, set the new Stat, the others nothing."""


class _Operation(NamedTuple):
    name: str
    path: str
    op: int
    request: Record


class Transaction:
    """Made by `Client.transaction`. Every method but `commit` only notes the operation down."""

    def __init__(self, ask: Callable[[Call], Awaitable[bytes]], chroot: Chroot) -> None:
        self._ask = ask
        self._chroot = chroot
        self._operations: list[_Operation] = []
        self._committed = False
        self.results: list[Result] = []
        """after a commit that worked: one per operation, in order"""

    def __len__(self) -> int:
        return len(self._operations)

    def check(self, path: str, version: int = -1) -> None:
        """The znode must exist and, unless `version` is -1, have this version."""
        full = named(self._chroot, path, "check")
        check_version(version, path, "check")
        self._add("check", path, Op.CHECK, CheckVersionRequest(full, version))

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Sequence[ACL] | None = None,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl: float | None = None,
    ) -> None:
        """As `Client.create`; the result is the path."""
        options = CreateOptions(acl, ephemeral, sequential, container, ttl)
        op, request = create_request(self._chroot, path, data, options)
        self._add("create", path, op, request)

    def set(self, path: str, data: bytes | None, *, version: int = -1) -> None:
        """As `Client.set`; the result is the new Stat."""
        full = named(self._chroot, path, "set")
        check_version(version, path, "set")
        self._add("set", path, Op.SET_DATA, SetDataRequest(full, data, version))

    def delete(self, path: str, *, version: int = -1) -> None:
        """As `Client.delete`; the result is None."""
        full = named(self._chroot, path, "delete")
        check_version(version, path, "delete")
        self._add("delete", path, Op.DELETE, DeleteRequest(full, version))

    async def commit(self) -> list[Result]:
        """Does all of it or, if any operation cannot be done, nothing; returns one result per operation.

        Raises the error of the operation at fault; its `results` has one error per operation, `RolledBack`
        for the others. `ConnectionLost` leaves open whether all of it was done, or nothing.
        """
        if self._committed:
            raise RuntimeError("the transaction was committed already")
        self._committed = True
        body = encode_multi([(o.op, o.request) for o in self._operations])
        frame = await self._ask(Call(Op.MULTI, body, operation="transaction"))
        replies = decode_multi_reply(frame, REPLY_HEADER_BYTES)
        if any(op == Op.ERROR for op, _, _ in replies):
            raise self._failure([err for _, err, _ in replies])
        self.results = [self._result(reply) for _, _, reply in replies]
        return self.results

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._committed:
            await self.commit()

    def _add(self, name: str, path: str, op: int, request: Record) -> None:
        if self._committed:
            raise RuntimeError("the transaction was committed already")
        self._operations.append(_Operation(name, path, op, request))

    def _result(self, reply: Any) -> Result:
        if isinstance(reply, (PathReply, PathStatReply)):
            return self._chroot.outside(reply.path)
        return reply.stat if isinstance(reply, StatReply) else None

    def _failure(self, codes: list[int]) -> CoordError:
        errors: list[CoordError] = []
        culprit: CoordError = RequestFailed("the transaction failed", operation="transaction")
        for operation, code in zip(self._operations, codes, strict=False):
            if code in (ErrorCode.OK, ErrorCode.RUNTIME_INCONSISTENCY):
                errors.append(RolledBack(path=operation.path, operation=operation.name))
            else:
                culprit = error_of(code, path=operation.path, operation=operation.name)
                errors.append(culprit)
        if isinstance(culprit, RequestFailed):
            culprit.results = tuple(errors)
        return culprit
