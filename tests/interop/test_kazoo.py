"""kazoo, unmodified, on a real server process: its client, its watchers and every recipe it ships.

What kazoo expects of a server is what most Python programs expect. ``COORD_TEST_ZOOKEEPER=1`` runs the same
tests against Apache ZooKeeper. Nothing here sleeps: every wait is for an event, with a deadline.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType, KazooState
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, make_digest_acl

from tests.servers import ServerProcess, skip_without_its_server

SECONDS = 10.0
Connect = Callable[..., KazooClient]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    skip_without_its_server()
    with ServerProcess(tmp_path_factory.mktemp("kazoo"), {"tickTime": "500"}) as process:
        yield process


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Connect]:
    """Makes connected clients and closes them afterwards."""
    clients: list[KazooClient] = []

    def make(chroot: str = "", **options: Any) -> KazooClient:
        client = KazooClient(hosts=server.hosts + chroot, timeout=options.pop("timeout", 10.0), **options)
        clients.append(client)
        client.start(timeout=SECONDS)
        return client

    yield make
    for client in clients:
        client.stop()
        client.close()


@pytest.fixture
def zk(connect: Connect) -> KazooClient:
    return connect()


@pytest.fixture
def root(zk: KazooClient, request: pytest.FixtureRequest) -> str:
    path = f"/{request.node.name}"
    zk.create(path)
    return path


class Seen:
    """Collects what callbacks are given; `wait` blocks until a condition on it holds."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, *items: Any) -> None:
        with self._changed:
            self.items.append(items[0] if len(items) == 1 else items)
            self._changed.notify_all()

    def wait(self, condition: Callable[[list[Any]], object]) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.items), SECONDS), self.items
            return list(self.items)


def has_length(length: int, items: list[Any]) -> bool:
    return len(items) == length


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def until_gone(zk: KazooClient, path: str) -> None:
    gone = threading.Event()
    if zk.exists(path, watch=lambda event: gone.set()) is not None:
        assert gone.wait(SECONDS), f"{path} is still there"


# -- znodes -------------------------------------------------------------------------------------------


def test_create_in_every_manner(zk: KazooClient, root: str) -> None:
    assert zk.create(f"{root}/plain", b"x") == f"{root}/plain"
    assert zk.create(f"{root}/seq-", sequence=True) == f"{root}/seq-0000000001"
    assert zk.create(f"{root}/e", ephemeral=True) == f"{root}/e"
    assert zk.create(f"{root}/es-", ephemeral=True, sequence=True) == f"{root}/es-0000000003"
    assert zk.create(f"{root}/deep/er/still", b"y", makepath=True) == f"{root}/deep/er/still"
    path, stat = zk.create(f"{root}/data", b"abc", include_data=True)
    assert (path, stat) == (f"{root}/data", zk.exists(f"{root}/data"))
    assert zk.exists(f"{root}/e").ephemeralOwner == zk.client_id[0]
    assert zk.exists(f"{root}/plain").owner_session_id is None
    with pytest.raises(NodeExistsError):
        zk.create(f"{root}/plain")
    with pytest.raises(NoNodeError):
        zk.create(f"{root}/no/parent")
    with pytest.raises(NoChildrenForEphemeralsError):
        zk.create(f"{root}/e/child")
    assert zk.ensure_path(f"{root}/deep/est") is not None


def test_get_set_exists(zk: KazooClient, root: str) -> None:
    created = zk.exists(root)
    assert (created.version, created.dataLength, created.numChildren) == (0, 0, 0)
    stat = zk.set(root, b"one", version=0)
    assert (stat.version, stat.dataLength, stat.czxid) == (1, 3, created.czxid)
    assert stat.mzxid > created.mzxid
    assert abs(stat.last_modified - time.time()) < 60
    assert zk.get(root) == (b"one", stat)
    with pytest.raises(BadVersionError):
        zk.set(root, b"two", version=0)
    with pytest.raises(NoNodeError):
        zk.get(f"{root}/no")
    assert zk.exists(f"{root}/no") is None
    zk.set(root, b"")
    assert zk.get(root)[0] == b""


def test_children(zk: KazooClient, root: str) -> None:
    for name in ("b", "a", "c"):
        zk.create(f"{root}/{name}")
    assert sorted(zk.get_children(root)) == ["a", "b", "c"]
    children, stat = zk.get_children(root, include_data=True)
    assert (sorted(children), stat.numChildren, stat.cversion) == (["a", "b", "c"], 3, 3)
    with pytest.raises(NoNodeError):
        zk.get_children(f"{root}/no")


