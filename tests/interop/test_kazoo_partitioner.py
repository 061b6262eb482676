"""kazoo's own SetPartitioner and ours, sharing the items of one path."""

from __future__ import annotations

import threading

import pytest
import trio
from kazoo.recipe.partitioner import SetPartitioner

import coord
from recipes import Partitioner
from tests.kazoo_client import kazoo_client
from tests.recipes.test_partitioner import ITEMS, Floor
from tests.servers import ServerProcess


class Theirs:
    """A member of kazoo's, as its documentation has it, on the same floor as ours."""

    def __init__(self, hosts: str, path: str, name: str, floor: Floor) -> None:
        self._hosts = hosts
        self._path = path
        self._name = name
        self._floor = floor
        self._leave = threading.Event()

    async def run(self) -> None:
        try:
            await trio.to_thread.run_sync(self._run, abandon_on_cancel=True)
        finally:
            self._leave.set()

    def leave(self) -> None:
        self._leave.set()

    def _run(self) -> None:
        changed, mine = threading.Event(), list[str]()
        with kazoo_client(self._hosts) as client:
            partitioner = SetPartitioner(
                client,
                self._path,
                ITEMS,
                identifier=self._name,
                time_boundary=0.2,
                state_change_event=changed,
            )
            while not self._leave.is_set():
                assert not partitioner.failed
                if partitioner.release:
                    mine = self._stop(mine)
                    partitioner.release_set()
                elif partitioner.acquired and not mine:
                    mine = self._begin(list(partitioner))
                changed.wait(0.05)
                changed.clear()
            self._stop(mine)
            partitioner.finish()

    def _begin(self, items: list[str]) -> list[str]:
        for item in items:
            trio.from_thread.run_sync(self._floor.enter, self._name, item)
        return items

    def _stop(self, items: list[str]) -> list[str]:
        for item in items:
            trio.from_thread.run_sync(self._floor.leave, item)
        return []


@pytest.mark.trio
@pytest.mark.parametrize(("ours", "theirs"), [("ann", "bob"), ("bob", "ann")], ids=["we first", "they first"])
async def test_members_of_both_share_the_items(server: ServerProcess, ours: str, theirs: str) -> None:
    path = f"/{ours}-and-{theirs}"
    floor = Floor()
    share = {"ann": "ace", "bob": "bd"}
    async with coord.connect(server.hosts, timeout=10) as zk, trio.open_nursery() as nursery:
        member = Partitioner(zk, path, ITEMS, ours, settle=0.1)
        scope = trio.CancelScope()

        async def take_part() -> None:
            with scope:
                await member.run(floor.worker(ours))

        nursery.start_soon(take_part)
        await floor.until(**{ours: "abcde"})
        first = Theirs(server.hosts, path, theirs, floor)
        nursery.start_soon(first.run)
        await floor.until(**share)
        first.leave()
        await floor.until(**{ours: "abcde"})
        second = Theirs(server.hosts, path, theirs, floor)
        nursery.start_soon(second.run)
        await floor.until(**share)
        scope.cancel()
        await floor.until(**{theirs: "abcde"})
        second.leave()
    assert floor.at == {}
