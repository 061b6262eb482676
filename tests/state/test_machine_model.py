"""The machine against the naive one: every write, in any order, with restores from a snapshot in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coord.errors import ErrorCode
from coord.state.machine import Machine
from coord.wire.records import (
    ACL,
    REPLY_OF,
    CheckVersionRequest,
    CreateRequest,
    CreateSessionRequest,
    CreateTTLRequest,
    DeleteRequest,
    EmptyRequest,
    Id,
    Op,
    PathRequest,
    Record,
    SetACLRequest,
    SetDataRequest,
    decode_multi_reply,
    encode_multi,
)
from tests.state.naive import Naive, No

ANYONE = Id("world", "anyone")
ANN, BOB = Id("digest", "ann:x"), Id("digest", "bob:x")

SESSIONS = st.integers(1, 3)
NAMES = st.sampled_from(["a", "b", "s-", "a", "b", "", ".", "é", "x\x01", "x\0"])
PATHS = st.one_of(
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(lambda names: "/" + "/".join(names)),
    st.sampled_from(
        ["/", "//", "//a", "a", "", "/a/", "/a//b", "/zookeeper", "/zookeeper/config", "/a/s-0000000000"]
    ),
    st.builds("/a/{}".format, NAMES),
    st.builds("/{}".format, NAMES),
)
DATA = st.sampled_from([b"", b"x", b"longer", None])
VERSIONS = st.sampled_from([-1, -1, -1, 0, 1, 2, -2])
OPEN = [ACL(31, ANYONE)]
ACLS = st.sampled_from(
    [OPEN, OPEN, OPEN, OPEN, [], OPEN * 2]
    + [[ACL(perms, ANYONE)] for perms in (0, 1, 27, 29, 30, 15)]
    + [[ACL(31, Id("auth", ""))], [ACL(1, ANYONE), ACL(31, ANN)], [ACL(31, BOB)], [ACL(31, Id("no", "x"))]]
)
IDENTITIES = st.sampled_from([(), (), (ANN,), (BOB, ANN)])

Part = tuple[int, Record]
CREATES = st.one_of(
    st.tuples(
        st.sampled_from([Op.CREATE, Op.CREATE2]),
        st.builds(CreateRequest, PATHS, DATA, ACLS, st.sampled_from([0, 0, 0, 1, 1, 2, 2, 3, 5, 9])),
    ),
    st.tuples(st.just(Op.CREATE_CONTAINER), st.builds(CreateRequest, PATHS, DATA, ACLS, st.just(4))),
    st.tuples(
        st.just(Op.CREATE_TTL),
        st.builds(CreateTTLRequest, PATHS, DATA, ACLS, st.sampled_from([5, 6]), st.sampled_from([5, 50])),
    ),
)
PARTS: st.SearchStrategy[Part] = st.one_of(
    CREATES,
    CREATES,
    st.tuples(st.just(Op.DELETE), st.builds(DeleteRequest, PATHS, VERSIONS)),
    st.tuples(st.just(Op.SET_DATA), st.builds(SetDataRequest, PATHS, DATA, VERSIONS)),
)
CHECKS: st.SearchStrategy[Part] = st.tuples(
    st.just(Op.CHECK), st.builds(CheckVersionRequest, PATHS, VERSIONS)
)


def perform(naive: Naive, session_id: int, op: int, request: Any) -> list[Any]:
    """What the naive machine answers: the values of the reply's fields."""
    if op in (Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL):
        lifetime = {Op.CREATE_CONTAINER: 0, Op.CREATE_TTL: getattr(request, "ttl_ms", None)}.get(Op(op))
        path = naive.create(session_id, request.path, request.data, request.acl, request.flags, lifetime)
        return [path] if op == Op.CREATE else [path, naive.stat(path)]
    if op == Op.SET_DATA:
        return [naive.set_data(request.path, request.data, request.version)]
    if op == Op.SET_ACL:
        return [naive.set_acl(request.path, request.acl, request.version)]
    (naive.delete if op == Op.DELETE else naive.check)(request.path, request.version)
    return []


class MachineModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.naive = Naive()
        for session_id in (1, 2):
            self.open_session(session_id, 4000)

    def both(
        self, op: int, body: bytes, session_id: int, expect: Callable[[], Any], known: bool = True
    ) -> tuple[int, bytes, Any]:
        """One entry for both; compares errors and changes; returns the reply and what was expected."""
        naive = self.naive
        naive.zxid += 1
        naive.time_ms += 7
        naive.events = []
        expected, code = None, 0
        try:
            if known and session_id not in naive.sessions:
                raise No(ErrorCode.SESSION_EXPIRED)
            expected = expect()
        except No as no:
            code = int(no.code)
        err, reply, changes = self.machine.apply(
            naive.zxid, naive.time_ms, session_id, op, naive.identities, body
        )
        assert ErrorCode(err) == ErrorCode(code)
        assert [change[:2] for change in changes] == naive.events
        return err, reply, expected

    @rule(identities=IDENTITIES)
    def authenticate(self, identities: tuple[Id, ...]) -> None:
        self.naive.identities = identities

    @rule(session_id=SESSIONS, timeout_ms=st.integers(1, 9))
    def open_session(self, session_id: int, timeout_ms: int) -> None:
        body = CreateSessionRequest(timeout_ms).encode()
        sessions = self.naive.sessions
        self.both(
            Op.CREATE_SESSION, body, session_id, lambda: sessions.update({session_id: timeout_ms}), False
        )

    @rule(session_id=SESSIONS)
    def close_session(self, session_id: int) -> None:
        body = EmptyRequest().encode()
        self.both(Op.CLOSE_SESSION, body, session_id, lambda: self.naive.close_session(session_id))

    @rule(session_id=SESSIONS, part=PARTS)
    def write(self, session_id: int, part: Part) -> None:
        op, request = part
        err, reply, expected = self.both(
            op, request.encode(), session_id, lambda: perform(self.naive, session_id, op, request)
        )
        if not err:
            decoded = REPLY_OF[op].from_bytes(reply)
            assert [getattr(decoded, name) for name in decoded.FIELDS] == expected

    @rule(path=PATHS, acl=ACLS, version=VERSIONS)
    def set_acl(self, path: str, acl: list[ACL], version: int) -> None:
        self.write(1, (Op.SET_ACL, SetACLRequest(path, acl, version)))

    @rule(session_id=SESSIONS, parts=st.lists(PARTS | CHECKS, max_size=5))
    def multi(self, session_id: int, parts: list[Part]) -> None:
        def expect() -> list[list[Any]]:
            before, results = self.naive.snapshot(), []
            for at, (op, request) in enumerate(parts):
                # Inside a multi create2 is a create.
                as_op = Op.CREATE if op == Op.CREATE2 else op
                try:
                    results.append(perform(self.naive, session_id, as_op, request))
                except No as no:
                    self.naive.go_back(before)
                    later = [[int(ErrorCode.RUNTIME_INCONSISTENCY)]] * (len(parts) - at - 1)
                    return [[0]] * at + [[int(no.code)]] + later
            return results

        err, reply, expected = self.both(Op.MULTI, encode_multi(parts), session_id, expect)
        if not err:
            results = [decoded for _, _, decoded in decode_multi_reply(reply)]
            assert [[getattr(r, name) for name in r.FIELDS] for r in results] == expected

    @rule(path=PATHS)
    def delete_container(self, path: str) -> None:
        body = PathRequest(path).encode()
        self.both(Op.DELETE_CONTAINER, body, 0, lambda: self.naive.reap(path), False)

    @rule()
    def restart(self) -> None:
        """From here on the machine is one that was restored from a snapshot."""
        chunks = list(self.machine.snapshot())
        restored = Machine.restore(chunks)
        assert restored.digest == self.machine.digest
        assert list(restored.snapshot()) == chunks
        self.machine = restored

    @invariant()
    def same_state(self) -> None:
        tree, naive = self.machine.tree, self.naive
        assert self.machine.zxid == naive.zxid
        assert sorted(tree.nodes) == sorted(naive.nodes)
        for path, node in tree.nodes.items():
            assert node.stat() == naive.stat(path), path
            assert (node.data, list(node.acl.entries)) == (naive.nodes[path].data, naive.nodes[path].acl)
            assert sorted(tree.children_of(path)) == naive.children(path)
        assert dict(self.machine.sessions.items()) == naive.sessions

    @invariant()
    def same_indexes(self) -> None:
        tree, naive = self.machine.tree, self.naive
        owned = {(owner, path) for owner, paths in tree.ephemerals.items() for path in paths}
        assert owned == {(node.owner, path) for path, node in naive.nodes.items() if node.owner}
        assert all(tree.ephemerals.values())
        assert set(self.machine.reapable(naive.time_ms)) == naive.reapable()
        assert tree.data_bytes == sum(len(path) + len(n.data or b"") for path, n in naive.nodes.items())
        assert Machine.restore(self.machine.snapshot()).digest == self.machine.digest


MachineModel.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestMachineModel = MachineModel.TestCase
