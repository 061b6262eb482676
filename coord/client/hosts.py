"""Where to connect: the connect string, the order in which servers are tried, and the pauses between.

Owns the list of hosts and the position in it. Names are resolved anew before every attempt, and every
address a name has is an attempt of its own. Must not know: sessions, the protocol.

Synopsis::

    hosts, chroot = parse_connect_string("a:2181,b:2181/app")
    addresses = Addresses(hosts, Random())
    address = await addresses.next()  # sleeps (with jitter) after each round in which nothing worked
    addresses.succeeded()
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from random import Random
from typing import Final, NamedTuple

import trio

from coord.errors import BadArguments

logger = logging.getLogger("coord.client")

DEFAULT_PORT: Final = 2181
PAUSE_SECONDS_FIRST: Final = 0.05
PAUSE_SECONDS_MAX: Final = 2.0

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?")


class Host(NamedTuple):
    name: str
    port: int


class Address(NamedTuple):
    """One attempt: the host as the connect string has it, and one of its addresses."""

    host: Host
    ip: str


def parse_connect_string(text: str) -> tuple[list[Host], str]:
    """``"a:2181,b,[::1]:2182/chroot"`` -> the hosts and the chroot ("" for none); the port defaults to 2181.

    Raises `BadArguments` that names the part it could not read.
    """
    names, slash, chroot = text.partition("/")
    hosts = [_parse_host(part.strip(), text) for part in names.split(",") if part.strip()]
    if not hosts:
        raise BadArguments(f"the connect string {text!r} names no host")
    return hosts, (slash + chroot).rstrip("/")


def _parse_host(part: str, text: str) -> Host:
    match = _HOST.fullmatch(part)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise BadArguments(f"{part!r} in the connect string {text!r} is not host:port (or [v6 address]:port)")
    return Host(match["v6"] or match["name"], port)


class Addresses:
    """Every address of every host in turn, endlessly; the hosts in an order of this client's own, so that
    clients spread over the servers."""

    def __init__(self, hosts: list[Host], random: Random) -> None:
        self._hosts = random.sample(hosts, len(hosts))
        self._random = random
        self._next_host = 0
        self._waiting: list[Address] = []  # of the host being tried
        self._attempts = 0  # hosts tried since the last success
        self._rounds = 0  # rounds without success
        self._again = False  # the last attempt had succeeded

    async def next(self) -> Address:
        """The next address to try; sleeps after each round of all hosts in which none worked."""
        while True:
            if self._again:
                # Everybody who was connected to a server that went away comes at this moment.
                self._again = False
                await trio.sleep(self._random.uniform(0, PAUSE_SECONDS_FIRST))
            if self._waiting:
                return self._waiting.pop()
            if self._attempts >= len(self._hosts):
                await trio.sleep(self._pause())
            host = self._hosts[self._next_host]
            self._next_host = (self._next_host + 1) % len(self._hosts)
            self._attempts += 1
            self._waiting = await self._resolve(host)

    def succeeded(self) -> None:
        """The last address worked: should it break, the other hosts are tried next, almost at once."""
        self._attempts = 0
        self._rounds = 0
        self._waiting.clear()
        self._again = True

    def prefer(self, address: Address) -> None:
        """It is tried next."""
        self._waiting.append(address)

    async def every(self) -> list[Address]:
        """All of them, as they resolve now; `next` is not concerned."""
        return [address for host in self._hosts for address in await self._resolve(host)]

    def jitter(self) -> float:
        """From 0.5 to 1: what a pause is multiplied by, so that clients do not keep time with each other."""
        return self._random.uniform(0.5, 1.0)

    def _pause(self) -> float:
        """Seconds to wait: longer from round to round, and never the same for two clients."""
        longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * float(1 << self._rounds))
        self._rounds = min(self._rounds + 1, 16)
        self._attempts = 0
        return longest * self.jitter()

    async def _resolve(self, host: Host) -> list[Address]:
        try:
            found = await trio.socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
        except OSError as error:
            logger.warning("host not resolved: %s (%s)", host.name, error)
            return []
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._random.shuffle(ips)
        return [Address(host, ip) for ip in ips]


async def open_stream(address: Address, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """A connection, with TLS if there is a context for it; raises `OSError` or `trio.BrokenResourceError`."""
    try:
        stream = await trio.open_tcp_stream(address.ip, address.host.port)
    except OSError as error:
        raise _reason(error) from None
    if tls is None:
        return stream
    secure = trio.SSLStream(stream, tls, server_hostname=address.host.name)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


def _reason(error: OSError) -> OSError:
    """Why it failed: trio tells it in a group, one for each address it has tried, which here is one."""
    group = error.__cause__
    first = group.exceptions[0] if isinstance(group, ExceptionGroup) else error
    return (
        OSError(first.errno, os.strerror(first.errno))
        if isinstance(first, OSError) and first.errno
        else error
    )
