"""What a value in zoo.cfg may be: one function per kind, text in, checked value out.

Owns the forms of values, server lines among them. Must not know keys or files.

Rule that holds here: a function raises `Unexpected` with what it wanted ("a port, 1 to 65535"), never with
what it got: the caller knows whether the value is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Unexpected(ValueError):
    """The value is not of this kind; the text completes "expected …"."""


class Member(NamedTuple):
    """One server: ``server.X=host:peer_port:election_port[:role][;[address:]client_port]``."""

    host: str
    peer_port: int
    election_port: int
    role: str = "participant"
    client_address: tuple[str, int] | None = None
    """where it serves clients, if its line says so; host "" means every interface"""

    @property
    def votes(self) -> bool:
        return self.role == "participant"

    def __str__(self) -> str:
        """As in zoo.cfg, with the role spelled out."""
        text = f"{_bracketed(self.host)}:{self.peer_port}:{self.election_port}:{self.role}"
        if self.client_address is None:
            return text
        host, port = self.client_address
        return f"{text};{_bracketed(host or '0.0.0.0')}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def integer(low: int, high: int, what: str) -> Callable[[str], int]:
    """An integer in a range, e.g. ``integer(1, 10, "a number of ticks")``."""

    def convert(text: str) -> int:
        # Not isdecimal(): Java's parseInt takes an ASCII number with a sign and nothing else.
        if re.fullmatch(r"[+-]?[0-9]+", text) and low <= int(text) <= high:
            return int(text)
        raise Unexpected(f"{what}, {low} to {high}")

    return convert


INT_MAX = 2**31 - 1
port = integer(0, 65535, "a port")
count = integer(0, INT_MAX, "a number")
positive = integer(1, INT_MAX, "a number")
ticks = integer(1, INT_MAX, "a number of ticks")
milliseconds = integer(1, INT_MAX, "milliseconds")
byte_count = integer(1, INT_MAX, "a number of bytes")


def or_minus_one(convert: Callable[[str], int]) -> Callable[[str], int]:
    """The same, or -1 for the default."""

    def wrapped(text: str) -> int:
        if text == "-1":
            return -1
        try:
            return convert(text)
        except Unexpected as error:
            raise Unexpected(f"{error}, or -1 for the default") from None

    return wrapped


def switch(text: str) -> bool:
    """``true`` or ``false``; ZooKeeper writes ``yes`` and ``no`` for some keys."""
    meaning = {"true": True, "yes": True, "false": False, "no": False}.get(text.lower())
    if meaning is None:
        raise Unexpected("true or false")
    return meaning


def filled(what: str) -> Callable[[str], str]:
    """Any text but none."""

    def convert(text: str) -> str:
        if not text:
            raise Unexpected(what)
        return text

    return convert


def words(text: str) -> frozenset[str]:
    """A list with commas between."""
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def super_digest(text: str) -> str:
    """``super:base64(sha1(super:password))``, never the password itself."""
    if not re.fullmatch(r"super:[A-Za-z0-9+/]+={0,2}", text):
        raise Unexpected("super:<base64 of the SHA-1 of super:password>")
    return text


# -- server.X, weight.X, group.X ----------------------------------------------------------------------

_HOST = r"(?:\[(?P<{0}6>[^\]]+)\]|(?P<{0}>[^\[\]:;|]+))"
_SERVER = re.compile(
    _HOST.format("host")
    + r":(?P<peer>\d+):(?P<election>\d+)(?::(?P<role>[a-zA-Z]+))?"
    + r"(?:\s*;\s*(?:"
    + _HOST.format("client")
    + r":)?(?P<port>\d+))?"
)
MEMBER_FORM = "hostname:peerPort:leaderPort[:observer|participant][;[address:]clientPort]"


def member(text: str) -> Member:
    """One server's line, the part after ``server.X=``."""
    match = _SERVER.fullmatch(text)
    if match is None:
        several = " (one address each: coord has no multi-address servers)" if "|" in text else ""
        raise Unexpected(MEMBER_FORM + several)
    role = (match["role"] or "participant").lower()
    if role not in ("participant", "observer"):
        raise Unexpected(f"participant or observer after the ports of {MEMBER_FORM}")
    real_port = integer(1, 65535, "a port")
    client = None
    if match["port"]:
        client = (match["client6"] or match["client"] or "", port(match["port"]))
    host = match["host6"] or match["host"]
    return Member(host.strip(), real_port(match["peer"]), real_port(match["election"]), role, client)


def server_ids(text: str) -> frozenset[int]:
    """``1:2:3``, the servers of one group."""
    parts = text.split(":")
    if not all(part.strip().isdecimal() for part in parts):
        raise Unexpected("server ids with colons between, as in 1:2:3")
    return frozenset(int(part) for part in parts)
