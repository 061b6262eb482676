"""How znodes, Stats and ACLs are written on a terminal, and ACLs read: as zkCli does it.

Owns these formats. Pure functions; knows neither connections nor commands.

Synopsis::

    parse_acl("world:anyone:r,digest:ann:K1f…=:cdrwa")
    format_acl([ACL(31, Id("world", "anyone"))])  # "'world,'anyone\\n: cdrwa"
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from coord.wire.records import ACL, Id, Perms, Stat

LETTERS = {
    "c": Perms.CREATE,
    "d": Perms.DELETE,
    "r": Perms.READ,
    "w": Perms.WRITE,
    "a": Perms.ADMIN,
}
"""Permissions by letter, in the order in which they are printed."""

ACL_FORM = "scheme:id:perms[,scheme:id:perms …], perms being letters of cdrwa"


def parse_acl(text: str) -> list[ACL]:
    """``scheme:id:perms,…`` -> ACL. An id may hold colons (the scheme ends at the first one, the
    permissions begin after the last), but no comma. Raises `ValueError`."""
    return [_parse_entry(entry.strip()) for entry in text.split(",")]


def _parse_entry(entry: str) -> ACL:
    scheme, found, rest = entry.partition(":")
    name, also_found, letters = rest.rpartition(":")
    if not (scheme and found and also_found and letters):
        raise ValueError(f"expected {ACL_FORM}; got {entry!r}")
    perms = 0
    for letter in letters:
        if letter not in LETTERS:
            raise ValueError(f"there is no permission {letter!r}: {ACL_FORM}")
        perms |= LETTERS[letter]
    return ACL(perms, Id(scheme, name))


def format_acl(acl: Iterable[ACL]) -> str:
    """Two lines an entry: ``'scheme,'id`` and ``: perms``."""
    return "\n".join(f"'{one.id.scheme},'{one.id.id}\n: {format_perms(one.perms)}" for one in acl)


def format_perms(perms: int) -> str:
    return "".join(letter for letter, bit in LETTERS.items() if perms & bit)


def format_stat(stat: Stat) -> str:
    """Eleven lines; ids in hexadecimal, times in the local zone."""
    return "\n".join(
        (
            f"cZxid = {_hexadecimal(stat.czxid)}",
            f"ctime = {_time(stat.ctime)}",
            f"mZxid = {_hexadecimal(stat.mzxid)}",
            f"mtime = {_time(stat.mtime)}",
            f"pZxid = {_hexadecimal(stat.pzxid)}",
            f"cversion = {stat.cversion}",
            f"dataVersion = {stat.version}",
            f"aclVersion = {stat.aversion}",
            f"ephemeralOwner = {_hexadecimal(stat.ephemeral_owner)}",
            f"dataLength = {stat.data_length}",
            f"numChildren = {stat.num_children}",
        )
    )


def format_list(names: Iterable[str]) -> str:
    """``[a, b]``"""
    return f"[{', '.join(names)}]"


def _hexadecimal(number: int) -> str:
    return hex(number & 0xFFFFFFFFFFFFFFFF)


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    return moment.strftime("%a %b %d %H:%M:%S %Z %Y")


def moment(milliseconds: int) -> str:
    """A moment in the local zone: ``2026-01-31 14:05:09``."""
    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")


def age(milliseconds: int) -> str:
    """How long ago, in at most two units: ``7s``, ``3m05s``, ``2h30m``, ``4d01h``. Clocks that run apart
    make no negative ages."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02}h"
