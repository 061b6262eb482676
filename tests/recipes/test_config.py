"""A value kept in a znode: the latest good one, whatever happens. Pitfalls are numbered as in the survey.

Pitfall 51: cannot occur, since the watch is `watch_data`'s, and closed with the block.
"""

# ruff: noqa: SIM117 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import coord
from coord import Client, NoAuth, NoNode, SessionState
from coord.testing import embedded_server
from coord.wire.records import Op
from recipes import LiveConfig, watch_config
from tests.recipes.faults import cancel_everywhere
from tests.recipes.proxy import open_proxy

PATH = "/config/app"


async def end_session(hosts: str, zk: Client) -> None:
    async with coord.connect(hosts, session=zk.session.handle):
        pass


def equal_to(wanted: object) -> Callable[[object], bool]:
    return lambda value: value == wanted


async def until_error(config: LiveConfig[int], zk: Client) -> Exception:
    with trio.fail_after(10):
        while config.error is None:
            await zk.sync()
    return config.error


@pytest.mark.trio
async def test_the_value_follows_the_znode(zk: Client) -> None:
    await zk.create(PATH, b'{"on": false}', make_parents=True)
    config: LiveConfig[dict[str, bool]]
    async with watch_config(zk, PATH) as config:
        assert config.value == {"on": False}
        assert config.error is None
        stat = await zk.set(PATH, b'{"on": true}')
        assert await config.wait_value(lambda value: value["on"]) == {"on": True}
        assert config.stat == stat


@pytest.mark.trio
async def test_ways_to_wait(zk: Client) -> None:
    await zk.create(PATH, b"1", make_parents=True)
    async with watch_config(zk, PATH, int) as config, trio.open_nursery() as nursery:
        seen: list[int] = []
        changes: list[tuple[int, int]] = []

        async def values() -> None:
            async for value in config.eventual_values():
                seen.append(value)
                if value == 3:
                    break

        async def transitions() -> None:
            async for change in config.transitions(lambda value, old: value > old):
                changes.append(change)
                break

        nursery.start_soon(values)
        nursery.start_soon(transitions)
        await trio.testing.wait_all_tasks_blocked()
        await zk.set(PATH, b"2")
        await config.wait_value(equal_to(2))
        await trio.testing.wait_all_tasks_blocked()

        async def set_it() -> None:
            await zk.set(PATH, b"3")

        nursery.start_soon(set_it)
        assert await config.wait_transition() == (3, 2)
    assert (seen, changes) == ([1, 2, 3], [(2, 1)])


@pytest.mark.trio
async def test_a_bad_value_is_shown_and_not_taken(zk: Client, caplog: pytest.LogCaptureFixture) -> None:
    await zk.create(PATH, b"1", make_parents=True)
    async with watch_config(zk, PATH, int) as config:
        with caplog.at_level(logging.WARNING, logger="recipes.config"):
            await zk.set(PATH, b"one")
            error = await until_error(config, zk)
        assert isinstance(error, ValueError)
        assert config.value == 1
        assert config.stat is not None
        assert config.stat.version == 0
        assert "/config/app keeps its last good value" in caplog.text
        await zk.set(PATH, b"2")
        assert await config.wait_value(equal_to(2)) == 2
        assert config.error is None
        await zk.set(PATH, b"two")
        await until_error(config, zk)
        await zk.set(PATH, b"2")  # no other value, but no error either
        with trio.fail_after(10):
            while config.error is not None:
                await zk.sync()


