"""The tree of znodes: what is stored, the indexes over it, its digest, and taking changes back.

Owns every `Node` and all that follows from the nodes: the children of each, the ephemerals of each session,
which znodes expire by themselves. Decides nothing: permissions, versions and errors are the operations'
business; the methods here are told to change what is known to exist.

Rules that hold:

- `nodes` maps every path to its node; a node does not know its own path. `children` holds the paths of the
  children (the very strings that are the keys of `nodes`), and is None until there is one.
- `creates` counts a znode's children ever created, and only that: it makes sequence numbers. What clients
  see as cversion also counts deletes: ``2 * creates - number of children``.
- `digest` is the sum, modulo 2**64, of a hash of every node (`hash_of`). A node that changes leaves the sum,
  and is added when somebody asks: so what changes often is hashed seldom.
- Whatever changes a znode or its children makes `answers` forget it.
- Between `begin` and `commit` or `rollback` every change leaves its inverse in an undo log. Running the
  log backwards is the simplest method that is right: no operation needs a second way to look at the
  tree, later operations see earlier ones for free, and a write outside a multi pays for one comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Final
from zlib import crc32

from coord.state.acl import OPEN_UNSAFE, READ_UNSAFE, AccessList, AccessLists
from coord.state.answers import Answers
from coord.state.paths import ROOT, parent_of
from coord.wire.jute import Reader
from coord.wire.records import Stat, pack_stat

QUOTA: Final = "/zookeeper/quota"
CONFIG: Final = "/zookeeper/config"
BUILT_IN: Final = frozenset({ROOT, "/zookeeper", QUOTA, CONFIG})
"""The znodes every tree begins with; they cannot be deleted."""

CONTAINER: Final = 0
"""The lifetime (see `Tree.lifetimes`) of a container."""

_DIGEST_MASK = (1 << 64) - 1
_UNHASHED_MAX = 4096
"""Nodes to be hashed when somebody asks for the digest: a few milliseconds."""

_HASHED = Struct(">qqiiqI?")


class Node:
    """One znode. Zxids and times are shared int objects; `acl` is shared by all nodes of equal ACL."""

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "creates",
        "ctime",
        "czxid",
        "data",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "version",
    )

    def __init__(self, data: bytes | None, acl: AccessList, zxid: int, time_ms: int, owner: int) -> None:
        self.data = data
        self.acl = acl
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = time_ms
        self.version = self.aversion = self.creates = 0
        self.owner = owner
        """session id of an ephemeral znode, else 0"""
        self.children: dict[str, None] | None = None

    def pack_stat(self) -> bytes:
        children = self.children
        count = len(children) if children else 0
        data = self.data
        cversion = 2 * self.creates - count
        if cversion > 0x7FFFFFFF:  # an int on the wire: it wraps, as Java's does
            cversion = (cversion + (1 << 31)) % (1 << 32) - (1 << 31)
        return pack_stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            cversion,
            self.aversion,
            self.owner,
            len(data) if data else 0,
            count,
            self.pzxid,
        )

    def stat(self) -> Stat:
        return Stat.read(Reader(self.pack_stat()))

    def _set_data(self, data: bytes | None, version: int, mzxid: int, mtime: int) -> None:
        self.data, self.version, self.mzxid, self.mtime = data, version, mzxid, mtime

    def _set_acl(self, acl: AccessList, aversion: int) -> None:
        self.acl, self.aversion = acl, aversion


def hash_of(path: str, node: Node) -> int:
    """64 bits over what makes the node; the parent's counters are left out, so a create hashes one node."""
    data = node.data
    head = _HASHED.pack(
        node.czxid, node.mzxid, node.version, node.aversion, node.owner, node.acl.crc, data is None
    )
    low = crc32(data or b"", crc32(head))
    return crc32(path.encode(), low) << 32 | low


