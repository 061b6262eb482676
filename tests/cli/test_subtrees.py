"""Work on thousands of znodes: whole, in order, while others change them, and stopped in the midst of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

import coord
from coord.cli.jobs import Advance
from coord.cli.subtrees import delete_all, delete_these, list_all, set_all_acls
from coord.cli.walk import LAST_SECONDS, Pipeline
from coord.testing import embedded_server
from tests.cli.conftest import Coord, Refused
from tests.cli.many import cancel_after_turns, create_many
from tests.cli.recorder import Recorder

COUNT = 2500


@pytest.fixture
async def zk() -> AsyncIterator[coord.Client]:
    async with embedded_server() as server, coord.connect(server.connect_string) as client:
        yield client


def test_thousands_are_listed_in_order_and_deleted(ok: Coord, server: str) -> None:
    paths = create_many(server, "/many", COUNT)
    assert ok("ls -R /many").splitlines() == paths
    listed = [json.loads(line) for line in ok("--json ls -R /many").splitlines()]
    assert listed == [{"path": path} for path in paths]
    ok("setAcl -R /many world:anyone:rda")
    assert ok(f"getAcl {paths[-1]}") == "'world,'anyone\n: dra\n"
    ok("setAcl -R /many world:anyone:cdrwa")
    assert ok("deleteall -b 7 /many/000") == ""
    assert ok("deleteall /many") == ""
    assert "many" not in ok("ls /")


def test_errors_name_the_command_and_the_znode(ok: Coord, refused: Refused) -> None:
    assert refused("ls -R /none") == (1, "ls /none: there is no such znode")
    assert refused("deleteall /none") == (1, "deleteall /none: there is no such znode")
    assert refused("setAcl -R /none world:anyone:r") == (1, "setAcl /none: there is no such znode")
    assert refused("ls -R no/slash")[0] == 2
    assert refused("deleteall /") == (2, "deleteall /: the root cannot be deleted")
    for path in ("/guarded", "/guarded/child", "/guarded/child/deep"):
        ok(f"create {path}")
    ok("setAcl /guarded/child ip:192.0.2.1:r")
    code, text = refused("export /guarded/child")
    assert (code, text) == (4, "export /guarded/child: the znode's ACL does not allow it")


@pytest.mark.trio
async def test_what_may_not_be_deleted_ends_it_with_how_far_it_came(zk: coord.Client) -> None:
    for path in ("/g", "/g/a", "/g/a/x", "/g/b", "/g/b/y"):
        await zk.create(path)
    await zk.set_acl("/g/a", [coord.ACL(coord.Perms.READ, coord.Id("world", "anyone"))])
    out = Recorder()
    with pytest.raises(coord.NoAuth) as caught:
        await delete_all(zk, out, "/g")
    assert caught.value.path == "/g/a/x"
    assert out.progressed == {"finding": 5, "deleting": 1}
    assert await zk.exists("/g/b/y") is None


@pytest.mark.trio
async def test_what_others_have_created_and_deleted_meanwhile_goes_too(zk: coord.Client) -> None:
    for path in ("/t", "/t/a", "/t/a/new", "/t/a/new/deep"):
        await zk.create(path)
    done: list[int] = []
    await delete_these(zk, ["/t/b", "/t/a", "/t"], done.append)  # what there was
    assert await zk.children("/") == ["zookeeper"]
    assert sum(done) == 3


@pytest.mark.trio
async def test_a_deletion_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    """Killed with transactions under way: nobody knows which of them were done."""

    class Killing(Recorder):
        """Has the server killed once something was deleted."""

        @contextmanager
        def progress(self, label: str, total: int | None = None) -> Iterator[Advance]:
            with super().progress(label, total) as advance:
                yield lambda number: (advance(number), label == "deleting" and deleting.set())

    deleting = trio.Event()
    async with (
        embedded_server(data_dir=tmp_path) as server,
        coord.connect(server.connect_string) as zk,
        trio.open_nursery() as nursery,
    ):
        await zk.create("/d")
        for at in range(0, 3000, 500):
            async with zk.transaction() as transaction:
                for number in range(at, at + 500):
                    transaction.create(f"/d/{number}")

        async def kill_and_restart() -> None:
            await deleting.wait()
            await server.kill()
            await server.start()

        nursery.start_soon(kill_and_restart)
        out = Killing()
        with trio.fail_after(30):
            await delete_all(zk, out, "/d")
        assert out.progressed["deleting"] == 3001
        assert await zk.exists("/d") is None


@pytest.mark.trio
async def test_below_a_chroot_all_of_it_can_be_deleted() -> None:
    async with embedded_server() as server, coord.connect(f"{server.connect_string}/app") as zk:
        await zk.ensure_chroot()
        await zk.create("/a/b", make_parents=True)
        out = Recorder()
        await list_all(zk, out, "/")
        assert out.lines == ["/", "/a", "/a/b"]
        await delete_all(zk, out, "/")
        assert await zk.exists("/") is None


@pytest.mark.trio
async def test_a_znode_whose_acl_is_set_tells_its_stat(zk: coord.Client) -> None:
    for path in ("/s", "/s/a"):
        await zk.create(path)
    out = Recorder()
    await set_all_acls(zk, out, "/s", list(coord.OPEN_ACL), with_stat=True)
    assert [result.json()["stat"]["aclVersion"] for result in out.results] == [1, 1]


@pytest.mark.trio
async def test_pieces_are_begun_in_order_and_the_first_failure_ends_it() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def piece(number: int) -> None:
        begun.append(number)
        await trio.lowlevel.checkpoint()
        if number == 3:
            raise coord.NoNode(path="/3")
        ended.append(number)

    async def pieces() -> None:
        async with Pipeline(2) as pipeline:
            for number in range(10):
                await pipeline.do(partial(piece, number))

    with pytest.raises(coord.NoNode):
        await pieces()
    assert begun == sorted(begun)
    assert 10 not in begun
    assert set(begun) - set(ended) == {3}


@pytest.mark.trio
async def test_a_cancelled_pipeline_ends_what_is_under_way_and_leaves_no_piece_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ended: list[int] = []
    cancelled: list[int] = []

    async def piece(number: int, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
            ended.append(number)
        except trio.Cancelled:
            cancelled.append(number)
            raise

    with trio.CancelScope() as scope:
        async with Pipeline(2) as pipeline:
            await pipeline.do(partial(piece, 1, 1))
            await pipeline.do(partial(piece, 2, inf))
            scope.cancel()
            await pipeline.do(partial(piece, 3, 0))
    assert (ended, cancelled, trio.current_time()) == ([1], [2], LAST_SECONDS)

    with trio.move_on_after(1) as scope:  # while the end is waited for
        async with Pipeline(2) as pipeline:
            await pipeline.do(partial(piece, 4, 2))
            await pipeline.do(partial(piece, 5, inf))
    assert (ended, cancelled) == ([1, 4], [2, 5])
    assert trio.current_time() == LAST_SECONDS + 1 + LAST_SECONDS


@pytest.mark.trio
async def test_a_deletion_that_is_cancelled_says_truly_how_far_it_came(zk: coord.Client) -> None:
    """Wherever it is cancelled: what the server did is what was told."""
    root, out = "/counted", Recorder()
    for turn in range(12):
        await many(zk, root, 300)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_after_turns, scope, 10 * turn)
                await delete_all(zk, out, root, batch=7)
                nursery.cancel_scope.cancel()
        left = await zk.count_descendants(root) + 1 if await zk.exists(root) else 0
        assert out.progressed.get("deleting", 0) == 301 - left, turn
        if left:
            await delete_all(zk, Recorder(), root)
        out.progressed.clear()


async def many(zk: coord.Client, root: str, count: int) -> None:
    async with zk.transaction() as transaction:
        transaction.create(root)
        for number in range(count):
            transaction.create(f"{root}/{number}")
