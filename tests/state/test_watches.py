"""Who hears of what: every row of ZooKeeper's rules, a naive model, and what watching costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coord.state.acl import AccessLists
from coord.state.watches import Watches
from coord.wire.records import (
    ACL,
    AddWatchRequest,
    CheckWatchesRequest,
    CreateRequest,
    DeleteRequest,
    EventType,
    Id,
    Op,
    PathRequest,
    PathWatchRequest,
    SetACLRequest,
    SetDataRequest,
    WatcherType,
)
from tests.state.applier import ANYONE, OPEN, OTHER, SESSION, Applier, Caller, only

CREATED, DELETED = EventType.CREATED, EventType.DELETED
DATA, CHILDREN = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
Event = tuple[EventType, str]


class Watching(Applier):
    """An applier that delivers: `heard` holds each caller's events, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[Caller, list[Event]] = {}

    def apply(self, op: int, body: bytes, session_id: int = SESSION) -> tuple[int, bytes]:
        self.zxid += 1
        err, reply, changes = self.machine.apply(self.zxid, self.zxid, session_id, op, self.identities, body)
        if hasattr(self, "heard"):
            for change in changes:
                for caller in self.watches.fire(change):
                    self.heard.setdefault(caller, []).append(change[:2])
        return int(err), reply

    def take(self, caller: Caller) -> list[Event]:
        return self.heard.pop(caller, [])

    def add_watch(self, path: str, caller: Caller, mode: int) -> None:
        assert self.read_err(Op.ADD_WATCH, AddWatchRequest(path, mode), caller) == 0


@pytest.fixture
def log() -> Watching:
    log = Watching()
    log.create("/p")
    return log


ALL_OPS = [Op.GET_DATA, Op.EXISTS, Op.GET_CHILDREN]
ONE_SHOT: list[tuple[str, list[Op], list[Event], int]] = [
    # what happens to /p/c, how it was watched, the events, the watches left
    ("create", [Op.EXISTS], [(CREATED, "/p/c")], 0),
    ("create", [Op.GET_CHILDREN], [(CHILDREN, "/p")], 0),
    ("create", [Op.GET_CHILDREN2], [(CHILDREN, "/p")], 0),
    ("create", [Op.GET_DATA], [], 0),
    ("set", [Op.GET_DATA], [(DATA, "/p/c")], 0),
    ("set", [Op.EXISTS], [(DATA, "/p/c")], 0),
    ("set", [Op.GET_CHILDREN], [], 2),
    ("delete", [Op.GET_DATA], [(DELETED, "/p/c")], 0),
    ("delete", [Op.EXISTS], [(DELETED, "/p/c")], 0),
    ("delete", [Op.GET_CHILDREN], [(DELETED, "/p/c"), (CHILDREN, "/p")], 0),
    ("delete", ALL_OPS, [(DELETED, "/p/c"), (CHILDREN, "/p")], 0),
    ("close", ALL_OPS, [(DELETED, "/p/c"), (CHILDREN, "/p")], 0),
    ("multi", [Op.GET_DATA], [(DATA, "/p/c")], 0),
    ("acl", ALL_OPS, [], 3),
]


@pytest.mark.parametrize(("action", "ops", "expected", "left"), ONE_SHOT)
def test_one_shot_watches(
    log: Watching, action: str, ops: list[Op], expected: list[Event], left: int
) -> None:
    """A caller watches /p/c, and with child watches /p too."""
    if action != "create":
        log.create("/p/c", flags=1, session_id=OTHER)
    caller = Caller()
    for op in ops:
        log.watch(op, "/p/c", caller)
        if op in (Op.GET_CHILDREN, Op.GET_CHILDREN2):
            log.watch(op, "/p", caller)
    set_data = SetDataRequest("/p/c", b"", -1)
    actions: dict[str, Callable[[], object]] = {
        "create": lambda: log.create("/p/c"),
        "set": lambda: log.ok(Op.SET_DATA, set_data),
        "delete": lambda: log.ok(Op.DELETE, DeleteRequest("/p/c", -1)),
        "close": lambda: log.close_session(OTHER),
        "multi": lambda: log.multi((Op.SET_DATA, set_data), (Op.SET_DATA, set_data)),
        "acl": lambda: log.ok(Op.SET_ACL, SetACLRequest("/p/c", OPEN, -1)),
    }
    actions[action]()
    assert log.take(caller) == expected
    assert len(log.watches) == left


