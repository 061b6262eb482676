"""Elections: one leader, terms that end in time, observers who see it."""

from __future__ import annotations

import pytest
import trio

import coord
from coord import Client
from recipes import CURATOR_LATCH, Contender, Election, Grant, LeadershipLost
from tests.recipes.proxy import open_proxy

PATH = "/service/leader"


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


@pytest.mark.trio
async def test_one_leads_at_a_time(hosts: str) -> None:
    leading = 0
    terms: list[int] = []

    async def serve(term: Grant) -> str:
        nonlocal leading
        leading += 1
        assert leading == 1
        await term.verify()
        terms.append(term.token)
        leading -= 1
        return "done"

    async def candidate() -> None:
        async with coord.connect(hosts) as zk:
            assert await Election(zk, PATH).run(serve) == "done"

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(candidate)
    assert len(terms) == 5
    assert terms == sorted(terms)


@pytest.mark.trio
async def test_pitfall_34_the_leader_is_stopped_and_campaigns_again(hosts: str) -> None:
    stopped = 0
    async with coord.connect(hosts, timeout=30) as zk:

        async def serve(term: Grant) -> int:
            nonlocal stopped
            if stopped == 2:
                return term.token
            await end_session(hosts, zk)
            try:
                await trio.sleep_forever()
            finally:
                stopped += 1
            raise AssertionError

        token = await Election(zk, PATH).run(serve, pause=0.0)
    assert stopped == 2
    assert token > 0


@pytest.mark.trio
async def test_a_call_that_the_sessions_end_interrupts_is_a_loss_too(hosts: str) -> None:
    terms = 0
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:

        async def serve(term: Grant) -> str:
            nonlocal terms
            terms += 1
            if terms == 2:
                return "second"
            proxy.close()
            await zk.session.state.wait_value(coord.SessionState.SUSPENDED)
            await end_session(hosts, zk)
            proxy.reopen()
            with trio.CancelScope(shield=True):  # so that it is the call that notices
                await zk.get("/")
            return "first"

        assert await Election(zk, PATH).run(serve, pause=0.0) == "second"


@pytest.mark.trio
async def test_what_the_leader_raises_passes(zk: Client) -> None:
    failure = KeyError("mine")

    async def serve(_: Grant) -> None:
        raise failure

    with pytest.raises(KeyError) as caught:
        await Election(zk, PATH).run(serve)
    assert caught.value is failure
    assert await zk.children(PATH) == []

    async def expire(_: Grant) -> None:
        raise coord.SessionExpired  # of some other client: the term is not over

    with pytest.raises(coord.SessionExpired):
        await Election(zk, PATH).run(expire)


@pytest.mark.trio
async def test_a_term_that_is_lost_says_so(hosts: str) -> None:
    async with coord.connect(hosts, timeout=30) as zk:
        async with Election(zk, PATH, layout=CURATOR_LATCH).lead() as term:
            assert "-latch-" in term.path
        with pytest.raises(LeadershipLost):  # noqa: PT012 (the whole block)
            async with Election(zk, PATH).lead():
                await end_session(hosts, zk)
                await trio.sleep_forever()


@pytest.mark.trio
async def test_observers_see_who_leads(hosts: str, zk: Client) -> None:
    async with (
        coord.connect(hosts, timeout=30) as one,
        coord.connect(hosts, timeout=30) as two,
        Election(zk, PATH).observe() as leaders,
        trio.open_nursery() as nursery,
    ):

        async def next_leader() -> Contender | None:
            with trio.fail_after(10):
                return await anext(leaders)

        assert await next_leader() is None
        over = trio.Event()

        async def lead(client: Client, name: bytes, until: trio.Event) -> None:
            async with Election(client, PATH, name).lead():
                await until.wait()

        nursery.start_soon(lead, one, b"one", over)
        first = await next_leader()
        assert first is not None
        assert (first.data, first.session_id, first.order) == (b"one", one.session.id, 0)
        nursery.start_soon(lead, two, b"two", trio.Event())
        while len(await Election(zk, PATH).contenders()) < 2:
            pass
        over.set()
        second = await next_leader()
        assert second is not None
        assert second.data == b"two"
        assert second.czxid > first.czxid
        await zk.set(second.path, b"renamed")  # proclaiming
        third = await next_leader()
        assert third is not None
        assert third.data == b"renamed"
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_observing_survives_the_observers_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, timeout=30) as observer, Election(observer, PATH).observe() as leaders:
        assert await anext(leaders) is None
        await end_session(hosts, observer)
        async with trio.open_nursery() as nursery:
            seen = trio.Event()

            async def watch() -> None:
                leader = await anext(leaders)
                assert leader is not None
                assert leader.session_id == zk.session.id
                seen.set()

            nursery.start_soon(watch)
            async with Election(zk, PATH).lead():
                await seen.wait()


@pytest.mark.trio
async def test_the_loss_of_another_leadership_is_the_functions_own_failure(zk: Client) -> None:
    async def lead(term: Grant) -> None:
        async with Election(zk, "/service/other").lead() as other:
            await zk.delete(other.path)
            await other.verify()

    with trio.fail_after(5), pytest.raises(LeadershipLost) as caught:
        await Election(zk, PATH).run(lead, pause=0.0)
    assert caught.value.path.startswith("/service/other")


@pytest.mark.trio
async def test_a_refused_write_ends_the_term(zk: Client) -> None:
    terms = 0

    async def lead(term: Grant) -> str:
        nonlocal terms
        terms += 1
        if terms == 1:
            await zk.delete(term.path)
        async with term.transaction() as transaction:
            transaction.create("/written")
        return "written"

    assert await Election(zk, PATH).run(lead, pause=0.0) == "written"
    assert terms == 2


@pytest.mark.trio
@pytest.mark.parametrize("another", [False, True])
async def test_a_loss_that_many_tasks_tell_of(hosts: str, another: bool) -> None:
    """As one of them does: another term. Unless one has something else to say."""
    terms = 0
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:

        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine")

        async def serve(_: Grant) -> str:
            nonlocal terms
            terms += 1
            if terms == 2:
                return "second"
            proxy.close()
            await zk.session.state.wait_value(coord.SessionState.SUSPENDED)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(zk.get, "/")
                nursery.start_soon(zk.exists, "/")
                if another:
                    nursery.start_soon(fail)
                await end_session(hosts, zk)
                proxy.reopen()
            raise AssertionError

        if not another:
            assert await Election(zk, PATH).run(serve, pause=0.0) == "second"
            return
        with pytest.raises(ExceptionGroup) as caught:
            await Election(zk, PATH).run(serve, pause=0.0)
        assert caught.value.subgroup(KeyError) is not None
