"""ZooKeeper's znodes the obvious way: one dict of plain records, a copy of all for every multi.

It is slow, has no indexes and shares no code with `coord.state`; what it answers is easily seen to be right.
A failed check raises `No`, in ZooKeeper's order.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field

from coord.errors import ErrorCode as E
from coord.wire.records import ACL, EventType, Id, Stat

CREATED, DELETED = EventType.CREATED, EventType.DELETED
DATA, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
SPECIAL = ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config")
VALID = re.compile(r"/|(/(?!\.\.?(/|$))[^/\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]+)+")


class No(Exception):
    def __init__(self, code: E) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Plain:
    data: bytes | None
    acl: list[ACL]
    czxid: int
    ctime: int
    owner: int = 0
    lifetime: int | None = None
    mzxid: int = 0
    mtime: int = 0
    version: int = 0
    aversion: int = 0
    creates: int = 0
    deletes: int = 0
    pzxid: int = 0


@dataclass
class Naive:
    nodes: dict[str, Plain] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    events: list[tuple[EventType, str]] = field(default_factory=list)
    zxid: int = 0
    time_ms: int = 0
    identities: tuple[Id, ...] = ()

    def __post_init__(self) -> None:
        for path in SPECIAL:
            self.nodes[path] = Plain(b"", [ACL(31, Id("world", "anyone"))], 0, 0)
        self.nodes["/"].deletes = -1
        self.nodes["/zookeeper"].deletes = -2
        self.nodes["/zookeeper/config"].acl = [ACL(1, Id("world", "anyone"))]
        self.nodes["/zookeeper/config"].aversion = -1

    def children(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        below = (other[len(prefix) :] for other in self.nodes if other.startswith(prefix) and other != path)
        return sorted(name for name in below if "/" not in name)

    def stat(self, path: str) -> Stat:
        node, size = self.nodes[path], len(self.nodes[path].data or b"")
        cversion = node.creates + node.deletes
        return Stat(
            node.czxid,
            node.mzxid,
            node.ctime,
            node.mtime,
            node.version,
            cversion,
            node.aversion,
            node.owner,
            size,
            len(self.children(path)),
            node.pzxid,
        )

    def allowed(self, path: str, perm: int) -> bool:
        return any(
            acl.perms & perm and (acl.id == Id("world", "anyone") or acl.id in self.identities)
            for acl in self.nodes[path].acl
        )

    def fixed(self, acl: list[ACL]) -> list[ACL]:
        result: list[ACL] = []
        for entry in acl:
            if entry.id.scheme == "auth":
                own = [ACL(entry.perms, who) for who in self.identities if who.scheme == "digest"]
                if not own:
                    raise No(E.INVALID_ACL)
                result += own
            elif entry.id.scheme in ("world", "digest"):
                result.append(entry)
            else:
                raise No(E.INVALID_ACL)
        if not result:
            raise No(E.INVALID_ACL)
        return [entry for at, entry in enumerate(result) if entry not in result[:at]]

    # -- operations -------------------------------------------------------------------------------------

    def create(
        self,
        session_id: int,
        path: str,
        data: bytes | None,
        acl: list[ACL],
        flags: int,
        lifetime: int | None = None,
    ) -> str:
        if flags not in ((5, 6) if lifetime else (0, 1, 2, 3, 4)):
            raise No(E.BAD_ARGUMENTS)
        if "/" not in path or "\0" in path:
            raise No(E.BAD_ARGUMENTS)
        acl = self.fixed(acl)
        parent = path.rpartition("/")[0] or "/"
        if parent not in self.nodes:
            raise No(E.NO_NODE)
        if not self.allowed(parent, 4):
            raise No(E.NO_AUTH)
        if flags in (2, 3, 6):
            path += str(self.nodes[parent].creates).rjust(10, "0")
        if not VALID.fullmatch(path):
            raise No(E.BAD_ARGUMENTS)
        if path in self.nodes:
            raise No(E.NODE_EXISTS)
        if self.nodes[parent].owner:
            raise No(E.NO_CHILDREN_FOR_EPHEMERALS)
        self.nodes[path] = Plain(
            data, acl, self.zxid, self.time_ms, session_id if flags in (1, 3) else 0, lifetime
        )
        node = self.nodes[path]
        node.mzxid = node.pzxid = self.nodes[parent].pzxid = self.zxid
        node.mtime = self.time_ms
        self.nodes[parent].creates += 1
        self.events += [(CREATED, path), (CHILDREN, parent)]
        return path

    def delete(self, path: str, version: int) -> None:
        if "/" not in path or "\0" in path or path in SPECIAL:
            raise No(E.BAD_ARGUMENTS)
        parent = path.rpartition("/")[0] or "/"
        if parent not in self.nodes:
            raise No(E.NO_NODE)
        if not self.allowed(parent, 8):
            raise No(E.NO_AUTH)
        if path not in self.nodes:
            raise No(E.NO_NODE)
        if version not in (-1, self.nodes[path].version):
            raise No(E.BAD_VERSION)
        if self.children(path):
            raise No(E.NOT_EMPTY)
        self.drop(path)

    def drop(self, path: str) -> None:
        parent = path.rpartition("/")[0] or "/"
        del self.nodes[path]
        self.nodes[parent].deletes += 1
        self.nodes[parent].pzxid = self.zxid
        self.events += [(DELETED, path), (CHILDREN, parent)]

    def check(self, path: str, version: int, perm: int = 1) -> None:
        if not VALID.fullmatch(path):
            raise No(E.BAD_ARGUMENTS)
        if path not in self.nodes:
            raise No(E.NO_NODE)
        if not self.allowed(path, perm):
            raise No(E.NO_AUTH)
        if version not in (-1, self.nodes[path].version):
            raise No(E.BAD_VERSION)

    def set_data(self, path: str, data: bytes | None, version: int) -> Stat:
        self.check(path, version, 2)
        node = self.nodes[path]
        node.data, node.mzxid, node.mtime = data, self.zxid, self.time_ms
        node.version += 1
        self.events.append((DATA, path))
        return self.stat(path)

    def set_acl(self, path: str, acl: list[ACL], aversion: int) -> Stat:
        if not VALID.fullmatch(path):
            raise No(E.BAD_ARGUMENTS)
        acl = self.fixed(acl)
        if path not in self.nodes:
            raise No(E.NO_NODE)
        if not self.allowed(path, 16):
            raise No(E.NO_AUTH)
        node = self.nodes[path]
        if aversion not in (-1, node.aversion):
            raise No(E.BAD_VERSION)
        node.acl = acl
        node.aversion += 1
        return self.stat(path)

    def close_session(self, session_id: int) -> None:
        del self.sessions[session_id]
        for path in sorted(self.nodes):
            if self.nodes[path].owner == session_id:
                self.drop(path)

    def reap(self, path: str) -> None:
        if path not in self.nodes:
            raise No(E.NO_NODE)
        if self.nodes[path].lifetime is None:
            raise No(E.BAD_ARGUMENTS)
        if path not in self.reapable():
            raise No(E.NOT_EMPTY)
        self.drop(path)

    def reapable(self) -> set[str]:
        return {
            path
            for path, node in self.nodes.items()
            if node.lifetime is not None and not self.children(path)
            if (node.creates > 0 if node.lifetime == 0 else self.time_ms - node.mtime > node.lifetime)
        }

    def snapshot(self) -> tuple[dict[str, Plain], dict[int, int]]:
        return {path: copy(node) for path, node in self.nodes.items()}, dict(self.sessions)

    def go_back(self, snapshot: tuple[dict[str, Plain], dict[int, int]]) -> None:
        self.nodes, self.sessions = snapshot
        self.events = []
