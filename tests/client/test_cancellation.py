"""Every call, cancelled at every step of the run loop: the client is as usable as before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client
from tests.client.scripted import client_of, open_scripted

STEPS_MAX = 200


async def _watch_once(zk: Client) -> object:
    with zk.watch() as watch:
        await zk.get("/a", watch=watch)
        with trio.move_on_after(1):
            await watch.wait()
    return None


async def _first_state(zk: Client) -> object:
    async with zk.watch_data("/a") as states:
        return await states.receive()


async def _persistent(zk: Client) -> object:
    async with zk.add_watch("/a"):
        return None


async def _transaction(zk: Client) -> object:
    async with zk.transaction() as tx:
        tx.set("/a", b"")
    return tx.results


CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "create": lambda zk: zk.create("/a"),
    "create_with_stat": lambda zk: zk.create_with_stat("/a", ephemeral=True),
    "get": lambda zk: zk.get("/a"),
    "get linearizable": lambda zk: zk.get("/a", linearizable=True),
    "exists": lambda zk: zk.exists("/a"),
    "children": lambda zk: zk.children("/a"),
    "children_with_stat": lambda zk: zk.children_with_stat("/a"),
    "set": lambda zk: zk.set("/a", b""),
    "delete": lambda zk: zk.delete("/a"),
    "delete_recursive": lambda zk: zk.delete_recursive("/a"),
    "ensure_path": lambda zk: zk.ensure_path("/a"),
    "ensure_chroot": lambda zk: zk.ensure_chroot(),
    "get_acl": lambda zk: zk.get_acl("/a"),
    "set_acl": lambda zk: zk.set_acl("/a", coord.OPEN_ACL),
    "add_auth": lambda zk: zk.add_auth("digest", "me:pw"),
    "sync": lambda zk: zk.sync(),
    "who_am_i": lambda zk: zk.who_am_i(),
    "ephemerals": lambda zk: zk.ephemerals(),
    "count_descendants": lambda zk: zk.count_descendants("/a"),
    "multi_read": lambda zk: zk.multi_read([coord.GetData("/a")]),
    "transaction": _transaction,
    "watch": _watch_once,
    "watch_data": _first_state,
    "add_watch": _persistent,
}


class CancelAt(trio.abc.Instrument):
    """Cancels `scope` before the step with the given number."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.steps = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


async def cancelled_at(step: int, call: Callable[[Client], Awaitable[object]], zk: Client) -> bool:
    """Was the call cancelled, or through before it could be?"""
    through = False
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call(zk)
            through = True
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return not through


@pytest.mark.trio
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_at_any_step_leaves_the_client_usable(
    name: str, autojump_clock: MockClock
) -> None:
    async with open_scripted() as server, client_of(server, chroot="/app") as zk:
        cancelled = 0
        for step in range(1, STEPS_MAX):
            was_cancelled = await cancelled_at(step, CALLS[name], zk)
            cancelled += was_cancelled
            assert (await zk.get("/other"))[0] == b"data"
            if not was_cancelled and step > 10:
                break
        else:
            raise AssertionError("it never got through")
        assert cancelled > 0
        await trio.testing.wait_all_tasks_blocked()
        assert zk.session.state.value is coord.SessionState.CONNECTED
        assert not zk._core._pending, "every reply was consumed"
        assert not zk._core._queue


@pytest.mark.trio
@pytest.mark.parametrize("name", sorted(set(CALLS) - {"ensure_chroot"}))
async def test_a_caller_that_is_cancelled_already_sends_nothing(name: str, autojump_clock: MockClock) -> None:
    async with open_scripted() as server, client_of(server) as zk:
        with trio.CancelScope() as scope:
            scope.cancel()
            await CALLS[name](zk)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert server.ops() == []
