"""The named bug scenarios of other implementations that concern the replicated state, with the right outcome.

S28 (ZOOKEEPER-1624) and S37 (ZOOKEEPER-4743) are where multi and versions are tested, in `test_machine.py`.

S27, the family of bugs of fuzzy snapshots (one is written while the state changes, and repaired by applying
some of the log again), cannot happen as told: a snapshot is the state after one entry, and what is applied to
it begins with the next one. What that rests on is shown: wherever in such a history the cut is, snapshot and
rest give the very bytes that the whole history gives. And no entry is seen half done, since a multi, and the
end of a session with all its ephemerals, is one entry under one zxid.
"""

from __future__ import annotations

import pytest

from coord.state.machine import Machine
from coord.wire.records import (
    ACL,
    CheckVersionRequest,
    CreateRequest,
    CreateSessionRequest,
    DeleteRequest,
    EmptyRequest,
    Id,
    Op,
    Record,
    SetACLRequest,
    SetDataRequest,
    Stat,
    encode_multi,
)
from tests.state.applier import OPEN, SESSION

OTHER_ACL = [ACL(31, Id("digest", "ann:x")), *OPEN]

Entry = tuple[int, int, bytes]
"""session id, opcode, body"""


def entry(op: int, request: Record, session_id: int = SESSION) -> Entry:
    return session_id, op, request.encode()


def create(path: str, flags: int = 0, acl: list[ACL] | None = None) -> Entry:
    return entry(Op.CREATE, CreateRequest(path, b"", acl or OPEN, flags))


def delete(path: str) -> Entry:
    return entry(Op.DELETE, DeleteRequest(path, -1))


def multi(*operations: tuple[int, Record]) -> Entry:
    return SESSION, Op.MULTI, encode_multi(list(operations))


OPEN_SESSION = entry(Op.CREATE_SESSION, CreateSessionRequest(4000))
CLOSE_SESSION = entry(Op.CLOSE_SESSION, EmptyRequest())

TRACES: dict[str, list[Entry]] = {
    "3127: the zxid of a multi is there before the last of its parts": [
        create("/a"),
        multi(
            (Op.CREATE, CreateRequest("/a/one", b"", OPEN, 0)),
            (Op.SET_DATA, SetDataRequest("/a", b"two", 0)),
            (Op.CREATE, CreateRequest("/a/three-", b"", OPEN, 2)),
        ),
        multi((Op.SET_DATA, SetDataRequest("/a", b"never", 1)), (Op.CHECK, CheckVersionRequest("/a", 7))),
        create("/a/next-", flags=2),
    ],
    "3125, 3249: a parent is written before its child is deleted, and created again": [
        create("/p"),
        create("/p/c"),
        create("/p/d"),
        delete("/p/c"),
        create("/p/c"),
        delete("/p/d"),
        create("/p/s-", flags=2),
    ],
    "3145, 3144: a session ends, with its ephemerals, while the tree is written": [
        create("/p"),
        create("/p/mine", flags=1),
        create("/p/s-", flags=3),
        CLOSE_SESSION,
        OPEN_SESSION,
        create("/p/s-", flags=2),
    ],
    "3306: an access list is first used when the table of them is written already": [
        create("/a"),
        create("/b", acl=OTHER_ACL),
        entry(Op.SET_ACL, SetACLRequest("/a", OTHER_ACL, -1)),
        delete("/b"),
        create("/c", acl=OTHER_ACL),
    ],
}


def apply(machine: Machine, entries: list[Entry]) -> list[tuple[int, bytes, list[tuple[int, str]]]]:
    """The replies and the changes that watchers are told."""
    replies = []
    for session_id, op, body in entries:
        zxid = machine.zxid + 1
        err, reply, changes = machine.apply(zxid, 1000 * zxid, session_id, op, (), body)
        replies.append((err, reply, [(int(type_), path) for type_, path, _ in changes]))
    return replies


def all_of(machine: Machine) -> dict[str, tuple[bytes | None, Stat, tuple[ACL, ...]]]:
    """What clients can see of each znode."""
    nodes = machine.tree.nodes
    return {path: (node.data, node.stat(), node.acl.entries) for path, node in nodes.items()}


@pytest.mark.parametrize("trace", TRACES)
def test_s27_a_snapshot_anywhere_in_a_history_goes_on_as_the_history_does(trace: str) -> None:
    entries = [OPEN_SESSION, *TRACES[trace]]
    whole = Machine()
    replies = apply(whole, entries)
    assert all(err == 0 for err, _, _ in replies)
    for cut in range(len(entries) + 1):
        before = Machine()
        apply(before, entries[:cut])
        after = Machine.restore(before.snapshot())
        assert after.zxid == cut
        assert apply(after, entries[cut:]) == replies[cut:]
        assert after.digest == whole.digest
        assert all_of(after) == all_of(whole)
        assert list(after.snapshot()) == list(whole.snapshot())
