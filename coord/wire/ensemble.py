"""coord's own protocol, in CBOR: what members log (and, in an ensemble, say to each other).

Owns the layout of a *batch*: the requests of one proposal, which is one log record. The bytes are made once,
by the leader; every follower gets, and every disk writes, those very bytes.

A batch is stored as columns, which costs a tenth of a list of entries to encode:
``[first zxid, time in ms, heads, who, identities, bodies]`` where `heads` is 20 bytes an entry (session id,
request number, opcode, big-endian), `identities` a table of distinct caller identities and `who` an index
into it per entry (empty when all entries have identity 0). The zxid of entry i is the first zxid + i.

Must not know what a request means; `state.machine` does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import cbor2

from coord.errors import ProtocolError
from coord.wire.records import Id

Identities = tuple[Id, ...]
"""What a caller has authenticated as, e.g. ``(Id("ip", "127.0.0.1"), Id("digest", "ann:K1f…="))``."""

Entry = tuple[int, int, int, int, Identities, bytes]
"""zxid, session id, request number, opcode, identities of the caller, body of the request."""

_HEAD = struct.Struct(">qqi")
_LONG_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Batch:
    """The requests of one proposal. All share one time stamp; their zxids are consecutive."""

    first_zxid: int
    time_ms: int
    heads: list[tuple[int, int, int]]
    """session id, request number, opcode of each entry (a request number is its member's own: see
    `server.pending`; 0 for what no client has asked for)"""
    identities: list[Identities]
    """who each entry's caller is"""
    bodies: list[bytes]

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def last_zxid(self) -> int:
        return self.first_zxid + len(self.heads) - 1

    def entries(self) -> Iterator[Entry]:
        zxid = self.first_zxid
        for (session_id, number, op), who, body in zip(self.heads, self.identities, self.bodies, strict=True):
            yield zxid, session_id, number, op, who, body
            zxid += 1

    def encode(self) -> bytes:
        table: dict[Identities, int] = {}
        who = [table.setdefault(identities, len(table)) for identities in self.identities]
        pack = _HEAD.pack
        return cbor2.dumps(
            [
                self.first_zxid,
                self.time_ms,
                b"".join([pack(*head) for head in self.heads]),
                who if len(table) > 1 else [],
                [[list(one) for one in identities] for identities in table],
                self.bodies,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Batch:
        """Raises `ProtocolError` unless `data` is a batch that `encode` could have made."""
        try:
            stream = BytesIO(data)
            first_zxid, time_ms, heads_bytes, who, table, bodies = cbor2.CBORDecoder(stream).decode()
            heads = list(_HEAD.iter_unpack(heads_bytes))
            known = [tuple(_id_of(one) for one in row) for row in table]
            identities = [known[index] for index in who] if who else known[:1] * len(heads)
        except (ValueError, TypeError, IndexError, struct.error, cbor2.CBORError, EOFError) as error:
            raise ProtocolError(f"not a batch of log entries: {error}") from None
        batch = cls(first_zxid, time_ms, heads, identities, bodies)
        if not (
            type(first_zxid) is type(time_ms) is int
            and 0 <= first_zxid <= _LONG_MAX - len(heads)
            and isinstance(who, list)
            and min(who, default=0) >= 0
            and isinstance(bodies, list)
            and 0 < len(heads) == len(identities) == len(bodies)
            and all(isinstance(body, bytes) for body in bodies)
            and stream.tell() == len(data)
        ):
            raise ProtocolError("not a batch of log entries: its columns do not fit together")
        return batch


def _id_of(value: object) -> Id:
    match value:
        case [str(scheme), str(name)]:
            return Id(scheme, name)
    raise ValueError("an identity is not two strings")
