"""`coord tree`: the drawing, its sums, and what servers tell of watches."""

from __future__ import annotations

import json

import pytest

import coord
from coord.cli.tree import Tree, tree
from coord.testing import embedded_server
from tests.cli.conftest import Coord, Refused
from tests.cli.recorder import Recorder


def test_a_drawing_with_sums(ok: Coord, refused: Refused) -> None:
    for line in ("/outline abc", "/outline/b", "/outline/a xy", "/outline/a/deep 1", "/outline/a/deep/er 2"):
        ok(f"create {line}")
    assert ok("tree /outline") == (
        "/outline  (3 B; below: 4 znodes, 4 B)\n"
        "├── a  (2 B; below: 2 znodes, 2 B)\n"
        "│   └── deep  (1 B; below: 1 znode, 1 B)\n"
        "│       └── er  (1 B)\n"
        "└── b  (0 B)\n"
    )
    assert ok("tree -L 1 /outline").count("\n") == 3
    assert ok("tree -L 0 /outline") == "/outline  (3 B; below: 4 znodes, 4 B)\n"
    found = json.loads(ok("--json tree -L 1 /outline"))
    assert found["znodes"][1] == {
        "path": "/outline/a",
        "data_bytes": 2,
        "subtree_bytes": 4,
        "subtree_znodes": 3,
        "ephemeral_owner": None,
        "watches": 0,
    }
    assert refused("tree /none") == (1, "tree /none: there is no such znode")


@pytest.mark.trio
@pytest.mark.parametrize("words", ["*", "srvr"])
async def test_owners_and_watches_where_the_server_tells(words: str) -> None:
    async with (
        embedded_server(four_letter_whitelist=frozenset({words})) as server,
        coord.connect(f"{server.connect_string}/chroot") as zk,
    ):
        await zk.ensure_chroot()
        await zk.create("/me", b"x" * 1536, ephemeral=True)
        async with zk.watch_data("/me") as states:
            async for _ in states:
                break
            out = Recorder()
            await tree(zk, out, "/")
        told = "; 1 watch" if words == "*" else ""
        assert out.lines == [
            f"/  (0 B; below: 1 znode, 1.5 KiB)\n└── me  (1.5 KiB; ephemeral of {hex(zk.session.id)}{told})"
        ]
        assert isinstance(out.results[0], Tree)
        assert out.results[0].json()["znodes"][1]["watches"] == (1 if words == "*" else None)


def test_depth_without_end(ok: Coord) -> None:
    path = ""
    for number in range(60):
        path += f"/{number}"
        ok(f"create {path}")
    assert ok("tree /0").count("\n") == 60
    ok("deleteall /0")
