"""The replicated state machine: applies log entries, one after the other, the same on every member.

Owns the tree, the sessions, the ensemble's secret and the zxid up to which they are made. Knows nothing of
watches, connections or time of its own. What an entry does depends on nothing but the state and the entry:
whatever a member's configuration decides was decided before the entry was logged (`Op.ERROR`).

`apply` never raises for what a client sent. Before anything else it asks whether the session exists, and
answers SESSION_EXPIRED if not (ZooKeeper looks at the flags of a create first, and answers a multi with the
error inside: no difference to a client whose session is over). Then it is the operation's turn, whose
order of checks stands at the head of `creates` and `writes`.

Sequence numbers end at 2147483647: the next sequential create below that parent is refused with
BAD_ARGUMENTS (see `creates`).

Synopsis::

    machine = Machine()
    err, reply, changes = machine.apply(zxid, time_ms, session_id, op, identities, body)
    same = Machine.restore(machine.snapshot())
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from coord.errors import ErrorCode, ProtocolError
from coord.limits import CONTAINERS_PER_CHECK_MAX
from coord.state import image
from coord.state.creates import create, create2, create_container, create_ttl
from coord.state.refused import Refused
from coord.state.sessions import Sessions
from coord.state.tree import CONTAINER, Tree
from coord.state.txn import Change, Txn
from coord.state.writes import delete, multi, remove, set_acl, set_data
from coord.wire.ensemble import Identities
from coord.wire.jute import Reader
from coord.wire.records import CreateSessionRequest, Op, PathRequest

__all__ = ["SECRET_BYTES", "Change", "Machine", "Refused"]

SECRET_BYTES: Final = 32


class Machine:
    """The state of an ensemble. A new one is the state of a new ensemble, before its first entry."""

    def __init__(self) -> None:
        self.tree = Tree.with_built_ins()
        self.sessions = Sessions()
        self.secret = b""
        """keys the session passwords; empty until the ensemble's first leader has drawn one"""
        self.zxid = 0
        """of the last entry applied"""
        self._txn = Txn()

    @property
    def digest(self) -> int:
        """64 bits over all znodes: equal on all members at equal zxid."""
        return self.tree.digest

    def apply(
        self,
        zxid: int,
        time_ms: int,
        session_id: int,
        op: int,
        identities: Identities,
        body: bytes,
        want_reply: bool = True,
    ) -> tuple[int, bytes, Sequence[Change]]:
        """Applies one entry; returns the reply's error code, its body, and what watchers may care about.

        `body` is the request as the client sent it, without its header. Without `want_reply` the body of
        the reply is unspecified (nobody waits for it). A failed entry changes nothing but `zxid`; a
        failed multi has error code 0 and says in its body what failed, as the protocol wants it.
        """
        txn = self._txn
        self.zxid = txn.zxid = zxid
        txn.time_ms, txn.session_id, txn.identities = time_ms, session_id, identities
        txn.want_reply, txn.changes = want_reply, []
        try:
            operation = _CLIENT_OPERATIONS.get(op)
            if operation is None:
                internal = _INTERNAL_OPERATIONS.get(op)
                if internal is None:
                    raise Refused(ErrorCode.UNIMPLEMENTED)
                internal(self, txn, body)
                return 0, b"", txn.changes
            if session_id not in self.sessions.timeouts:
                raise Refused(ErrorCode.SESSION_EXPIRED)
            return 0, operation(self.tree, txn, body), txn.changes
        except Refused as refused:
            return refused.code, b"", ()
        except ProtocolError:
            return ErrorCode.MARSHALLING_ERROR, b"", ()

    def reapable(self, time_ms: int) -> list[str]:
        """Containers and TTL znodes whose time has come, `CONTAINERS_PER_CHECK_MAX` at the most.

        Each is to be proposed as `Op.DELETE_CONTAINER`, which looks again. Looks at every container and
        TTL znode, and at no other.
        """
        due = (path for path in self.tree.lifetimes if self._may_go(path, time_ms))
        return list(islice(due, CONTAINERS_PER_CHECK_MAX))

    def _may_go(self, path: str, time_ms: int) -> bool:
        """A container that had children and has none; a TTL znode without any, unchanged for too long."""
        node, lifetime = self.tree.nodes[path], self.tree.lifetimes[path]
        if node.children:
            return False
        return node.creates > 0 if lifetime == CONTAINER else time_ms - node.mtime > lifetime

    # -- snapshots --------------------------------------------------------------------------------------

    def snapshot(self) -> Iterator[bytes]:
        """The whole state in chunks; equal states give equal bytes.

        The state must not change while the chunks are taken.
        """
        return image.dump(self.tree, self.sessions, self.secret, self.zxid)

    @classmethod
    def restore(cls, chunks: Iterable[bytes]) -> Machine:
        """The machine whose `snapshot` this is; raises `ProtocolError` if it is damaged or incomplete."""
        machine = cls()
        machine.tree, machine.sessions, machine.secret, machine.zxid = image.load(chunks)
        return machine


