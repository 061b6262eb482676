"""Feeds a `Machine` the way a log would, and decodes what comes back.

Synopsis::

    log = Applier()
    err, path = log.create("/a", b"x")
    assert log.ok(Op.SET_DATA, SetDataRequest("/a", b"y", -1)).stat.version == 1
    log.changes  # [(EventType.DATA_CHANGED, "/a")]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coord.errors import ErrorCode
from coord.state.machine import Machine
from coord.state.reads import READS, Refused
from coord.state.watches import Watches
from coord.wire.ensemble import Identities
from coord.wire.records import (
    ACL,
    REPLY_OF,
    CreateRequest,
    CreateSessionRequest,
    EmptyRequest,
    EventType,
    Id,
    Op,
    PathWatchRequest,
    Record,
    Stat,
    decode_multi_reply,
    encode_multi,
)

ANYONE = Id("world", "anyone")
OPEN = [ACL(31, ANYONE)]
SESSION = 0x1001
OTHER = 0x1002


@dataclass(eq=False)
class Caller:
    """A connection, as far as the state can see one."""

    session_id: int = SESSION
    identities: Identities = ()


def only(perms: int) -> list[ACL]:
    """An ACL that gives everybody these permissions and no others."""
    return [ACL(perms, ANYONE)]


class Applier:
    def __init__(self, machine: Machine | None = None, zxid: int = 0) -> None:
        self.machine = machine or Machine()
        self.zxid = zxid
        self.time_ms = 1_000_000
        self.identities: Identities = ()
        self.changes: list[tuple[EventType, str]] = []
        self.watches: Watches[Caller] = Watches()
        if machine is None:
            for session_id in (SESSION, OTHER):
                self.apply(Op.CREATE_SESSION, CreateSessionRequest(4000).encode(), session_id)

    def apply(self, op: int, body: bytes, session_id: int = SESSION) -> tuple[int, bytes]:
        """One entry; the next zxid is its own."""
        self.zxid += 1
        self.time_ms += 10
        err, reply, changes = self.machine.apply(
            self.zxid, self.time_ms, session_id, op, self.identities, body
        )
        self.changes = [change[:2] for change in changes]
        return int(err), reply

    def ok(self, op: int, request: Record, session_id: int = SESSION) -> Any:
        err, reply = self.apply(op, request.encode(), session_id)
        assert err == 0, ErrorCode(err)
        return REPLY_OF[op].from_bytes(reply)

    def err(self, op: int, request: Record, session_id: int = SESSION) -> int:
        return self.apply(op, request.encode(), session_id)[0]

    def create(
        self,
        path: str,
        data: bytes | None = b"",
        acl: list[ACL] | None = None,
        flags: int = 0,
        session_id: int = SESSION,
    ) -> str:
        request = CreateRequest(path, data, OPEN if acl is None else acl, flags)
        created = self.ok(Op.CREATE, request, session_id).path
        assert isinstance(created, str)
        return created

    def multi(self, *operations: tuple[int, Record]) -> list[tuple[int, int, Any]]:
        err, reply = self.apply(Op.MULTI, encode_multi(list(operations)))
        assert err == 0
        return decode_multi_reply(reply)

    def close_session(self, session_id: int) -> int:
        return self.err(Op.CLOSE_SESSION, EmptyRequest(), session_id)

    def stat(self, path: str) -> Stat:
        return self.machine.tree.nodes[path].stat()

    def image(self) -> bytes:
        return b"".join(self.machine.snapshot())

    def read(self, op: int, request: Record | bytes, caller: Caller | None = None) -> bytes:
        body = request if isinstance(request, bytes) else request.encode()
        return READS[op](self.machine, self.watches, caller or Caller(identities=self.identities), body)

    def read_err(self, op: int, request: Record | bytes, caller: Caller | None = None) -> int:
        """The code with which the read is refused; 0 if it is not."""
        try:
            self.read(op, request, caller)
        except Refused as refused:
            return int(refused.code)
        return 0

    def watch(self, op: int, path: str, caller: Caller) -> int:
        return self.read_err(op, PathWatchRequest(path, True), caller)
