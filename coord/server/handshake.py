"""Who is there? The first frames of every connection between members, which show each end the other's right.

Owns these frames and the keyed MACs in them; knows streams, and nothing of votes or agreement. Both ends
send a nonce, and prove that they know the ensemble's secret by HMAC-SHA256 over both nonces, both ids, the
purpose of the connection and which end they are. So nothing that was overheard can be used again, for another
purpose, for another member, or sent back to where it came from. Without a secret there is no proof, and an
id is believed.

=============  ==================================================================
opener         ``["coord", version, purpose, its id, whom it wants, nonce]``
acceptor       ``[its id, nonce, proof]``
opener         ``[proof]``
=============  ==================================================================

It does not encrypt, nor does it guard what follows: on a network where others can write into a connection,
members need more than this (a VPN, say).

Rules that hold here: whatever a stranger sends is `Stranger`, and costs at most a small frame and a few
seconds; nothing behind the last frame is read, it belongs to what comes next.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Final

import cbor2
import trio

from coord.errors import CoordError
from coord.limits import GREETING_BYTES_MAX, GREETING_SECONDS
from coord.wire.frames import pack_frame
from coord.wire.jute import INT

VERSION: Final = 2
_NONCE_BYTES: Final = 32
_MAGIC: Final = "coord"


class Purpose(Enum):
    """What a connection is for."""

    ELECTION = "election"
    PEER = "peer"


class Stranger(CoordError):
    """The other end is no member of this ensemble, as far as it can show."""


@dataclass(frozen=True)
class Identity:
    """Who this member is. `secret` None: none is asked for, and none is shown."""

    my_id: int
    secret: bytes | None

    def __repr__(self) -> str:
        return f"Identity({self.my_id})"


async def introduce(stream: trio.abc.Stream, me: Identity, purpose: Purpose, other: int) -> None:
    """The opener's side: returns when `other` has shown who it is. Raises `Stranger`."""
    with _in_time():
        nonce = secrets.token_bytes(_NONCE_BYTES)
        await _send(stream, [_MAGIC, VERSION, purpose.value, me.my_id, other, nonce])
        match await _receive(stream):
            case [int(who), bytes(their_nonce), bytes(proof)] if len(their_nonce) == _NONCE_BYTES:
                pass
            case _:
                raise Stranger("its answer is not a member's")
        if who != other:
            raise Stranger(f"member {who} answers where member {other} should be")
        both = _Exchange(purpose, me.my_id, other, nonce, their_nonce)
        both.check(me.secret, "acceptor", proof)
        await _send(stream, [both.proof(me.secret, "opener")])


async def meet(stream: trio.abc.Stream, me: Identity, purpose: Purpose, others: Container[int]) -> int:
    """The acceptor's side: which of `others` has opened this connection. Raises `Stranger`."""
    with _in_time():
        match await _receive(stream):
            case [str(magic), int(version), str(what), int(who), int(wanted), bytes(their_nonce)] if (
                magic == _MAGIC and len(their_nonce) == _NONCE_BYTES
            ):
                pass
            case _:
                raise Stranger("its greeting is not a member's")
        _check_greeting(me, purpose, others, (version, what, who, wanted))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        both = _Exchange(purpose, who, me.my_id, their_nonce, nonce)
        await _send(stream, [me.my_id, nonce, both.proof(me.secret, "acceptor")])
        match await _receive(stream):
            case [bytes(proof)]:
                both.check(me.secret, "opener", proof)
            case _:
                raise Stranger("its proof is not a member's")
    return int(who)


def _check_greeting(
    me: Identity, purpose: Purpose, others: Container[int], greeting: tuple[int, str, int, int]
) -> None:
    version, what, who, wanted = greeting
    if version != VERSION:
        raise Stranger(f"it speaks version {version} of the members' protocol, this member {VERSION}")
    if what != purpose.value:
        raise Stranger(f"it wants the {what[:20]} port; this is the {purpose.value} port")
    if wanted != me.my_id:
        raise Stranger(f"it wants member {wanted}; this is member {me.my_id}")
    if who not in others:
        raise Stranger(f"it says that it is member {who}, which is none of the others")


@dataclass(frozen=True)
class _Exchange:
    """All that both ends have said: what a proof is about."""

    purpose: Purpose
    opener: int
    acceptor: int
    opener_nonce: bytes
    acceptor_nonce: bytes

    def proof(self, secret: bytes | None, end: str) -> bytes:
        if secret is None:
            return b""
        said = [end, self.purpose.value, self.opener, self.acceptor, self.opener_nonce, self.acceptor_nonce]
        return hmac.digest(secret, cbor2.dumps(said), hashlib.sha256)

    def check(self, secret: bytes | None, end: str, proof: bytes) -> None:
        if hmac.compare_digest(proof, self.proof(secret, end)):
            return
        if not proof:
            raise Stranger("it has no secret (memberSecretFile), this member has one")
        if secret is None:
            raise Stranger("it has a secret (memberSecretFile), this member has none")
        raise Stranger("it does not know the ensemble's secret (memberSecretFile)")


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        with trio.fail_after(GREETING_SECONDS):
            yield
    except trio.TooSlowError:
        raise Stranger("it does not say who it is") from None


async def _send(stream: trio.abc.Stream, items: list[object]) -> None:
    try:
        await stream.send_all(pack_frame(cbor2.dumps(items)))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise Stranger("the connection broke") from None


async def _receive(stream: trio.abc.Stream) -> object:
    """One frame, and not a byte more."""
    (length,) = INT.unpack(await _exactly(stream, INT.size))
    if not 0 < length <= GREETING_BYTES_MAX:
        raise Stranger(f"it begins with a frame of {length} bytes")
    data = BytesIO(await _exactly(stream, length))
    try:
        return cbor2.CBORDecoder(data).decode()
    except (ValueError, TypeError, cbor2.CBORError, EOFError, RecursionError):
        raise Stranger("what it sends is not CBOR") from None


async def _exactly(stream: trio.abc.Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            piece = await stream.receive_some(count - len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            piece = b""
        if not piece:
            raise Stranger("it closed the connection")
        data += piece
    return data
