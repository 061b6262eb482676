"""Our elections among Curator's LeaderLatches and LeaderSelectors."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import pytest
import trio

import coord
from coord import Client
from recipes import CURATOR, CURATOR_LATCH, Election, Grant, Layout, LeadershipLost
from tests.interop.curator.driver import (
    SECONDS,
    Curator,
    CuratorClient,
    Leadership,
    needs_curator,
    until_waiting,
)

pytestmark = [*needs_curator, pytest.mark.trio]

PATH = "/service/leader"
KINDS = pytest.mark.parametrize(
    ("kind", "layout"), [("latch", CURATOR_LATCH), ("selector", CURATOR)], ids=["latch", "selector"]
)


def ours(zk: Client, layout: Layout, data: bytes = b"ours") -> Election:
    return Election(zk, PATH, data, layout=layout, strict=True)


async def theirs(java: CuratorClient, kind: str, name: str = "curator's") -> Leadership:
    return await (java.latch if kind == "latch" else java.selector)(PATH, name)


@KINDS
async def test_leadership_goes_to_and_fro(zk: Client, java: CuratorClient, kind: str, layout: Layout) -> None:
    """Each sees who leads, by what the other wrote; and waits until the other is through."""
    their, tokens = await theirs(java, kind), []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            async with ours(zk, layout).lead() as term:
                tokens.append(term.token)
                nursery.start_soon(their.start if not tokens[1:] or kind == "latch" else their.requeue)
                await until_waiting(zk, PATH, 2)
                assert not await their.leads()
                assert await their.leader() == "ours"
                assert await their.participants() == ["ours", "curator's"]
                term.ensure()
            assert await their.event() == ["leading"]

            async def serve(term: Grant) -> None:
                tokens.append(term.token)

            nursery.start_soon(ours(zk, layout).run, serve)
            await until_waiting(zk, PATH, 2)
            async with ours(zk, layout).observe() as leaders:
                leader = await anext(leaders)
                assert leader is not None
                assert (leader.data, leader.mine) == (b"curator's", False)
                tokens.append(leader.czxid)
                assert await their.leads()
                if kind == "latch":
                    await their.close()
                    their = await theirs(java, kind)
                else:
                    await their.yield_()
                    assert await their.event() == ["following"]
                leader = await anext(leaders)
                assert leader is None or leader.mine
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 9


@KINDS
async def test_each_follows_the_other_whose_session_ends(
    curator: Curator, hosts: str, zk: Client, kind: str, layout: Layout
) -> None:
    async with curator.client(hosts) as java, coord.connect(hosts) as mortal, trio.open_nursery() as nursery:
        their = await theirs(java, kind)
        with pytest.raises(LeadershipLost):
            async with ours(mortal, layout).lead() as first:
                await their.start()
                await until_waiting(zk, PATH, 2)
                async with coord.connect(hosts, session=mortal.session.handle):
                    pass
                await trio.sleep_forever()
        assert await their.event() == ["leading"]
        nursery.start_soon(java.expire)
        with trio.fail_after(SECONDS):
            async with ours(zk, layout).lead() as second:
                assert await their.event() == ["following"]
                assert second.token > first.token
        await their.close()


async def test_many_latches_and_we_lead_one_at_a_time(zk: Client, java: CuratorClient) -> None:
    inside, most, terms = 0, 0, 0

    async def serve(_: Grant | None) -> None:
        nonlocal inside, most, terms
        inside += 1
        most, terms = max(most, inside), terms + 1
        await zk.exists("/")
        inside -= 1

    async def we() -> None:
        for _ in range(5):
            await ours(zk, CURATOR_LATCH).run(serve)

    async def they(number: int) -> None:
        for _ in range(5):
            latch = await java.latch(PATH, f"curator {number}")
            await latch.start()
            assert await latch.event() == ["leading"]
            await serve(None)
            await latch.close()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(we)
            nursery.start_soon(they, number)
    assert (most, terms) == (1, 30)
    await until_waiting(zk, PATH, 0)  # a latch that is closed does not wait for its delete
