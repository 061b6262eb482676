"""kazoo's Party and ShallowParty on the same paths, in threads beside ours."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import coord
from recipes import KAZOO, KAZOO_SHALLOW, Layout, Party
from tests.kazoo_client import kazoo_client
from tests.servers import ServerProcess

PATH = "/shared/party"
LAYOUTS = pytest.mark.parametrize("layout", [KAZOO, KAZOO_SHALLOW])


@pytest.mark.trio
@LAYOUTS
async def test_each_sees_the_other(server: ServerProcess, layout: Layout) -> None:
    def call(fn: Any, *args: Any) -> Any:
        return trio.to_thread.run_sync(fn, *args)

    with kazoo_client(server.hosts) as client:
        kind = client.Party if layout == KAZOO else client.ShallowParty
        path = f"{PATH}/{layout.name}"
        theirs = kind(path, "kazoo-7")
        async with coord.connect(server.hosts, timeout=30) as zk:
            party = Party(zk, path, layout=layout)
            async with party.watch() as changes:
                with trio.fail_after(20):
                    assert len(await changes.receive()) == 0
                    await call(theirs.join)
                    view = await changes.receive()
                    (member,) = view
                    assert (member.data, view.joined) == (b"kazoo-7", view.members)
                    async with party.join(b"coord-7"), party.join(b"coord-7"):
                        seen = await call(lambda: sorted(theirs))
                        assert seen == ["coord-7", "coord-7", "kazoo-7"]
                        assert await call(len, theirs) == 3
                    assert await call(list, theirs) == ["kazoo-7"]
                    await call(theirs.leave)
                    async for view in changes:
                        if not view.members:
                            break
                    assert member in view.left
