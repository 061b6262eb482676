"""What a load asks for: its znodes, and which request comes next, ready to be sent.

Owns the plan of a run, the paths below its root, and the bytes of requests but for their xids. Pure; knows
neither sockets nor clocks.

Rules that hold here:

- A request is encoded before the clock starts, but for its length and xid; only the name of a znode that is
  to be created is made when it is asked for.
- All paths are below the root that a run is given.
- What comes next is drawn beforehand, from a seed: a cycle of requests, which each client enters elsewhere.
  So every server gets the same.

Synopsis::

    workload = workload_of("mixed", plan, "/coord-bench-1f2e3d4c")
    workload.requests(0, 20)  # the first 20 of the cycle
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from struct import Struct
from typing import Final, NamedTuple, Protocol

from coord.cli.results import Note
from coord.wire.records import ACL, CreateRequest, Id, Op, PathWatchRequest, SetDataRequest

CYCLE: Final = 10_000
"""So many requests are drawn, or as many as there are keys."""
GROUP: Final = 100
"""Keys below one parent, and so the names that `children` reads."""
FOLDERS: Final = 256
"""New znodes are spread over so many parents, whose lists of children would be too long for one frame."""

MIXED: Final = "mixed"
OPERATIONS: Final = ("get", "exists", "children", "set", "create", MIXED)
CODES: Final = {
    "get": Op.GET_DATA,
    "exists": Op.EXISTS,
    "children": Op.GET_CHILDREN,
    "set": Op.SET_DATA,
    "create": Op.CREATE,
}
DEFAULT_OPERATIONS: Final = ("get", "set", "create", MIXED)
WRITING: Final = frozenset({"set", "create", MIXED})

_INTS = Struct(">ii")
_OPEN: Final = [ACL(31, Id("world", "anyone"))]


@dataclass(frozen=True)
class Plan:
    """What a run is to do; each of `operations` for so many `requests` or `seconds`, one of which is None."""

    operations: tuple[str, ...] = DEFAULT_OPERATIONS
    clients: int = 50
    outstanding: int = 1
    requests: int | None = None
    seconds: float | None = 5.0
    size: int = 100
    """bytes of a znode's data"""
    keys: int = 1000
    read_percent: int = 90
    warm_up: float = 1.0
    """seconds before each operation that are not counted"""
    rate: float | None = None
    """requests a second, of all clients together; None: as fast as replies come"""

    @property
    def data(self) -> bytes:
        return b"x" * self.size

    @property
    def has_keys(self) -> bool:
        return any(operation != "create" for operation in self.operations)

    def intent(self, servers: str, root: str) -> Note:
        """What is going to be written, before it is."""
        lasting = f"{self.seconds:g} s" if self.requests is None else f"{self.requests:,} requests"
        warm_up = f" and {self.warm_up:g} s of warm-up" if self.warm_up else ""
        loop = "" if self.rate is None else f", {self.rate:g} requests a second"
        keys = f"{self.keys:,} znodes of {self.size:,} bytes" if self.has_keys else f"{FOLDERS} empty znodes"
        writes = [operation for operation in self.operations if operation in WRITING]
        each = " each" if len(writes) > 1 else ""
        more = f"then {', '.join(writes)}: {lasting}{warm_up}{each}" if writes else "then only reads"
        clients = f"{self.clients} client{'s'[: self.clients > 1]}"
        requests = f"{self.outstanding} request{'s'[: self.outstanding > 1]}"
        how = f"{servers}: {clients}, {requests} in flight each{loop}"
        return Note(f"{how}\nwrites below {root}, deleted at the end:\n  {keys}, {more}")


class Request(NamedTuple):
    """`head` begins with the opcode; `length` is the whole frame's but for the four bytes that say it."""

    length: int
    head: bytes
    tail: bytes


class Workload(Protocol):
    """`names` are the operations that it consists of."""

    names: tuple[str, ...]
    cycle: int
    """the number of places in it"""

    def requests(self, place: int, count: int) -> Sequence[Request]:
        """The next `count` requests from `place` on, fewer where the cycle ends."""

    def operations(self, place: int, count: int) -> bytes:
        """For each of them its place in `names`."""


def znodes(root: str, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Paths and data of what must be there before, parents first; `root` itself is not among them."""
    if plan.has_keys:
        data = plan.data
        yield f"{root}/keys", b""
        for key in range(plan.keys):
            if key % GROUP == 0:
                yield _group(root, key), b""
            yield _key(root, key), data
    if "create" in plan.operations:
        yield f"{root}/new", b""
        for number in range(FOLDERS):
            yield _folder(root, number), b""


def workload_of(operation: str, plan: Plan, root: str, seed: int = 1) -> Workload:
    """`root` as the servers know it, chroot and all."""
    if operation == "create":
        return _Creating(root, plan)
    return _Cycle(operation, root, plan, Random(seed))


class _Cycle:
    """Requests about keys, which are as likely as each other."""

    def __init__(self, operation: str, root: str, plan: Plan, random: Random) -> None:
        self.cycle = max(CYCLE, plan.keys)
        keys = random.choices(range(plan.keys), k=self.cycle)
        self.names: tuple[str, ...] = ("get", "set") if operation == MIXED else (operation,)
        self._operations = bytes(self.cycle)
        if operation == MIXED:
            shares = (plan.read_percent, 100 - plan.read_percent)
            self._operations = bytes(random.choices((0, 1), shares, k=self.cycle))
        makers = [_requests_about(name, root, plan) for name in self.names]
        drawn = zip(self._operations, keys, strict=True)
        self._requests = [makers[which][key] for which, key in drawn]

    def requests(self, place: int, count: int) -> Sequence[Request]:
        return self._requests[place : place + count]

    def operations(self, place: int, count: int) -> bytes:
        return self._operations[place : place + count]


class _Creating:
    """New znodes, numbered as they are asked for, whoever asks."""

    names: tuple[str, ...] = ("create",)
    cycle = CYCLE

    def __init__(self, root: str, plan: Plan) -> None:
        self._number = 0
        prefixes = (f"{_folder(root, number)}/" for number in range(FOLDERS))
        self._prefixes = [prefix.encode() for prefix in prefixes]
        self._tail = CreateRequest("", plan.data, _OPEN, 0).encode()[4:]

    def requests(self, place: int, count: int) -> Sequence[Request]:
        count = min(count, self.cycle - place)
        first, self._number = self._number, self._number + count
        return [self._request(number) for number in range(first, first + count)]

    def operations(self, place: int, count: int) -> bytes:
        return bytes(min(count, self.cycle - place))

    def _request(self, number: int) -> Request:
        path = self._prefixes[number % FOLDERS] + b"%d" % number
        head = _INTS.pack(Op.CREATE, len(path)) + path
        return Request(4 + len(head) + len(self._tail), head, self._tail)


def _requests_about(name: str, root: str, plan: Plan) -> list[Request]:
    """For each key the request."""
    tail = PathWatchRequest("", watch=False).encode()[4:]
    if name == "set":
        tail = SetDataRequest("", plan.data, -1).encode()[4:]
    place = _group if name == "children" else _key
    found = []
    for key in range(plan.keys):
        path = place(root, key).encode()
        head = _INTS.pack(CODES[name], len(path)) + path
        found.append(Request(4 + len(head) + len(tail), head, tail))
    return found


def _group(root: str, key: int) -> str:
    return f"{root}/keys/{key // GROUP}"


def _key(root: str, key: int) -> str:
    return f"{_group(root, key)}/{key}"


def _folder(root: str, number: int) -> str:
    return f"{root}/new/{number % FOLDERS}"
