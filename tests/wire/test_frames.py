"""Frames out of a stream, however the stream is cut."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.wire.frames import FrameBuffer, FrameTooLarge, pack_frame


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 50)))
def test_any_cut_of_the_stream_gives_the_same_frames(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(pack_frame(frame) for frame in frames)
    buffer, got = FrameBuffer(100), []
    for size in sizes:
        buffer.receive(stream[:size])
        stream = stream[size:]
        got += list(buffer.frames())
    buffer.receive(stream)
    got += list(buffer.frames())
    assert got == frames
    assert len(buffer) == 0


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_byte_by_byte(frames: list[bytes]) -> None:
    buffer, got = FrameBuffer(30), []
    for frame in frames:
        packed = pack_frame(frame)
        for index in range(len(packed)):
            assert len(buffer) == index
            buffer.receive(packed[index : index + 1])
            arrived = list(buffer.frames())
            assert bool(arrived) == (index == len(packed) - 1)
            got += arrived
    assert got == frames


def test_a_large_frame_is_put_together_once() -> None:
    """At each of its pieces, it would take many seconds, in which nothing else is done."""
    frame, piece = bytes(32 << 20), 16 << 10
    packed = pack_frame(frame)
    buffer = FrameBuffer(len(frame))
    began = process_time()
    for at in range(0, len(packed), piece):
        assert buffer.take() is None
        buffer.receive(packed[at : at + piece])
    assert buffer.take() == frame
    assert process_time() - began < 1
    assert len(buffer) == 0


def test_frames_not_taken_yet_stay() -> None:
    buffer = FrameBuffer(10)
    buffer.receive(pack_frame(b"one") + pack_frame(b"two"))
    frames = buffer.frames()
    assert next(frames) == b"one"
    del frames
    buffer.receive(pack_frame(b"three")[:5])
    assert list(buffer.frames()) == [b"two"]
    assert len(buffer) == 5
    assert buffer.peek(4) == b"\0\0\0\5"
    assert len(buffer) == 5


@pytest.mark.parametrize("length", [-1, -(1 << 31), 11, 0x72756F6B, (1 << 31) - 1])
def test_a_bad_length_comes_after_the_good_frames(length: int) -> None:
    buffer = FrameBuffer(10)
    buffer.receive(pack_frame(b"0123456789") + length.to_bytes(4, "big", signed=True))
    frames = buffer.frames()
    assert next(frames) == b"0123456789"
    with pytest.raises(FrameTooLarge) as caught:
        next(frames)
    assert (caught.value.length, caught.value.limit) == (length, 10)
    with pytest.raises(FrameTooLarge):  # and for ever
        list(buffer.frames())


@given(st.binary(max_size=60))
def test_garbage(data: bytes) -> None:
    buffer = FrameBuffer(20)
    buffer.receive(data)
    try:
        frames = list(buffer.frames())
    except ProtocolError:
        return
    assert b"".join(pack_frame(frame) for frame in frames) + buffer.peek(100) == data
