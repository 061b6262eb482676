"""One controller at a time, and the fence that keeps earlier ones from writing.

Pitfall 33: cannot occur, since there is one `/controller`, and a term ends with the very znode it began with.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

import coord
from coord import BadVersion, Client
from coord.wire.records import Op
from recipes import BrokerRegistry, ControllerMoved, Term
from recipes.kafka import encode_controller
from tests.recipes.cluster import end_session
from tests.recipes.faults import cancel_everywhere, open_world
from tests.recipes.proxy import Proxy, open_proxy


@pytest.mark.trio
async def test_the_znodes_are_kafkas(zk: Client) -> None:
    async def control(term: Term) -> str:
        data, stat = await zk.get("/kafka/controller")
        record = json.loads(data)
        assert (record["version"], record["brokerid"]) == (1, 4)
        assert stat.ephemeral_owner == zk.session.id
        assert stat.czxid == term.token
        epoch, stat = await zk.get("/kafka/controller_epoch")
        assert (int(epoch), stat.version) == (term.epoch, term.zk_version)
        await term.verify()
        return "done"

    registry = BrokerRegistry(zk, chroot="/kafka")
    assert await registry.run_controller(4, control) == "done"
    assert await zk.exists("/kafka/controller") is None
    assert (await zk.get("/kafka/controller_epoch"))[0] == b"1"


@pytest.mark.trio
async def test_one_at_a_time_each_in_the_next_epoch(hosts: str) -> None:
    epochs: list[int] = []
    inside = 0

    async def stand(broker: int) -> None:
        nonlocal inside

        async def control(term: Term) -> None:
            nonlocal inside
            inside += 1
            assert inside == 1
            await term.verify()
            epochs.append(term.epoch)
            inside -= 1

        async with coord.connect(hosts) as zk:
            await BrokerRegistry(zk).run_controller(broker, control)

    async with trio.open_nursery() as nursery:
        for broker in range(5):
            nursery.start_soon(stand, broker)
    assert epochs == [1, 2, 3, 4, 5]


@pytest.mark.trio
async def test_an_election_whose_reply_was_lost_was_won(hosts: str) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:

        async def control(term: Term) -> int:
            assert proxy.lost.is_set()
            await term.verify()
            async with term.transaction() as transaction:
                transaction.create("/proof")
            return term.epoch

        proxy.swallow_reply(Op.MULTI)
        assert await BrokerRegistry(zk).run_controller(1, control) == 1


@pytest.mark.trio
async def test_a_resignation_whose_reply_was_lost_does_not_depose_the_next_one(
    hosts: str, zk: Client
) -> None:
    elected = trio.Event()

    async def resign(term: Term) -> None:
        proxy.swallow_reply(Op.DELETE, then_closed=True)

    async def stay(term: Term) -> None:
        elected.set()
        await trio.sleep_forever()

    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as one:
        await BrokerRegistry(one).run_controller(1, resign)
        assert one.janitor.pending == 1  # it will be told again to delete /controller
        async with trio.open_nursery() as nursery:
            nursery.start_soon(BrokerRegistry(zk).run_controller, 2, stay)
            await elected.wait()
            proxy.reopen()
            await one.janitor.idle()
            stat = await zk.exists("/controller", linearizable=True)
            assert stat is not None
            assert stat.ephemeral_owner == zk.session.id
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_controller_of_yesterday_cannot_write(hosts: str, zk: Client) -> None:
    await zk.create("/state", b"")
    async with coord.connect(hosts, timeout=30) as slow:
        refused = terms = 0

        async def new(term: Term) -> None:
            async with term.transaction() as transaction:
                transaction.set("/state", b"new")

        async def old(term: Term) -> None:
            nonlocal refused, terms
            terms += 1
            if terms > 1:
                return
            try:
                await end_session(hosts, slow)
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):  # a program that does not stop when told to
                    await BrokerRegistry(zk).run_controller(2, new)
                    late = term.transaction()
                    late.set("/state", b"old")
                    with pytest.raises(ControllerMoved, match="epoch 1") as caught:
                        await late.commit()
                    assert isinstance(caught.value.__cause__, BadVersion)
                    refused += 1

        await BrokerRegistry(slow).run_controller(1, old)
    assert (refused, terms) == (1, 2)
    assert (await zk.get("/state"))[0] == b"new"


@pytest.mark.trio
async def test_moving_the_controller_by_deleting_its_znode(hosts: str, zk: Client) -> None:
    """How operators have a new one elected: the old one has to notice without losing its session."""
    terms: list[int] = []

    async def control(term: Term) -> None:
        terms.append(term.epoch)
        if term.epoch == 1:
            await zk.delete("/controller")
            await trio.sleep_forever()

    async with coord.connect(hosts, timeout=30) as broker:
        await BrokerRegistry(broker).run_controller(1, control)
    assert terms == [1, 2]


@pytest.mark.trio
async def test_what_the_controller_raises_passes_bare_and_frees_the_office(zk: Client) -> None:
    failure = ValueError("mine")

    async def control(_: Term) -> None:
        raise failure

    with pytest.raises(ValueError, match="mine") as caught:
        await BrokerRegistry(zk).run_controller(1, control)
    assert caught.value is failure
    assert await zk.exists("/controller") is None


@pytest.mark.trio
async def test_an_election_whose_reply_and_session_were_lost_is_the_next_ones(hosts: str) -> None:
    """It was won, in a session that is no more: the office is free, and the epoch is used up."""
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as zk:
        await zk.create("/controller_epoch", b"0")
        epochs: list[int] = []

        async def control(term: Term) -> None:
            await term.verify()
            epochs.append(term.epoch)

        proxy.swallow_reply(Op.MULTI, then_closed=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(BrokerRegistry(zk).run_controller, 1, control)
            await proxy.lost.wait()
            await end_session(hosts, zk)
            proxy.reopen()
        assert epochs == [2]


@pytest.mark.trio
async def test_an_election_that_arrives_late_is_ours_all_the_same(zk: Client) -> None:
    """It seemed lost, and was only slow: nobody else could ever be elected if it were not taken for ours."""
    await zk.create("/controller_epoch", b"6")
    async with zk.transaction() as late:
        late.create("/controller", encode_controller(1, timestamp_ms=0), ephemeral=True)
        late.set("/controller_epoch", b"7", version=0)

    async def control(term: Term) -> int:
        await term.verify()
        async with term.transaction() as transaction:
            transaction.create("/proof")
        return term.epoch

    with trio.fail_after(10):
        assert await BrokerRegistry(zk).run_controller(1, control) == 7
    assert await zk.exists("/controller") is None


@pytest.mark.trio
async def test_pitfall_5_an_office_without_its_epoch_is_not_ours(zk: Client) -> None:
    """Somebody put our name there, and another one has been elected since: the epoch was not written with
    it."""
    await zk.create("/controller", encode_controller(1, timestamp_ms=0), ephemeral=True)
    await zk.create("/controller_epoch", b"7")

    async def control(term: Term) -> None:
        pytest.fail("elected")

    with trio.move_on_after(0.2):
        await BrokerRegistry(zk).run_controller(1, control)


@pytest.mark.trio
async def test_cancelled_anywhere_nobody_stays_controller(autojump_clock: trio.testing.MockClock) -> None:
    epochs: list[int] = []

    async def control(term: Term) -> None:
        epochs.append(term.epoch)
        async with term.transaction() as transaction:
            transaction.create("/done", b"")
            transaction.delete("/done")

    async with open_world(0) as world:
        zk = world.zk

        async def attempt() -> None:
            await BrokerRegistry(zk).run_controller(1, control)

        async def nobody_is() -> None:
            await zk.janitor.idle()
            await zk.sync()
            assert await zk.exists("/controller") is None

        assert await cancel_everywhere(attempt, nobody_is) > 20
    assert epochs == sorted(set(epochs))


@pytest.mark.trio
async def test_a_candidate_that_is_cancelled_leaves_the_office_to_others(hosts: str, zk: Client) -> None:
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as candidate:
        elected = False

        async def control(_: Term) -> None:
            nonlocal elected
            elected = True
            await trio.sleep_forever()

        requests = 0
        while not elected:
            requests += 1
            await run_until(proxy, candidate, len(proxy.requests) + requests, control)
            await candidate.sync()
            await zk.sync()
            assert await zk.exists("/controller") is None
    assert requests > 2


async def run_until(
    proxy: Proxy, candidate: Client, requests: int, control: Callable[[Term], Awaitable[None]]
) -> None:
    """Stand for controller until so many requests have passed, then be cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(BrokerRegistry(candidate).run_controller, 1, control)
        while len(proxy.requests) < requests:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
