"""What replicas say to each other over the links of their peers, in CBOR: agreement does not look at it.

===============  ======  ==================================================================
`Forward`        F -> L  requests of my clients, for you to propose
`Alive`          F -> L  these sessions have shown life here
`Serve`          F -> L  these sessions are connected here now (and nowhere else)
`Served`         L -> F  I know: tell their clients
`Keep`           F -> L  these have been since before you led (or may have gone elsewhere, unnoticed)
`Sync`           F -> L  who leads? (a client's sync)
`Synced`         L -> F  I did, after you asked, and this much was committed
===============  ======  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from coord.errors import ProtocolError
from coord.wire.ensemble import Request, columns_of, requests_of


@dataclass(frozen=True, slots=True)
class Forward:
    requests: list[Request]


@dataclass(frozen=True, slots=True)
class Alive:
    session_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Serve:
    session_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Served:
    session_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    session_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    token: int


@dataclass(frozen=True, slots=True)
class Synced:
    token: int
    zxid: int


Message = Forward | Alive | Serve | Served | Keep | Sync | Synced


def encode(message: Message) -> bytes:
    match message:
        case Forward(requests):
            return cbor2.dumps(["forward", columns_of(requests)])
        case Alive(session_ids):
            return cbor2.dumps(["alive", list(session_ids)])
        case Serve(session_ids):
            return cbor2.dumps(["serve", list(session_ids)])
        case Served(session_ids):
            return cbor2.dumps(["served", list(session_ids)])
        case Keep(session_ids):
            return cbor2.dumps(["keep", list(session_ids)])
        case Sync(token):
            return cbor2.dumps(["sync", token])
        case Synced(token, zxid):
            return cbor2.dumps(["synced", [token, zxid]])


_DAMAGE = ValueError, TypeError, LookupError, ArithmeticError, RecursionError, cbor2.CBORError, EOFError


def decode(data: bytes) -> Message:
    """Raises `ProtocolError` for anything that `encode` would not have made."""
    try:
        kind, value = cbor2.loads(data)
        return _DECODE[kind](value)
    except _DAMAGE as error:
        raise ProtocolError(f"not a message of a replica: {error}") from None


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(_number(value) for value in values)


def _number(value: Any) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number of 64 bits")
    return value


_DECODE: Final[dict[str, Callable[[Any], Message]]] = {
    "forward": lambda value: Forward(requests_of(value)),
    "alive": lambda value: Alive(_numbers(value)),
    "serve": lambda value: Serve(_numbers(value)),
    "served": lambda value: Served(_numbers(value)),
    "keep": lambda value: Keep(_numbers(value)),
    "sync": lambda value: Sync(_number(value)),
    "synced": lambda value: Synced(*_numbers(value)),
}