def test_delete(zk: KazooClient, root: str) -> None:
    zk.create(f"{root}/a/b/c", makepath=True)
    with pytest.raises(NotEmptyError):
        zk.delete(f"{root}/a")
    with pytest.raises(BadVersionError):
        zk.delete(f"{root}/a/b/c", version=7)
    zk.delete(f"{root}/a", recursive=True)
    with pytest.raises(NoNodeError):
        zk.delete(f"{root}/a")
    assert zk.get_children(root) == []


def test_unicode_paths_and_large_data(zk: KazooClient, root: str) -> None:
    data = bytes(range(256)) * 4000
    zk.create(f"{root}/käse-日本", data)
    assert zk.get(f"{root}/käse-日本")[0] == data
    assert zk.get_children(root) == ["käse-日本"]


def test_hundreds_of_requests_in_flight(zk: KazooClient, root: str) -> None:
    results = [zk.create_async(f"{root}/{number}", str(number).encode()) for number in range(300)]
    reads = [zk.get_async(f"{root}/{number}") for number in range(300)]
    assert [result.get(timeout=SECONDS) for result in results] == [f"{root}/{n}" for n in range(300)]
    assert [read.get(timeout=SECONDS)[0] for read in reads] == [str(n).encode() for n in range(300)]


def test_acls(connect: Connect, zk: KazooClient, root: str) -> None:
    assert zk.get_acls(root)[0] == OPEN_ACL_UNSAFE
    ann = make_digest_acl("ann", "secret", all=True)
    stat = zk.set_acls(root, [ann])
    assert stat.aversion == 1
    with pytest.raises(NoAuthError):
        zk.get(root)
    with pytest.raises(NoAuthError):
        zk.create(f"{root}/a")
    other = connect()
    other.add_auth("digest", "ann:wrong")
    with pytest.raises(NoAuthError):
        other.get(root)
    other.add_auth("digest", "ann:secret")
    assert other.get(root)[0] == b""
    assert other.get_acls(root)[0] == [ann]
    third = connect(auth_data=[("digest", "ann:secret")])
    assert third.get(root)[0] == b""


def test_acls_of_the_creator(connect: Connect, zk: KazooClient, root: str) -> None:
    with pytest.raises(InvalidACLError):
        zk.create(f"{root}/mine", acl=CREATOR_ALL_ACL)
    owner = connect(auth_data=[("digest", "bob:pw")], default_acl=CREATOR_ALL_ACL)
    owner.create(f"{root}/mine")
    assert owner.get_acls(f"{root}/mine")[0] == [make_digest_acl("bob", "pw", all=True)]
    with pytest.raises(NoAuthError):
        zk.set(f"{root}/mine", b"")


def test_a_transaction_that_succeeds(zk: KazooClient, root: str) -> None:
    transaction = zk.transaction()
    transaction.create(f"{root}/a", b"1")
    transaction.create(f"{root}/s-", sequence=True, ephemeral=True)
    transaction.set_data(f"{root}/a", b"2")
    transaction.check(f"{root}/a", 1)
    transaction.delete(f"{root}/a")
    created, sequential, changed, checked, deleted = transaction.commit()
    assert (created, sequential) == (f"{root}/a", f"{root}/s-0000000001")
    assert (changed.version, changed.dataLength) == (1, 1)
    assert (checked, deleted) == (True, True)
    assert zk.get_children(root) == ["s-0000000001"]


def test_a_transaction_that_fails(zk: KazooClient, root: str) -> None:
    transaction = zk.transaction()
    transaction.create(f"{root}/a")
    transaction.check(f"{root}/no", -1)
    transaction.delete(root)
    first, culprit, last = transaction.commit()
    assert isinstance(first, RolledBackError)
    assert isinstance(culprit, NoNodeError)
    assert isinstance(last, RuntimeInconsistency)
    assert zk.get_children(root) == []


def test_sync_version_and_words(zk: KazooClient) -> None:
    assert zk.sync("/") == "/"
    assert zk.server_version()[:2] == (3, 8)
    assert zk.command(b"ruok") == "imok"
    assert zk.command(b"isro") == "rw"
    assert "Mode: standalone\n" in zk.command(b"srvr")
    assert zk.command(b"srvr").startswith("Zookeeper version: 3.8.")
    assert "zk_server_state\tstandalone\n" in zk.command(b"mntr")


