"""What servers say of themselves, read, and compared with what they said before. Pure.

Owns the reading of `srvr` and `mntr`, coord's and Apache ZooKeeper's alike, the rates between two looks, and
the cells of a table. Must not know sockets, clocks or terminals.

Rule that holds here: what a server does not tell is None, and shown as such; nothing is made up. `srvr` is
asked for what `mntr` may not say (most servers' whitelists do not allow it).

Synopsis::

    new = read("127.0.0.1:2181", srvr, mntr, at=12.0)
    rates(new, old)  # Rates(received=120.5, sent=121.0), packets a second
    cells(new, rates(new, old))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NamedTuple

WORD_CHARACTERS: Final = 100
UNTOLD: Final = "-"
SILENT, WAITING = "silent", "waiting"


class Rates(NamedTuple):
    """Packets a second; pings count, too."""

    received: float | None = None
    sent: float | None = None


@dataclass(frozen=True)
class Look:
    """One server at one moment, `at` (seconds of some clock)."""

    server: str
    mode: str
    """leader, follower, observer, standalone, read-only; `waiting` for a leader, or `silent`"""
    at: float
    zxid: int | None = None
    latency: tuple[float, float, float] | None = None
    """least, average, most, in milliseconds, since the server's counters were reset"""
    connections: int | None = None
    sessions: int | None = None
    outstanding: int | None = None
    znodes: int | None = None
    watches: int | None = None
    received: int | None = None
    sent: int | None = None
    uptime_ms: int | None = None
    version: str | None = None

    @property
    def epoch(self) -> int | None:
        return None if self.zxid is None else self.zxid >> 32

    @property
    def is_well(self) -> bool:
        return self.mode not in (SILENT, WAITING)


def read(server: str, srvr: str, mntr: str, at: float) -> Look:
    """From the answers to `srvr` and `mntr`, each "" if there was none."""
    one = dict(re.findall(r"^([A-Za-z][A-Za-z/ ]*): (.*?)\s*$", srvr, re.MULTILINE))
    more = dict(re.findall(r"^zk_(\w+)\t(.*?)\s*$", mntr, re.MULTILINE))
    mode = _word(one.get("Mode") or more.get("server_state"))
    if mode is None:
        return Look(server, WAITING if srvr or mntr else SILENT, at)
    least, average, most = (more.get(f"{which}_latency") for which in ("min", "avg", "max"))
    latency = _latency(one.get("Latency min/avg/max") or f"{least}/{average}/{most}")
    version = _word(one.get("Zookeeper version") or more.get("version"))
    return Look(
        server,
        mode,
        at,
        zxid=_number(one.get("Zxid"), 16),
        latency=latency,
        connections=_number(one.get("Connections") or more.get("num_alive_connections")),
        sessions=_number(more.get("global_sessions")),
        outstanding=_number(one.get("Outstanding") or more.get("outstanding_requests")),
        znodes=_number(one.get("Node count") or more.get("znode_count")),
        watches=_number(more.get("watch_count")),
        received=_number(one.get("Received") or more.get("packets_received")),
        sent=_number(one.get("Sent") or more.get("packets_sent")),
        uptime_ms=_number(more.get("uptime")),
        version=version.partition(",")[0] if version else None,
    )


def _word(text: str | None) -> str | None:
    """Nothing that moves a cursor, and not more than a few words: it may come from no server at all."""
    shown = "".join(one for one in (text or "")[:WORD_CHARACTERS] if one.isprintable())
    return shown or None


def _number(text: str | None, base: int = 10) -> int | None:
    """None for what is none of 64 bits, too."""
    try:
        found = None if text is None else int(text.partition(".")[0], base)
    except ValueError:
        return None
    return found if found is not None and abs(found) < 1 << 64 else None


def _latency(text: str) -> tuple[float, float, float] | None:
    try:
        least, average, most = map(float, text.split("/"))
    except ValueError:
        return None
    return (least, average, most) if isfinite(least + average + most) else None


def rates(new: Look, old: Look | None) -> Rates:
    """Nothing for the first look, nor after the server's counters began anew."""
    if old is None or new.at <= old.at:
        return Rates()
    seconds = new.at - old.at

    def rate(now: int | None, before: int | None) -> float | None:
        return None if now is None or before is None or now < before else (now - before) / seconds

    return Rates(rate(new.received, old.received), rate(new.sent, old.sent))


# -- the table ----------------------------------------------------------------------------------------

Cell = Callable[[Look, Rates], str]


def _told(value: object) -> str:
    return UNTOLD if value is None else str(value)