def test_a_failed_multi_tells_nobody_and_keeps_the_watch(log: Watching) -> None:
    caller = Caller()
    log.watch(Op.GET_DATA, "/p", caller)
    log.multi((Op.SET_DATA, SetDataRequest("/p", b"", -1)), (Op.DELETE, DeleteRequest("/none", -1)))
    assert log.take(caller) == []
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    assert log.take(caller) == [(DATA, "/p")]


def test_persistent_watches_hear_all_of_one_znode_and_stay(log: Watching) -> None:
    caller = Caller()
    log.add_watch("/p/c", caller, 0)
    for _ in range(2):
        log.create("/p/c")
        log.create("/p/c/d")
        log.ok(Op.SET_DATA, SetDataRequest("/p/c", b"", -1))
        log.ok(Op.SET_DATA, SetDataRequest("/p/c/d", b"", -1))
        log.ok(Op.DELETE, DeleteRequest("/p/c/d", -1))
        log.ok(Op.DELETE, DeleteRequest("/p/c", -1))
        kinds = [CREATED, CHILDREN, DATA, CHILDREN, DELETED]
        assert log.take(caller) == [(kind, "/p/c") for kind in kinds]


def test_recursive_watches_hear_of_all_below_but_not_of_children(log: Watching) -> None:
    caller, root = Caller(), Caller()
    log.add_watch("/p", caller, 1)
    log.add_watch("/", root, 1)
    log.create("/pp")
    assert log.take(root) == [(CREATED, "/pp")]
    log.create("/p/c")
    log.create("/p/c/d")
    log.ok(Op.SET_DATA, SetDataRequest("/p/c/d", b"", -1))
    log.ok(Op.DELETE, DeleteRequest("/p/c/d", -1))
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    expected = [(CREATED, "/p/c"), (CREATED, "/p/c/d"), (DATA, "/p/c/d"), (DELETED, "/p/c/d"), (DATA, "/p")]
    assert log.take(caller) == expected
    assert log.take(root) == expected


def test_all_kinds_on_one_path_make_one_event_each_time(log: Watching) -> None:
    caller = Caller()
    log.watch(Op.GET_DATA, "/p", caller)
    log.watch(Op.GET_CHILDREN, "/p", caller)
    log.add_watch("/p", caller, 0)
    log.add_watch("/p", caller, 1)
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    log.ok(Op.SET_DATA, SetDataRequest("/p", b"", -1))
    assert log.take(caller) == [(DATA, "/p"), (DATA, "/p")]
    log.ok(Op.DELETE, DeleteRequest("/p", -1))
    assert log.take(caller) == [(DELETED, "/p")]


def test_a_failed_read_registers_nothing_but_exists_waits(log: Watching) -> None:
    log.create("/shut", acl=only(0))
    caller = Caller()
    for op in (Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2):
        for path in ("/none", "/shut"):
            assert log.watch(op, path, caller) != 0
    log.watch(Op.EXISTS, "/shut", caller)
    assert len(log.watches) == 0
    log.watch(Op.EXISTS, "/none", caller)
    assert len(log.watches) == 1
    log.create("/none")
    assert log.take(caller) == [(CREATED, "/none")]


def test_events_go_to_those_who_may_read(log: Watching) -> None:
    """CVE-2024-23944: created by the new ACL, deleted by the old one, children by the parent's."""
    ann = Id("digest", "ann:x")
    friend, stranger = Caller(identities=(ann,)), Caller()
    for caller in (friend, stranger):
        log.add_watch("/p", caller, 1)
        log.watch(Op.EXISTS, "/p/secret", caller)
    log.create("/p/secret", acl=[ACL(31, ann)])
    assert log.take(friend) == [(CREATED, "/p/secret")]
    assert log.take(stranger) == []
    log.identities = (ann,)
    log.watch(Op.GET_CHILDREN, "/p/secret", friend)
    log.add_watch("/p/secret", stranger, 0)
    log.create("/p/secret/x", acl=[ACL(31, ann)])
    assert log.take(friend) == [(CREATED, "/p/secret/x"), (CHILDREN, "/p/secret")]
    log.ok(Op.SET_DATA, SetDataRequest("/p/secret", b"", -1))
    log.ok(Op.DELETE, DeleteRequest("/p/secret/x", -1))
    log.ok(Op.DELETE, DeleteRequest("/p/secret", -1))
    assert [kind for kind, _ in log.take(friend)] == [DATA, DELETED, DELETED]
    assert log.take(stranger) == []
    assert not log.watches.has("/p/secret", WatcherType.DATA, stranger)  # used up all the same


