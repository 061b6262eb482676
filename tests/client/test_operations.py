"""The client's operations against a real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import coord
from coord import ACL, Client, Id, Perms
from tests.client.conftest import LiveServer

# -- create ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_create_returns_the_path_and_get_the_data(zk: Client) -> None:
    assert await zk.create("/a", b"x") == "/a"
    data, stat = await zk.get("/a")
    assert (data, stat.version, stat.data_length) == (b"x", 0, 1)


@pytest.mark.trio
async def test_null_data_reads_as_empty(zk: Client) -> None:
    await zk.create("/a", None)
    assert (await zk.get("/a"))[0] == b""
    await zk.set("/a", None)
    assert (await zk.get("/a"))[0] == b""


@pytest.mark.trio
@pytest.mark.parametrize(
    ("options", "numbered", "owned"),
    [
        ({}, False, False),
        ({"ephemeral": True}, False, True),
        ({"sequential": True}, True, False),
        ({"ephemeral": True, "sequential": True}, True, True),
        ({"container": True}, False, False),
        ({"ttl": 60.0}, False, False),
        ({"ttl": 60.0, "sequential": True}, True, False),
    ],
    ids=str,
)
async def test_kinds_of_znodes(options: dict[str, Any], numbered: bool, owned: bool, zk: Client) -> None:
    path, stat = await zk.create_with_stat("/n", b"", **options)
    assert path == ("/n0000000000" if numbered else "/n")
    assert stat.ephemeral_owner == (zk.session.id if owned else 0)
    assert (await zk.get(path))[1] == stat
    other = await zk.create("/n", b"", sequential=True) if numbered else ""
    assert other == ("/n0000000001" if numbered else "")


@pytest.mark.trio
async def test_parents_are_made_on_request(zk: Client) -> None:
    with pytest.raises(coord.NoNode) as caught:
        await zk.create("/a/b/c")
    assert (caught.value.path, caught.value.operation) == ("/a/b/c", "create")
    await zk.create("/a/b/c", b"x", make_parents=True)
    await zk.create("/a/b/d", b"y", make_parents=True)
    assert sorted(await zk.children("/a/b")) == ["c", "d"]
    await zk.ensure_path("/a/b/c")
    await zk.ensure_path("/q/r", container=True)
    assert (await zk.get("/a/b/c"))[0] == b"x"


@pytest.mark.trio
@pytest.mark.parametrize(
    "options",
    [{"container": True, "ephemeral": True}, {"ttl": 1.0, "ephemeral": True}, {"ttl": 0.0}, {"ttl": 1e12}],
    ids=str,
)
async def test_options_that_exclude_each_other(options: dict[str, Any], zk: Client) -> None:
    with pytest.raises(coord.BadArguments):
        await zk.create("/a", b"", **options)


@pytest.mark.trio
async def test_a_bad_path_never_leaves(zk: Client) -> None:
    calls = [
        zk.create("a"),
        zk.get("/a/"),
        zk.exists("/a//b"),
        zk.children("/."),
        zk.set("", b""),
        zk.delete("/\x00"),
        zk.sync("x"),
        zk.get_acl("/../a"),
    ]
    for call in calls:
        with pytest.raises(coord.BadArguments):
            await call


@pytest.mark.trio
@pytest.mark.parametrize("version", [2**40, 2**31, -(2**31) - 1])
async def test_a_number_that_the_protocol_has_no_room_for_never_leaves(version: int, zk: Client) -> None:
    acl = [ACL(version, Id("world", "anyone"))]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "set": lambda: zk.set("/a", b"", version=version),
        "delete": lambda: zk.delete("/a", version=version),
        "set_acl": lambda: zk.set_acl("/a", coord.OPEN_ACL, version=version),
        "create": lambda: zk.create("/a", acl=acl),
    }
    for operation, call in calls.items():
        with pytest.raises(coord.BadArguments, match=str(version)) as caught:
            await call()
        assert (caught.value.path, caught.value.operation) == ("/a", operation)
    noted: dict[str, Callable[[coord.Transaction], None]] = {
        "check": lambda tx: tx.check("/a", version),
        "set": lambda tx: tx.set("/a", b"", version=version),
        "delete": lambda tx: tx.delete("/a", version=version),
        "create": lambda tx: tx.create("/a", acl=acl),
    }
    for operation, note in noted.items():
        with pytest.raises(coord.BadArguments, match=str(version)) as caught:
            note(zk.transaction())
        assert (caught.value.path, caught.value.operation) == ("/a", operation)


@pytest.mark.trio
@pytest.mark.parametrize("version", [2**31 - 1, -(2**31)])
async def test_a_number_that_fits_is_the_servers_to_judge(version: int, zk: Client) -> None:
    await zk.create("/a")
    with pytest.raises(coord.BadVersion):
        await zk.set("/a", b"", version=version)


# -- errors ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_errors_name_the_path_and_the_operation(zk: Client) -> None:
    await zk.create("/a/b", make_parents=True)
    await zk.create("/e", ephemeral=True)
    cases = [
        (zk.create("/a"), coord.NodeExists, "/a", "create"),
        (zk.get("/x"), coord.NoNode, "/x", "get"),
        (zk.children("/x"), coord.NoNode, "/x", "children"),
        (zk.set("/x", b""), coord.NoNode, "/x", "set"),
        (zk.set("/a", b"", version=7), coord.BadVersion, "/a", "set"),
        (zk.delete("/a"), coord.NotEmpty, "/a", "delete"),
        (zk.delete("/a/b", version=3), coord.BadVersion, "/a/b", "delete"),
        (zk.create("/e/c"), coord.NoChildrenForEphemerals, "/e/c", "create"),
        (zk.set_acl("/a", []), coord.InvalidACL, "/a", "set_acl"),
        (zk.delete_recursive("/x"), coord.NoNode, "/x", "children"),
        (zk.count_descendants("/x"), coord.NoNode, "/x", "count_descendants"),
    ]
    for call, error, path, operation in cases:
        with pytest.raises(error) as caught:
            await call
        assert (caught.value.path, caught.value.operation) == (path, operation)
    assert await zk.exists("/x") is None


# -- read and change ------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_the_janitor_deletes_what_bears_its_mark_and_nothing_else(zk: Client) -> None:
    await zk.create("/of")
    for path, data, ephemeral in (
        ("/of/ours", b"mark 1, and more", True),
        ("/of/others", b"mark 2", True),
        ("/of/empty", b"", True),
        ("/of/nobodys", b"mark 1", False),
    ):
        await zk.create(path, data, ephemeral=ephemeral)
        zk.janitor.delete(path, mark=b"mark 1")
    zk.janitor.delete("/of/missing", mark=b"mark 1")
    await zk.janitor.idle()
    assert sorted(await zk.children("/of")) == ["empty", "nobodys", "others"]
    zk.janitor.delete("/of/empty", mark=b"")
    await zk.janitor.idle()
    assert sorted(await zk.children("/of")) == ["nobodys", "others"]


@pytest.mark.trio
async def test_set_and_delete_honour_the_version(zk: Client) -> None:
    await zk.create("/a", b"0")
    stat = await zk.set("/a", b"1", version=0)
    assert stat.version == 1
    assert (await zk.set("/a", b"2")).version == 2
    await zk.delete("/a", version=2)
    assert await zk.exists("/a") is None


@pytest.mark.trio
async def test_children_with_stat(zk: Client) -> None:
    await zk.create("/p")
    for name in "abc":
        await zk.create(f"/p/{name}")
    names, stat = await zk.children_with_stat("/p")
    assert (sorted(names), stat.num_children, stat.cversion) == (["a", "b", "c"], 3, 3)
    assert await zk.count_descendants("/p") == 3


@pytest.mark.trio
async def test_linearizable_reads_and_sync(zk: Client) -> None:
    await zk.sync()
    await zk.create("/a", b"x")
    assert (await zk.get("/a", linearizable=True))[0] == b"x"
    assert await zk.children("/a", linearizable=True) == []
    assert await zk.exists("/a", linearizable=True)
    with pytest.raises(coord.NoNode):
        await zk.get("/x", linearizable=True)


@pytest.mark.trio
async def test_ephemerals_are_listed_and_go_with_the_session(zk: Client, server: LiveServer) -> None:
    async with coord.connect(server.connect_string) as other:
        await other.create("/e1", ephemeral=True)
        await other.create("/x2", ephemeral=True)
        await zk.create("/e3", ephemeral=True)
        assert sorted(await other.ephemerals()) == ["/e1", "/x2"]
        assert await other.ephemerals("/e") == ["/e1"]
        assert await zk.ephemerals() == ["/e3"]
    assert sorted(await zk.children("/")) == ["e3"]


@pytest.mark.trio
async def test_delete_recursive_takes_everything_below(zk: Client) -> None:
    for i in range(5):
        for j in range(3):
            await zk.create(f"/a/{i}/{j}", make_parents=True)
    await zk.delete_recursive("/a")
    assert await zk.exists("/a") is None


@pytest.mark.trio
@pytest.mark.parametrize("linearizable", [False, True])
async def test_multi_read(zk: Client, linearizable: bool) -> None:
    await zk.create("/a", b"x")
    await zk.create("/a/b")
    got, children, missing = await zk.multi_read(
        [coord.GetData("/a"), coord.GetChildren("/a"), coord.GetData("/x")], linearizable=linearizable
    )
    assert isinstance(got, tuple)
    assert (got[0], got[1].num_children) == (b"x", 1)
    assert children == ["b"]
    assert isinstance(missing, coord.NoNode)
    assert missing.path == "/x"


# -- transactions ---------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_transaction_does_everything(zk: Client) -> None:
    await zk.create("/a", b"0")
    async with zk.transaction() as tx:
        tx.check("/a", version=0)
        tx.create("/a/s-", b"x", sequential=True, ephemeral=True)
        tx.set("/a", b"1")
        tx.create("/tmp")
        tx.delete("/tmp")
        tx.create("/c", container=True)
        tx.create("/t", ttl=60.0)
    check, path, stat, created, deleted, container, ttl = tx.results
    assert (check, path, created, deleted) == (None, "/a/s-0000000000", "/tmp", None)
    assert (container, ttl) == ("/c", "/t")
    assert isinstance(stat, coord.Stat)
    assert stat.version == 1


@pytest.mark.trio
async def test_a_transaction_does_nothing_if_one_operation_fails(zk: Client) -> None:
    await zk.create("/a")
    tx = zk.transaction()
    tx.create("/b")
    tx.delete("/a", version=9)
    tx.create("/c")
    with pytest.raises(coord.BadVersion) as caught:
        await tx.commit()
    assert (caught.value.path, caught.value.operation) == ("/a", "delete")
    results = caught.value.results
    assert [type(error) for error in results] == [coord.RolledBack, coord.BadVersion, coord.RolledBack]
    assert [error.path for error in results] == ["/b", "/a", "/c"]
    assert sorted(await zk.children("/")) == ["a"]


@pytest.mark.trio
async def test_an_exception_in_the_block_commits_nothing(zk: Client) -> None:
    async def fail() -> None:
        async with zk.transaction() as tx:
            tx.create("/a")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
    assert await zk.exists("/a") is None


@pytest.mark.trio
async def test_a_transaction_is_for_once(zk: Client) -> None:
    tx = zk.transaction()
    assert (await tx.commit(), len(tx)) == ([], 0)
    with pytest.raises(RuntimeError):
        await tx.commit()
    with pytest.raises(RuntimeError):
        tx.check("/")


# -- access ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_credentials_open_what_an_acl_closes(zk: Client, server: LiveServer) -> None:
    async with coord.connect(server.connect_string, auth=[("digest", "me:pw")]) as me:
        await me.create("/mine", b"x", acl=coord.CREATOR_ACL)
        assert (await me.get("/mine"))[0] == b"x"
        (acl,) = (await me.get_acl("/mine"))[0]
        assert (acl.perms, acl.id.scheme, acl.id.id[:3]) == (Perms.ALL, "digest", "me:")
        assert any(identity.scheme == "digest" for identity in await me.who_am_i())
    for call in (zk.get("/mine"), zk.set("/mine", b""), zk.create("/mine/a")):
        with pytest.raises(coord.NoAuth):
            await call
    await zk.add_auth("digest", b"me:pw")
    stat = await zk.set_acl("/mine", [ACL(Perms.READ, Id("world", "anyone"))], version=0)
    assert stat.aversion == 1
    with pytest.raises(coord.NoAuth):
        await zk.set("/mine", b"")


@pytest.mark.trio
async def test_an_existing_path_is_ensured_without_the_right_to_create(zk: Client) -> None:
    await zk.create("/shut")
    await zk.create("/shut/in")
    await zk.set_acl("/shut", coord.READ_ACL)
    await zk.ensure_path("/shut/in")
    with pytest.raises(coord.NoAuth):
        await zk.ensure_path("/shut/out")
    await zk.who_am_i()


@pytest.mark.trio
async def test_an_unknown_scheme_is_refused(server: LiveServer) -> None:
    async with coord.connect(server.connect_string) as zk:
        with pytest.raises(coord.AuthFailed):
            await zk.add_auth("nonsense", "x")
        with pytest.raises(coord.AuthFailed):
            await zk.get("/")
    with pytest.raises(coord.AuthFailed):
        await coord.connect(server.connect_string, auth=[("nonsense", "x")]).__aenter__()


# -- chroot ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_everything_happens_below_the_chroot(zk: Client, server: LiveServer) -> None:
    async with coord.connect(server.connect_string + "/apps/one") as app:
        with pytest.raises(coord.NoNode) as caught:
            await app.create("/a")
        assert caught.value.path == "/a"
        await app.ensure_chroot()
        assert await app.create("/a", b"x") == "/a"
        path, _ = await app.create_with_stat("/a/e-", sequential=True, ephemeral=True)
        assert path == "/a/e-0000000000"
        assert await app.children("/") == ["a"]
        assert await app.ephemerals() == [path]
        assert (await zk.get("/apps/one/a"))[0] == b"x"
        await app.sync("/a")
        tx = app.transaction()
        tx.create("/b")
        assert await tx.commit() == ["/b"]
        with app.watch() as watch:
            await app.get("/a", watch=watch)
            await zk.set("/apps/one/a", b"y")
            assert (await watch.wait()).path == "/a"
        async with app.add_watch("/") as events:
            await zk.create("/apps/one/c")
            event = await events.receive()
            assert isinstance(event, coord.WatchEvent)
            assert event.path == "/c"
        await zk.create("/apps/one-more", ephemeral=True)
        await app.delete_recursive("/a")


@pytest.mark.trio
async def test_make_parents_makes_the_chroot(zk: Client, server: LiveServer) -> None:
    async with coord.connect(server.connect_string + "/x/y") as app:
        await app.create("/a/b", make_parents=True)
    assert await zk.exists("/x/y/a/b")


# -- size and number ------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_big_data(zk: Client) -> None:
    big = bytes(range(256)) * 4000
    await zk.create("/big", big)
    assert (await zk.get("/big"))[0] == big


@pytest.mark.trio
async def test_a_request_beyond_the_limit_says_so_and_hurts_nobody_else(zk: Client) -> None:
    with pytest.raises(coord.RequestTooLarge) as caught:
        await zk.create("/big", bytes(3_000_000))
    assert (caught.value.path, isinstance(caught.value, coord.ConnectionLost)) == ("/big", True)
    assert await zk.exists("/big") is None
    assert zk.session.generation == 1


@pytest.mark.trio
async def test_a_reply_larger_than_a_request_may_be(zk: Client) -> None:
    names = [f"{i:04}-{'x' * 180}" for i in range(7000)]
    await zk.create("/many")
    for start in range(0, len(names), 1000):
        async with zk.transaction() as tx:
            for name in names[start : start + 1000]:
                tx.create(f"/many/{name}")
    assert sorted(await zk.children("/many")) == names


@pytest.mark.trio
async def test_a_thousand_concurrent_calls_find_their_own_replies(zk: Client) -> None:
    await zk.create("/n")
    mistaken: list[int] = []

    async def one(i: int) -> None:
        await zk.create(f"/n/{i}", str(i).encode())
        if (await zk.get(f"/n/{i}"))[0] != str(i).encode():
            mistaken.append(i)

    async with trio.open_nursery() as nursery:
        for i in range(1000):
            nursery.start_soon(one, i)
    assert mistaken == []
    assert len(await zk.children("/n")) == 1000


@pytest.mark.trio
async def test_one_clients_requests_take_effect_in_order(zk: Client) -> None:
    await zk.create("/a", b"")
    async with trio.open_nursery() as nursery:
        for i in range(100):
            nursery.start_soon(zk.set, "/a", str(i).encode())
    data, stat = await zk.get("/a")
    assert stat.version == 100
    assert data