@pytest.mark.trio
async def test_what_a_condition_raises_is_its_callers(zk: Client) -> None:
    """It is no fault of the value, and concerns nobody else who waits."""
    await zk.create(PATH, b'{"a": 1}', make_parents=True)
    parse: Callable[[bytes], dict[str, int]] = json.loads
    async with watch_config(zk, PATH, parse) as config, trio.open_nursery() as nursery:

        async def fail(wait: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(KeyError, match="missing"):
                await wait()

        nursery.start_soon(
            fail, lambda: config.wait_value(lambda value: value["a"] == 2 and value["missing"] > 0)
        )
        nursery.start_soon(fail, lambda: config.wait_transition(lambda value, old: value["missing"] > 0))
        values = config.eventual_values(lambda value: value["a"] == 2 and value["missing"] > 0)
        nursery.start_soon(fail, lambda: anext(values))
        nursery.start_soon(fail, lambda: anext(config.transitions(lambda value, old: value["missing"] > 0)))
        nursery.start_soon(config.wait_value, lambda value: value["a"] == 2)  # who waits for what is there
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = trio.current_time() + 5
        await zk.set(PATH, b'{"a": 2}')
    assert not nursery.cancel_scope.cancelled_caught
    assert (config.value, config.error) == ({"a": 2}, None)


@pytest.mark.trio
async def test_not_a_number_is_seen_once(zk: Client) -> None:
    await zk.create(PATH, b"NaN", make_parents=True)
    seen: list[float] = []
    async with watch_config(zk, PATH, float) as config:
        with trio.move_on_after(0.2):
            async for value in config.eventual_values():
                seen.append(value)
                assert len(seen) == 1


@pytest.mark.trio
async def test_starting_with_a_bad_value(zk: Client) -> None:
    await zk.create(PATH, b"{", make_parents=True)
    with pytest.raises(json.JSONDecodeError):
        async with watch_config(zk, PATH):
            pytest.fail("entered")
    config: LiveConfig[dict[str, bool]]
    async with watch_config(zk, PATH, default={"on": False}) as config:
        assert config.value == {"on": False}
        assert isinstance(config.error, json.JSONDecodeError)


@pytest.mark.trio
async def test_a_missing_znode_is_waited_for(zk: Client) -> None:
    entered = trio.Event()

    async def create() -> None:
        await trio.testing.wait_all_tasks_blocked()
        assert not entered.is_set()
        await zk.create(PATH, b"1", make_parents=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        async with watch_config(zk, PATH, int) as config:
            entered.set()
            assert config.value == 1
            await zk.delete(PATH)
            assert isinstance(await until_error(config, zk), NoNode)
            assert config.value == 1
            await zk.create(PATH, b"2")
            assert await config.wait_value(equal_to(2)) == 2
            assert config.error is None


@pytest.mark.trio
async def test_a_default_stands_for_a_missing_znode(zk: Client) -> None:
    async with watch_config(zk, PATH, int, default=None) as config:
        assert (config.value, config.stat, config.error) == (None, None, None)
        await zk.create(PATH, b"1", make_parents=True)
        await config.wait_value(equal_to(1))
        await zk.delete(PATH)
        await config.wait_value(equal_to(None))
        assert (config.stat, config.error) == (None, None)


@pytest.mark.trio
@pytest.mark.parametrize("session_too", [False, True], ids=["connection", "session"])
async def test_pitfall_48_what_happened_in_our_absence(hosts: str, zk: Client, session_too: bool) -> None:
    await zk.create(PATH, b"1", make_parents=True)
    async with open_proxy(hosts) as proxy, coord.connect(proxy.hosts, timeout=30) as reader:
        async with watch_config(reader, PATH, int) as config:
            proxy.close()
            await reader.session.state.wait_value(SessionState.SUSPENDED)
            if session_too:
                await end_session(hosts, reader)
            await zk.delete(PATH)
            await zk.create(PATH, b"2")
            proxy.reopen()
            assert await config.wait_value(equal_to(2)) == 2
            proxy.swallow_reply(Op.GET_DATA)
            await zk.set(PATH, b"3")
            assert await config.wait_value(equal_to(3)) == 3


@pytest.mark.trio
@pytest.mark.parametrize("failure", [ValueError("mine"), ExceptionGroup("mine", [ValueError("inner")])])
async def test_what_the_block_raises_leaves_as_it_is(zk: Client, failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        async with watch_config(zk, PATH, default=1):
            raise failure
    assert caught.value is failure
    with trio.CancelScope() as scope:
        async with watch_config(zk, PATH, default=1):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with trio.CancelScope(deadline=trio.current_time() + 0.1) as scope:
        async with watch_config(zk, PATH):  # it waits for the znode
            pytest.fail("entered")
    assert scope.cancelled_caught


@pytest.mark.trio
async def test_what_reading_raises_ends_the_block(zk: Client) -> None:
    closed = [coord.ACL(coord.Perms.ALL, coord.Id("digest", "nobody:nothing"))]
    await zk.create("/closed", acl=closed)
    with pytest.raises(NoAuth):
        async with watch_config(zk, "/closed", default=1):
            await trio.sleep_forever()
    with pytest.raises(coord.BadArguments):
        async with watch_config(zk, "config"):
            pytest.fail("entered")


@pytest.mark.trio
async def test_cancelled_anywhere_it_leaves_no_watch(autojump_clock: MockClock) -> None:
    async with embedded_server() as server, coord.connect(server.connect_string, timeout=30) as zk:
        await zk.create("/c", b"0")

        async def attempt() -> None:
            async with watch_config(zk, "/c", int) as config:
                await zk.set("/c", b"1")
                await config.wait_value(equal_to(1))

        async def nothing_stays() -> None:
            await zk.set("/c", b"0")
            await zk.sync()
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"wchs")
                answer = b"".join([chunk async for chunk in stream])
            assert b"Total watches:0" in answer, answer

        assert await cancel_everywhere(attempt, nothing_stays) > 10
