"""The collector of a server's process: it looks at what is new, and there is nothing for it to find."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from coord.config import Config
from coord.server.garbage import sparing_collector
from coord.server.server import Server
from coord.server.surroundings import Surroundings
from coord.wire.records import CreateMode, CreateRequest, DeleteRequest, Op
from tests.rawclient import OPEN, RawClient, four_letters

CROWD = 100_000


class Thing:
    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next: Thing | None = None


@contextmanager
def pauses() -> Iterator[list[tuple[int, float]]]:
    """(generation, seconds) of each collection in the block."""
    found: list[tuple[int, float]] = []
    began = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            found.append((info["generation"], time.perf_counter() - began))

    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


def test_nothing_is_looked_at_while_the_state_is_loaded_and_little_afterwards() -> None:
    before = gc.get_threshold(), list(gc.callbacks)
    with sparing_collector() as loaded:
        with pauses() as found:
            things = [Thing() for _ in range(CROWD)]
        assert found == []
        loaded()
        frozen = gc.get_freeze_count()
        assert frozen >= CROWD
        with pauses() as found:
            things += [Thing() for _ in range(CROWD)]
        assert gc.get_freeze_count() > frozen + CROWD / 2, "what outlived a full collection is left alone"
        assert len([one for generation, one in found if generation == 2]) >= 2
        assert max(seconds for _, seconds in found) < 0.02, found
    assert (gc.get_threshold(), gc.callbacks) == before
    assert gc.isenabled()
    gc.unfreeze()


def test_a_cycle_that_falls_apart_while_it_is_young_is_found() -> None:
    with sparing_collector() as loaded:
        loaded()
        with pauses():
            collected_before = sum(stats["collected"] for stats in gc.get_stats())
            for _ in range(CROWD):
                thing = Thing()
                thing.next = thing
            assert sum(stats["collected"] for stats in gc.get_stats()) - collected_before > CROWD / 2
    gc.unfreeze()


def serve_somebody(port: int) -> None:
    """All that a client may do, and some of what it should not."""
    with RawClient.open(port) as zk, RawClient.open(port) as other:
        zk.create("/a", b"1")
        other.get("/a", watch=True)
        other.exists("/b", watch=True)
        other.children("/", watch=True)
        for number in range(30):
            zk.set("/a", b"%d" % number)
        zk.create("/mine", b"", CreateMode.EPHEMERAL)
        for reply in (zk.create("/a"), zk.get("/nothing"), zk.set("/a", b"", 99), zk.delete("/nothing")):
            assert reply.err
        create = CreateRequest("/m", b"", OPEN, 0)
        for last in ("/nothing", "/m"):
            zk.multi((Op.CREATE, create), (Op.DELETE, DeleteRequest(last, -1)))
        zk.path(Op.SYNC, "/")
        zk.delete("/a")
        zk.end_session()
        other.send_bytes(b"\xff\xff\xff\xff")
    with RawClient(port) as stranger:
        stranger.send_bytes(b"GET / HTTP")
    four_letters(port, b"mntr")
    with RawClient.open(port, timeout_ms=100) as silent:
        silent.create("/left", b"", CreateMode.EPHEMERAL)


@pytest.mark.trio
@pytest.mark.parametrize("use_selector", [True, False])
async def test_serving_makes_no_garbage_that_only_a_collector_finds(
    tmp_path: Path, use_selector: bool
) -> None:
    config = Config(
        client_port=0,
        client_port_address="127.0.0.1",
        max_client_cnxns=0,
        tick_time_ms=50,
        data_dir=tmp_path,
        snap_count=100,
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(Server(config, Surroundings(use_selector=use_selector)).run)
        await serve(server, 2)  # what is made once, when a thing is first used, does not count
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await serve(server, 10)
            gc.collect()
            assert gc.garbage == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        nursery.cancel_scope.cancel()


async def serve(server: Server, rounds: int) -> None:
    """Returns when everybody is gone, those who were silent included."""
    for _ in range(rounds):
        await trio.to_thread.run_sync(serve_somebody, server.port)
    with trio.fail_after(10):
        while server.replica.lobby.connections or server.replica.machine.sessions.timeouts:
            await trio.sleep(0.01)
