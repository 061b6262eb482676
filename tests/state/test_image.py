"""Snapshots: the whole state and back, equal bytes for equal states, and damage that is noticed."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.errors import ProtocolError
from coord.limits import SNAPSHOT_CHUNK_BYTES
from coord.state.machine import Machine
from coord.wire.records import (
    ACL,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    Id,
    Op,
    SetACLRequest,
    SetDataRequest,
)
from tests.state.applier import OPEN, OTHER, SESSION, Applier


def populated() -> Applier:
    log = Applier()
    log.apply(Op.SET_SECRET, b"s" * 32, 0)
    log.apply(Op.ENABLE_TTL, b"\1", 0)
    log.create("/a", None, acl=[ACL(31, Id("ip", "10.0.0.0/8")), ACL(31, Id("world", "anyone"))])
    log.create("/a!", b"sorts between /a and /a/b")
    log.create("/a/b", b"x", flags=1)
    log.create("/a/s-", flags=2)
    log.ok(Op.DELETE, DeleteRequest("/a/s-0000000001", -1))
    log.ok(Op.CREATE_CONTAINER, CreateRequest("/c", b"", OPEN, 4))
    log.ok(Op.CREATE_TTL, CreateTTLRequest("/t", b"", OPEN, 5, 100))
    log.ok(Op.SET_DATA, SetDataRequest("/a", b"new", -1))
    log.ok(Op.SET_ACL, SetACLRequest("/c", [ACL(1, Id("digest", "é:x")), *OPEN], -1))
    for number in range(2500):  # several chunks
        log.create(f"/a/{number}", b"%d" % number)
    return log


def test_large_data_is_cut_into_small_chunks() -> None:
    """A thousand znodes of 1 MB in one piece would be held in memory several times over."""
    log = Applier()
    for number in range(20):
        log.create(f"/{number}", bytes(1_000_000))
    chunks = list(log.machine.snapshot())
    assert max(map(len, chunks)) < SNAPSHOT_CHUNK_BYTES + 1_100_000
    assert Machine.restore(chunks).digest == log.machine.digest


def test_a_restored_machine_is_equal_and_goes_on_alike() -> None:
    log = populated()
    chunks = list(log.machine.snapshot())
    assert len(chunks) > 4
    twin = Applier(Machine.restore(chunks), log.zxid)
    twin.time_ms = log.time_ms
    assert twin.machine.secret == b"s" * 32
    assert twin.machine.tree.ttl_enabled
    for each in (log, twin):
        assert each.create("/a/s-", flags=3) == "/a/s-0000002502"
        assert each.machine.reapable(log.time_ms + 101) == ["/t"]
        each.close_session(SESSION)
        each.create("/mine", flags=1, session_id=OTHER)
    assert log.changes == twin.changes
    assert log.image() == twin.image()
    assert log.machine.digest == twin.machine.digest


def test_the_same_entries_make_the_same_bytes() -> None:
    assert populated().image() == populated().image()


def test_the_way_to_a_state_does_not_show() -> None:
    """Children in another order, an access list used for a while: gone without a trace."""
    one, two = Applier(), Applier()
    one.create("/x", acl=[ACL(1, Id("digest", "passing:x")), *OPEN])
    two.create("/x")
    for log in (one, two):
        log.ok(Op.DELETE, DeleteRequest("/x", -1))
    assert one.image() == two.image()


def test_equal_access_lists_are_shared_after_a_restore() -> None:
    machine = Machine.restore(populated().machine.snapshot())
    assert machine.tree.nodes["/a/1"].acl is machine.tree.nodes["/a/2"].acl


def changed(chunks: list[bytes], at: int, what: list[object]) -> list[bytes]:
    return [*chunks[:at], cbor2.dumps(what), *chunks[at + 1 :]]


def damaged() -> dict[str, list[bytes]]:
    chunks = list(populated().machine.snapshot())
    head, rows, end = (cbor2.loads(chunks[at]) for at in (0, 1, -1))
    return {
        "nothing": [],
        "only the head": chunks[:1],
        "no end": chunks[:-1],
        "a chunk is missing": [chunks[0], *chunks[2:]],
        "a chunk comes twice": [chunks[0], chunks[1], *chunks[1:]],
        "something behind the end": [*chunks, chunks[-1], chunks[1]],
        "another format": changed(chunks, 0, [2, *head[1:]]),
        "a zxid that is no number": changed(chunks, 0, [1, "x", *head[2:]]),
        "other data": changed(chunks, 1, [[*rows[0][:1], b"changed", *rows[0][2:]], *rows[1:]]),
        "an access list there is not": changed(chunks, 1, [[*rows[0][:2], 99, *rows[0][3:]], *rows[1:]]),
        "another digest": changed(chunks, len(chunks) - 1, [end[0], end[1] ^ 1]),
        "no CBOR": [chunks[0], b"\xff", *chunks[1:]],
    }


@pytest.mark.parametrize("what", list(damaged()))
def test_damage_is_noticed(what: str) -> None:
    with pytest.raises(ProtocolError):
        Machine.restore(damaged()[what])


@given(st.lists(st.binary(max_size=20) | st.builds(cbor2.dumps, st.lists(st.integers())), max_size=4))
def test_garbage_is_no_snapshot(chunks: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        Machine.restore(chunks)


@given(chunk=st.integers(0, 2), place=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(chunk: int, place: int, value: int) -> None:
    log = Applier()
    log.create("/a", b"x", flags=1)
    chunks = list(log.machine.snapshot())
    damaged = bytearray(chunks[chunk])
    damaged[place % len(damaged)] = value
    chunks[chunk] = bytes(damaged)
    try:
        Machine.restore(chunks)
    except ProtocolError:
        pass
