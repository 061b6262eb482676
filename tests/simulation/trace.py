"""Words for a readable trace."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from coord.wire.members import Append, Install, LinkMessage, Vote

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
