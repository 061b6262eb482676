"""Words for a readable trace."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from coord.errors import ProtocolError
from coord.server.replica_messages import Alive, Forward, Serve, decode
from coord.wire.members import Append, Install, LinkMessage, Payload, Vote
from coord.wire.records import Op

_ZXIDS: Final = ("zxid", "first_zxid", "last_zxid")


def name(zxid: int) -> str:
    """``3:7``: epoch and counter."""
    return f"{zxid >> 32}:{zxid & 0xFFFFFFFF}" if zxid >= 0 else "none"


def describe(message: LinkMessage | Vote) -> str:
    match message:
        case Append(proposal):
            return f"Append {name(proposal.first_zxid)}..{name(proposal.last_zxid)}"
        case Install(zxid):
            return f"Install {name(zxid)}"
        case Payload(data):
            return f"Payload {_said(data)}"
    words = []
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, bool) and value == field.default:
            continue
        if field.name in _ZXIDS:
            value = name(value)
        elif field.name == "ends":
            value = "[" + " ".join(map(name, value)) + "]"
        elif field.name == "standing":
            value = value.name.lower()
        words.append(f"{field.name}={value}")
    return " ".join([type(message).__name__, *words])


def _said(data: bytes) -> str:
    """By one replica to another."""
    try:
        message = decode(data)
    except ProtocolError:
        return repr(data)
    match message:
        case Forward(requests):
            return "Forward " + ", ".join(
                f"{Op(op).name} of {session_id:#x} (number {number:#x})"
                for session_id, number, op, _, _ in requests
            )
        case Alive(session_ids) | Serve(session_ids):
            return f"{type(message).__name__} " + ", ".join(f"{one:#x}" for one in session_ids)
    return repr(message)