def _per_second(value: float | None) -> str:
    return UNTOLD if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _milliseconds(latency: tuple[float, float, float] | None) -> str:
    return UNTOLD if latency is None else "/".join(f"{one:.4g}" for one in latency)


COLUMNS: Final[dict[str, Cell]] = {
    "server": lambda look, _: look.server,
    "mode": lambda look, _: look.mode,
    "zxid": lambda look, _: UNTOLD if look.zxid is None else f"0x{look.zxid:x}",
    "epoch": lambda look, _: _told(look.epoch),
    "in/s": lambda _, rates: _per_second(rates.received),
    "out/s": lambda _, rates: _per_second(rates.sent),
    "latency ms": lambda look, _: _milliseconds(look.latency),
    "queued": lambda look, _: _told(look.outstanding),
    "conns": lambda look, _: _told(look.connections),
    "sessions": lambda look, _: _told(look.sessions),
    "znodes": lambda look, _: _told(look.znodes),
    "watches": lambda look, _: _told(look.watches),
}
"""From left to right, the more important first: a narrow terminal shows those that fit."""

LEFT: Final = ("server", "mode")
"""Columns of words; the others are numbers."""


def cells(look: Look, rate: Rates) -> tuple[str, ...]:
    return tuple(cell(look, rate) for cell in COLUMNS.values())


def fitting(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many columns of these rows fit into so many characters, two between each; one at least."""
    used, count = -2, 0
    for column in zip(*rows, strict=True):
        used += 2 + max(map(len, column))
        if used > width:
            break
        count += 1
    return max(count, 1)


def _most(value: Callable[[Look, Rates], float | None]) -> Callable[[Look, Rates], tuple[bool, float]]:
    """The largest first, those without one last."""

    def key(look: Look, rate: Rates) -> tuple[bool, float]:
        found = value(look, rate)
        return found is None, -(found or 0)

    return key


ORDERS: Final[dict[str, Callable[[Look, Rates], Any]]] = {
    "server": lambda look, rate: 0,  # as in the connect string
    "mode": lambda look, _: (look.mode != "leader", not look.is_well, look.mode),
    "requests": _most(lambda _, rate: rate.received),
    "latency": _most(lambda look, _: look.latency and look.latency[1]),
    "connections": _most(lambda look, _: look.connections),
}
"""How the servers can be sorted."""


@dataclass(frozen=True)
class Glance:
    """All servers at one moment, as they were and as they were before."""

    pairs: tuple[tuple[Look, Rates], ...]

    def sorted(self, order: str) -> list[tuple[Look, Rates]]:
        return sorted(self.pairs, key=lambda pair: ORDERS[order](*pair))

    def headline(self) -> str:
        """``3 servers, 1 silent; host1:2181 leads``"""
        leaders = [look.server for look, _ in self.pairs if look.mode == "leader"]
        modes = [look.mode for look, _ in self.pairs]
        text = f"{len(modes)} server{'s'[: len(modes) != 1]}"
        text += "".join(f", {modes.count(one)} {one}" for one in (SILENT, WAITING) if one in modes)
        if leaders:
            return f"{text}; {' and '.join(leaders)} lead{'s'[: len(leaders) == 1]}"
        return text if modes == ["standalone"] else f"{text}; nobody leads"


@dataclass(frozen=True)
class Row:
    """A server as a result: `widths` are those of the columns."""

    look: Look
    rate: Rates
    widths: tuple[int, ...]

    def text(self) -> str:
        return aligned(cells(self.look, self.rate), self.widths)

    def json(self) -> dict[str, Any]:
        look = self.look
        least, average, most = look.latency or (None, None, None)
        return {
            "server": look.server,
            "mode": look.mode,
            "zxid": look.zxid,
            "epoch": look.epoch,
            "received_per_s": None if self.rate.received is None else round(self.rate.received, 3),
            "sent_per_s": None if self.rate.sent is None else round(self.rate.sent, 3),
            "latency_ms": {"min": least, "avg": average, "max": most},
            "outstanding": look.outstanding,
            "connections": look.connections,
            "sessions": look.sessions,
            "znodes": look.znodes,
            "watches": look.watches,
            "uptime_ms": look.uptime_ms,
            "version": look.version,
        }


def aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table, words to the left and numbers to the right."""
    padded = (
        text.ljust(width) if name in LEFT else text.rjust(width)
        for name, text, width in zip(COLUMNS, row, widths, strict=True)
    )
    return "  ".join(padded).rstrip()
