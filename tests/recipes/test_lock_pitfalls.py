"""Races of locks and elections that other libraries have lost, one test each, forced to happen.

Pitfall 17: cannot occur, since a block is entered with a grant or not at all (never untold without one).
Pitfall 19: cannot occur, since there are no callbacks (which could wait for their own thread).
Pitfall 20: cannot occur, since a grant is an object of one block (and nobody's by thread).

Pitfalls 22 to 24 are the client's and the server's: tests/client/test_session.py, tests/client/test_link.py,
tests/ensemble/test_five.py. (Apache ZooKeeper's followers answer pings without a leader, for a while:
there it is the token that protects.)
"""

# ruff: noqa: PT012, SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import coord
from coord import Client
from coord.wire.records import Op
from recipes import CURATOR, KAZOO, Election, Grant, Layout, Lock, LockLost
from tests.recipes.lines import end_session, until_empty, until_waiting
from tests.recipes.proxy import Proxy, open_proxy

PATH = "/line"


@asynccontextmanager
async def slow_client(hosts: str) -> AsyncIterator[tuple[Proxy, Client]]:
    """A client whose requests can be held back on their way."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as client:
        await client.ensure_path(PATH)
        yield proxy, client


class Holding:
    """A task that stands in line; `held` once it holds."""

    def __init__(self, zk: Client, *, layout: Layout = KAZOO) -> None:
        self._lock = Lock(zk, PATH, layout=layout)
        self.held = trio.Event()
        self.leave = trio.Event()

    async def __call__(self) -> None:
        async with self._lock:
            self.held.set()
            await self.leave.wait()


@pytest.mark.trio
async def test_pitfall_2_a_lock_remembers_nothing_of_a_grant_that_was_lost(hosts: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        lock = Lock(zk, PATH)
        tokens = []
        for _ in range(2):
            with pytest.raises(LockLost):
                async with lock as grant:
                    tokens.append(grant.token)
                    await end_session(hosts, zk)
                    await trio.sleep_forever()
        async with lock.acquire(wait=False) as grant:
            assert [*tokens, grant.token] == sorted({*tokens, grant.token})


@pytest.mark.trio
async def test_pitfall_6_first_in_line_by_a_znode_that_is_not_ours_is_not_enough(
    hosts: str, zk: Client
) -> None:
    """Our znode is replaced by another session's of the same name before we look who is first. Nothing is
    held by that one; it is taken for a stray of ours, and another place is taken."""
    async with slow_client(hosts) as (proxy, slow), trio.open_nursery() as nursery:
        there = proxy.hold(Op.MULTI_READ)

        async def hold() -> None:
            async with Lock(slow, PATH) as grant:
                assert grant.path != stray
                await grant.verify()

        nursery.start_soon(hold)
        await there.wait()
        (name,) = await zk.children(PATH)
        stray = f"{PATH}/{name}"
        await zk.delete(stray)
        await zk.create(stray, ephemeral=True)
        proxy.let_pass()
    await until_empty(zk, PATH)


@pytest.mark.trio
@pytest.mark.parametrize("layout", [KAZOO, CURATOR], ids=lambda layout: layout.name)
async def test_pitfall_7_names_do_not_grow(hosts: str, zk: Client, layout: Layout) -> None:
    guid = {KAZOO: "[0-9a-f]{32}__lock__", CURATOR: "_c_[0-9a-f-]{36}-lock-"}[layout]
    async with coord.connect(hosts, timeout=30) as unlucky, trio.open_nursery() as nursery:
        async with Lock(zk, PATH, layout=layout) as grant:
            nursery.start_soon(Holding(unlucky, layout=layout))
            seen: set[str] = set()
            async with zk.watch_children(PATH) as states:
                async for names in states:
                    for name in names or ():
                        if f"{PATH}/{name}" != grant.path and name not in seen:
                            assert re.fullmatch(f"{guid}[0-9]{{10}}", name)
                            seen.add(name)
                            await end_session(hosts, unlucky)  # it has to make another one
                    if len(seen) == 4:
                        break
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_pitfall_31_a_predecessor_that_goes_before_it_is_watched(hosts: str, zk: Client) -> None:
    """Between the list and the watch the nearest predecessor leaves: the one before it still leads."""
    first, second = Holding(zk), Holding(zk)
    async with slow_client(hosts) as (proxy, slow), trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await first.held.wait()
        nursery.start_soon(second)
        await until_waiting(zk, PATH, 2)
        last = Holding(slow)
        there = proxy.hold(Op.GET_DATA)
        nursery.start_soon(last)
        await there.wait()
        middle = (await Lock(zk, PATH).contenders())[1]
        await zk.delete(middle.path)  # the second gives up, so to speak
        proxy.let_pass()
        while proxy.requests.count(Op.GET_DATA) < 2:  # it looks for the one before
            await slow.sync()
        assert not last.held.is_set()
        assert not second.held.is_set()
        first.leave.set()
        await last.held.wait()
        last.leave.set()
        second.leave.set()


@pytest.mark.trio
async def test_pitfall_30_somebody_leads_after_everything_was_lost(hosts: str, zk: Client) -> None:
    """The path with all who stood there goes, and every connection with it."""
    led: list[int] = []
    done = trio.Event()

    async def serve(term: Grant) -> int:
        led.append(term.token)
        if len(led) == 1:
            await trio.sleep_forever()
        done.set()
        return term.token

    async with slow_client(hosts) as (proxy, one), slow_client(hosts) as (other_proxy, two):
        async with trio.open_nursery() as nursery:

            async def campaign(client: Client) -> None:
                await Election(client, PATH).run(serve, pause=0.0)

            nursery.start_soon(campaign, one)
            while not led:
                await zk.sync()
            nursery.start_soon(campaign, two)
            await until_waiting(zk, PATH, 2)
            for each in (proxy, other_proxy):
                each.close()
            for client in (one, two):
                await end_session(hosts, client)
            await until_empty(zk, PATH)
            await zk.delete(PATH)
            for each in (proxy, other_proxy):
                each.reopen()
            await done.wait()
    assert led == sorted(set(led))
    assert len(led) == 3  # the first term was lost; then each of them has had one


@pytest.mark.trio
async def test_pitfall_32_the_end_of_a_session_hits_the_term_that_it_ended_and_no_other(hosts: str) -> None:
    terms: list[Grant] = []
    async with coord.connect(hosts, timeout=30) as zk:

        async def serve(term: Grant) -> str:
            terms.append(term)
            if len(terms) < 3:
                with trio.CancelScope(shield=True):  # a leader that is slow to stop
                    await end_session(hosts, zk)
                    await zk.session.state.wait_value(coord.SessionState.EXPIRED)
                    await zk.sync()  # until there is another session
                return "of a term that was over"
            for _ in range(5):
                await zk.sync()  # nothing of the terms before comes now
            return "of the third term"

        assert await Election(zk, PATH).run(serve, pause=0.0) == "of the third term"
        assert [term.lost for term in terms] == [True, True, False]
        await zk.janitor.idle()
        assert await zk.children(PATH) == []
        async with Election(zk, PATH).lead():
            pass
        await end_session(hosts, zk)
        await zk.session.state.wait_value(coord.SessionState.EXPIRED)
        await trio.lowlevel.checkpoint()  # a term that has ended takes nobody along


@pytest.mark.trio
async def test_pitfall_32_a_cancelled_leader_still_steps_down(zk: Client) -> None:
    with trio.CancelScope() as scope:
        async with Election(zk, PATH).lead():
            scope.cancel()
    assert await zk.children(PATH) == []  # not sooner or later, but now


@pytest.mark.trio
async def test_pitfall_33_what_an_earlier_incarnation_left_is_waited_for(hosts: str, zk: Client) -> None:
    """Its znode, with the same data, is first in line: nobody leads by it, not even for a moment."""
    async with coord.connect(hosts, timeout=30) as earlier, trio.open_nursery() as nursery:
        elected = trio.Event()
        left = await earlier.create(
            f"{PATH}/{'0' * 32}__lock__", b"host7", ephemeral=True, sequential=True, make_parents=True
        )

        async def campaign() -> None:
            async with Election(zk, PATH, b"host7").lead() as term:
                assert term.path != left
                elected.set()

        nursery.start_soon(campaign)
        await until_waiting(zk, PATH, 2)
        (now, waiting) = await Election(zk, PATH).contenders()
        assert (now.path, now.mine, waiting.mine) == (left, False, True)
        assert not elected.is_set()
        await end_session(hosts, earlier)
        await elected.wait()
