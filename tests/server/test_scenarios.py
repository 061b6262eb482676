"""The named bug scenarios of other implementations that concern a member above agreement and its disk.

Each test is named after its scenario. A `Voter` is the whole member but for its shell; the test plays the
other two, and what they say is what the trace of the scenario says.

S34 (a commit that is still being applied by a thread when its database is used again, and a wake-up that is
lost) cannot happen as told: nothing of a member runs beside the turn, and a turn applies all that is
committed. What it rests on is shown: over a change of roles, nothing is applied twice or left lying, and
every client is answered.
"""

from __future__ import annotations

from coord.server.replica_messages import Sync, Synced, decode, encode
from coord.wire.jute import pack_int
from coord.wire.members import Ack, Append, Commit, Payload, Ping, Pong, Truncate
from coord.wire.records import (
    CreateSessionRequest,
    GetDataReply,
    Op,
    PathRequest,
    PathWatchRequest,
    SetDataRequest,
    StatReply,
)
from coord.zab.leading import Leading
from tests.server.member import Talker
from tests.server.test_replica import create
from tests.server.voter import FOUNDING, Voter, batch

STAYS, GOES = 0x300_0000_0000_0001, 0x300_0000_0000_0002
"""sessions of clients of other members"""
EPHEMERAL = 1


def open_session(session_id: int) -> tuple[int, int, int, bytes]:
    return session_id, 0, Op.CREATE_SESSION, CreateSessionRequest(4000).encode()


def ephemeral(session_id: int, path: str) -> tuple[int, int, int, bytes]:
    return session_id, 0, Op.CREATE, create(path, EPHEMERAL).encode()


def test_s26_sessions_that_come_with_the_history_expire_like_all_others() -> None:
    """They are opened and closed by entries of the log, and there is one way to apply an entry."""
    voter = Voter()
    history = [
        FOUNDING,
        batch(1, 3, open_session(STAYS), ephemeral(STAYS, "/stays")),
        batch(1, 5, open_session(GOES), ephemeral(GOES, "/goes"), (GOES, 0, Op.CLOSE_SESSION, b"")),
    ]
    voter.follow(3, epoch=1, history=history)
    nodes = voter.replica.machine.tree.nodes
    assert list(voter.replica.machine.sessions.timeouts) == [STAYS]
    assert "/stays" in nodes
    assert "/goes" not in nodes
    links = voter.lead()
    voter.beats(39)
    assert voter.peer.history.committed == voter.peer.history.logged, "nothing is proposed before its time"
    voter.beats(60)
    voter.hear(links[2], Ack(voter.peer.history.logged))
    assert "/stays" not in nodes
    assert not voter.replica.machine.sessions.timeouts


def test_s33_a_sync_waits_until_a_quorum_has_said_who_leads() -> None:
    """A leader without proposals under way knows of nothing that it could wait for; it asks all the same."""
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    links = voter.lead()
    ann.hear()
    sync, read = say_sync_and_read(ann)
    assert ann.hear() == []
    (ping,) = [message for message in voter.said(links[2]) if isinstance(message, Ping)]
    voter.hear(links[2], Pong(ping.number - 1))
    voter.hear(link, Pong(ping.number))
    assert ann.hear() == [], "an answer to an earlier question, or over an old link, is none"
    voter.hear(links[2], Pong(ping.number))
    assert [header.xid for header, _ in ann.hear()] == [sync, read]


def test_s33_a_sync_of_a_deposed_leader_is_asked_of_the_next_one() -> None:
    """The others have gone on without it: what is read behind the sync is what they have written."""
    voter = Voter()
    voter.follow(3, epoch=1, history=[FOUNDING])
    ann = voter.talker()
    links = voter.lead()
    sync, read = say_sync_and_read(ann)
    for link in links.values():
        voter.lose(link)
    assert not isinstance(voter.peer.role, Leading)
    assert ann.hear() == []
    link = voter.follow(3, epoch=3)
    asked = [decode(message.data) for message in voter.said(link) if isinstance(message, Payload)]
    (token,) = [message.token for message in asked if isinstance(message, Sync)]
    written = batch(3, 1, (0, 0, Op.ERROR, pack_int(0)), (ann.connection.session_id, 0, *set_root(b"new")))
    voter.hear(link, Payload(encode(Synced(token, written.last_zxid))), Append(written))
    assert ann.hear() == [], "what was committed when it was asked is not applied here yet"
    voter.hear(link, Commit(written.last_zxid))
    heard = ann.hear()
    assert [header.xid for header, _ in heard] == [sync, read]
    assert GetDataReply.from_bytes(heard[1][1]).data == b"new"


def say_sync_and_read(client: Talker) -> tuple[int, int]:
    sync = client.say(Op.SYNC, PathRequest("/"))
    read = client.say(Op.GET_DATA, PathWatchRequest("/", False))
    client.member.settle()
    return sync, read


def set_root(data: bytes) -> tuple[int, bytes]:
    return Op.SET_DATA, SetDataRequest("/", data, -1).encode()


def test_s34_what_was_not_applied_when_a_role_ended_is_applied_once_in_the_next() -> None:
    """One write is in the log when its leader goes, another had only just been asked for."""
    voter = Voter()
    link = voter.follow(3, epoch=1, history=[FOUNDING])
    ann, bob = voter.talker(), voter.talker()
    ann.say(Op.SET_DATA, SetDataRequest("/", b"ann", 0))
    voter.hear(link, Append(voter.proposed(link)))
    bob.say(Op.SET_DATA, SetDataRequest("/", b"bob", 1))
    bob.say(Op.EXISTS, PathWatchRequest("/", False))
    voter.lose(link)
    assert ann.hear() == bob.hear() == []
    link = voter.follow(2, epoch=2)
    (stat,) = [StatReply.from_bytes(body).stat for header, body in ann.hear() if header.err == 0]
    assert stat.version == 1
    assert bob.hear() == []
    voter.commit(link, voter.proposed(link))
    assert [header.err for header, _ in bob.hear()] == [0, 0]
    assert ann.hear() == []
    assert voter.replica.machine.tree.nodes["/"].version == 2


def test_s36_an_ephemeral_that_was_never_committed_stays_at_no_member() -> None:
    """It was in this member's log, and never in the next leader's."""
    history = [FOUNDING, batch(1, 3, open_session(STAYS), open_session(GOES))]
    lost = batch(1, 5, ephemeral(GOES, "/eph"))
    after = batch(2, 1, ephemeral(STAYS, "/other"))
    saw_it, never_did = Voter(), Voter()
    link = saw_it.follow(3, epoch=1, history=history)
    never_did.follow(3, epoch=1, history=history)
    saw_it.hear(link, Append(lost))
    assert saw_it.journal.last_zxid == lost.last_zxid
    saw_it.lose(link)
    for voter, is_told in ((saw_it, [Truncate(history[-1].last_zxid)]), (never_did, [])):
        voter.follow(2, epoch=2, history=[*is_told, after])
        assert "/eph" not in voter.replica.machine.tree.nodes
        assert "/other" in voter.replica.machine.tree.nodes
    assert saw_it.replica.machine.digest == never_did.replica.machine.digest
    assert list(saw_it.replica.machine.snapshot()) == list(never_did.replica.machine.snapshot())
    assert list(saw_it.journal.records(0)) == list(never_did.journal.records(0))
