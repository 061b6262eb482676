"""What the servers of an ensemble say of themselves, and the one thing they can be told: lead no more.

Owns the questions (four-letter words, one connection each, no session) and what is printed of the answers.

Rule that holds here: what is not said is not made up; a server that does not answer is listed as such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import trio

import coord
from coord.cli.jobs import Output
from coord.cli.results import Data, Said
from coord.client.hosts import Host, parse_connect_string
from coord.client.words import ask
from coord.errors import CoordError

CONFIG = "/zookeeper/config"
POLL_SECONDS = 0.05
ANSWER_SECONDS = 2.0


class NotDone(CoordError):
    """The servers did not do what they were told to."""


@dataclass(frozen=True)
class Server:
    host: Host
    mode: str
    """leader, follower, observer, standalone or read-only; `waiting` for a leader, or `silent`"""
    zxid: str = "-"
    clients: str = "-"

    @property
    def name(self) -> str:
        return name_of(self.host)


@dataclass(frozen=True)
class Member:
    """A line of the table of members; `width` is that of its first column."""

    server: Server
    width: int

    def text(self) -> str:
        one = self.server
        return f"{one.name:{self.width}}  {one.mode:10}  zxid {one.zxid:12}  clients {one.clients}"

    def json(self) -> dict[str, Any]:
        one = self.server
        clients = int(one.clients) if one.clients.isdigit() else None
        return {"server": one.name, "mode": one.mode, "zxid": one.zxid, "clients": clients}


@dataclass(frozen=True)
class Version:
    server: str
    version: str

    def text(self) -> str:
        return f"{self.server}: {self.version}"

    def json(self) -> dict[str, Any]:
        return {"server": self.server, "version": self.version}


async def members(servers: str, out: Output) -> None:
    """Prints a line for each server of a connect string: address, mode, zxid, connections."""
    found = await look(servers)
    width = max(len(server.name) for server in found)
    for server in found:
        out(Member(server, width))


async def yield_leadership(servers: str, out: Output) -> None:
    """Has the leader hand over to another member; prints who leads then. Raises `NotDone`."""
    old = _leader(await look(servers))
    if old is None:
        raise NotDone(f"none of {servers} leads an ensemble")
    answer = (await ask_host(old.host, "ydld")).strip()
    if not answer.startswith("Sent"):
        raise NotDone(f"{old.name} does not hand over: {answer or 'it closed the connection'}")
    while True:
        new = _leader(await look(servers))
        if new is not None and new != old and new.host != old.host:
            out(Said(f"{new.name} leads; it was {old.name}"))
            return
        await trio.sleep(POLL_SECONDS)


async def versions(servers: str, out: Output) -> None:
    """Prints a line for each server that tells its version."""
    hosts, _ = parse_connect_string(servers)
    for host, answer in (await _ask_all(hosts, "srvr")).items():
        if match := re.search(r"^Zookeeper version: (.*)$", answer, re.MULTILINE):
            out(Version(name_of(host), match[1]))


async def count_watches(servers: str) -> dict[str, int] | None:
    """How many watches there are, by path, at all servers together; None if one does not tell.

    They tell if their 4lw.commands.whitelist has the word wchp.
    """
    hosts, _ = parse_connect_string(servers)
    watches: dict[str, int] = {}
    for answer in (await _ask_all(hosts, "wchp")).values():
        if not answer or "not executed" in answer or "not currently serving" in answer:
            return None
        path = ""
        for line in answer.splitlines():
            if line.startswith("\t"):
                watches[path] = watches.get(path, 0) + 1
            else:
                path = line
    return watches


async def config(servers: str, out: Output, *, with_stat: bool = False, for_clients: bool = False) -> None:
    """Prints the members of the ensemble: /zookeeper/config, or else what the word conf has of them.

    `for_clients`: only the version, and the addresses for clients of those that have them there.

    Raises `NotDone` if no server knows any, which is so where a server is alone.
    """
    hosts, _ = parse_connect_string(servers)
    async with coord.connect(servers.partition("/")[0]) as zk:
        data, stat = await zk.get(CONFIG)
    if not data:
        answers = (await _ask_all(hosts, "conf")).values()
        lines = next(filter(None, map(_member_lines, answers)), [])
        if not lines:
            raise NotDone(f"{servers} tells of no members: a server that is alone has none")
        data = "\n".join(lines).encode()
    if for_clients:
        data = client_addresses(data.decode()).encode()
    out(Data(CONFIG, data, stat if with_stat else None))


def client_addresses(config: str) -> str:
    """``100000000 host1:2181,host2:2181``, as zkCli has it. Raises `NotDone` if there are no addresses."""
    version = re.search(r"^version=(.*)$", config, re.MULTILINE)
    addresses = re.findall(r"^server\.\d+=[^;\n]*;(.+)$", config, re.MULTILINE)
    if not addresses:
        raise NotDone("the configuration has no addresses for clients, only those of the members")
    return f"{version[1] if version else 0} {','.join(addresses)}"


def _member_lines(answer: str) -> list[str]:
    return re.findall(r"^server\.\d+=.*$|^version=.*$", answer, re.MULTILINE)


async def look(servers: str) -> list[Server]:
    """All servers of the connect string, in its order, asked at the same time."""
    hosts, _ = parse_connect_string(servers)
    return [_server(host, answer) for host, answer in (await _ask_all(hosts, "srvr")).items()]


async def _ask_all(hosts: list[Host], word: str) -> dict[Host, str]:
    """The hosts in their order, with what they answer."""
    found = dict.fromkeys(hosts, "")

    async def one(host: Host) -> None:
        found[host] = await ask_host(host, word)

    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(one, host)
    return found


async def ask_host(host: Host, word: str) -> str:
    """Nothing, if there is no answer."""
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            async with await trio.open_tcp_stream(host.name, host.port) as stream:
                return await ask(stream, word)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    return ""


def name_of(host: Host) -> str:
    """As a connect string has it."""
    return f"[{host.name}]:{host.port}" if ":" in host.name else f"{host.name}:{host.port}"


def _server(host: Host, text: str) -> Server:
    """From the answer to `srvr`."""

    def field(name: str) -> str | None:
        match = re.search(rf"^{name}: (\S+)$", text, re.MULTILINE)
        return match[1] if match else None

    mode = field("Mode")
    if mode is None:
        return Server(host, "waiting" if text else "silent")
    return Server(host, mode, field("Zxid") or "-", field("Connections") or "-")


def _leader(servers: list[Server]) -> Server | None:
    leaders = [server for server in servers if server.mode == "leader"]
    return leaders[0] if len(leaders) == 1 else None
