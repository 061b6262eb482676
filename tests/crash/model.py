"""What one writer of the kill loop knows: the state of its subtree, and writes that change it.

A writer sends its writes on one session, so the server does them in their order, and a crash may cut them off
anywhere behind the last one that was acknowledged. So the subtree found afterwards must be exactly the
acknowledged state plus some number of the writes that were under way: `Model.catch_up` finds that number. A
lost write, half a multi, a write done twice or out of order, a sequence number given twice: nothing fits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from coord.errors import ErrorCode
from coord.wire.records import (
    CheckVersionRequest,
    Children2Reply,
    CreateRequest,
    DeleteRequest,
    GetDataReply,
    Op,
    PathReply,
    PathWatchRequest,
    SetDataRequest,
    decode_multi_reply,
    encode_multi,
)
from tests.rawclient import OPEN, RawClient, Reply

KEYS = 3
CROWD = 150
"""znodes above which a writer deletes more than it creates"""


@dataclass
class Model:
    """A subtree: what can be seen of it, and nothing else (so that two of them can be compared)."""

    root: str
    nodes: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """path -> data and version, of every znode but the root and its queue"""
    changes: Counter[str] = field(default_factory=Counter)
    """cversion of the root and of its queue: creates and deletes, so that no two of them cancel out"""
    made: int = field(default=0, compare=False)
    """creates in the queue: the next sequence number"""

    @property
    def queue(self) -> str:
        return f"{self.root}/queue"

    def copy(self) -> Model:
        return Model(self.root, dict(self.nodes), Counter(self.changes), self.made)

    def create(self, path: str, data: bytes) -> None:
        self.nodes[path] = (data, 0)
        parent = path.rpartition("/")[0]
        self.changes[parent] += 1
        self.made += parent == self.queue

    def delete(self, path: str) -> None:
        del self.nodes[path]
        self.changes[path.rpartition("/")[0]] += 1

    def set(self, path: str, data: bytes) -> None:
        self.nodes[path] = (data, self.nodes[path][1] + 1)

    def catch_up(self, found: Model, pending: list[Write]) -> int:
        """Does as many of `pending` as it takes to become `found`; how many, or -1 if none fits."""
        for number, write in enumerate([None, *pending]):
            if write is not None:
                write.change(self)
            if self == found:
                return number
        return -1


@dataclass
class Write:
    name: str
    op: int
    body: bytes
    change: Callable[[Model], None]
    fits: Callable[[Reply], bool]


def found(zk: RawClient, root: str) -> Model:
    """The subtree as it is on the server."""
    model = Model(root)
    for parent in (root, model.queue):
        request = PathWatchRequest(parent, False)
        listing = zk.ask(Op.GET_CHILDREN2, request.encode()).decode(Op.GET_CHILDREN2)
        assert isinstance(listing, Children2Reply)
        model.changes[parent] = listing.stat.cversion
        for path in (f"{parent}/{name}" for name in listing.children):
            if path in (model.queue, f"{root}/alive"):
                continue
            reply = zk.get(path).decode(Op.GET_DATA)
            assert isinstance(reply, GetDataReply)
            model.nodes[path] = (reply.data or b"", reply.stat.version)
    return model


def _done(reply: Reply) -> bool:
    return reply.err == 0


class Writes:
    """Makes up writes that fit a model, from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0

    def next(self, model: Model) -> Write:
        """A write for the state `model`, which it does not change."""
        self.count += 1
        value = str(self.count).encode() * self.rng.randrange(1, 40)
        kinds = _SHRINKING if len(model.nodes) > CROWD else _KINDS
        return self.rng.choice(kinds)(self, model, value)

    def set_one(self, model: Model, value: bytes) -> Write:
        path = f"{model.root}/key{self.rng.randrange(KEYS)}"
        body = SetDataRequest(path, value, model.nodes[path][1]).encode()
        return Write("set", Op.SET_DATA, body, lambda m: m.set(path, value), _done)

    def create_one(self, model: Model, value: bytes) -> Write:
        path = f"{model.root}/node{self.count}"
        body = CreateRequest(path, value, OPEN, 0).encode()
        return Write("create", Op.CREATE, body, lambda m: m.create(path, value), _done)

    def queue_up(self, model: Model, value: bytes) -> Write:
        path = f"{model.queue}/{model.made:010d}"
        body = CreateRequest(f"{model.queue}/", value, OPEN, 2).encode()
        expected = PathReply(path).encode()
        return Write(
            "sequential create",
            Op.CREATE,
            body,
            lambda m: m.create(path, value),
            lambda reply: reply.err == 0 and reply.body == expected,
        )

    def delete_one(self, model: Model, value: bytes) -> Write:
        deletable = [path for path in model.nodes if "/key" not in path]
        if not deletable:
            return self.create_one(model, value)
        path = self.rng.choice(deletable)
        body = DeleteRequest(path, -1).encode()
        return Write("delete", Op.DELETE, body, lambda m: m.delete(path), _done)

    def change_together(self, model: Model, value: bytes) -> Write:
        """All keys get one value, and a znode tells of it: a multi of four operations."""
        keys = [f"{model.root}/key{number}" for number in range(KEYS)]
        path = f"{model.root}/multi{self.count}"
        operations = [(Op.SET_DATA, SetDataRequest(key, value, -1)) for key in keys]
        body = encode_multi([*operations, (Op.CREATE, CreateRequest(path, value, OPEN, 0))])

        def change(m: Model) -> None:
            for key in keys:
                m.set(key, value)
            m.create(path, value)

        return Write("multi", Op.MULTI, body, change, lambda reply: _errors(reply) == [0] * (KEYS + 1))

    def fail_together(self, model: Model, value: bytes) -> Write:
        path = f"{model.root}/key0"
        body = encode_multi(
            [(Op.SET_DATA, SetDataRequest(path, value, -1)), (Op.CHECK, CheckVersionRequest(model.root, 99))]
        )
        expected = [0, ErrorCode.BAD_VERSION]
        return Write("failing multi", Op.MULTI, body, lambda m: None, lambda r: _errors(r) == expected)


_KINDS: list[Callable[[Writes, Model, bytes], Write]] = [
    Writes.set_one,
    Writes.set_one,
    Writes.create_one,
    Writes.queue_up,
    Writes.queue_up,
    Writes.delete_one,
    Writes.delete_one,
    Writes.change_together,
    Writes.fail_together,
]
_SHRINKING = [*_KINDS, *[Writes.delete_one] * 4]


def _errors(reply: Reply) -> list[int]:
    return [err for _, err, _ in decode_multi_reply(reply.body)]
