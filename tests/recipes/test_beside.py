"""A task beside a block: exceptions leave as they are, from either side."""

# ruff: noqa: PT012 (what has to raise here is a whole `async with` block)

from __future__ import annotations

import pytest
import trio

from recipes.beside import beside


async def nothing() -> None:
    await trio.sleep_forever()


async def failing() -> None:
    raise ValueError("the task")


@pytest.mark.trio
async def test_the_task_ends_with_the_block() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    async with beside(work):
        await trio.lowlevel.checkpoint()
    assert ended


@pytest.mark.trio
@pytest.mark.parametrize(
    "failure", [KeyError("mine"), ExceptionGroup("mine", [KeyError("inner")]), KeyboardInterrupt()]
)
async def test_what_the_block_raises(failure: BaseException) -> None:
    with pytest.raises(type(failure)) as caught:
        async with beside(nothing):
            raise failure
    assert caught.value is failure


@pytest.mark.trio
async def test_what_the_task_raises_cancels_the_block() -> None:
    with pytest.raises(ValueError, match="the task"):
        async with beside(failing):
            await trio.sleep_forever()


@pytest.mark.trio
async def test_if_both_raise_the_block_wins() -> None:
    failure = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with beside(failing):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise failure from None
    assert caught.value is failure


@pytest.mark.trio
async def test_a_cancellation_from_outside_passes() -> None:
    with trio.CancelScope() as scope:
        async with beside(nothing):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.trio
async def test_a_group_with_a_cancellation_passes_through_its_scope() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    with pytest.raises(BaseExceptionGroup) as caught, trio.CancelScope() as scope:
        async with beside(nothing), trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep_forever()
    assert caught.value.split(trio.Cancelled)[0] is None
    assert caught.value.split(KeyError)[1] is None


@pytest.mark.trio
async def test_a_failing_task_leaves_bare_although_the_block_is_cancelled_from_outside() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("the task")

    with pytest.raises(ValueError, match="the task"), trio.CancelScope() as scope:
        async with beside(fail_when_cancelled):
            await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep_forever()


@pytest.mark.trio
async def test_what_the_task_raises_keeps_its_cause() -> None:
    cause = KeyError("why")

    async def fail_because() -> None:
        raise ValueError("the task") from cause

    with pytest.raises(ValueError, match="the task") as caught:
        async with beside(fail_because):
            await trio.sleep_forever()
    assert caught.value.__cause__ is cause
