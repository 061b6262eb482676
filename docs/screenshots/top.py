"""Draws docs/images/top.svg: `coord top` with three servers under load, one of them killed.

Owns the scene. Numbers that differ from run to run (ports, zxids, rates) are replaced by ones like them.

Synopsis::

    python -m docs.screenshots.top
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import trio

import coord
from coord.testing import LocalEnsemble, LocalServer, local_ensemble
from docs.screenshots.picture import draw
from tests.cli.terminal import Terminal

PICTURE = Path(__file__).parent.parent / "images" / "top.svg"
ZNODES = 40
PAUSE_SECONDS = 0.01
"""between two writes of a client"""
BUSY = re.compile(r"leader +0x\w+ +\d+ +\d{2,} ")


async def main() -> None:
    async with local_ensemble() as ensemble, trio.open_nursery() as nursery:
        leader = None
        for one in ensemble.servers:
            if (await one.status()).mode == "leader":
                leader = one
        doomed = next(one for one in ensemble.servers if one is not leader)
        for server in ensemble.servers:
            if server is not doomed:
                await nursery.start(work, server)
        await trio.to_thread.run_sync(show, ensemble, doomed)
        nursery.cancel_scope.cancel()


async def work(server: LocalServer, task_status: trio.TaskStatus[None]) -> None:
    """A client that makes its znodes, and writes and watches."""
    async with coord.connect(f"127.0.0.1:{server.port}") as zk:
        root = f"/app-{server.id}"
        await zk.ensure_path(root)
        for number in range(ZNODES // 2):
            await zk.create(f"{root}/{number}", ephemeral=True)
        async with zk.watch_children(root) as states:
            await states.receive()
            task_status.started()
            while True:
                await zk.set(root, b"x")
                await trio.sleep(PAUSE_SECONDS)


def show(ensemble: LocalEnsemble, doomed: LocalServer) -> None:
    command = ["--server", ensemble.connect_string, "top", "--interval", "0.5"]
    with Terminal([sys.executable, "-m", "coord", *command], columns=122, lines=8) as terminal:
        terminal.wait_for(BUSY)
        trio.from_thread.run(doomed.kill)
        terminal.wait_for("silent;")
        terminal.wait_for(BUSY)
        draw(terminal, PICTURE, title="coord top", masks=masks(ensemble))
        terminal.type("q")
        terminal.wait_end()


def masks(ensemble: LocalEnsemble) -> dict[str, str]:
    ports = {rf"127\.0\.0\.1:{one.port}( leads|\b)": rf"zk{one.id}:2181\1" for one in ensemble.servers}
    return {**ports, r"0x[0-9a-f]{9}\b": "0x1000009c4"}


if __name__ == "__main__":
    trio.run(main)