def test_a_chroot(connect: Connect, zk: KazooClient, root: str) -> None:
    inside = connect(chroot=root)
    assert inside.create("/a", b"x") == "/a"
    assert inside.create("/s-", sequence=True) == "/s-0000000001"
    assert zk.get(f"{root}/a")[0] == b"x"
    assert sorted(inside.get_children("/")) == ["a", "s-0000000001"]
    seen = Seen()
    inside.get("/a", watch=seen)
    zk.set(f"{root}/a", b"y")
    (event,) = seen.wait(len)
    assert (event.type, event.path) == (EventType.CHANGED, "/a")


def test_read_only_clients_are_welcome(connect: Connect, root: str) -> None:
    client = connect(read_only=True)
    assert client.state == KazooState.CONNECTED
    client.set(root, b"written")
    assert client.get(root)[0] == b"written"


# -- watches ------------------------------------------------------------------------------------------


def test_one_shot_watches(zk: KazooClient, root: str) -> None:
    seen = Seen()
    zk.exists(f"{root}/a", watch=seen)
    zk.create(f"{root}/a")
    seen.wait(lambda items: len(items) == 1)
    zk.get(f"{root}/a", watch=seen)
    zk.set(f"{root}/a", b"")
    seen.wait(lambda items: len(items) == 2)
    zk.get_children(root, watch=seen)
    zk.delete(f"{root}/a")
    events = seen.wait(lambda items: len(items) == 3)
    kinds = [EventType.CREATED, EventType.CHANGED, EventType.CHILD]
    assert [(event.type, event.path) for event in events] == list(
        zip(kinds, [f"{root}/a", f"{root}/a", root], strict=True)
    )


def test_data_watch(zk: KazooClient, root: str) -> None:
    seen = Seen()

    @zk.DataWatch(f"{root}/a")  # type: ignore[untyped-decorator]  # kazoo has no types
    def changed(data: bytes | None, stat: object) -> None:
        seen(data)

    for step, data in enumerate((b"1", b"2"), start=2):
        if step == 2:
            zk.create(f"{root}/a", data)
        else:
            zk.set(f"{root}/a", data)
        seen.wait(partial(has_length, step))
    zk.delete(f"{root}/a")
    assert seen.wait(lambda items: len(items) == 4) == [None, b"1", b"2", None]


def test_children_watch(zk: KazooClient, root: str) -> None:
    seen = Seen()
    zk.ChildrenWatch(root, lambda children: seen(sorted(children)))
    for step, name in enumerate("ab", start=2):
        zk.create(f"{root}/{name}")
        seen.wait(partial(has_length, step))
    assert seen.items == [[], ["a"], ["a", "b"]]


# -- recipes ------------------------------------------------------------------------------------------


def test_a_lock_goes_from_hand_to_hand(connect: Connect, root: str) -> None:
    order: list[str] = []
    contenders = [connect().Lock(f"{root}/lock", f"client {number}") for number in range(3)]
    inside = threading.Semaphore(1)

    def contend(name: str, lock: Any) -> None:
        with lock:
            assert inside.acquire(blocking=False), "two hold the lock"
            order.append(name)
            inside.release()

    assert contenders[0].acquire(timeout=SECONDS)
    assert not contenders[1].acquire(blocking=False)
    threads = [in_thread(partial(contend, f"client {n}", contenders[n])) for n in (1, 2)]
    watcher = connect()
    seen = Seen()
    watcher.ChildrenWatch(f"{root}/lock", lambda children: seen(len(children)))
    seen.wait(lambda items: items[-1] == 3)
    assert contenders[0].contenders()[0] == "client 0"
    assert order == []
    contenders[0].release()
    join(*threads)
    assert sorted(order) == ["client 1", "client 2"]


def test_read_and_write_locks(connect: Connect, root: str) -> None:
    clients = [connect() for _ in range(3)]
    readers = [client.ReadLock(f"{root}/lock", "reader") for client in clients[:2]]
    writer = clients[2].WriteLock(f"{root}/lock", "writer")
    assert all(reader.acquire(timeout=SECONDS) for reader in readers)
    assert not writer.acquire(blocking=False)
    waiting = in_thread(lambda: writer.acquire(timeout=SECONDS))
    for reader in readers:
        reader.release()
    join(waiting)
    assert writer.is_acquired
    assert not clients[0].ReadLock(f"{root}/lock").acquire(blocking=False)
    writer.release()


