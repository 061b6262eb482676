"""Sessions and watches against a real server that goes away and comes back."""

from __future__ import annotations

import socket

import pytest
import trio

import coord
from coord import Client, EventType, SessionState
from tests.client.conftest import LiveServer
from tests.recipes.proxy import open_proxy


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- sessions -------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_dead_hosts_are_passed_over(server: LiveServer) -> None:
    hosts = f"127.0.0.1:{closed_port()},{server.hosts},127.0.0.1:{closed_port()}"
    for _ in range(5):
        async with coord.connect(hosts) as zk:
            await zk.get("/")


@pytest.mark.trio
async def test_a_session_tells_which_server_it_is_connected_to(server: LiveServer) -> None:
    async with coord.connect(f"127.0.0.1:{closed_port()},{server.hosts}/chroot") as zk:
        assert zk.session.server == server.hosts
        await server.stop()
        await zk.session.state.wait_value(SessionState.SUSPENDED)
        assert zk.session.server == ""
        await server.start()
        await zk.session.state.wait_value(SessionState.CONNECTED)
        assert zk.session.server == server.hosts
    assert zk.session.server == ""


@pytest.mark.trio
async def test_a_session_survives_a_restart_with_its_ephemerals(server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=20) as zk:
        session_id = zk.session.id
        await zk.create("/e", ephemeral=True)
        with zk.session.guard() as guard:
            await server.stop()
            await zk.session.state.wait_value(SessionState.SUSPENDED)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.start)
                stat = await zk.exists("/e")
            assert stat is not None
        assert (zk.session.id, zk.session.generation, guard.lost) == (session_id, 1, False)
        assert stat.ephemeral_owner == session_id


@pytest.mark.trio
async def test_a_session_is_carried_on_by_its_handle(server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=20) as first:
        await first.create("/e", ephemeral=True)
        async with coord.connect(server.connect_string, session=first.session.handle) as second:
            assert (second.session.id, second.session.generation) == (first.session.id, 1)
            assert await second.ephemerals() == ["/e"]


@pytest.mark.trio
async def test_an_unknown_handle_expires_into_a_new_session(server: LiveServer) -> None:
    handle = coord.SessionHandle(0x1234567, b"x" * 16)
    async with coord.connect(server.connect_string, session=handle) as zk:
        assert zk.session.generation == 2
        await zk.get("/")


@pytest.mark.trio
async def test_a_session_another_client_closes_expires(server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=20) as zk:
        await zk.create("/e", ephemeral=True)
        old = zk.session.id
        with zk.watch() as watch, zk.session.guard() as guard:
            await zk.get("/", watch=watch)
            async with coord.connect(server.connect_string, session=zk.session.handle):
                pass  # leaving closes the session
            with pytest.raises(coord.SessionExpired), trio.CancelScope(shield=True):
                await watch.wait()
            await trio.lowlevel.checkpoint()
            raise AssertionError("the guard should have cancelled this")
        assert guard.lost
        await zk.session.state.wait_value(SessionState.CONNECTED)
        assert (zk.session.generation, zk.session.id != old) == (2, True)
        assert await zk.exists("/e") is None


@pytest.mark.trio
async def test_the_guard_lets_go_before_the_server_does(zk: Client, server: LiveServer) -> None:
    async with open_proxy(server.connect_string) as proxy, coord.connect(proxy.hosts, timeout=2) as holder:
        await holder.create("/held", ephemeral=True)
        with zk.watch() as watch:
            await zk.get("/held", watch=watch)
            with holder.session.guard() as guard:
                proxy.close()
                await trio.sleep_forever()
            assert guard.lost
            assert await zk.exists("/held", linearizable=True), "the server still honours the session"
            assert (await watch.wait()).type is EventType.DELETED
        proxy.reopen()
        await holder.session.state.wait_value(SessionState.CONNECTED)
        assert holder.session.generation == 2


@pytest.mark.trio
async def test_the_timeout_is_what_the_server_grants(server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=100_000) as zk:
        assert zk.session.timeout == 60.0
        assert 0 < zk.session.valid_until - trio.current_time() <= 50.0