def test_that_children_changed_is_the_parents_to_tell(log: Watching) -> None:
    caller = Caller()
    for change in (
        lambda: log.create("/p/hidden", acl=only(0)),
        lambda: log.ok(Op.DELETE, DeleteRequest("/p/hidden", -1)),
    ):
        log.watch(Op.GET_CHILDREN, "/p", caller)
        change()
        assert log.take(caller) == [(CHILDREN, "/p")]


# -- looking for watches, removing them ----------------------------------------------------------------

KINDS: dict[WatcherType, Callable[[Watching, Caller], object]] = {
    WatcherType.DATA: lambda log, caller: log.watch(Op.GET_DATA, "/p", caller),
    WatcherType.CHILDREN: lambda log, caller: log.watch(Op.GET_CHILDREN, "/p", caller),
    WatcherType.PERSISTENT: lambda log, caller: log.add_watch("/p", caller, 0),
    WatcherType.PERSISTENT_RECURSIVE: lambda log, caller: log.add_watch("/p", caller, 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", list(WatcherType))
def test_check_and_remove(log: Watching, kind: WatcherType, asked: WatcherType) -> None:
    caller, other = Caller(), Caller()
    KINDS[kind](log, caller)
    expected = 0 if asked in (kind, WatcherType.ANY) else -121
    request = CheckWatchesRequest("/p", asked)
    assert log.read_err(Op.CHECK_WATCHES, request, caller) == expected
    assert log.read_err(Op.CHECK_WATCHES, request, other) == -121
    assert log.read_err(Op.REMOVE_WATCHES, request, other) == -121
    assert log.read_err(Op.REMOVE_WATCHES, request, caller) == expected
    assert log.read_err(Op.REMOVE_WATCHES, request, caller) == -121
    assert len(log.watches) == (1 if expected else 0)


def test_any_removes_all(log: Watching) -> None:
    caller = Caller()
    for add in KINDS.values():
        add(log, caller)
    assert len(log.watches) == 4
    assert log.read_err(Op.REMOVE_WATCHES, CheckWatchesRequest("/p", WatcherType.ANY), caller) == 0
    assert len(log.watches) == 0


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        (Op.CHECK_WATCHES, CheckWatchesRequest("/p", 0)),
        (Op.REMOVE_WATCHES, CheckWatchesRequest("/p", 6)),
        (Op.ADD_WATCH, AddWatchRequest("/p", 2)),
    ],
)
def test_a_kind_there_is_not(log: Watching, op: Op, request_: CheckWatchesRequest | AddWatchRequest) -> None:
    assert log.read_err(op, request_) == -5


def test_listings_leave_out_child_watches(log: Watching) -> None:
    a, b = Caller(), Caller()
    log.watch(Op.GET_DATA, "/p", a)
    log.watch(Op.GET_CHILDREN, "/p", a)
    log.add_watch("/", b, 1)
    log.add_watch("/p", b, 0)
    log.watch(Op.GET_CHILDREN, "/", Caller())
    assert log.watches.summary() == (2, 2, 3)
    assert log.watches.by_watcher() == {a: ["/p"], b: ["/", "/p"]}
    assert log.watches.by_path() == {"/p": [a, b], "/": [b]}
    assert len(log.watches) == 5
    log.watches.drop(a)
    log.watches.drop(a)
    assert log.watches.by_path() == {"/": [b], "/p": [b]}


# -- against a naive model -----------------------------------------------------------------------------

PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"])
WHO = st.integers(0, 2)
ACLS = AccessLists()
LISTS = [ACLS.intern((ACL(31, ANYONE),)), ACLS.intern((ACL(1, Id("digest", "1:x")),)), ACLS.intern(())]