def _create_session(machine: Machine, txn: Txn, body: bytes) -> None:
    machine.sessions.add(txn.session_id, CreateSessionRequest.from_bytes(body).timeout_ms)


def _close_session(machine: Machine, txn: Txn, _body: bytes) -> None:
    """The session goes, and its ephemeral znodes with it, under the one zxid."""
    if txn.session_id not in machine.sessions:
        raise Refused(ErrorCode.SESSION_EXPIRED)
    machine.sessions.remove(txn.session_id)
    # Sorted: members restored from a snapshot do not remember in which order they were created.
    for path in sorted(machine.tree.ephemerals.get(txn.session_id, ())):
        remove(machine.tree, txn, path)


def _delete_container(machine: Machine, txn: Txn, body: bytes) -> None:
    """What `reapable` has found, unless it has changed since it was proposed. It asks for no permission."""
    path = PathRequest.from_bytes(body).path
    if path not in machine.tree.nodes:
        raise Refused(ErrorCode.NO_NODE)
    if path not in machine.tree.lifetimes:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    if not machine._may_go(path, txn.time_ms):
        raise Refused(ErrorCode.NOT_EMPTY)
    remove(machine.tree, txn, path)


def _refuse(_machine: Machine, _txn: Txn, body: bytes) -> None:
    """A request that was refused before it was logged; it has its zxid, and its error here."""
    code = Reader(body).read_int()
    try:
        raise Refused(ErrorCode(code))
    except ValueError:
        raise Refused(ErrorCode.SYSTEM_ERROR) from None


def _set_secret(machine: Machine, _txn: Txn, body: bytes) -> None:
    """Two first leaders may each propose one: the first in the log counts."""
    if machine.secret or len(body) != SECRET_BYTES:
        raise Refused(ErrorCode.BAD_ARGUMENTS)
    machine.secret = body


def _enable_ttl(machine: Machine, _txn: Txn, body: bytes) -> None:
    machine.tree.ttl_enabled = Reader(body).read_bool()


def _do_nothing(_machine: Machine, _txn: Txn, _body: bytes) -> None:
    """Its zxid is all that somebody waits for."""


_CLIENT_OPERATIONS: Final[dict[int, Callable[[Tree, Txn, bytes], bytes]]] = {
    Op.CREATE: create,
    Op.CREATE2: create2,
    Op.CREATE_CONTAINER: create_container,
    Op.CREATE_TTL: create_ttl,
    Op.DELETE: delete,
    Op.SET_DATA: set_data,
    Op.SET_ACL: set_acl,
    Op.MULTI: multi,
}
_INTERNAL_OPERATIONS: Final[dict[int, Callable[[Machine, Txn, bytes], None]]] = {
    Op.CREATE_SESSION: _create_session,
    Op.CLOSE_SESSION: _close_session,
    Op.DELETE_CONTAINER: _delete_container,
    Op.ERROR: _refuse,
    Op.SET_SECRET: _set_secret,
    Op.ENABLE_TTL: _enable_ttl,
    Op.NOTHING: _do_nothing,
}
