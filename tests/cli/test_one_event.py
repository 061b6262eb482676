"""`get -w` and its like in a command line of its own: they wait for one event, and print it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
import trio

import coord
from coord.cli import commands
from coord.cli.results import Happened, printed
from coord.testing import embedded_server
from tests.cli.recorder import Recorder


@pytest.mark.trio
async def test_each_waits_for_its_own_event() -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        await zk.create("/a", b"1")

        changes: dict[str, Callable[[str], Awaitable[object]]] = {
            "create": zk.create,
            "create_below": lambda path: zk.create(f"{path}/child"),
            "set": lambda path: zk.set(path, b"2"),
            "delete": zk.delete,
        }

        async def seen(command: str, path: str, change: str) -> str:
            out = Recorder()
            async with trio.open_nursery() as nursery:

                async def look() -> None:
                    await getattr(commands, command)(zk, out, path, with_watch=True)

                nursery.start_soon(look)
                while not out.results:
                    await trio.lowlevel.checkpoint()
                await changes[change](path)
            return str(out.lines[-1])

        happened = "WATCHER:: WatchedEvent state:SyncConnected type:"
        assert await seen("stat", "/b", "create") == f"{happened}NodeCreated path:/b"
        assert await seen("get", "/b", "delete") == f"{happened}NodeDeleted path:/b"
        assert await seen("get", "/a", "set") == f"{happened}NodeDataChanged path:/a"
        assert await seen("ls", "/a", "create_below") == f"{happened}NodeChildrenChanged path:/a"


@pytest.mark.trio
async def test_a_missing_znode_is_an_error_unless_it_is_waited_for() -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        with pytest.raises(coord.NoNode):
            await commands.get(zk, Recorder(), "/nope", with_watch=True)
        with pytest.raises(coord.NoNode):
            await commands.stat(zk, Recorder(), "/nope")


@pytest.mark.trio
async def test_the_end_of_the_session_ends_the_waiting() -> None:
    async with embedded_server() as server, coord.connect(server.connect_string) as zk:
        out = Recorder()
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                with pytest.raises(coord.SessionExpired):
                    await commands.ls(zk, out, "/", with_watch=True)

            nursery.start_soon(look)
            while not out.results:
                await trio.lowlevel.checkpoint()
            async with coord.connect(server.connect_string, session=zk.session.handle):
                pass  # whoever has the handle can close the session


def test_the_event_as_json() -> None:
    event = coord.WatchEvent(coord.EventType.CHILDREN_CHANGED, "/a", 7)
    assert json.loads(printed(Happened(event), as_json=True)) == {
        "event": "NodeChildrenChanged",
        "path": "/a",
        "zxid": 7,
    }