class Tree:
    """The nodes and the indexes over them.

    Synopsis::

        tree = Tree.with_built_ins()
        node = Node(b"data", tree.acls.intern(OPEN_UNSAFE), zxid, time_ms, 0)
        tree.add("/a", node, tree.nodes["/"])
        tree.nodes["/a"].stat()
    """

    def __init__(self) -> None:
        self.acls = AccessLists()
        self.answers = Answers()
        """replies that are remembered; each change makes those of its znode, and of its parent, forgotten"""
        self.nodes: dict[str, Node] = {}
        self.ephemerals: dict[int, dict[str, None]] = {}
        """session id -> paths of its ephemeral znodes"""
        self.lifetimes: dict[str, int] = {}
        """znodes that go away by themselves: path -> time to live in ms, or `CONTAINER`"""
        self.ttl_enabled = True
        """may TTL znodes be created (`extendedTypesEnabled`)? Replicated, so that all members decide alike"""
        self._digest = 0
        self._unhashed: dict[str, None] = {}  # paths of nodes that are not in it
        self.data_bytes = 0
        """bytes of all paths and data, for the operator (mntr's approximate_data_size)"""
        self._undo: list[Callable[[], None]] | None = None

    @classmethod
    def with_built_ins(cls) -> Tree:
        """The tree of a new ensemble."""
        tree = cls()
        for path in sorted(BUILT_IN):
            tree.load(path, Node(b"", tree.acls.intern(OPEN_UNSAFE), 0, 0, 0), None)
        config = tree.nodes[CONFIG]
        # aversion -1 is what ZooKeeper's clients see of this one znode.
        config._set_acl(tree.acls.intern(READ_UNSAFE), -1)
        return tree

    @property
    def digest(self) -> int:
        """Equal trees have equal ones."""
        self._hash()
        return self._digest

    @property
    def node_count(self) -> int:
        """The number ZooKeeper reports: it counts the root twice, so a new tree has 5 znodes."""
        return len(self.nodes) + 1

    @property
    def ephemeral_count(self) -> int:
        return sum(map(len, self.ephemerals.values()))

    def children_of(self, path: str) -> list[str]:
        """The names of the children of a znode that exists, in no particular order."""
        children = self.nodes[path].children
        if not children:
            return []
        cut = 1 if path == ROOT else len(path) + 1
        return [child[cut:] for child in children]

    def count_descendants(self, path: str) -> int:
        """How many znodes lie below `path`, which exists."""
        if path == ROOT:
            return len(self.nodes) - 1
        count, rest = 0, [self.nodes[path]]
        while rest:
            children = rest.pop().children
            if children:
                count += len(children)
                rest.extend(map(self.nodes.__getitem__, children))
        return count

    # -- changes ----------------------------------------------------------------------------------------

    def add(self, path: str, node: Node, parent: Node, lifetime: int | None = None) -> None:
        """`node`, new in this transaction, becomes a child of `parent`, the node above `path`."""
        if self._undo is not None:
            self._undo.append(partial(self._take_back_add, path, node, parent, parent.pzxid))
        self.answers.forget(parent)
        self._link(path, node, parent, lifetime)
        parent.creates += 1
        parent.pzxid = node.czxid
        self._hash_later(path)

    def remove(self, path: str, zxid: int) -> None:
        """The znode at `path`, which exists and has no children, goes."""
        node, parent = self.nodes[path], self.nodes[parent_of(path)]
        self.answers.forget(node)
        self.answers.forget(parent)
        if self._undo is not None:
            lifetime = self.lifetimes.get(path)
            self._undo.append(partial(self._take_back_remove, path, node, parent, parent.pzxid, lifetime))
        self._leave_digest(path, node)
        self._unlink(path, node, parent)
        parent.pzxid = zxid

    def set_data(self, path: str, node: Node, data: bytes | None, zxid: int, time_ms: int) -> None:
        if self._undo is not None:
            old = node.data
            self._undo.append(partial(self._take_back_data, node, old, node.version, node.mzxid, node.mtime))
        self.answers.forget(node)
        self._leave_digest(path, node)
        self.data_bytes += len(data or b"") - len(node.data or b"")
        node.data = data
        version = node.version
        node.version = version + 1 if 0 <= version < 0x7FFFFFFF else next_version(version)
        node.mzxid = zxid
        node.mtime = time_ms

    def set_acl(self, path: str, node: Node, acl: AccessList) -> None:
        if self._undo is not None:
            self._undo.append(partial(node._set_acl, node.acl, node.aversion))
        self.answers.forget(node)
        self._leave_digest(path, node)
        node._set_acl(acl, next_version(node.aversion))

    def load(self, path: str, node: Node, lifetime: int | None) -> None:
        """Puts back a node as a snapshot describes it, counters included; its parent is there already."""
        self._link(path, node, None if path == ROOT else self.nodes[parent_of(path)], lifetime)
        self._hash_later(path)

    # -- all or nothing ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """From here on changes can be taken back."""
        assert self._undo is None
        self._undo = []

    def commit(self) -> None:
        self._undo = None

    def rollback(self) -> None:
        """Everything is as it was at `begin`."""
        undo, self._undo = self._undo or [], None
        for take_back in reversed(undo):
            take_back()

    def _take_back_add(self, path: str, node: Node, parent: Node, pzxid: int) -> None:
        self._unlink(path, node, parent)
        parent.creates -= 1
        parent.pzxid = pzxid

    def _take_back_remove(
        self, path: str, node: Node, parent: Node, pzxid: int, lifetime: int | None
    ) -> None:
        self._link(path, node, parent, lifetime)
        parent.pzxid = pzxid

    def _take_back_data(self, node: Node, data: bytes | None, version: int, mzxid: int, mtime: int) -> None:
        self.data_bytes += len(data or b"") - len(node.data or b"")
        node._set_data(data, version, mzxid, mtime)

    # -- the indexes ------------------------------------------------------------------------------------

    def _link(self, path: str, node: Node, parent: Node | None, lifetime: int | None) -> None:
        self.nodes[path] = node
        self.data_bytes += len(path) + len(node.data or b"")
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            parent.children[path] = None
        if node.owner:
            self.ephemerals.setdefault(node.owner, {})[path] = None
        if lifetime is not None:
            self.lifetimes[path] = lifetime

    def _unlink(self, path: str, node: Node, parent: Node) -> None:
        del self.nodes[path]
        self.data_bytes -= len(path) + len(node.data or b"")
        if parent.children is not None:
            del parent.children[path]
            if not parent.children:
                parent.children = None
        if node.owner:
            owned = self.ephemerals[node.owner]
            del owned[path]
            if not owned:
                del self.ephemerals[node.owner]
        self.lifetimes.pop(path, None)

    # -- the digest -------------------------------------------------------------------------------------

    def _leave_digest(self, path: str, node: Node) -> None:
        """`node` is about to change, or to go."""
        if path not in self._unhashed:
            self._digest -= hash_of(path, node)
            self._hash_later(path)

    def _hash_later(self, path: str) -> None:
        # One that is among them already would be hashed now, and once more later.
        if len(self._unhashed) >= _UNHASHED_MAX and self._undo is None and path not in self._unhashed:
            self._hash()
        self._unhashed[path] = None

    def _hash(self) -> None:
        assert self._undo is None, "what may be taken back is not hashed"
        nodes, digest = self.nodes, self._digest
        for path in self._unhashed:
            node = nodes.get(path)
            if node is not None:
                digest += hash_of(path, node)
        self._unhashed.clear()
        self._digest = digest & _DIGEST_MASK


def next_version(version: int) -> int:
    """One more; it wraps like Java's int, and skips -1, which would mean "any" (ZOOKEEPER-4743)."""
    if version == 0x7FFFFFFF:
        return -0x80000000
    return 0 if version == -2 else version + 1
