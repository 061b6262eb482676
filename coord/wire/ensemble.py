"""coord's own protocol, in CBOR: what members log (and, in an ensemble, say to each other).

Owns the layout of a *batch*: the requests of one proposal, which is one log record. The bytes are made once,
by the leader; every follower gets, and every disk writes, those very bytes.

Requests are encoded as columns, which costs a tenth of a list of them: ``[heads, who, identities, bodies]``
where `heads` is 20 bytes a request (session id, request number, opcode, big-endian), `identities` a table of
distinct caller identities and `who` an index into it per request (empty when all have identity 0). A batch is
``[first zxid, time in ms, *columns]``. The zxid of entry i is the first zxid + i.

Must not know what a request means; `state.machine` does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cbor2

from coord.errors import ProtocolError
from coord.wire.records import Id

Identities = tuple[Id, ...]
"""What a caller has authenticated as, e.g. ``(Id("ip", "127.0.0.1"), Id("digest", "ann:K1f…="))``."""

Request = tuple[int, int, int, Identities, bytes]
"""Session id, request number, opcode, identities of the caller, body. (A plain tuple: they come by the ten
thousand. A request number is its member's own, see `server.pending`; 0 for what no client has asked for.)"""

Entry = tuple[int, int, int, int, Identities, bytes]
"""The same behind its zxid."""

_HEAD = struct.Struct(">qqi")
_LONG_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Batch:
    """The requests of one proposal. All share one time stamp; their zxids are consecutive."""

    first_zxid: int
    time_ms: int
    requests: list[Request]

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def last_zxid(self) -> int:
        return self.first_zxid + len(self.requests) - 1

    def entries(self) -> Iterator[Entry]:
        return ((zxid, *request) for zxid, request in enumerate(self.requests, self.first_zxid))

    def encode(self) -> bytes:
        return cbor2.dumps([self.first_zxid, self.time_ms, *columns_of(self.requests)])

    @classmethod
    def decode(cls, data: bytes) -> Batch:
        """Raises `ProtocolError` unless `data` is a batch that `encode` could have made."""
        stream = BytesIO(data)
        try:
            first_zxid, time_ms, *columns = cbor2.CBORDecoder(stream).decode()
        except (ValueError, TypeError, ArithmeticError, RecursionError, cbor2.CBORError, EOFError) as error:
            raise ProtocolError(f"not a batch of log entries: {error}") from None
        batch = cls(first_zxid, time_ms, requests_of(columns))
        if not (
            type(first_zxid) is type(time_ms) is int
            and 0 <= first_zxid <= _LONG_MAX - len(batch)
            and -_LONG_MAX <= time_ms <= _LONG_MAX
            and len(batch) > 0
            and stream.tell() == len(data)
        ):
            raise ProtocolError("not a batch of log entries: its parts do not fit together")
        return batch


def columns_of(requests: Sequence[Request]) -> list[Any]:
    """Ready for CBOR."""
    pack = _HEAD.pack
    callers = [identities for _, _, _, identities, _ in requests]
    table: dict[Identities, int] = dict.fromkeys(callers, 0)
    if len(table) > 1:
        table = {identities: index for index, identities in enumerate(table)}
    return [
        b"".join([pack(session_id, number, op) for session_id, number, op, _, _ in requests]),
        [table[identities] for identities in callers] if len(table) > 1 else [],
        [[list(one) for one in identities] for identities in table],
        [body for _, _, _, _, body in requests],
    ]


def requests_of(columns: list[Any]) -> list[Request]:
    """Raises `ProtocolError` unless `columns_of` could have made them."""
    try:
        heads, who, table, bodies = columns
        known = [tuple(_id_of(one) for one in row) for row in table]
        if not (isinstance(who, list) and min(who, default=0) >= 0):
            raise ValueError("callers are not named by their indexes")
        callers = [known[index] for index in who] if who else known[:1] * len(bodies)
        if not (isinstance(bodies, list) and set(map(type, bodies)) <= {bytes}):
            raise ValueError("bodies are not bytes")
        return [
            (session_id, number, op, identities, body)
            for (session_id, number, op), identities, body in zip(
                _HEAD.iter_unpack(heads), callers, bodies, strict=True
            )
        ]
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise ProtocolError(f"not requests: {error}") from None


def _id_of(value: object) -> Id:
    match value:
        case [str(scheme), str(name)]:
            return Id(scheme, name)
    raise ValueError("an identity is not two strings")