@pytest.mark.trio
async def test_a_short_session_is_kept_alive_by_pings(server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=0.4) as zk:
        with zk.session.guard() as guard:
            began = trio.current_time()
            while zk.session.valid_until < began + 1.2:  # three timeouts
                await trio.sleep(0.02)
        assert (guard.lost, zk.session.generation) == (False, 1)


@pytest.mark.trio
async def test_writes_in_flight_when_the_server_dies_are_accounted_for(server: LiveServer) -> None:
    """Every create either worked, or raised: what worked is there after the restart."""
    acknowledged: list[str] = []
    lost: list[str] = []

    async with coord.connect(server.connect_string, timeout=20) as zk:
        await zk.create("/w")

        async def writer(number: int) -> None:
            for i in range(10_000):
                path = f"/w/{number}-{i}"
                try:
                    await zk.create(path)
                    acknowledged.append(path)
                except coord.ConnectionLost:
                    lost.append(path)
                    return

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(writer, number)
            while len(acknowledged) < 200:
                await trio.lowlevel.checkpoint()
            await server.stop()
            nursery.start_soon(server.start)
            await zk.sync()
            nursery.cancel_scope.cancel()
        await server.start() if zk.session.state.value is SessionState.SUSPENDED else None
        there = {f"/w/{name}" for name in await zk.children("/w")}
    assert set(acknowledged) <= there
    assert lost


@pytest.mark.trio
async def test_the_janitor_reaches_a_server_that_was_away(zk: Client, server: LiveServer) -> None:
    async with coord.connect(server.connect_string, timeout=20) as other:
        path = await other.create("/lock-", ephemeral=True, sequential=True)
        await other.create("/uuid-123-x", ephemeral=True)
        await server.stop()
        await other.session.state.wait_value(SessionState.SUSPENDED)
        other.janitor.delete(path)
        other.janitor.delete_matching("/", "uuid-123")
        await server.start()
        await other.janitor.idle()
        assert await zk.children("/", linearizable=True) == []


# -- watches --------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_one_shot_watches(zk: Client) -> None:
    await zk.create("/a")
    with zk.watch() as data, zk.watch() as children, zk.watch() as coming:
        await zk.get("/a", watch=data)
        await zk.children("/a", watch=children)
        assert await zk.exists("/b", watch=coming) is None
        await zk.set("/a", b"1")
        await zk.create("/a/c")
        await zk.create("/b")
        assert (await data.wait())[:2] == (EventType.DATA_CHANGED, "/a")
        assert (await children.wait())[:2] == (EventType.CHILDREN_CHANGED, "/a")
        assert (await coming.wait())[:2] == (EventType.CREATED, "/b")
        await zk.set("/a", b"2")
        assert not data.ready


@pytest.mark.trio
async def test_a_failed_read_arms_nothing(zk: Client) -> None:
    with zk.watch() as watch:
        with pytest.raises(coord.NoNode):
            await zk.get("/a", watch=watch)
        await zk.create("/a")
        assert not watch.ready


@pytest.mark.trio
async def test_events_come_before_the_reply_that_shows_the_change(zk: Client) -> None:
    await zk.create("/a")
    for i in range(50):
        with zk.watch() as watch:
            await zk.get("/a", watch=watch)
            await zk.set("/a", str(i).encode())
            assert watch.ready


@pytest.mark.trio
async def test_watches_survive_a_restart_and_hear_what_happened_meanwhile(server: LiveServer) -> None:
    hosts = server.connect_string
    async with coord.connect(hosts, timeout=20) as zk:
        for name in "abc":
            await zk.create(f"/{name}")
        with zk.watch() as data, zk.watch() as children, zk.watch() as coming, zk.watch() as later:
            await zk.get("/a", watch=data)
            await zk.children("/b", watch=children)
            await zk.exists("/x", watch=coming)
            await zk.get("/c", watch=later)
            await server.stop()
            await zk.session.state.wait_value(SessionState.SUSPENDED)
            await server.start()
            async with coord.connect(hosts) as other:
                await other.set("/a", b"1")
                await other.create("/b/c")
                await other.create("/x")
            assert (await data.wait())[:2] == (EventType.DATA_CHANGED, "/a")
            assert (await children.wait())[:2] == (EventType.CHILDREN_CHANGED, "/b")
            assert (await coming.wait())[:2] == (EventType.CREATED, "/x")
            assert not later.ready
            await zk.delete("/c")
            assert (await later.wait())[:2] == (EventType.DELETED, "/c")