@dataclass
class Naive:
    """Everything one connection watches, as a plain set."""

    kinds: set[tuple[str, str]] = field(default_factory=set)

    def hears(self, type_: EventType, path: str) -> bool:
        above = {path[:cut] or "/" for cut in range(len(path) + 1) if path[cut : cut + 1] in ("/", "")}
        hit = ("persistent", path) in self.kinds
        if type_ is CHILDREN:
            return self.take({("child", path)}) or hit
        hit = hit or any(("recursive", up) in self.kinds for up in above | {"/"})
        one_shot = {("data", path), ("child", path)} if type_ is DELETED else {("data", path)}
        return self.take(one_shot) or hit

    def take(self, watches: set[tuple[str, str]]) -> bool:
        found = bool(self.kinds & watches)
        self.kinds -= watches
        return found


class WatchesModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.watches: Watches[Caller] = Watches()
        self.callers = [Caller(identities=(Id("digest", f"{n}:x"),)) for n in range(3)]
        self.naive = [Naive() for _ in range(3)]

    @rule(who=WHO, path=PATHS, kind=st.sampled_from(["data", "exists", "child", "persistent", "recursive"]))
    def add(self, who: int, path: str, kind: str) -> None:
        caller = self.callers[who]
        if kind in ("persistent", "recursive"):
            self.watches.add_persistent(path, caller, kind == "recursive")
        else:
            getattr(self.watches, f"add_{kind}")(path, caller)
        self.naive[who].kinds.add(("data" if kind == "exists" else kind, path))

    @rule(who=WHO, path=PATHS, type_=st.sampled_from(list(WatcherType)))
    def remove(self, who: int, path: str, type_: WatcherType) -> None:
        names = {1: {"child"}, 2: {"data"}, 4: {"persistent"}, 5: {"recursive"}}
        named = names.get(type_, {"child", "data", "persistent", "recursive"})
        there = {(kind, path) for kind in named} & self.naive[who].kinds
        assert self.watches.has(path, type_, self.callers[who]) == bool(there)
        assert self.watches.remove(path, type_, self.callers[who]) == bool(there)
        self.naive[who].kinds -= there

    @rule(who=WHO)
    def drop(self, who: int) -> None:
        self.watches.drop(self.callers[who])
        self.naive[who].kinds.clear()

    @rule(type_=st.sampled_from([CREATED, DELETED, DATA, CHILDREN]), path=PATHS, acl=st.integers(0, 2))
    def fire(self, type_: EventType, path: str, acl: int) -> None:
        told = list(self.watches.fire((type_, path, LISTS[acl])))
        readers = [{0, 1, 2}, {1}, set()][acl]
        expected = {who for who in range(3) if self.naive[who].hears(type_, path)} & readers
        assert len(told) == len(set(told))
        assert {self.callers.index(caller) for caller in told} == expected

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.watches) == sum(len(naive.kinds) for naive in self.naive)


WatchesModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWatchesModel = WatchesModel.TestCase


# -- what it costs -------------------------------------------------------------------------------------


def test_dropping_one_of_many_watchers_costs_its_own_watches() -> None:
    """10,000 watchers of one path, one watcher of 100,000 paths: neither makes the other slow."""
    watches: Watches[Caller] = Watches()
    crowd = [Caller() for _ in range(10_000)]
    for caller in crowd:
        watches.add_data("/hot", caller)
    busy = Caller()
    for number in range(100_000):
        watches.add_child(f"/many/{number}", busy)

    def seconds(callers: list[Caller]) -> float:
        start = time.perf_counter()
        for caller in callers:
            watches.drop(caller)
        return time.perf_counter() - start

    assert seconds(crowd[:9_999]) < 2.0  # a scan of the others would take minutes
    told = watches.fire((DATA, "/hot", LISTS[0]))
    assert list(told) == [crowd[-1]]
    assert seconds([busy]) < 2.0
    assert len(watches) == 0


def test_the_example_of_create_in_the_order_of_delivery(log: Watching) -> None:
    caller = Caller()
    log.watch(Op.EXISTS, "/p/new", caller)
    log.watch(Op.GET_CHILDREN, "/p", caller)
    assert log.err(Op.CREATE, CreateRequest("/p/new", b"", OPEN, 0)) == 0
    assert log.take(caller) == [(CREATED, "/p/new"), (CHILDREN, "/p")]


def test_reads_without_the_flag_watch_nothing(log: Watching) -> None:
    for op in (Op.GET_DATA, Op.EXISTS, Op.GET_CHILDREN, Op.GET_CHILDREN2):
        log.read(op, PathWatchRequest("/p", False))
    log.read(Op.GET_ACL, PathRequest("/p"))
    assert len(log.watches) == 0