def test_an_election(connect: Connect, root: str) -> None:
    led = Seen()
    resign = threading.Event()

    def lead(name: str) -> None:
        led(name)
        assert resign.wait(SECONDS)

    names = ("one", "two")
    elections = [connect().Election(f"{root}/election", name) for name in names]
    threads = [
        in_thread(partial(election.run, lead, name)) for name, election in zip(names, elections, strict=True)
    ]
    led.wait(lambda items: len(items) == 1)
    assert set(elections[0].contenders()) <= {"one", "two"}
    resign.set()
    led.wait(lambda items: sorted(items) == ["one", "two"])
    join(*threads)


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_parties(connect: Connect, zk: KazooClient, kind: str) -> None:
    path = f"/test_parties_{kind}"
    parties = [getattr(connect(), kind)(path, name) for name in ("ann", "bob")]
    for party in parties:
        party.join()
    assert sorted(parties[0]) == ["ann", "bob"]
    assert len(parties[1]) == 2
    parties[1].leave()
    assert list(parties[0]) == ["ann"]
    parties[0].leave()


def test_a_barrier(connect: Connect, zk: KazooClient, root: str) -> None:
    barrier = Barrier(zk, f"{root}/barrier")
    barrier.create()
    other = Barrier(connect(), f"{root}/barrier")
    assert other.wait(timeout=0.01) is False
    passed = Seen()
    waiting = in_thread(lambda: passed(other.wait(SECONDS)))
    barrier.remove()
    passed.wait(lambda items: items == [True])
    join(waiting)


def test_a_double_barrier(connect: Connect, root: str) -> None:
    entered, left = Seen(), Seen()

    def take_part(client: KazooClient) -> None:
        barrier = DoubleBarrier(client, f"{root}/double", 3)
        barrier.enter()
        entered(1)
        entered.wait(lambda items: len(items) == 3)
        barrier.leave()
        left(1)

    threads = [in_thread(partial(take_part, connect())) for _ in range(3)]
    left.wait(lambda items: len(items) == 3)
    join(*threads)


def test_a_queue(connect: Connect, zk: KazooClient, root: str) -> None:
    queue = zk.Queue(f"{root}/queue")
    queue.put(b"second")
    queue.put(b"first", priority=1)
    queue.put(b"third")
    assert len(queue) == 3
    other = connect().Queue(f"{root}/queue")
    assert [queue.get(), other.get(), queue.get(), other.get()] == [b"first", b"second", b"third", None]


def test_a_locking_queue(connect: Connect, zk: KazooClient, root: str) -> None:
    queue = zk.LockingQueue(f"{root}/queue")
    other = connect().LockingQueue(f"{root}/queue")
    queue.put_all([b"one", b"two"])
    assert queue.get(timeout=SECONDS) == b"one"
    assert queue.holds_lock()
    assert other.get(timeout=SECONDS) == b"two"
    assert other.release()
    assert queue.consume()
    assert queue.get(timeout=SECONDS) == b"two"
    assert queue.consume()
    late = Seen()
    waiting = in_thread(lambda: late(other.get(timeout=SECONDS)))
    queue.put(b"three")
    late.wait(lambda items: items == [b"three"])
    join(waiting)


def test_a_counter(connect: Connect, zk: KazooClient, root: str) -> None:
    def count(client: KazooClient) -> None:
        counter = client.Counter(f"{root}/counter")
        for _ in range(10):
            counter += 1

    join(*[in_thread(partial(count, connect())) for _ in range(2)])
    counter = zk.Counter(f"{root}/counter")
    assert counter.value == 20
    counter -= 5
    assert (counter.value, counter.pre_value, counter.post_value) == (15, 20, 15)


def test_a_semaphore(connect: Connect, root: str) -> None:
    leases = [connect().Semaphore(f"{root}/semaphore", f"client {n}", max_leases=2) for n in range(3)]
    assert leases[0].acquire(timeout=SECONDS)
    assert leases[1].acquire(timeout=SECONDS)
    assert not leases[2].acquire(blocking=False)
    assert sorted(leases[2].lease_holders()) == ["client 0", "client 1"]
    waiting = in_thread(lambda: leases[2].acquire(timeout=SECONDS))
    leases[0].release()
    join(waiting)
    assert leases[2].is_acquired
    leases[1].release()
    leases[2].release()