@pytest.mark.trio
async def test_states_follow_a_znode_through_everything(zk: Client, server: LiveServer) -> None:
    async with (
        zk.watch_data("/a") as nodes,
        zk.watch_children("/a") as children,
        zk.watch_exists("/a") as stats,
    ):
        assert (await nodes.receive(), await children.receive(), await stats.receive()) == (None, None, None)
        await zk.create("/a", b"1")
        node = await nodes.receive()
        assert node is not None
        assert node.data == b"1"
        assert await children.receive() == ()
        assert await stats.receive() == node.stat
        await server.stop()
        await server.start()
        await zk.set("/a", b"2")
        node = await nodes.receive()
        assert node is not None
        assert node.data == b"2"
        await zk.create("/a/y")
        await zk.create("/a/x")
        while await children.receive() != ("x", "y"):
            pass
        await zk.delete_recursive("/a")
        while await nodes.receive() is not None:
            pass
        while await children.receive() is not None:
            pass


@pytest.mark.trio
async def test_a_recursive_watch_hears_of_everything_below(zk: Client, server: LiveServer) -> None:
    await zk.create("/a")
    async with zk.add_watch("/a") as events, coord.connect(server.connect_string) as other:
        await other.create("/a/b")
        await other.create("/a/b/c")
        await other.set("/a/b", b"x")
        await other.delete("/a/b/c")
        await other.create("/else")
        expected = [
            (EventType.CREATED, "/a/b"),
            (EventType.CREATED, "/a/b/c"),
            (EventType.DATA_CHANGED, "/a/b"),
            (EventType.DELETED, "/a/b/c"),
        ]
        assert [(await events.receive())[:2] for _ in expected] == expected
        await server.stop()
        await zk.session.state.wait_value(SessionState.SUSPENDED)
        await server.start()
        assert isinstance(await events.receive(), coord.Resynced)
        await zk.set("/a", b"")
        assert (await events.receive())[:2] == (EventType.DATA_CHANGED, "/a")
    await zk.create("/a/after")


@pytest.mark.trio
async def test_a_persistent_watch_of_one_znode(zk: Client) -> None:
    await zk.create("/a")
    async with zk.add_watch("/a", recursive=False) as events:
        for i in range(3):
            await zk.set("/a", str(i).encode())
        await zk.create("/a/b")
        await zk.set("/a/b", b"not this one")
        kinds = [(await events.receive())[:2] for _ in range(4)]
        assert kinds == [(EventType.DATA_CHANGED, "/a")] * 3 + [(EventType.CHILDREN_CHANGED, "/a")]


@pytest.mark.trio
async def test_an_event_carries_the_zxid_of_its_change(zk: Client, server: LiveServer) -> None:
    await zk.create("/a")
    with zk.watch() as watch:
        await zk.get("/a", watch=watch)
        stat = await zk.set("/a", b"x")
        assert (await watch.wait()).zxid == (-1 if server.differs("event-zxid") else stat.mzxid)


@pytest.mark.trio
async def test_a_one_shot_watch_leaves_a_persistent_one_alone(zk: Client, server: LiveServer) -> None:
    await zk.create("/a")
    async with zk.add_watch("/a", recursive=False) as events:
        with zk.watch() as watch:
            await zk.get("/a", watch=watch)
            await zk.set("/a", b"1")
            assert (await watch.wait()).type is EventType.DATA_CHANGED
        await zk.set("/a", b"2")
        assert isinstance(events.receive_nowait(), coord.WatchEvent)
        if server.differs("watch-modes"):
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()
        else:
            assert isinstance(events.receive_nowait(), coord.WatchEvent)
