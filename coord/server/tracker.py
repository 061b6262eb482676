"""Which sessions are alive: counted by the leader, reported to it by everybody else.

Owns the silence of sessions and where each is connected. A leader counts beats (`state.sessions.Expiry`) and
proposes to close whoever was silent for too long; a follower only notes who has shown life, and tells the
leader every few beats. A new leader knows nobody's past, and gives everybody the full time again.

What a follower's word is worth: it answers pings until it has been without a leader for
`Config.fresh_beats`, and it notices that it is after as long again (`zab.timing`), so the leader may learn
late, or never, of a ping that was answered. A client counts on its session until (send time of an
acknowledged request + timeout - a sixth of it). So the leader waits longer than the timeout, by those two,
the interval of the reports, and a sixth of the timeout for the pings between. And a follower does not answer
for a session that was silent beyond its timeout: the leader may be about to end it, and is asked first, as
when any session is resumed. Then a session that its client may count on has not expired.

Knows neither connections nor messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coord.config import Config
from coord.errors import ErrorCode
from coord.limits import REPORT_BEATS
from coord.server.pending import member_of
from coord.state.sessions import Expiry
from coord.wire.ensemble import Request
from coord.wire.jute import pack_int
from coord.wire.records import Op

SESSION_ID_MASK = 0xFFFF_FFFF_FFFF_FFFF

_CREATE_SESSION = int(Op.CREATE_SESSION)


class SessionTracker:
    def __init__(self, config: Config, my_id: int) -> None:
        self._my_id = my_id
        self._beat_ms = config.beat_ms
        self._fresh_beats = config.fresh_beats
        self._alone = not config.is_ensemble
        """then no grace is needed, since nobody reports late; observers do"""
        self._expiry: Expiry | None = None  # None while this member does not lead
        self._alive: dict[int, None] = {}
        self._heard_at: dict[int, int] = {}  # ms of this member's clock, while it follows
        self._owner: dict[int, int] = {}
        self.closing: set[int] = set()
        """sessions whose end is on its way through the log"""

    # -- roles ----------------------------------------------------------------------------------------

    def lead(self, sessions: Mapping[int, int]) -> None:
        """Count from now on; `sessions` are all there are, with their timeouts in ms."""
        self._reset()
        self._expiry = Expiry()
        for session_id, timeout_ms in sessions.items():
            self.count(session_id, timeout_ms)

    def follow(self, here: Iterable[int], now_ms: int) -> None:
        """Somebody else counts, from about now on; `here` are the sessions connected to this member. Who has
        shown life since the last report is still to be reported."""
        heard_at = {session_id: self._heard_at.get(session_id, now_ms) for session_id in here}
        alive = self._alive
        self._reset()
        self._alive = {session_id: None for session_id in alive if session_id in heard_at}
        self._expiry = None
        self._heard_at = heard_at

    def _reset(self) -> None:
        self._alive = {}
        self._heard_at.clear()
        self._owner.clear()
        self.closing.clear()

    # -- sessions -------------------------------------------------------------------------------------

    def count(self, session_id: int, timeout_ms: int) -> None:
        """A session is there (or its timeout is another one now)."""
        if self._expiry is not None:
            self._expiry.add(session_id, self._beats(timeout_ms))

    def forget(self, session_id: int) -> None:
        """It is closed."""
        if self._expiry is not None:
            self._expiry.remove(session_id)
        self._alive.pop(session_id, None)
        self._heard_at.pop(session_id, None)
        self._owner.pop(session_id, None)
        self.closing.discard(session_id)

    def heard(self, session_id: int, timeout_ms: int, now_ms: int) -> bool:
        """A client of this member has shown life. False if its session is over, as far as is known here, or
        may be any moment."""
        if self._expiry is not None:
            return self._expiry.touch(session_id)
        if now_ms - self._heard_at.get(session_id, now_ms) > timeout_ms:
            return False
        self._heard_at[session_id] = now_ms
        self._alive[session_id] = None
        return session_id not in self.closing

    def reported(self, session_ids: Iterable[int]) -> tuple[int, ...]:
        """Clients of another member have. Returns those whose session is not over, if this member leads."""
        expiry = self._expiry
        return () if expiry is None else tuple(one for one in session_ids if expiry.touch(one))

    def to_report(self) -> tuple[int, ...]:
        """Whom to report to the leader now; each is told once."""
        alive = tuple(self._alive)
        self._alive.clear()
        return alive

    def beat(self) -> list[int]:
        """One beat has passed: the sessions that have been silent for too long, each once."""
        return [] if self._expiry is None else self._expiry.beat()

    # -- where they are -------------------------------------------------------------------------------

    def connected(self, session_id: int, member: int) -> None:
        """The session is connected there now; what it asked for elsewhere comes too late."""
        self._owner[session_id] = member
        self._heard_at.pop(session_id, None)

    def kept(self, session_ids: Iterable[int], member: int) -> None:
        """The sessions were connected there before this member led; some may be elsewhere by now, and if that
        is known it counts."""
        for session_id in session_ids:
            self._owner.setdefault(session_id, member)

    def may_ask(self, session_id: int, member: int) -> bool:
        """Is that where the session is connected, as far as is known?"""
        return self._owner.get(session_id, member) == member

    def only_from(self, member: int, requests: list[Request]) -> list[Request]:
        """What a session asks for where it is not connected any more is refused, in its place in the log."""
        sessions = {request[0] for request in requests}
        elsewhere = {one for one in sessions if one and not self.may_ask(one, member)}
        if not elsewhere:
            return requests
        refusal = pack_int(ErrorCode.SESSION_MOVED)
        return [
            (session_id, number, Op.ERROR, who, refusal)
            if session_id in elsewhere
            else (session_id, number, op, who, body)
            for session_id, number, op, who, body in requests
        ]

    def _beats(self, timeout_ms: int) -> int:
        """Rounded up, and one more, since the first beat to come may be due at once: never too early."""
        late = 2 * self._fresh_beats + REPORT_BEATS
        grace = 0 if self._alone else late + timeout_ms // 6 // self._beat_ms + 1
        return -(-timeout_ms // self._beat_ms) + 1 + grace


def in_hex(session_id: int) -> str:
    """As operators know it."""
    return f"0x{session_id & SESSION_ID_MASK:x}"


def new_session_id(member: int, zxid: int) -> int:
    """High byte: the member; below: the low 56 bits of the zxid. Signed, as it travels."""
    value = (member & 0xFF) << 56 | zxid & 0x00FF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >= 1 << 63 else value


def name_sessions(requests: list[Request], first_zxid: int) -> None:
    """Each session that is to be created gets its id: `requests` are about to be logged from there on."""
    for index, (_, number, op, who, body) in enumerate(requests):
        if op == _CREATE_SESSION:
            session_id = new_session_id(member_of(number), first_zxid + index)
            requests[index] = session_id, number, op, who, body


def new_local_session_id(member: int, number: int) -> int:
    """For a session that is in no log (`read_only`). The low half is 0, which no entry's zxid has."""
    return new_session_id(member, (number % 0xFF_FFFF + 1) << 32)


def is_local(session_id: int) -> bool:
    return session_id & 0xFFFF_FFFF == 0