def test_a_set_partitioner(connect: Connect, root: str) -> None:
    shares: dict[str, list[int]] = {}
    together = threading.Barrier(2)

    def share(name: str, client: KazooClient) -> None:
        partitioner = SetPartitioner(
            client, f"{root}/parts", set=tuple(range(6)), identifier=name, time_boundary=0.3
        )
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if partitioner.release:
                partitioner.release_set()
            elif partitioner.allocating:
                partitioner.wait_for_acquire(1)
            elif partitioner.acquired and len(list(partitioner)) == 3:
                shares[name] = list(partitioner)
                break
            else:
                partitioner.wait_for_acquire(0.05)
        together.wait(SECONDS)
        partitioner.finish()

    join(*[in_thread(partial(share, name, connect())) for name in ("ann", "bob")])
    assert sorted(shares["ann"] + shares["bob"]) == list(range(6))


def test_a_tree_cache(zk: KazooClient, root: str) -> None:
    zk.create(f"{root}/a", b"1")
    seen = Seen()
    cache = TreeCache(zk, root)
    cache.listen(lambda event: seen((event.event_type, event.event_data and event.event_data.path)))
    cache.start()
    seen.wait(lambda items: (TreeEvent.INITIALIZED, None) in items)
    assert cache.get_children(root) == {"a"}
    assert cache.get_data(f"{root}/a").data == b"1"
    zk.set(f"{root}/a", b"2")
    seen.wait(lambda items: (TreeEvent.NODE_UPDATED, f"{root}/a") in items)
    zk.create(f"{root}/a/b", b"3")
    seen.wait(lambda items: (TreeEvent.NODE_ADDED, f"{root}/a/b") in items)
    zk.delete(f"{root}/a/b")
    seen.wait(lambda items: (TreeEvent.NODE_REMOVED, f"{root}/a/b") in items)
    assert cache.get_data(f"{root}/a").data == b"2"
    cache.close()


# -- sessions -----------------------------------------------------------------------------------------


CRASHING = """
import sys, kazoo.client
client = kazoo.client.KazooClient(hosts=sys.argv[1], timeout=float(sys.argv[2]))
client.start()
client.create(sys.argv[3], ephemeral=True)
session, password = client.client_id
print(session, password.hex(), flush=True)
sys.stdin.read()
"""


def crash_a_client(server: ServerProcess, path: str, timeout: float) -> tuple[int, bytes]:
    """Another process creates an ephemeral `path` and is killed; returns its session's id and password."""
    command = [sys.executable, "-c", CRASHING, server.hosts, str(timeout), path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        session, password = process.stdout.readline().split()
        process.kill()
    return int(session), bytes.fromhex(password)


def test_a_session_that_nobody_closes_expires(
    server: ServerProcess, connect: Connect, zk: KazooClient, root: str
) -> None:
    session = crash_a_client(server, f"{root}/mine", timeout=1.0)
    until_gone(zk, f"{root}/mine")
    late = connect(client_id=session)
    assert late.client_id[0] != session[0]


def test_the_session_of_a_crashed_client_is_resumed_by_its_id(
    server: ServerProcess, connect: Connect, root: str
) -> None:
    session = crash_a_client(server, f"{root}/mine", timeout=10.0)
    again = connect(client_id=session)
    assert again.client_id == session
    assert again.exists(f"{root}/mine").ephemeralOwner == session[0]
    again.delete(f"{root}/mine")


def test_a_session_outlives_a_restart_of_the_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    skip_without_its_server()
    with ServerProcess(tmp_path_factory.mktemp("restarted")) as process:
        states = Seen()
        client = KazooClient(hosts=process.hosts, timeout=20.0)
        client.add_listener(states)
        client.start(timeout=SECONDS)
        try:
            client.create("/mine", b"x", ephemeral=True)
            before, session = client.exists("/mine"), client.client_id
            changes = Seen()
            client.DataWatch("/mine", lambda data, stat: changes(data))
            process.kill()
            states.wait(lambda items: items[-1] == KazooState.SUSPENDED)
            process.start()
            states.wait(lambda items: items[-1] == KazooState.CONNECTED)
            assert states.items == [KazooState.CONNECTED, KazooState.SUSPENDED, KazooState.CONNECTED]
            assert client.client_id == session
            assert client.exists("/mine") == before
            client.set("/mine", b"y")
            changes.wait(lambda items: items[-1] == b"y")
        finally:
            client.stop()
            client.close()
